//! NTLM and Negotiate sign the connection to the app in: it is nobody else's, SEC-92.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use crate::harness::*;

/// The code of a reset that has a browser come back over HTTP/1.1 (RFC 9113 §7).
const HTTP_1_1_REQUIRED: u32 = 0xd;

/// An app that knows its users by their connection, as IIS does. Its last message of the handshake
/// is `NTLM TYPE3-NAME`.
async fn windows_app() -> Upstream {
    let users = Arc::new(Mutex::new(HashMap::new()));
    Upstream::scripted(move |exchange| {
        let users = Arc::clone(&users);
        Box::pin(async move {
            exchange.body().await;
            let credentials = exchange.header("authorization");
            if let Some(name) = credentials
                .as_deref()
                .and_then(|it| it.split_once("TYPE3-"))
            {
                users
                    .lock()
                    .unwrap()
                    .insert(exchange.connection(), name.1.to_owned());
            }
            let user = users.lock().unwrap().get(&exchange.connection()).cloned();
            let handshake = [("WWW-Authenticate", "NTLM TYPE2")];
            let challenge = [
                ("WWW-Authenticate", "Negotiate, Basic realm=\"app\""),
                ("www-authenticate", "ntlm"),
            ];
            let body = user.as_ref().map(|user| format!("you are {user}"));
            let (status, fields) = match (user, credentials) {
                (Some(_), _) => ("200 OK", &[][..]),
                (None, Some(_)) => ("401 No", &handshake[..]),
                (None, None) => ("401 No", &challenge[..]),
            };
            let body = body.unwrap_or_default();
            exchange.reply(status, fields, body).await;
            if exchange.target() == "/last" {
                exchange.close();
            }
        })
    })
    .await
}

async fn gate_before(app: &Upstream) -> (Gate, [String; 2]) {
    let gate = Vestibule::before(app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .rule("/public", "everyone")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let bob = gate.browser().login("bob", PASSWORD).await.session_cookie();
    (gate, [ada, bob])
}

async fn ask(client: &mut Raw, target: &str, cookie: &str, credentials: &str) -> Reply {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n");
    if !credentials.is_empty() {
        write!(request, "Authorization: {credentials}\r\n").unwrap();
    }
    client.send(format!("{request}\r\n")).await;
    client.response().await
}

/// Ada's handshake, as a browser does it.
async fn sign_in(client: &mut Raw, cookie: &str) {
    let challenge = ask(client, "/", cookie, "").await;
    challenge.assert_status(401);
    assert_eq!(challenge.values("www-authenticate").len(), 2, "{challenge}");
    let handshake = ask(client, "/", cookie, "ntlm TYPE1").await;
    handshake.assert_status(401);
    assert_eq!(handshake.value("www-authenticate"), Some("NTLM TYPE2"));
    let signed_in = ask(client, "/", cookie, "NTLM TYPE3-ADA").await;
    assert_eq!(signed_in.text(), "you are ADA");
}

#[tokio::test]
async fn sec_92_a_signed_in_connection_serves_its_client_connection_alone() {
    let app = windows_app().await;
    let (gate, [ada, bob]) = gate_before(&app).await;
    let mut hers = gate.raw().await;
    sign_in(&mut hers, &ada).await;
    let signed_in = app.last().connection;
    for _ in 0..3 {
        let mut second = gate.raw().await;
        ask(&mut second, "/", &ada, "").await.assert_status(401);
        let mut his = gate.raw().await;
        ask(&mut his, "/", &bob, "").await.assert_status(401);
        ask(&mut his, "/", &bob, "NTLM TYPE1")
            .await
            .assert_status(401);
        let mut stranger = gate.raw().await;
        ask(&mut stranger, "/public", "a=b", "")
            .await
            .assert_status(401);
        let again = ask(&mut hers, "/page", &ada, "").await;
        assert_eq!(again.text(), "you are ADA");
        assert_eq!(app.last().connection, signed_in);
    }
    let by_others = app
        .received()
        .into_iter()
        .filter(|one| one.connection == signed_in);
    assert!(
        by_others
            .into_iter()
            .all(|one| one.value("x-forwarded-user") == Some("ada"))
    );

    let open = app.open_connections();
    drop(hers);
    eventually("her connection to the app to close", || {
        app.open_connections() < open
    })
    .await;
}

#[tokio::test]
async fn sec_92_a_signed_in_connection_that_nobody_uses_makes_room() {
    let app = windows_app().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .app("upstream_max_connections = 1\nupstream_idle_timeout = \"1s\"")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let bob = gate.browser().login("bob", PASSWORD).await.session_cookie();
    let mut hers = gate.raw().await;
    sign_in(&mut hers, &ada).await;
    let signed_in = app.last().connection;
    let mut his = gate.raw().await;
    let asked = ask(&mut his, "/", &bob, "").await;
    asked.assert_status(401); // by the app, not 503
    assert_ne!(app.last().connection, signed_in);
}

/// It takes no descriptor for as long as an unused connection may be kept.
#[tokio::test]
async fn a_signed_in_connection_that_its_app_has_closed_is_closed_here() {
    let app = windows_app().await;
    let (gate, [ada, _]) = gate_before(&app).await;
    let port: u16 = app.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut client = gate.raw().await;
    sign_in(&mut client, &ada).await;
    assert_eq!(sockets_to(port), 1);
    assert_eq!(
        ask(&mut client, "/last", &ada, "").await.text(),
        "you are ADA"
    );
    eventually("we have closed", || sockets_to(port) == 0).await;
}

#[tokio::test]
async fn sec_92_a_signed_in_connection_ends_with_its_session() {
    let app = windows_app().await;
    let (gate, [ada, bob]) = gate_before(&app).await;
    let mut hers = gate.raw().await;
    sign_in(&mut hers, &ada).await;
    let open = app.open_connections();
    gate.browser()
        .cookie(&ada)
        .logout()
        .await
        .assert_status(303);
    eventually("the connection to close", || app.open_connections() < open).await;
    ask(&mut hers, "/", &ada, "").await.assert_status(401);

    // Whoever signs in next over the same client connection gets another one.
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let mut shared = gate.raw().await;
    sign_in(&mut shared, &ada).await;
    let signed_in = app.last().connection;
    for cookie in [&bob, &ada] {
        ask(&mut shared, "/", cookie, "").await.assert_status(401);
        assert_ne!(app.last().connection, signed_in);
    }
}

#[tokio::test]
async fn sec_92_http2_is_asked_to_come_back_over_http1() {
    let app = windows_app().await;
    let (gate, [ada, _]) = gate_before(&app).await;
    let cookie = ("cookie", ada.as_str());
    let mut client = gate.raw_http2().await;
    let mut fields = RawHttp2::get("/");
    fields.push(cookie);
    client.headers(1, &fields, true).await;
    let outcome = client.outcome(1).await;
    assert_eq!(
        (outcome.status, outcome.reset),
        (None, Some(HTTP_1_1_REQUIRED))
    );
    let asked = app.requests();
    for (stream, credentials) in [
        (3, "NTLM TYPE1"),
        (5, "negotiate abc"),
        (7, "Basic eDp5, NTLM TYPE1"),
    ] {
        let mut fields = fields.clone();
        fields.push(("authorization", credentials));
        client.headers(stream, &fields, true).await;
        let outcome = client.outcome(stream).await;
        assert_eq!(outcome.reset, Some(HTTP_1_1_REQUIRED), "{credentials}");
    }
    assert_eq!(app.requests(), asked, "no credentials reach the app");
    eventually("the challenged connection to close", || {
        app.open_connections() == 0
    })
    .await;
}

#[tokio::test]
async fn sec_92_without_a_session_there_is_no_such_authentication() {
    let app = windows_app().await;
    let service = Vestibule::before(&app).public().spawn().await;
    let mut stranger = service.raw().await;
    for credentials in [
        "",
        "NTLM TYPE3-ADA",
        "negotiate TYPE3-ADA",
        "Negotiate\tTYPE3-ADA",
    ] {
        let reply = ask(&mut stranger, "/", "a=b", credentials).await;
        reply.assert_status(401);
        assert_eq!(
            reply.values("www-authenticate"),
            ["Basic realm=\"app\""],
            "{reply}"
        );
        assert_eq!(app.last().value("authorization"), None);
    }
    ask(&mut stranger, "/", "a=b", "Basic eDp5").await;
    assert_eq!(app.last().value("authorization"), Some("Basic eDp5"));
    let lines = || {
        let mut lines = service.program.log();
        lines.retain(|line| line.to_string().contains("NTLM or Negotiate"));
        lines
    };
    eventually("a line", || !lines().is_empty()).await;
    assert_eq!(lines().len(), 1, "{:?}", lines());
}

#[tokio::test]
async fn sec_92_connections_of_a_trusted_proxy_are_nobodys() {
    let app = windows_app().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let mut proxy = gate.raw().await;
    for credentials in ["", "NTLM TYPE3-ADA", ""] {
        let reply = ask(&mut proxy, "/", &cookie, credentials).await;
        reply.assert_status(401);
        assert_eq!(
            reply.values("www-authenticate"),
            ["Basic realm=\"app\""],
            "{reply}"
        );
    }
    let over_http2 = ada.over_http2().get("/").await;
    over_http2.assert_status(401);
}

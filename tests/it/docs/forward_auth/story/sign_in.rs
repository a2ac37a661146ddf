//! Visitors sign in, programs show tokens, and WebSockets are for own pages.

use tokio::net::TcpStream;

use super::*;

pub(in crate::docs::forward_auth) async fn visitors_sign_in(behind: &Behind) {
    let (app, ada) = (&behind.app, browser(behind));
    let before = app.requests();
    let led = ada.get("/page?a=1").await;
    led.assert_redirects_to("/.vestibule/login?return_to=%2Fpage%3Fa%3D1");
    let script = ada.fetch("/api").await;
    script.assert_status(401);
    assert_eq!(script.value("location"), None, "{script}");
    assert_eq!(app.requests(), before, "nobody is in yet");

    let back = ada
        .login_at(led.value("location").unwrap(), "ada", PASSWORD)
        .await;
    back.assert_redirects_to("/page?a=1");
    let ada = ada.cookie("theme=dark");
    ada.get("/page?a=1").await.assert_status(200);
    assert_is_from(behind, "ada");
    let got = app.last();
    assert!(
        got.head.starts_with("GET /page?a=1 HTTP/1."),
        "{}",
        got.head
    );
    assert_eq!(got.value("cookie"), Some("theme=dark"), "{}", got.head);
    assert_eq!(got.value("authorization"), None, "{}", got.head);
    let got = app.requests();
    ada.get("/admin").await.assert_status(403);
    let form = [("a", "b")];
    ada.post_form("/form", &form).await.assert_status(200);
    assert_eq!(app.requests(), got + 1);
    assert_eq!(app.last().body, b"a=b");
    // Vestibule's own pages are on the same host.
    ada.get("/.vestibule/account")
        .await
        .assert_status(200)
        .assert_contains("ada");

    ada.logout().await;
    let got = app.requests();
    ada.get("/page").await.assert_status(303);
    ada.fetch("/page").await.assert_status(401);
    assert_eq!(app.requests(), got, "the session has ended");
}

pub(in crate::docs::forward_auth) async fn programs_show_tokens(behind: &Behind) {
    let (app, program) = (&behind.app, browser(behind));
    let token = behind.desk.run("vestibule token add ada").await;
    let token = token.trim_end();
    let bearer = format!("Bearer {token}");
    let ask = async |authorization: &str| {
        let headers = [("authorization", authorization), ("user-agent", "curl/8.5")];
        let reply = program.request(Method::PUT, "/dav", &headers, Bytes::from_static(b"x"));
        reply.await
    };
    ask(&bearer).await.assert_status(200);
    assert_is_from(behind, "ada");
    let got = app.last();
    assert!(got.head.starts_with("PUT /dav HTTP/1."), "{}", got.head);
    assert_eq!(got.value("authorization"), None, "{}", got.head);
    let refused = ask(&bearer[..bearer.len() - 1]).await;
    refused.assert_status(401);
    let asked = refused.values("www-authenticate");
    assert!(asked.iter().any(|it| it.contains("Bearer")), "{refused}");
    behind.desk.run("vestibule token revoke --user ada").await;
    ask(&bearer).await.assert_status(401);
    assert!(app.last().head.starts_with("PUT /dav"), "nothing more came");
}

pub(super) async fn websockets_are_for_own_pages(behind: &Behind) {
    let ada = browser(behind).login("ada", PASSWORD).await;
    let cookies = ada.cookies();
    let open = async |origin: &str| {
        let stream = TcpStream::connect(behind.front).await.unwrap();
        let headers = [("origin", origin), ("cookie", &*cookies)];
        open_websocket_of(HOST, stream, "/ws", &headers).await
    };
    let mut socket = open("https://wiki.example.org").await.expect("a WebSocket");
    assert_eq!(socket.ask("hello").await, "hello");
    assert_is_from(behind, "ada");
    let got = behind.app.requests();
    for origin in [
        "https://evil.example",
        "null",
        "https://wiki.example.org.evil.example",
    ] {
        assert_eq!(open(origin).await.err(), Some(403), "{origin}");
    }
    assert_eq!(behind.app.requests(), got, "the app has not heard of it");
    socket.close().await;
}

/// What comes after another upgrade, nobody is asked about: no app hears of one.
pub(super) async fn sec_76_no_other_protocol_is_spoken(behind: &Behind) {
    let eve = browser(behind).login("eve", PASSWORD).await.cookies();
    let before = behind.app.requests();
    for upgrades in [
        &["h2c"][..],
        &["H2C"],
        &["tcp"],
        &["websocket2"],
        &["websocket, h2c"],
        &["h2c, websocket"],
        &["websocket", "h2c"],
        &["h2c", "websocket"],
        &["WebSocket"],
    ] {
        for settings in ["", "HTTP2-Settings: AAMAAABkAAQAAP__\r\n"] {
            let mut client = Client::new(behind).await;
            let upgrades = upgrades.iter().map(|it| format!("Upgrade: {it}\r\n"));
            let more = format!(
                "Cookie: {eve}\r\nConnection: Upgrade, HTTP2-Settings\r\n{settings}{}\
                 Origin: https://{HOST}\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                upgrades.collect::<String>()
            );
            client.ask("/page", &more).await;
        }
    }
    for request in &behind.app.received()[before..] {
        let upgrades = request.values("upgrade");
        let is_websocket = |it: &&str| it.eq_ignore_ascii_case("websocket");
        assert!(upgrades.len() <= 1, "{}", request.head);
        assert!(upgrades.iter().all(is_websocket), "{}", request.head);
        assert_eq!(request.value("http2-settings"), None, "{}", request.head);
    }
    let ada = browser(behind).login("ada", PASSWORD).await;
    ada.get("/page").await.assert_status(200);
}

/// With a login host, visitors go there and come back, by the same proxy.
pub(super) async fn one_login_is_for_all(behind: &Behind) {
    let login = format!("\n[login]\nhost = \"{LOGIN}\"\n");
    reconfigure(behind, |text| text + &login).await;
    let (ada, at_login) = (browser(behind), Browser::new(behind.front, LOGIN));
    let led = ada.get("/page?a=1").await;
    led.assert_status(303);
    assert_eq!(led.values("set-cookie").len(), 1, "{led}");
    let login = led.value("location").unwrap();
    let login = login
        .strip_prefix("https://login.example.org")
        .expect(login);
    let form = at_login.get(login).await;
    let hidden = ["csrf", "return_to", "state"].map(|name| (name, form.hidden(name)));
    let mut fields = vec![("username", "ada"), ("password", PASSWORD)];
    fields.extend(hidden.iter().map(|(name, value)| (*name, &**value)));
    let back = at_login.post_form("/.vestibule/login", &fields).await;
    let back = back.assert_status(303).value("location").unwrap();
    let back = back.strip_prefix("https://wiki.example.org").expect(back);
    ada.get(back).await.assert_redirects_to("/page?a=1");
    ada.get("/page?a=1").await.assert_status(200);
    assert_is_from(behind, "ada");
    // All of the login host is Vestibule's: it knows who asks, and no app hears of it.
    let got = behind.app.requests();
    let account = at_login.get("/.vestibule/account").await;
    account.assert_status(200).assert_contains("ada");
    at_login
        .get("/")
        .await
        .assert_redirects_to("/.vestibule/account");
    let listed = behind
        .desk
        .run("vestibule session list --user ada --json")
        .await;
    assert!(listed.contains("\"login.example.org\""), "{listed}");
    at_login.logout().await.assert_status(303);
    assert_eq!(behind.app.requests(), got);
    ada.get("/page").await.assert_status(303);
}

use std::fs;

use bytes::Bytes;
use hyper::Method;
use tokio::net::TcpStream;

use super::*;
use crate::forward_auth::spoofs::{SPELLINGS, all, forged, forwarding};
use crate::identity_token::{HEADER, verify};

/// A visitor and a program use the app, and others try to do what they may not.
pub(super) async fn tell(behind: &Behind, front: Front) {
    Box::pin(visitors_sign_in(behind)).await;
    Box::pin(programs_show_tokens(behind)).await;
    Box::pin(websockets_are_for_own_pages(behind)).await;
    Box::pin(sec_76_no_other_protocol_is_spoken(behind)).await;
    Box::pin(nobody_makes_up_who_they_are(behind)).await;
    Box::pin(sec_38_nobody_takes_out_who_they_are(behind)).await;
    Box::pin(sec_12_many_fields_let_nobody_in(behind)).await;
    Box::pin(no_name_changes_a_verdict(behind)).await;
    Box::pin(nobody_hands_an_identity_token_in(behind)).await;
    Box::pin(nobody_gets_in_when_there_is_too_much_to_do(behind, front)).await;
    Box::pin(one_login_is_for_all(behind)).await;
}

fn browser(behind: &Behind) -> Browser {
    Browser::new(behind.front, HOST)
}

/// The last request that the app received is from this user, carries an identity token for exactly
/// that request, and no other header of Vestibule.
fn assert_is_from(behind: &Behind, user: &str) {
    let got = behind.app.last();
    let head = &got.head;
    assert_eq!(got.values("x-forwarded-user"), [user], "{head}");
    assert_eq!(got.values(HEADER).len(), 1, "{head}");
    let claims = verify(&behind.keys, got.value(HEADER).unwrap());
    let (method, path) = (head.split(' ').next(), got.target().split('?').next());
    let address = format!("https://{HOST}{}", path.unwrap());
    for (claim, value) in [
        ("name", user),
        ("aud", "https://wiki.example.org"),
        ("htm", method.unwrap()),
        ("htu", &address),
    ] {
        assert_eq!(claims[claim], value, "{claims} for {head}");
    }
    let is_ours = |line: &&str| !line.to_ascii_lowercase().starts_with(HEADER);
    for line in head.lines().filter(is_ours) {
        let line = line.to_ascii_lowercase();
        assert!(!line.contains("vestibule"), "{head}");
        assert!(!line.contains("vst_"), "{head}");
    }
}

pub(super) async fn visitors_sign_in(behind: &Behind) {
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
    // Pages of ours are on the same host.
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

pub(super) async fn programs_show_tokens(behind: &Behind) {
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

async fn websockets_are_for_own_pages(behind: &Behind) {
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
async fn sec_76_no_other_protocol_is_spoken(behind: &Behind) {
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

/// Fields that say who somebody is, in whatever spelling.
async fn nobody_makes_up_who_they_are(behind: &Behind) {
    let eve = browser(behind).login("eve", PASSWORD).await;
    for name in [
        "X-Forwarded-User",
        "x-forwarded-user",
        "X_Forwarded_User",
        "X-Forwarded_User",
        "X.Forwarded.User",
        "X-Forwarded-Groups",
        "X_Forwarded_Groups",
        "X-Forwarded-Email",
        "X-Vestibule-Cookie",
        "X-Vestibule-Authorization",
        "X-Vestibule-Token",
        "X_Vestibule_Token",
        "X.Vestibule.Token",
        "X-Forwarded~User",
    ] {
        let got = behind.app.requests();
        let headers = [
            (name, "made-up"),
            ("accept", "*/*"),
            ("sec-fetch-mode", "cors"),
        ];
        for who in [&eve, &browser(behind)] {
            let _ = who
                .request(Method::GET, "/page", &headers, Bytes::new())
                .await;
            let _ = who
                .request(Method::GET, "/admin", &headers, Bytes::new())
                .await;
        }
        for request in &behind.app.received()[got..] {
            assert!(request.head.starts_with("GET /page "), "{}", request.head);
            assert_eq!(
                request.value("x-forwarded-user"),
                Some("eve"),
                "{}",
                request.head
            );
            let head = &request.head;
            assert!(!head.contains("made-up"), "{name}: {head}");
            assert_eq!(request.values(HEADER).len(), 1, "{name}: {head}");
            let claims = verify(&behind.keys, request.value(HEADER).unwrap());
            assert_eq!(claims["name"], "eve", "{claims}");
        }
    }
}

/// Proxies drop the fields that `Connection` names (RFC 9110 §7.6.1): a client must not name the
/// identity headers there.
async fn sec_38_nobody_takes_out_who_they_are(behind: &Behind) {
    let ada = browser(behind).login("ada", PASSWORD).await.cookies();
    let names = "X-Forwarded-User, X-Forwarded-Groups, X-Forwarded-Email, X-Vestibule-Token";
    for named in names.split(", ").chain([names, "close, X-Forwarded-User"]) {
        let websocket = format!(
            "Upgrade: websocket\r\nOrigin: https://{HOST}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for upgrade in ["", &websocket] {
            let got = behind.app.requests();
            let more = format!("Cookie: {ada}\r\nConnection: {named}\r\n{upgrade}");
            let status = Client::new(behind).await.ask("/page", &more).await;
            if upgrade.is_empty() {
                assert_eq!(status, 200, "{named}");
            }
            if behind.app.requests() > got {
                assert_is_from(behind, "ada");
            }
        }
    }
}

/// A request with more fields than the proxy can ask about is refused, and the proxy lives.
async fn sec_12_many_fields_let_nobody_in(behind: &Behind) {
    let got = behind.app.requests();
    for count in (50..=75).step_by(5).chain(76..=110) {
        let fields: Vec<_> = (0..count).map(|n| format!("X-A{n}: 1\r\n")).collect();
        let status = Client::new(behind)
            .await
            .ask("/page", &fields.concat())
            .await;
        assert!(status >= 303, "{status} with {count} fields");
    }
    assert_eq!(behind.app.requests(), got, "nobody is in");
    let ada = browser(behind).login("ada", PASSWORD).await;
    ada.get("/page").await.assert_status(200);
}

/// The spoof table: whatever a visitor says of another request, the verdict on this one stays.
async fn no_name_changes_a_verdict(behind: &Behind) {
    let eve = browser(behind).login("eve", PASSWORD).await.cookies();
    let mut client = Client::new(behind).await;
    let verdict = async |client: &mut Client, target: &str, more: &str| {
        let got = behind.app.requests();
        let status = client
            .ask(target, &format!("Cookie: {eve}\r\n{more}"))
            .await;
        let came = behind.app.requests() - got;
        (status, came)
    };
    let (status, came) = verdict(&mut client, "/page", "").await;
    assert_eq!((status, came), (200, 1), "what is permitted");
    let mut asked = 0;
    for target in SPELLINGS {
        let plain = verdict(&mut client, target, "").await;
        assert_eq!(
            plain.1,
            0,
            "{target} has reached the app: {}",
            behind.app.last().head
        );
        for name in all() {
            let more = format!("{name}: {}\r\n", forged(name));
            let spoofed = verdict(&mut client, target, &more).await;
            assert_eq!(spoofed, plain, "{target} with {name}");
            asked += 1;
        }
    }
    for name in forwarding() {
        for spelt in [
            name.to_owned(),
            name.replace('-', "_"),
            name.replace('-', "."),
        ] {
            for value in [forged(name), "/admin", ""] {
                let line = format!("{spelt}: {value}\r\n");
                for more in [line.clone(), line.repeat(2)] {
                    let found = verdict(&mut client, "/page", &more).await;
                    assert_eq!(found, (200, 1), "{more}");
                    let head = behind.app.last().head;
                    let is_the_clients = |it: &str| it.eq_ignore_ascii_case(line.trim_end());
                    let mut lines = head.lines().filter(|it| !it.contains("127.0.0.1"));
                    assert!(!lines.any(is_the_clients), "{head}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 1000, "{asked}");
}

/// Has Vestibule serve by another configuration.
async fn reconfigure(behind: &Behind, change: impl FnOnce(String) -> String) {
    let config = behind.desk.path("/etc/vestibule/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, change(text)).unwrap();
    behind.desk.run("vestibule reload").await;
}

/// Where the answer has no token, the app gets none: not that of a visitor, either.
async fn nobody_hands_an_identity_token_in(behind: &Behind) {
    const ON: &str = "identity_token = true\n";
    let eve = browser(behind).login("eve", PASSWORD).await;
    eve.get("/page").await.assert_status(200);
    let token = behind.app.last().value(HEADER).unwrap().to_owned();
    let with_open = "\n[[app.rule]]\npath = \"/open\"\nallow = \"everyone\"\n";
    reconfigure(behind, |text| text + with_open).await;
    let nobody = browser(behind);
    let show = async |who: &Browser, target: &str| {
        let got = behind.app.requests();
        let headers = [(HEADER, &*token)];
        let shown = who.request(Method::GET, target, &headers, Bytes::new());
        shown.await.assert_status(200);
        assert_eq!(behind.app.requests(), got + 1);
        let head = behind.app.last().head.to_ascii_lowercase();
        assert!(!head.contains("vestibule"), "{target}: {head}");
    };
    show(&nobody, "/open").await;
    nothing_is_told_on_a_path_for_everyone(behind).await;
    reconfigure(behind, |text| {
        assert!(text.contains(ON), "{text}");
        text.replace(ON, "")
    })
    .await;
    show(&nobody, "/open").await;
    show(&eve, "/page").await;
    reconfigure(behind, |text| {
        text.replace("tokens = true\n", &format!("tokens = true\n{ON}"))
    })
    .await;
}

/// A visitor's headers are dropped on public paths, too.
async fn nothing_is_told_on_a_path_for_everyone(behind: &Behind) {
    let mut client = Client::new(behind).await;
    let identity = [
        "X-Forwarded-User",
        "X-Forwarded-Groups",
        "X-Forwarded-Email",
    ];
    for name in forwarding().chain(identity) {
        for spelt in [name.to_owned(), name.to_lowercase(), name.replace('-', "_")] {
            let got = behind.app.requests();
            let status = client.ask("/open", &format!("{spelt}: made-up\r\n")).await;
            let came = behind.app.requests() - got;
            // What only looks like an identity header may be refused as well.
            assert!(
                (status, came) == (200, 1) || (status, came) == (403, 0),
                "{spelt}: {status}"
            );
            let head = behind.app.last().head;
            assert!(!head.contains("made-up"), "{spelt}: {head}");
        }
    }
}

/// An answer with 503 lets nobody in, and leads nobody in circles: neither to the login, where a
/// signed-in user is sent back at once, nor to the app.
async fn nobody_gets_in_when_there_is_too_much_to_do(behind: &Behind, front: Front) {
    const CLOSED: &str = "tokens = true\nmaintenance = \"Back at six.\"\n";
    let ada = browser(behind).login("ada", PASSWORD).await;
    let open = "tokens = true\n";
    reconfigure(behind, |text| text.replace(open, CLOSED)).await;
    let got = behind.app.requests();
    for who in [&ada, &browser(behind)] {
        for reply in [who.get("/page").await, who.fetch("/page").await] {
            let (status, wait) = match front {
                Front::Nginx => (500, None),
                Front::Envoy => (503, None),
                Front::Caddy | Front::Haproxy | Front::Traefik => (503, Some("60")),
            };
            reply.assert_status(status);
            assert_eq!(reply.value("retry-after"), wait, "{reply}");
            assert_eq!(reply.value("location"), None, "{reply}");
            assert!(reply.values("set-cookie").is_empty(), "{reply}");
        }
    }
    assert_eq!(behind.app.requests(), got, "nobody is in");
    reconfigure(behind, |text| text.replace(CLOSED, open)).await;
    ada.get("/page").await.assert_status(200);
}

/// With a login host, visitors go there and come back, by the same proxy.
async fn one_login_is_for_all(behind: &Behind) {
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

/// Sends exact bytes, on one connection as long as the proxy keeps it.
struct Client {
    front: SocketAddr,
    raw: Raw,
}

impl Client {
    async fn new(behind: &Behind) -> Self {
        let front = behind.front;
        let raw = Self::connect(front).await;
        Self { front, raw }
    }

    async fn connect(front: SocketAddr) -> Raw {
        let stream = TcpStream::connect(front).await.unwrap();
        let stream = tls::connect(stream, HOST, &["http/1.1"]).await;
        Raw::new(stream.unwrap())
    }

    /// The status of the answer.
    async fn ask(&mut self, target: &str, more: &str) -> u16 {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n");
        self.raw.send(request).await;
        let reply = self.raw.response().await;
        let closes = reply
            .value("connection")
            .is_some_and(|it| it.eq_ignore_ascii_case("close"));
        if closes || reply.status == 400 {
            self.raw = Self::connect(self.front).await;
        }
        reply.status
    }
}

//! Redirects, cookies and WebDAV addresses of an app behind TLS that ends here: SEC-93, SEC-94.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::harness::*;

/// Sends back the fields that the request asks for, divided by `|` in `X-Say`, with its own
/// `Host` for `HOST`.
pub(crate) async fn parrot() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            let host = exchange.header("host").unwrap();
            let fields = exchange.header("x-say").unwrap_or_default();
            let fields = fields.replace("HOST", &host).replace('|', "\r\n");
            exchange
                .send(format!(
                    "HTTP/1.1 302 Found\r\nContent-Length: 17\r\n{fields}\r\n\r\nhttp://gate.test/"
                ))
                .await;
        })
    })
    .await
}

async fn told(browser: Browser, say: &str) -> Reply {
    browser.header("x-say", say).get("/").await
}

#[tokio::test]
async fn sec_94_redirects_to_the_inside_lead_to_us() {
    let app = parrot().await;
    for preserve_host in [true, false] {
        let gate = Vestibule::before(&app)
            .public()
            .app(&format!("preserve_host = {preserve_host}"))
            .start()
            .await;
        let outside = "http://other.test/";
        for (location, expected) in [
            ("http://HOST/x?y=1", "https://gate.test/x?y=1"),
            ("http://gate.test/x", "https://gate.test/x"),
            (&format!("{}/x", app.url()), "https://gate.test/x"),
            ("/x", "/x"),
            (outside, outside),
        ] {
            for browser in [gate.browser(), gate.browser().over_http2()] {
                let say = format!("Location: {location}|Refresh: 0; url={location}");
                let reply = told(browser, &say).await;
                reply.assert_header("location", expected);
                reply.assert_header("refresh", &format!("0; url={expected}"));
                assert_eq!(reply.text(), "http://gate.test/", "bodies stay");
            }
        }
    }
}

#[tokio::test]
async fn sec_94_redirects_to_other_servers_of_the_machine_stay() {
    let app = parrot().await;
    let gate = Vestibule::before_url(&app.url().replace("127.0.0.1", "localhost"))
        .public()
        .start()
        .await;
    let port = app.authority().split(':').nth(1).unwrap().to_owned();
    for (location, expected) in [
        ("https://localhost/idp/login", "https://localhost/idp/login"),
        ("//localhost/idp/login", "//localhost/idp/login"),
        ("https://127.0.0.1:443/", "https://127.0.0.1:443/"),
        ("http://localhost:/q", "https://gate.test/q"),
        ("http://127.0.0.1/q", "https://gate.test/q"),
        ("http://gate.test:/q", "https://gate.test/q"),
        (
            &format!("https://localhost:{port}/q"),
            "https://gate.test/q",
        ),
    ] {
        let say = format!("Location: {location}|Link: <{location}>; rel=next");
        let reply = told(gate.browser(), &say).await;
        reply.assert_header("location", expected);
        reply.assert_header("link", &format!("<{expected}>; rel=next"));
    }
}

#[tokio::test]
async fn sec_94_a_port_of_the_browser_stays_in_its_redirects() {
    let app = parrot().await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut raw = gate.raw().await;
    for port in [app.authority().split(':').nth(1).unwrap(), "80", "8443"] {
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: gate.test:8443\r\nX-Say: Location: http://gate.test:{port}/\r\n\r\n"
        ))
        .await;
        let reply = raw.response().await;
        reply.assert_header("location", "https://gate.test:8443/");
    }
}

#[tokio::test]
async fn sec_94_each_cookie_gets_secure_and_none_another_name() {
    let app = parrot().await;
    let gate = Vestibule::before(&app).public().start().await;
    let say = "Set-Cookie: a=1; Domain=127.0.0.1|Set-Cookie: b=2; SameSite=Strict; secure";
    let reply = told(gate.browser(), say).await;
    let cookies = reply.values("set-cookie");
    assert_eq!(cookies, ["a=1; Secure", "b=2; SameSite=Strict; secure"]);
}

#[tokio::test]
async fn what_an_app_says_stays_where_its_keys_say_so_from_the_next_reload_on() {
    let app = parrot().await;
    let mut gate = Vestibule::before(&app).public().app("").start().await;
    let say = "Location: http://HOST/|Set-Cookie: a=1";
    told(gate.browser(), say)
        .await
        .assert_header("location", "https://gate.test/")
        .assert_header("set-cookie", "a=1; Secure");
    let off = "[[app]]\nrewrite_redirects = false\nsecure_cookies = false\n";
    gate.reload(|text| text.replace("[[app]]\n", off)).unwrap();
    told(gate.browser(), say)
        .await
        .assert_header("location", "http://gate.test/")
        .assert_header("set-cookie", "a=1");
}

#[tokio::test]
async fn sec_93_a_destination_has_the_scheme_and_the_host_that_the_app_sees() {
    let app = Upstream::echo().await;
    let methods = "[server.limits]\nmethods = [\"GET\", \"COPY\", \"MOVE\"]";
    for keep in [true, false] {
        let gate = Vestibule::before(&app)
            .app(&format!("preserve_host = {keep}"))
            .public()
            .rule("/secret", "nobody")
            .config(methods)
            .start()
            .await;
        let host = if keep { "gate.test" } else { &app.authority() };
        let send = async |method: &str, path: &str| {
            let mut raw = gate.raw().await;
            raw.send(format!(
                "{method} /a HTTP/1.1\r\nHost: gate.test\r\nDestination: https://gate.test{path}\r\n\
                 If: <https://gate.test{path}> (<urn:uuid:1>)\r\n\r\n"
            ))
            .await;
            raw.response().await.status
        };
        let (before, mut passed) = (app.requests(), 0);
        for method in ["COPY", "MOVE"] {
            assert_eq!(send(method, "/b%20c").await, 200);
            passed += 1;
            let seen = app.last();
            let destination = format!("http://{host}/b%20c");
            assert_eq!(seen.value("destination"), Some(&*destination));
            let condition = format!("<{destination}> (<urn:uuid:1>)");
            assert_eq!(seen.value("if"), Some(&*condition));
            assert_eq!(send(method, "/secret").await, 403, "SEC-93");
            assert_eq!(app.requests() - before, passed);
        }
    }
}

#[tokio::test]
async fn sec_77_the_public_port_is_where_plain_http_leads() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .public()
        .server("redirect_http = [\"127.0.0.1:0\"]\npublic_port = 443")
        .start()
        .await;
    let location = async |address: SocketAddr| {
        let mut raw = Raw::new(TcpStream::connect(address).await.unwrap());
        raw.send("GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
        let reply = raw.response().await;
        reply.value("location").unwrap().to_owned()
    };
    let plain = gate.redirect_address();
    assert_eq!(location(plain).await, "https://gate.test/x");
    let other = |text: &str| text.replace("public_port = 443", "public_port = 8443");
    gate.reload(other).unwrap();
    assert_eq!(location(plain).await, "https://gate.test:8443/x");
}

#[tokio::test]
async fn the_log_names_the_key_for_an_app_that_expects_a_destination_as_browsers_have_it() {
    // What Radicale does: the default port of the scheme that the browser has.
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            let origin = exchange.header("x-forwarded-proto").unwrap() + "://gate.test/";
            let destination = exchange.header("destination").unwrap();
            let status = if destination.starts_with(&origin) {
                "201 Created"
            } else {
                "502 Bad Gateway"
            };
            let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            exchange.send(response).await;
        })
    })
    .await;
    for (keys, status) in [("", 502), ("rewrite_redirects = false", 201)] {
        let service = Vestibule::before(&app)
            .app(keys)
            .public()
            .config("[log]\nformat = \"json\"")
            .spawn()
            .await;
        let mut raw = service.raw().await;
        raw.send("MOVE /a HTTP/1.1\r\nHost: gate.test\r\nDestination: https://gate.test/b\r\n\r\n")
            .await;
        raw.response().await.assert_status(status);
        if status == 502 {
            eventually("the line", || {
                let log = service.program.log();
                let mut lines = log.iter().map(|line| line["message"].to_string());
                lines.any(|line| line.contains("set rewrite_redirects = false"))
            })
            .await;
        }
    }
}

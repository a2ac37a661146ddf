//! What proxies in front say of their clients, in the forms that they write it: SEC-41.

use crate::harness::*;

const PROXY: &str = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]";

/// What the app is told when a trusted proxy sends these fields.
async fn told(gate: &Gate, app: &Upstream, fields: &str) -> String {
    let mut raw = gate.raw().await;
    raw.send(format!("GET / HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n"))
        .await;
    raw.response().await.assert_status(200);
    let last = app.last();
    assert_eq!(last.value("forwarded"), None, "{fields:?}");
    last.value("x-forwarded-for").unwrap().to_owned()
}

#[tokio::test]
async fn sec_41_a_trusted_proxy_names_the_client_in_its_own_form() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().server(PROXY).start().await;
    for (sent, client) in [
        ("X-Forwarded-For: 203.0.113.7:51234", "203.0.113.7"),
        ("X-Forwarded-For: 2001:db8::7", "2001:db8::7"),
        ("X-Forwarded-For: [2001:db8::7]", "2001:db8::7"),
        ("X-Forwarded-For: [2001:db8::7]:443", "2001:db8::7"),
        ("X-Forwarded-For: ::ffff:203.0.113.7", "203.0.113.7"),
        ("X-Forwarded-For: ,, 203.0.113.7 ,", "203.0.113.7"),
        (
            "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 203.0.113.7:1",
            "203.0.113.7",
        ),
        (
            "X-Forwarded-For: 9.9.9.9, 203.0.113.7:1, 10.1.2.3:2",
            "203.0.113.7, 10.1.2.3",
        ),
        (
            "Forwarded: for=203.0.113.7;proto=https;by=_a",
            "203.0.113.7",
        ),
        ("Forwarded: For=\"[2001:db8::7]:4711\"", "2001:db8::7"),
        (
            "Forwarded: for=9.9.9.9\r\nForwarded: for=203.0.113.7, for=10.1.2.3",
            "203.0.113.7, 10.1.2.3",
        ),
        // A client that speaks of itself, to a proxy that adds to the other field.
        (
            "Forwarded: for=9.9.9.9\r\nX-Forwarded-For: 203.0.113.7",
            "203.0.113.7",
        ),
        ("Forwarded: for=\", for=203.0.113.7", "203.0.113.7"),
    ] {
        let expected = format!("{client}, 127.0.0.1");
        assert_eq!(
            told(&gate, &app, &format!("{sent}\r\n")).await,
            expected,
            "{sent:?}"
        );
    }
    for unknown in [
        "X-Forwarded-For: unknown",
        "X-Forwarded-For: 9.9.9.9, _hidden",
        "X-Forwarded-For: 203.0.113.7:65536",
        "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: \u{e9}",
        "X-Forwarded-For: ,",
        "X-Forwarded-For:\r\nForwarded: for=9.9.9.9",
        "Forwarded: for=9.9.9.9, for=unknown",
        "Forwarded: for=9.9.9.9, proto=https",
    ] {
        let told = told(&gate, &app, &format!("{unknown}\r\n")).await;
        assert_eq!(told, "127.0.0.1", "{unknown:?}");
    }
}

#[tokio::test]
async fn sec_41_forwarded_of_a_stranger_is_not_believed() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for sent in [
        "Forwarded: for=9.9.9.9\r\n",
        "X-Forwarded-For: 9.9.9.9:1\r\n",
    ] {
        assert_eq!(told(&gate, &app, sent).await, "127.0.0.1", "{sent:?}");
    }
}

#[tokio::test]
async fn a_client_that_cannot_be_read_is_logged_once_in_a_while() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .public()
        .server(PROXY)
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    for named in ["192.0.2.1:80", "unknown", "10.0.0.9", "evil\tone, 10.0.0.9"] {
        let browser = service.browser().header("x-forwarded-for", named);
        browser.get("/").await.assert_status(200);
    }
    let lines = eventually_some("the access lines", async || {
        let lines = service.program.log();
        let requests = lines
            .iter()
            .filter(|line| line["target"] == "access")
            .count();
        (requests == 4).then_some(lines)
    });
    let lines = lines.await;
    let warnings: Vec<_> = lines
        .iter()
        .filter(|line| line["level"] == "WARN")
        .collect();
    let [warning] = warnings[..] else {
        panic!("{warnings:?}");
    };
    let told = ["peer", "header", "element"].map(|field| warning[field].as_str().unwrap());
    assert_eq!(told, ["127.0.0.1", "x-forwarded-for", "unknown"]);
}

/// Whoever has signed in by way of a proxy that names nobody is not known there: nor would be all
/// others whom it does not name.
#[tokio::test]
async fn sec_59_nobody_is_known_by_the_network_of_a_proxy() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server(PROXY)
        .config("[login.throttle]\naccount_failures = 2\naddress_failures = 200")
        .start()
        .await;
    let from = |address: &str| gate.browser().header("x-forwarded-for", address);
    from("192.0.2.1").login("ada", PASSWORD).await;
    from("unknown").login("ada", PASSWORD).await;
    let mut last = 0;
    for n in 0..30 {
        let browser = from(&format!("198.51.{n}.1"));
        last = browser.try_login("ada", "wrong").await.status;
    }
    assert_eq!(last, 429, "the account is under attack");
    from("192.0.2.1").login("ada", PASSWORD).await;
    let reply = from("unknown").try_login("ada", PASSWORD).await;
    reply.assert_status(429);
}

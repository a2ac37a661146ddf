//! A request has one name, for us, for the app and for a proxy in front.

use std::collections::BTreeSet;

use crate::harness::*;

const JSON: &str = "[log]\nformat = \"json\"";

/// The lines of the access log, as soon as there are so many.
async fn access_lines(service: &Service, count: usize) -> Vec<serde_json::Value> {
    eventually_some("the access lines", async || {
        let lines = service.program.log();
        let lines: Vec<_> = (lines.into_iter())
            .filter(|line| line["target"] == "access")
            .collect();
        (lines.len() == count).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn an_app_gets_the_id_of_the_access_log() {
    let app = Upstream::websocket().await;
    let service = Vestibule::before(&app).public().config(JSON).spawn().await;
    let browser = service.browser();
    browser.get("/").await.assert_status(200);
    browser
        .post_form("/", &[("a", "b")])
        .await
        .assert_status(200);
    browser.over_http2().get("/").await.assert_status(200);
    let origin = [("origin", "https://gate.test")];
    let socket = open_websocket(service.tcp().await, "/", &origin).await;
    socket
        .unwrap_or_else(|status| panic!("{status}"))
        .close()
        .await;
    let lines = access_lines(&service, 4).await;
    let logged: BTreeSet<_> = lines
        .iter()
        .map(|line| line["request"].as_str().unwrap())
        .collect();
    let received = app.received();
    let told: BTreeSet<_> = received
        .iter()
        .map(|it| it.value("x-request-id").unwrap())
        .collect();
    assert_eq!(told, logged);
    assert_eq!(told.len(), 4, "each has its own: {told:?}");
}

#[tokio::test]
async fn sec_41_a_client_cannot_choose_the_id() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .server("trusted_proxies = [\"192.0.2.1\"]")
        .public()
        .start()
        .await;
    for name in [
        "X-Request-Id",
        "x_request_id",
        "X.Request.ID",
        "X-Request_Id",
    ] {
        for fields in [
            format!("{name}: evil\r\n"),
            format!("{name}: evil\r\n{name}: evil\r\n"),
            format!("{name}: evil\r\nConnection: keep-alive, X-Request-Id\r\n"),
            format!("Connection: {name}\r\nX-Forwarded-For: 192.0.2.1\r\n"),
        ] {
            let mut raw = gate.raw().await;
            raw.send(format!("GET / HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n"))
                .await;
            raw.response().await.assert_status(200);
            let last = app.last();
            assert!(!last.head.contains("evil"), "{fields}: {}", last.head);
            assert!(last.value("x-request-id").is_some_and(|id| id.len() == 15));
        }
        let mut http2 = gate.raw_http2().await;
        let lower = name.to_ascii_lowercase();
        let mut fields = RawHttp2::get("/");
        fields.extend([(&*lower, "evil"), (&lower, "evil")]);
        http2.headers(1, &fields, true).await;
        assert_eq!(http2.outcome(1).await.status, Some(200), "{name}");
        let last = app.last();
        assert!(!last.head.contains("evil"), "{name}: {}", last.head);
        assert!(last.value("x-request-id").is_some());
    }
    let mut raw = gate.raw().await;
    raw.send(
        "POST / HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Request-Id\r\n\r\n\
         1\r\na\r\n0\r\nX-Request-Id: evil\r\n\r\n",
    )
    .await;
    raw.response().await.assert_status(200);
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("evil"));
}

#[tokio::test]
async fn the_id_of_a_trusted_proxy_is_kept_everywhere() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .rule("/public", "everyone")
        .config(JSON)
        .spawn()
        .await;
    let longest = "x".repeat(128);
    let kept = [
        "0af7651916cd43dd8448eb211c80319c",
        "Root=1-6789;a/b+c==",
        &longest,
    ];
    for id in kept {
        let proxy = service.browser().header("x-request-id", id);
        proxy.get("/public").await.assert_status(200);
        assert_eq!(app.last().value("x-request-id"), Some(id));
        let denied = proxy.fetch("/private").await;
        assert_eq!(denied.assert_status(401).json()["request_id"], id);
    }
    let too_long = "x".repeat(129);
    let odd = ["a b", "a\"b", "<script>", "\u{e9}", "a\tb", "", &too_long];
    for id in odd {
        let mut raw = service.raw().await;
        raw.send(format!(
            "GET /public HTTP/1.1\r\nHost: gate.test\r\nX-Request-Id: {id}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(200);
        let last = app.last();
        assert_ne!(last.value("x-request-id"), Some(id), "{}", last.head);
        assert!(last.value("x-request-id").is_some_and(|id| id.len() == 15));
    }
    let mut raw = service.raw().await;
    raw.send(
        "GET /public HTTP/1.1\r\nHost: gate.test\r\nX-Request-Id: one\r\nX-Request-Id: two\r\n\
         X_Request_Id: three\r\n\r\n",
    )
    .await;
    raw.response().await.assert_status(200);
    assert!(
        app.last()
            .value("x-request-id")
            .is_some_and(|id| id.len() == 15)
    );
    assert!(!app.last().head.contains("three"));

    let lines = access_lines(&service, 2 * kept.len() + odd.len() + 1).await;
    for id in kept {
        let named = lines.iter().filter(|line| line["request"] == id);
        assert_eq!(named.count(), 2, "{id}");
    }
}

/// W3C Trace Context: whoever began a trace goes on with it behind us.
#[tokio::test]
async fn traces_pass_untouched() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let fields = [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("baggage", "userId=alice,serverNode=DF%2028"),
    ];
    let browser = fields
        .iter()
        .fold(gate.browser(), |browser, (name, value)| {
            browser.header(name, value)
        });
    for browser in [browser.clone(), browser.over_http2()] {
        browser.get("/").await.assert_status(200);
        for (name, value) in fields {
            assert_eq!(app.last().value(name), Some(value));
        }
    }
    let mut raw = gate.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\ntracestate: a=1\r\ntracestate: b=2\r\n\r\n")
        .await;
    raw.response().await.assert_status(200);
    assert_eq!(app.last().values("tracestate"), ["a=1", "b=2"]);
    assert_eq!(app.last().value("traceparent"), None, "none is begun here");
}

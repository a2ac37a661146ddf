//! What is a WebSocket and what is none, and what its connection counts: SEC-19, SEC-28, SEC-74.

use crate::harness::*;

const OWN: (&str, &str) = ("origin", "https://gate.test");

#[tokio::test]
async fn sec_28_a_tunnel_takes_a_place_as_long_as_it_is_open() {
    for limit in ["max_connections = 2", "max_connections_per_address = 2"] {
        let app = Upstream::websocket().await;
        let gate = Vestibule::before(&app).public().server(limit).start().await;
        let try_open = async || {
            let stream = tls::connect(gate.tcp().await, tls::HOST, &["http/1.1"]).await;
            stream.ok().map(Raw::new)
        };
        let mut other = gate.raw().await;
        let socket = open_websocket(gate.tcp().await, "/ws", &[OWN]).await;
        assert!(try_open().await.is_none(), "{limit}");
        other
            .send("GET /page HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            .await;
        other.response().await.assert_status(200);
        socket.unwrap().close().await;
        eventually_some(limit, try_open).await;
    }
}

#[tokio::test]
async fn sec_28_connections_that_are_turned_away_are_one_line_a_minute() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .public()
        .server("max_connections_per_address = 1")
        .spawn()
        .await;
    // The look whether it listens may hold the place for a moment.
    let mut kept = eventually_some("the only place", async || {
        let stream = tls::connect(service.tcp().await, tls::HOST, &["http/1.1"]).await;
        stream.ok().map(Raw::new)
    })
    .await;
    for _ in 0..50 {
        let refused = tls::connect(service.tcp().await, tls::HOST, &[]).await;
        assert!(refused.is_err());
    }
    kept.send("GET /page HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    kept.response().await.assert_status(200);
    let mut lines = service.program.log();
    lines.retain(|line| line.to_string().contains("too many connections"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["client"], "127.0.0.1");
}

#[tokio::test]
async fn sec_74_the_origin_counts_on_open_paths_too() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app).public().start().await;
    for foreign in [&[("origin", "https://evil.test")][..], &[]] {
        let opened = open_websocket(gate.tcp().await, "/ws", foreign).await;
        assert_eq!(opened.err(), Some(403), "{foreign:?}");
    }
    assert_eq!(app.connections(), 0);
}

#[tokio::test]
async fn an_app_that_refuses_is_heard_and_one_that_switches_to_something_else_is_502() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\n";
    for (answer, status) in [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
            403,
        ),
        (
            format!("{switch}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
            502,
        ),
        (format!("{switch}\r\n"), 502),
    ] {
        let app = Upstream::raw(answer.clone()).await;
        let gate = Vestibule::before(&app).public().start().await;
        let opened = open_websocket(gate.tcp().await, "/ws", &[OWN]).await;
        assert_eq!(opened.err(), Some(status), "{answer:?}");
    }
}

#[tokio::test]
async fn rel_04_a_websocket_to_an_app_that_is_down_is_502() {
    let mut app = Upstream::websocket().await;
    let gate = Vestibule::before(&app).public().start().await;
    app.stop().await;
    let opened = open_websocket(gate.tcp().await, "/ws", &[OWN]).await;
    assert_eq!(opened.err(), Some(502));
}

#[tokio::test]
async fn sec_19_http2_opens_no_websocket() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app).public().start().await;
    for extended in [true, false] {
        let mut client = gate.raw_http2().await;
        let mut fields = vec![(":method", "CONNECT"), (":authority", tls::HOST)];
        if extended {
            fields.extend([
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":path", "/ws"),
                OWN,
            ]);
        }
        client.headers(1, &fields, false).await;
        let outcome = client.outcome(1).await;
        let refused = outcome.reset.is_some() || outcome.status.is_none_or(|status| status >= 400);
        assert!(refused, "extended: {extended}, {outcome:?}");
    }
    assert_eq!(app.connections(), 0);
}

//! What is a WebSocket and what is none, and what its connection counts: SEC-12, SEC-19, SEC-28,
//! SEC-74, SEC-87.

use crate::harness::*;

const OWN: (&str, &str) = ("origin", "https://gate.test");

/// Without its end.
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

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
    // The log is written by a thread of its own: whatever comes before this line is there with it.
    let mut lines = eventually_some("the line of that request", async || {
        let lines = service.program.log();
        lines
            .iter()
            .any(|line| line["path"] == "/page")
            .then_some(lines)
    })
    .await;
    lines.retain(|line| line.to_string().contains("too many connections"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["client"], "127.0.0.1");
}

#[tokio::test]
async fn a_handshake_takes_a_connection_to_the_app_until_it_is_answered() {
    let app = Upstream::silent().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .app("upstream_max_connections = 5\nconnect_timeout = \"300ms\"")
        .start()
        .await;
    let cookie = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let mut waiting = Vec::new();
    for _ in 0..12 {
        let mut one = gate.raw().await;
        one.send(format!("{HANDSHAKE}Cookie: {cookie}\r\n\r\n"))
            .await;
        waiting.push(one);
    }
    let mut refused = 0;
    for one in &mut waiting[4..] {
        let reply = one.response().await;
        reply.assert_status(503).assert_header("retry-after", "5");
        refused += 1;
    }
    assert_eq!((refused, app.connections()), (8, 4));
}

#[tokio::test]
async fn an_answer_to_a_handshake_holds_its_connection_and_a_tunnel_does_not() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            if exchange.target() == "/slow" {
                exchange
                    .send("HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nhal")
                    .await;
                exchange.wait_until_closed().await;
            } else if exchange.header("upgrade").is_some() {
                exchange.echo_websocket().await;
            } else {
                echo(exchange).await;
            }
        })
    })
    .await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .app("upstream_max_connections = 1\nconnect_timeout = \"300ms\"")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let fields = [OWN, ("cookie", cookie.as_str())];
    let mut socket = open_websocket(gate.tcp().await, "/ws", &fields)
        .await
        .unwrap();
    ada.get("/page").await.assert_status(200);
    assert_eq!(socket.ask("hello").await, "hello");
    let mut slow = gate.raw().await;
    slow.send(format!(
        "{}Cookie: {cookie}\r\n\r\n",
        HANDSHAKE.replace("/ws", "/slow")
    ))
    .await;
    slow.head().await.assert_status(403);
    ada.get("/page").await.assert_status(503);
    drop(slow);
    eventually_some("the connection to be free", async || {
        (ada.get("/page").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sec_87_a_user_has_so_many_tunnels_and_other_users_have_theirs() {
    let app = Upstream::websocket().await;
    let mut gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .rule("/open", "everyone")
        .app("max_tunnels_per_user = 2")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let bob = gate.browser().login("bob", PASSWORD).await.session_cookie();
    let open = async |gate: &Gate, target: &str, cookie: &str| {
        open_websocket(gate.tcp().await, target, &[OWN, ("cookie", cookie)]).await
    };
    let mut sockets = Vec::new();
    for cookie in [&ada, &bob, &"a=b".to_owned()] {
        for _ in 0..2 {
            sockets.push(open(&gate, "/open", cookie).await.unwrap());
        }
        let refused = open(&gate, "/open", cookie).await;
        assert_eq!(refused.err(), Some(503), "{cookie}");
    }
    // A refused handshake, and one that the app does not take up, leave nothing behind.
    sockets.remove(0).close().await;
    let again = eventually_some("a tunnel of hers", async || {
        open(&gate, "/x", &ada).await.ok()
    });
    sockets.push(again.await);
    gate.reload(|text| text.replace("max_tunnels_per_user = 2", "max_tunnels_per_user = 3"))
        .unwrap();
    sockets.push(open(&gate, "/x", &ada).await.unwrap());
    assert_eq!(open(&gate, "/x", &ada).await.err(), Some(503));
}

#[tokio::test]
async fn too_many_tunnels_are_one_line_a_minute() {
    let app = Upstream::websocket().await;
    let service = Vestibule::before(&app)
        .public()
        .app("max_tunnels_per_user = 1")
        .spawn()
        .await;
    let _open = open_websocket(service.tcp().await, "/ws", &[OWN])
        .await
        .unwrap();
    for _ in 0..5 {
        let refused = open_websocket(service.tcp().await, "/ws", &[OWN]).await;
        assert_eq!(refused.err(), Some(503));
    }
    let lines = || {
        let mut lines = service.program.log();
        lines.retain(|line| line.to_string().contains("too many WebSockets"));
        lines
    };
    eventually("the line", || !lines().is_empty()).await;
    let lines = lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["network"], "127.0.0.1");
    assert_eq!(lines[0]["limit"], "max_tunnels_per_user");
}

#[tokio::test]
async fn sec_74_the_origin_counts_on_open_paths_too() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app).public().start().await;
    for foreign in ["https://evil.test", "null"] {
        let opened = open_websocket(gate.tcp().await, "/ws", &[("origin", foreign)]).await;
        assert_eq!(opened.err(), Some(403), "{foreign}");
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

/// A masked frame whose payload no parser of HTTP/1.1 takes.
const FRAME: &[u8] = b"\x82\x86\0\0\0\0\0a\nb#\r";

#[tokio::test]
async fn sec_12_bytes_behind_a_handshake_reach_the_app_unread_after_its_101() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app).public().start().await;
    for _ in 0..3 {
        let mut raw = gate.raw().await;
        raw.send([format!("{HANDSHAKE}\r\n").as_bytes(), FRAME, FRAME].concat())
            .await;
        raw.head().await.assert_status(101);
        let mut echoed = Vec::new();
        while echoed.len() < 2 * 8 {
            echoed.extend(raw.bytes().await);
        }
        assert_eq!(echoed, b"\x82\x06\0a\nb#\r\x82\x06\0a\nb#\r");
        raw.send(FRAME).await;
        assert_eq!(raw.bytes().await, b"\x82\x06\0a\nb#\r");
    }
}

#[tokio::test]
async fn sec_12_bytes_behind_a_handshake_that_is_refused_are_nobodys() {
    let second = "GET /second HTTP/1.1\r\nHost: gate.test\r\n\r\n";
    let refusing = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    // What asks for a WebSocket and is none, is refused by us or by the app: the end in each case.
    for (what, replacement) in [
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("Origin: https://gate.test", "Origin: https://evil.test"),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("GET", "OPTIONS"),
        ("/ws", "/secret"),
        (
            "Upgrade: websocket",
            "Upgrade: h2c\r\nUpgrade:  WebSocket\t",
        ),
    ] {
        let app = Upstream::raw(refusing).await;
        let gate = Vestibule::before(&app)
            .rule("/", "everyone")
            .rule("/secret", "nobody")
            .start()
            .await;
        let handshake = HANDSHAKE.replacen(what, replacement, 1);
        let given = gate.exchange(format!("{handshake}\r\n{second}")).await;
        assert_eq!(
            given.matches("HTTP/1.1 ").count(),
            1,
            "{handshake}\n{given}"
        );
        assert!(
            given.to_lowercase().contains("connection: close"),
            "{given}"
        );
        assert!(
            app.received().iter().all(|one| one.target() != "/second"),
            "{handshake}"
        );
    }
}

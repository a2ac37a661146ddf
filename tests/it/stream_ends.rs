//! When a stream is cut and when it is not: REL-17, SEC-24, SEC-75.

mod use_of_session;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::harness::*;

/// Within this after its session a stream has ended: it takes half a second, and machines are slow.
const SOON: Duration = Duration::from_secs(2);

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const LAST_CHUNK: &str = "0\r\n\r\n";

/// WebSockets, an event stream that is silent, and a download that is not.
async fn of_every_kind() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            match exchange.target() {
                "/ws" => exchange.echo_websocket().await,
                "/events" => {
                    exchange.send(CHUNKED).await;
                    exchange.wait_until_closed().await;
                }
                "/download" => exchange.download_without_end().await,
                _ => echo(exchange).await,
            }
        })
    })
    .await
}

/// Begins an answer that goes on for ever.
async fn begin(gate: &Gate, browser: &Browser, target: &str) -> Raw {
    let mut client = gate.raw().await;
    let cookie = browser.session_cookie();
    client
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n"
        ))
        .await;
    client.head().await.assert_status(200);
    client
}

#[tokio::test]
async fn sec_75_whatever_ends_a_session_ends_each_of_its_streams_read_or_not() {
    for how in ["logout", "idle", "disabled", "removed", "new password"] {
        let app = of_every_kind().await;
        let mut gate = Vestibule::before(&app)
            .user("ada", PASSWORD)
            .user("bob", PASSWORD)
            .session("idle_timeout = \"30m\"\nlifetime = \"2h\"")
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        let bob = gate.browser().login("bob", PASSWORD).await;
        let (own, other) = (ada.session_cookie(), bob.session_cookie());
        let origin = ("origin", "https://gate.test");
        let open = async |cookie: &str| {
            let headers = [origin, ("cookie", cookie)];
            open_websocket(gate.tcp().await, "/ws", &headers)
                .await
                .unwrap()
        };
        let (socket, mut kept) = (open(&own).await, open(&other).await);
        let mut events = begin(&gate, &ada, "/events").await;
        let mut download = begin(&gate, &ada, "/download").await;
        let mut unread = begin(&gate, &ada, "/download").await;

        match how {
            "logout" => drop(ada.logout().await),
            "idle" => {
                gate.advance(Duration::from_mins(29));
                assert_eq!(kept.ask("still here").await, "still here");
                gate.advance(Duration::from_mins(2));
            }
            "disabled" => gate.files().change_user("ada", |ada| ada.disabled = true),
            "removed" => gate.files().remove_user("ada"),
            _ => gate
                .files()
                .change_user("ada", |ada| ada.hash = hash("another long password")),
        }
        let all = async {
            let (code, events, download, ()) = tokio::join!(
                socket.closed(),
                events.rest(),
                download.rest(),
                eventually("the app's side to close", || app.closed() >= 4),
            );
            assert_eq!(code, Some(1008), "{how}");
            for rest in [events, download] {
                assert!(!rest.ends_with(LAST_CHUNK), "{how}: it looks whole");
            }
        };
        let ended = timeout(SOON, all).await;
        assert!(ended.is_ok(), "{how}: not within {SOON:?}");
        assert!(!unread.rest().await.ends_with(LAST_CHUNK), "{how}");
        ada.fetch("/page").await.assert_status(401);
        assert_eq!(kept.ask("still here").await, "still here", "{how}");
    }
}

#[tokio::test]
async fn sec_75_streams_over_http2_end_with_their_session() {
    let app = of_every_kind().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let mut client = gate.raw_http2().await;
    for (stream, target) in [(1, "/events"), (3, "/download")] {
        let mut fields = RawHttp2::get(target);
        fields.push(("cookie", &cookie));
        client.headers(stream, &fields, true).await;
        assert_eq!(client.status(stream).await, Some(200));
    }
    ada.logout().await;
    let both = async {
        for stream in [1, 3] {
            let outcome = client.outcome(stream).await;
            assert!(outcome.reset.is_some() && !outcome.ended, "stream {stream}");
        }
    };
    timeout(SOON, both).await.expect("not ended in time");
}

#[tokio::test]
async fn rel_17_a_silent_event_stream_outlives_every_timeout() {
    let open = Arc::new(Semaphore::new(0));
    let events = Arc::clone(&open);
    let app = Upstream::scripted(move |exchange| {
        let open = Arc::clone(&events);
        Box::pin(async move {
            match exchange.target() {
                "/events" => {
                    exchange.send(CHUNKED).await;
                    drop(open.acquire().await); // this silence is what is tested
                    exchange.send("5\r\nevent\r\n0\r\n\r\n").await;
                }
                "/never" => exchange.wait_until_closed().await,
                _ => echo(exchange).await,
            }
        })
    })
    .await;
    let gate = Vestibule::before(&app)
        .public()
        .app("response_timeout = \"300ms\"")
        .config(
            "[server.timeouts]\nheaders = \"300ms\"\nbody_idle = \"300ms\"\n\
             keep_alive = \"300ms\"\nwrite = \"300ms\"",
        )
        .start()
        .await;
    let (mut http1, mut http2) = (gate.raw().await, gate.raw_http2().await);
    http1
        .send("GET /events HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    let head = http1.head().await;
    head.assert_status(200);
    http2.headers(1, &RawHttp2::get("/events"), true).await;
    assert_eq!(http2.status(1).await, Some(200));
    // Both are silent now. What begins later meets its timeout, and again.
    for _ in 0..2 {
        meet_each_timeout(&gate).await;
    }
    open.add_permits(2);
    let event = (http1.chunk().await, http1.chunk().await);
    assert_eq!(event, (Some(b"event".to_vec()), None));
    let stream = http2.outcome(1).await;
    assert_eq!((stream.ended, stream.reset), (true, None));
    assert_eq!(stream.body, b"event");
}

/// Waits until each timeout has struck a connection that is begun now: inside a head, inside a
/// body, between two requests, before the application's answer.
async fn meet_each_timeout(gate: &Gate) {
    let request = |method: &str, rest: &str| format!("{method} HTTP/1.1\r\nHost: ga{rest}");
    let [mut in_head, mut in_body, mut idle, mut unanswered] = [
        gate.raw().await,
        gate.raw().await,
        gate.raw().await,
        gate.raw().await,
    ];
    in_head.send(request("GET /", "")).await;
    let body = "te.test\r\nContent-Length: 9\r\n\r\nhalf";
    in_body.send(request("POST /", body)).await;
    idle.send(request("GET /", "te.test\r\n\r\n")).await;
    idle.response().await.assert_status(200);
    unanswered
        .send(request("GET /never", "te.test\r\n\r\n"))
        .await;
    unanswered.response().await.assert_status(504);
    let (_, _, nothing) = tokio::join!(in_head.rest(), in_body.rest(), idle.rest());
    assert_eq!(nothing, "");
}

#[tokio::test]
async fn sec_24_a_window_that_was_never_open_holds_no_stream() {
    const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
    let app = of_every_kind().await;
    let gate = Vestibule::before(&app)
        .public()
        .config("[server.timeouts]\nwrite = \"1s\"")
        .start()
        .await;
    let mut client = gate.raw_http2().await;
    client
        .frame(frame::SETTINGS, 0, 0, INITIAL_WINDOW_SIZE)
        .await;
    for (stream, target) in [(1, "/download"), (3, "/other"), (5, "/.vestibule/login")] {
        client.headers(stream, &RawHttp2::get(target), true).await;
        let outcome = client.outcome(stream).await;
        let came = (outcome.status, outcome.body.len());
        assert_eq!(came, (Some(200), 0), "{target}");
        assert!(outcome.reset.is_some(), "{target}");
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let answer = match exchange.target() {
                "/head" => "200 OK\r\nContent-Length: 5",
                "/204" => "204 No Content\r\nX-Kept: yes",
                "/304" => "304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5",
                _ => "200 OK\r\nContent-Length: 0",
            };
            exchange.send(format!("HTTP/1.1 {answer}\r\n\r\n")).await;
        })
    })
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    let mut client = gate.raw().await;
    for (method, target, status, name, value) in [
        ("HEAD", "/head", 200, "content-length", "5"),
        ("GET", "/204", 204, "x-kept", "yes"),
        ("GET", "/304", 304, "etag", "\"a\""),
        ("GET", "/empty", 200, "content-length", "0"),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: gate.test\r\n\r\n");
        client.send(request).await;
        let reply = client.response_to_head().await;
        reply.assert_status(status).assert_header(name, value);
    }
    // That of HEAD is closed: old servers send content after all, which may come late.
    assert_eq!((app.requests(), app.connections()), (4, 2));
}

/// An event stream whose answer begins when it is let, and WebSockets.
async fn late_events(open: &Arc<Semaphore>) -> Upstream {
    let open = Arc::clone(open);
    Upstream::scripted(move |exchange| {
        let open = Arc::clone(&open);
        Box::pin(async move {
            match exchange.target() {
                "/ws" => exchange.echo_websocket().await,
                "/late" => {
                    drop(open.acquire().await);
                    exchange.send(CHUNKED).await;
                    exchange.send("5\r\nevent\r\n").await;
                    exchange.wait_until_closed().await;
                }
                _ => echo(exchange).await,
            }
        })
    })
    .await
}

fn get_late(cookie: &str) -> String {
    format!("GET /late HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n")
}

#[tokio::test]
async fn sec_75_a_stream_that_begins_after_the_end_of_its_session_ends_at_once() {
    let open = Arc::new(Semaphore::new(0));
    let app = late_events(&open).await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    // It does not read, and so takes its time to end.
    let headers = [("origin", "https://gate.test"), ("cookie", cookie.as_str())];
    let _unread = open_websocket(gate.tcp().await, "/ws", &headers)
        .await
        .unwrap();
    let mut late = gate.raw().await;
    late.send(get_late(&cookie)).await;
    app.wait_for(2).await;
    ada.logout().await;
    open.add_permits(9);
    let rest = timeout(Duration::from_secs(5), late.rest()).await;
    let rest = rest.expect("it ends by itself");
    assert!(!rest.ends_with(LAST_CHUNK), "{rest}");
}

#[tokio::test]
async fn sec_75_sessions_end_their_streams_while_the_server_drains() {
    let open = Arc::new(Semaphore::new(0));
    let app = late_events(&open).await;
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("drain_timeout = \"25s\"")
        .spawn()
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    let mut late = service.raw().await;
    late.send(get_late(&ada.session_cookie())).await;
    app.wait_for(1).await;
    service.program.signal(rustix::process::Signal::TERM);
    eventually("the drain", || {
        run(&service.files, &["status"]).1.contains("stopping")
    })
    .await;
    let (code, _, said) = run(&service.files, &["session", "revoke", "--all"]);
    assert_eq!(code, Some(0), "{said}");
    open.add_permits(9);
    let rest = timeout(Duration::from_secs(5), late.rest()).await;
    assert!(rest.is_ok(), "it ends with its session, not with the drain");
}

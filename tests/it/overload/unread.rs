//! Strangers who leave responses unread.

use crate::harness::*;
use crate::metrics::{self, Scrape};

#[tokio::test]
async fn sec_87_answers_that_nobody_takes_hold_nothing() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("max_connections = 200")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let mut greedy = Vec::new();
    for source in ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"] {
        let mut connection = RawHttp2::connect_from(source, gate.address()).await;
        let no_window = [0, 4, 0, 0, 0, 0];
        connection.frame(frame::SETTINGS, 0, 0, no_window).await;
        for nth in 0..128 {
            let fields = RawHttp2::get("/.vestibule/login");
            connection.headers(1 + 2 * nth, &fields, true).await;
        }
        greedy.push(connection);
    }
    for connection in &mut greedy {
        // What is refused comes without a page that would have to wait; a second later, nothing comes.
        let refused = connection.outcome(255).await;
        assert_ne!(refused.status, Some(200), "{refused:?}");
        assert!(refused.body.is_empty(), "{refused:?}");
    }
    ada.get("/").await.assert_status(200);
    let neighbour = gate.browser().login("ada", PASSWORD).await;
    neighbour.get("/").await.assert_status(200);
    // More than half wait: the pages that nobody takes are reset soon, not after a minute.
    let [first, _, third, _] = &mut greedy[..] else {
        unreachable!("there are four");
    };
    tokio::select! {
        () = first.any_response_reset() => {}
        () = third.any_response_reset() => {}
    }
}

/// An error code of HTTP/2 (RFC 9113 §7).
const REFUSED_STREAM: u32 = 7;

/// With this, one network of strangers may leave six answers unread: half of what all strangers may.
const SMALL: &str = "max_connections = 16";
const MOST_UNREAD: u32 = 6;

/// A client whose streams have no window: it gets the heads of answers, and no content.
async fn without_windows(gate: &Gate) -> RawHttp2 {
    let mut client = gate.raw_http2().await;
    client
        .frame(frame::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0])
        .await;
    client
}

#[tokio::test]
async fn sec_87_streams_opened_long_after_goaway_are_refused() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app)
        .rule("/open", "everyone")
        .server(SMALL)
        .start()
        .await;
    let login = RawHttp2::get("/.vestibule/login");
    let mut stranger = without_windows(&gate).await;
    stranger.ignores_pings = true; // it does not confirm the GOAWAY
    stranger.headers(1, &RawHttp2::get("/open"), true).await;
    eventually("the app to be asked", || app.requests() == 1).await;
    let mut stream = 1;
    for _ in 0..MOST_UNREAD {
        stream += 2;
        stranger.headers(stream, &login, true).await;
        assert_eq!(stranger.status(stream).await, Some(200));
    }
    // It goes on asking while the app keeps it waiting, and so keeps the connection.
    let refused = some_within(PATIENCE, "streams to be refused", async || {
        stream += 2;
        stranger.headers(stream, &login, true).await;
        stranger.outcome(stream).await.reset
    });
    assert_eq!(refused.await, REFUSED_STREAM);
    // Nothing that it asks for now delays the end.
    for nth in 0..=MOST_UNREAD {
        let cancel = [0, 0, 0, 8];
        stranger
            .frame(frame::RST_STREAM, 0, 1 + 2 * nth, cancel)
            .await;
    }
    assert_eq!(stranger.go_away().await, Some(0));
}

#[tokio::test]
async fn sec_87_users_of_an_app_in_maintenance_are_no_strangers() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server(SMALL)
        .app("maintenance = \"Back at six.\"")
        .start()
        .await;
    let cookie = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let mut page = RawHttp2::get("/");
    page.push(("cookie", &cookie));
    let mut hers = without_windows(&gate).await;
    let streams = (0..MOST_UNREAD + 2).map(|nth| 1 + 2 * nth);
    for stream in streams.clone() {
        hers.headers(stream, &page, true).await;
    }
    hers.status(1).await;
    let window = [0, 4, 0, 0, 0xff, 0xff];
    hers.frame(frame::SETTINGS, 0, 0, window).await;
    for stream in streams {
        let outcome = hers.outcome(stream).await;
        let page = String::from_utf8_lossy(&outcome.body);
        assert!(page.contains("Back at six."), "{stream}: {outcome:?}");
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_87_a_websocket_does_not_count_as_an_unread_response() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app)
        .public()
        .server(SMALL)
        .admin(metrics::ON)
        .start()
        .await;
    let closed = async || {
        let scrape = Scrape::of(gate.metrics_address()).await;
        scrape.value("vestibule_responses_paced_total{outcome=\"closed\"}")
    };
    let login = RawHttp2::get("/.vestibule/login");
    let mut greedy = without_windows(&gate).await;
    for nth in 0..MOST_UNREAD {
        greedy.headers(1 + 2 * nth, &login, true).await;
        assert_eq!(greedy.status(1 + 2 * nth).await, Some(200));
    }
    let origin = [("origin", "https://gate.test")];
    let mut socket = open_websocket(gate.tcp().await, "/", &origin)
        .await
        .unwrap();
    socket.send("hello").await;
    assert_eq!(socket.next().await, "hello");
    assert!(closed().await.abs() < f64::EPSILON);
    let mut stranger = gate.raw().await;
    stranger
        .send("GET /.vestibule/login HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    stranger
        .response()
        .await
        .assert_status(503)
        .assert_header("connection", "close");
    assert!((closed().await - 1.0).abs() < f64::EPSILON);
    socket.send("and on").await;
    assert_eq!(socket.next().await, "and on");
}

#[tokio::test]
async fn sec_87_a_stranger_who_leaves_refusals_unread_loses_the_connection() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app).public().server(SMALL).start().await;
    let mut waiting = gate.raw_http2().await;
    for nth in 0..MOST_UNREAD {
        let page = RawHttp2::get("/slow");
        waiting.headers(1 + 2 * nth, &page, true).await;
    }
    eventually("the app to be asked", || app.requests() == 6).await;
    let login = RawHttp2::get("/.vestibule/login");
    let mut greedy = without_windows(&gate).await;
    let mut stream = 1;
    eventually_some("a refusal that closes its connection", async || {
        greedy.headers(stream, &login, true).await;
        greedy.status(stream).await;
        stream += 2;
        let mut stranger = gate.raw().await;
        stranger
            .send("GET /.vestibule/login HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            .await;
        let refusal = stranger.response().await;
        refusal.assert_status(503);
        (refusal.value("connection") == Some("close")).then_some(())
    })
    .await;
}

/// A stranger who keeps a connection that is to end: by a request that its app does not answer, and by
/// not confirming the GOAWAY. Gives the next stream, too.
async fn who_stays(gate: &Gate, app: &Upstream) -> (RawHttp2, u32) {
    let mut stranger = without_windows(gate).await;
    stranger.ignores_pings = true;
    stranger.headers(1, &RawHttp2::get("/slow"), true).await;
    eventually("the app to be asked", || app.requests() == 1).await;
    let login = RawHttp2::get("/.vestibule/login");
    for nth in 1..=MOST_UNREAD {
        stranger.headers(1 + 2 * nth, &login, true).await;
        assert_eq!(stranger.status(1 + 2 * nth).await, Some(200));
    }
    (stranger, 3 + 2 * MOST_UNREAD)
}

#[tokio::test]
async fn sec_87_a_stranger_who_ignores_goaway_is_answered_at_most_128_times_more() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app).public().server(SMALL).start().await;
    let (mut stranger, first) = who_stays(&gate, &app).await;
    let mut answered = 0;
    for nth in 0..200 {
        let stream = first + 2 * nth;
        let login = RawHttp2::get("/.vestibule/login");
        stranger.headers(stream, &login, true).await;
        let outcome = stranger.outcome(stream).await;
        answered += u32::from(outcome.ended);
        assert!(outcome.ended || outcome.reset.is_some(), "{outcome:?}");
    }
    // The first of them is what the connection ends for.
    assert!((1..=129).contains(&answered), "{answered}");
}

#[tokio::test]
async fn sec_87_a_connection_is_dropped_when_its_client_opens_ever_more_refused_streams() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = Vestibule::before(&app).public().server(SMALL).start().await;
    let (mut stranger, mut stream) = who_stays(&gate, &app).await;
    let login = RawHttp2::get("/.vestibule/login");
    within("the end of the connection", async {
        loop {
            stranger.headers(stream, &login, true).await;
            let outcome = stranger.outcome(stream).await;
            if !outcome.ended && outcome.reset.is_none() {
                break;
            }
            stream += 2;
        }
    })
    .await;
}

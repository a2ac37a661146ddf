//! Strangers who do not read what they are answered.

use crate::harness::*;

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
        // What is refused comes without a page that would have to wait.
        let refused = connection.outcome(255).await;
        assert!(refused.ended && refused.body.is_empty(), "{refused:?}");
    }
    ada.get("/").await.assert_status(200);
    let neighbour = gate.browser().login("ada", PASSWORD).await;
    neighbour.get("/").await.assert_status(200);
    // More than half wait: the pages that nobody takes are reset soon, not after a minute.
    let [first, _, third, _] = &mut greedy[..] else {
        unreachable!("there are four");
    };
    tokio::select! {
        () = first.any_reset() => {}
        () = third.any_reset() => {}
    }
}

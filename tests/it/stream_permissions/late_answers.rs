//! Answers that come after the change.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{CHUNKED, LAST_CHUNK, SOON};
use crate::harness::*;

#[tokio::test]
async fn sec_89_a_stream_that_begins_after_the_change_ends_at_once() {
    let open = Arc::new(Semaphore::new(0));
    let gate_of_app = Arc::clone(&open);
    let app = Upstream::scripted(move |exchange| {
        let open = Arc::clone(&gate_of_app);
        Box::pin(async move {
            drop(open.acquire().await);
            exchange.send(CHUNKED).await;
            exchange.send("5\r\nevent\r\n").await;
            exchange.wait_until_closed().await;
        })
    })
    .await;
    let mut gate = Vestibule::before(&app).public().start().await;
    let mut late = gate.raw().await;
    late.send("GET /late HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    app.wait_for(1).await;
    gate.reload(|text| text.replace("\"everyone\"", "\"nobody\""))
        .unwrap();
    open.add_permits(9);
    let rest = timeout(SOON, late.rest()).await.expect("it ends by itself");
    assert!(!rest.ends_with(LAST_CHUNK), "{rest}");
}

#[tokio::test]
async fn sec_89_an_answer_that_took_its_time_is_not_seen_after_a_change() {
    let may_answer = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&may_answer);
    let app = Upstream::scripted(move |exchange| {
        let waits = Arc::clone(&waits);
        Box::pin(async move {
            if exchange.target() == "/admin/slow" {
                waits.acquire().await.unwrap().forget();
            }
            exchange.reply("200 OK", &[], "SECRET").await;
        })
    })
    .await;
    let mut gate = Vestibule::before(&app)
        .account(User::new("ada", PASSWORD).groups(&["admins"]))
        .rule("/admin", "{ groups = [\"admins\"] }")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let asks = format!(
        "GET /admin/slow HTTP/1.1\r\nHost: gate.test\r\nCookie: {}\r\n\r\n",
        ada.session_cookie()
    );
    let mut slow = gate.raw().await;
    slow.send(&asks).await;
    eventually("the app to be asked", || app.requests() == 1).await;
    gate.files()
        .change_user("ada", |ada| ada.groups = vec!["staff".to_owned()]);
    eventually_some("the change to be noticed", async || {
        (ada.get("/admin/quick").await.status == 403).then_some(())
    })
    .await;
    may_answer.add_permits(1);
    let refused = slow.response().await;
    refused.assert_status(403);
    assert!(!refused.text().contains("SECRET"), "{refused}");
}

/// Answers below `/slow` after a permit only; WebSockets, too.
async fn slow_app(may_answer: &Arc<Semaphore>) -> Upstream {
    let may_answer = Arc::clone(may_answer);
    Upstream::scripted(move |exchange| {
        let may_answer = Arc::clone(&may_answer);
        Box::pin(async move {
            if exchange.target().starts_with("/slow") {
                may_answer.acquire().await.unwrap().forget();
            }
            if exchange.header("upgrade").is_some() {
                exchange.echo_websocket().await;
            } else {
                exchange.reply("200 OK", &[], "SECRET").await;
            }
        })
    })
    .await
}

#[tokio::test]
async fn sec_89_a_request_that_waits_for_its_answer_ends_with_its_permission() {
    type Change = fn(&mut Gate);
    let changes: [(&str, Change, u16); 3] = [
        (
            "a reload",
            |gate| {
                gate.reload(|text| text.replace("{ groups = [\"admins\"] }", "\"nobody\""))
                    .unwrap();
            },
            403,
        ),
        (
            "a user who leaves a group",
            |gate| {
                gate.files()
                    .change_user("ada", |ada| ada.groups = vec!["staff".to_owned()]);
            },
            403,
        ),
        (
            "the end of the session",
            |gate| gate.advance(Duration::from_hours(24)),
            401,
        ),
    ];
    for (why, change, status) in changes {
        let app = slow_app(&Arc::new(Semaphore::new(0))).await;
        let mut gate = Vestibule::before(&app)
            .account(User::new("ada", PASSWORD).groups(&["admins"]))
            .rule("/slow", "{ groups = [\"admins\"] }")
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        let cookie = ada.session_cookie();
        let mut waits = gate.raw().await;
        waits
            .send(format!(
                "GET /slow HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n"
            ))
            .await;
        let headers = [("origin", "https://gate.test"), ("cookie", &*cookie)];
        let tcp = gate.tcp().await;
        let mut handshake = Box::pin(open_websocket(tcp, "/slow/ws", &headers));
        eventually("the app to be asked", || {
            assert!(futures_util::FutureExt::now_or_never(&mut handshake).is_none());
            app.requests() == 2
        })
        .await;
        change(&mut gate);
        let ended = async { (waits.response().await, handshake.await) };
        let (refused, opened) = timeout(SOON, ended)
            .await
            .unwrap_or_else(|_| panic!("{why}: it goes on"));
        assert_eq!(refused.status, status, "{why}: {refused}");
        assert_eq!(opened.err(), Some(status), "{why}");
    }
}

#[tokio::test]
async fn sec_89_an_answer_that_comes_with_a_reload_is_not_seen() {
    let may_answer = Arc::new(Semaphore::new(0));
    let app = slow_app(&may_answer).await;
    let mut gate = Vestibule::before(&app).public().start().await;
    let mut waits = gate.raw().await;
    waits
        .send("GET /slow HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    app.wait_for(1).await;
    gate.reload(|text| text.replace("\"everyone\"", "\"nobody\""))
        .unwrap();
    may_answer.add_permits(1);
    let refused = waits.response().await;
    refused.assert_status(403);
    assert!(!refused.text().contains("SECRET"), "{refused}");
}

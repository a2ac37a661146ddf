//! How many sessions there are, how long they last, and who ends them: SEC-50, SEC-52.

use std::time::Duration;

use crate::harness::*;

async fn gate(app: &Upstream, limit: &str) -> Gate {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .session(limit)
        .start()
        .await
}

#[tokio::test]
async fn sec_52_a_logout_makes_room_for_another_session_of_the_user() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "max_per_user = 2").await;
    let first = gate.browser().login("ada", PASSWORD).await;
    let second = gate.browser().login("ada", PASSWORD).await;
    second.logout().await;
    gate.browser().login("ada", PASSWORD).await;
    first.get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_52_when_all_places_are_taken_a_login_is_refused_and_no_session_ends() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "max_sessions = 2").await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let bob = gate.browser().login("bob", PASSWORD).await;
    for user in ["ada", "bob"] {
        let browser = gate.browser();
        let reply = browser.try_login(user, PASSWORD).await;
        reply.assert_status(503);
        assert!(reply.value("retry-after").is_some(), "{reply}");
        assert!(
            reply
                .text()
                .contains("as many are signed in as this site has room for"),
            "{reply}"
        );
        assert!(!browser.is_signed_in());
    }
    ada.get("/").await.assert_status(200);
    bob.get("/").await.assert_status(200);
    // Signing in anew in a browser with a session takes the place of that session.
    let ada = ada.login("ada", PASSWORD).await;
    bob.logout().await;
    gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
}

async fn sign_in_to_stay(browser: &Browser) -> Reply {
    let page = browser.get("/.vestibule/login").await;
    let csrf = page.hidden("csrf");
    let fields = [
        ("csrf", csrf.as_str()),
        ("username", "ada"),
        ("password", PASSWORD),
        ("remember", "on"),
    ];
    browser.post_form("/.vestibule/login", &fields).await
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

#[tokio::test]
async fn sec_50_who_asks_to_stay_signed_in_does_without_an_idle_timeout_and_not_for_ever() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "remember_for = \"30d\"").await;
    let page = gate.browser().get("/.vestibule/login").await.text();
    assert!(page.contains("Stay signed in for 30 days"), "{page}");
    let (stays, goes) = (gate.browser(), gate.browser());
    let reply = sign_in_to_stay(&stays).await;
    let cookie = reply.values("set-cookie")[0];
    assert!(cookie.ends_with("; Max-Age=2592000"), "{cookie}");
    let reply = goes.try_login("ada", PASSWORD).await;
    let cookie = reply.values("set-cookie")[0];
    assert!(
        !cookie.contains("Max-Age"),
        "gone with the browser: {cookie}"
    );

    gate.advance(days(29));
    goes.get("/").await.assert_status(303);
    stays.get("/").await.assert_status(200);
    let gate = gate.restart().await;
    let stays = gate.browser().cookie(&stays.session_cookie());
    stays.get("/").await.assert_status(200);
    gate.advance(days(1));
    stays.get("/").await.assert_status(303);
}

#[tokio::test]
async fn who_asks_to_stay_where_it_is_not_offered_gets_an_ordinary_session() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "idle_timeout = \"1h\"").await;
    let page = gate.browser().get("/.vestibule/login").await.text();
    assert!(!page.contains("Stay signed in"), "{page}");
    let browser = gate.browser();
    let reply = sign_in_to_stay(&browser).await;
    assert!(
        !reply.values("set-cookie")[0].contains("Max-Age"),
        "{reply}"
    );
    gate.advance(Duration::from_mins(61));
    browser.get("/").await.assert_status(303);
}

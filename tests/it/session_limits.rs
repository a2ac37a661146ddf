//! How many sessions there are, and who ends them: SEC-52.

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

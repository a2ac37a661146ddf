//! The users file in use, SEC-51: what changes in it holds at the next request.

use std::time::Duration;

use crate::harness::*;

/// Until a change of the file has been noticed, which takes no longer than a moment.
async fn soon(what: &str, browser: &Browser, status: u16) {
    eventually_some(what, async || {
        (browser.fetch("/admin").await.status == status).then_some(())
    })
    .await;
}

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .account(User::new("ada", PASSWORD).groups(&["admins"]))
        .user("bob", PASSWORD)
        .rule("/admin", "{ groups = [\"admins\"] }")
        .start()
        .await
}

#[tokio::test]
async fn sec_51_a_group_holds_at_the_next_request() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/admin").await.assert_status(200);
    gate.files()
        .change_user("ada", |ada| ada.groups = vec!["readers".to_owned()]);
    soon("ada to leave the admins", &ada, 403).await;
    ada.get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-groups"), Some("readers"));
    gate.files()
        .change_user("ada", |ada| ada.groups = vec!["admins".to_owned()]);
    soon("ada to come back", &ada, 200).await;
}

#[tokio::test]
async fn sec_51_who_is_disabled_or_removed_is_out() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let bob = gate.browser().login("bob", PASSWORD).await;
    gate.files().change_user("ada", |ada| ada.disabled = true);
    soon("ada to be out", &ada, 401).await;
    gate.browser()
        .try_login("ada", PASSWORD)
        .await
        .assert_status(401);
    gate.files().change_user("ada", |ada| ada.disabled = false);
    let browser = gate.browser();
    eventually_some("ada to be let in", async || {
        (browser.try_login("ada", PASSWORD).await.status == 303).then_some(())
    })
    .await;
    ada.fetch("/").await.assert_status(401);
    gate.files().remove_user("bob");
    soon("bob to be gone", &bob, 401).await;
}

#[tokio::test]
async fn sec_51_a_new_password_ends_the_sessions_of_the_old() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    gate.files()
        .change_user("ada", |ada| ada.hash = hash("another good password"));
    soon("the old session to end", &ada, 401).await;
    gate.browser()
        .try_login("ada", PASSWORD)
        .await
        .assert_status(401);
    gate.browser().login("ada", "another good password").await;
}

#[tokio::test]
async fn a_new_user_can_sign_in_without_a_restart() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    gate.files().add_user(User::new("zoe", PASSWORD));
    let browser = gate.browser();
    eventually_some("zoe to be known", async || {
        (browser.try_login("zoe", PASSWORD).await.status == 303).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sec_80_a_broken_users_file_changes_nothing() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for (text, mode) in [
        ("[user.ada\n", 0o600),
        ("", 0o644),
        ("[user.eve]\npassword = \"plain\"\n", 0o600),
    ] {
        gate.files().write("users.toml", text, mode);
        // Long enough for it to be noticed: the look-out runs once a second.
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            ada.fetch("/admin").await.assert_status(200);
        }
    }
    gate.browser().login("bob", PASSWORD).await;
    gate.files().change_user("ada", |ada| ada.disabled = true);
    soon("the fixed file", &ada, 401).await;
}

#[tokio::test]
async fn old_hashes_are_accepted_and_replaced_at_the_next_login() {
    let app = Upstream::echo().await;
    // The example of Drepper's specification of SHA-crypt.
    let sha512 = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    let mut ada = User::new("ada", PASSWORD);
    ada.hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let mut bob = User::new("bob", PASSWORD);
    bob.hash = sha512.to_owned();
    let mut gate = Vestibule::before(&app)
        .account(ada)
        .account(bob)
        .start()
        .await;
    for (name, password) in [("ada", PASSWORD), ("bob", "Hello world!")] {
        gate.browser()
            .try_login(name, "wrong")
            .await
            .assert_status(401);
        let browser = gate.browser().login(name, password).await;
        let path = gate.files().path("users.toml");
        eventually("the new hash", || {
            let text = std::fs::read_to_string(&path).unwrap();
            let table = text.split(&format!("[user.\"{name}\"]")).nth(1).unwrap();
            table.trim_start().starts_with("password = \"$argon2id$")
        })
        .await;
        // The file has changed, but the password has not.
        for _ in 0..15 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            browser.fetch("/").await.assert_status(200);
        }
        gate.browser().login(name, password).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_51_who_was_disabled_for_a_moment_has_to_sign_in_again_however_idle() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let bob = gate.browser().login("bob", PASSWORD).await;
    gate.files().change_user("ada", |ada| ada.disabled = true);
    // Nobody uses the session meanwhile.
    let files = gate.files();
    eventually("the session to end", || {
        !run(files, &["session", "list"]).1.contains("ada")
    })
    .await;
    gate.files().change_user("ada", |ada| ada.disabled = false);
    let browser = gate.browser();
    eventually_some("ada to be let in", async || {
        (browser.try_login("ada", PASSWORD).await.status == 303).then_some(())
    })
    .await;
    ada.fetch("/").await.assert_status(401);
    bob.fetch("/").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_51_what_changed_while_the_server_was_down_counts_too() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    gate.browser().login("ada", PASSWORD).await;
    gate.browser().login("bob", PASSWORD).await;
    gate.files().remove_user("ada");
    let mut gate = gate.restart().await;
    let files = gate.files();
    eventually("the session to end", || {
        let list = run(files, &["session", "list"]).1;
        list.contains("bob") && !list.contains("ada")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_46_all_sessions_of_a_user_end_however_the_name_was_spelled_at_their_logins() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let before = gate.browser().login("ada", PASSWORD).await;
    gate.files()
        .change_user("ada", |ada| "Ada".clone_into(&mut ada.name));
    eventually_some("the new spelling", async || {
        before.fetch("/").await.assert_status(200);
        (app.last().value("x-forwarded-user") == Some("Ada")).then_some(())
    })
    .await;
    let after = gate.browser().login("Ada", PASSWORD).await;
    let (code, out, said) = run(gate.files(), &["session", "revoke", "--user", "aDA"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "ended 2 sessions of aDA\n"),
        "{said}"
    );
    before.fetch("/").await.assert_status(401);
    after.fetch("/").await.assert_status(401);
}

//! Visitors change their password, SEC-51, SEC-57, SEC-59: the file says so, and so do the sessions.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use super::{ACCOUNT, NEW, assert_signed_in, assert_signed_out, change, entries, gate};
use crate::harness::*;

#[tokio::test]
async fn sec_45_sec_51_a_new_password_keeps_this_browser_by_a_new_cookie_and_ends_the_others() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let bob = gate.browser().login("bob", PASSWORD).await;
    let path = gate.files().path("users.toml");
    let (before, old) = (fs::read_to_string(&path).unwrap(), ada.session_cookie());

    let reply = change(&ada, PASSWORD, NEW, NEW).await;
    reply.assert_redirects_to(ACCOUNT);
    assert_ne!(ada.session_cookie(), old);
    let page = ada.get(ACCOUNT).await;
    page.assert_contains("role=\"status\">Your password has been changed");
    assert_eq!(entries(&page).len(), 1, "{page}");
    assert_signed_out(&[&other, &gate.browser().cookie(&old)]).await;
    assert_signed_in(&[&ada, &bob]).await;
    gate.browser()
        .try_login("ada", PASSWORD)
        .await
        .assert_status(401);
    gate.browser().login("ada", NEW).await;

    let after = fs::read_to_string(&path).unwrap();
    let of_ada = |text: &str| text.split('"').nth(3).unwrap().to_owned();
    assert_eq!(after, before.replacen(&of_ada(&before), &of_ada(&after), 1));
    assert_ne!(of_ada(&after), of_ada(&before));
    gate.advance(Duration::from_mins(2));
    let page = ada.get(ACCOUNT).await.text();
    assert!(
        !page.contains("has been changed"),
        "no news any more: {page}"
    );
    let gate = gate.restart().await;
    assert_signed_in(&[&gate.browser().cookie(&ada.session_cookie())]).await;
}

#[tokio::test]
async fn sec_51_a_session_of_an_old_password_is_not_listed() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    gate.browser().login("ada", PASSWORD).await;
    gate.files().change_user("ada", |ada| ada.hash = hash(NEW));
    let ada = gate.browser().login("ada", NEW).await;
    let page = ada.get(ACCOUNT).await;
    assert_eq!(entries(&page).len(), 1, "{page}");
}

#[tokio::test]
async fn who_stays_signed_in_stays_so_with_a_new_password() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("remember_for = \"30d\"")
        .start()
        .await;
    let ada = gate.browser();
    let csrf = ada.get("/.vestibule/login").await.hidden("csrf");
    let fields = [
        ("csrf", csrf.as_str()),
        ("username", "ada"),
        ("password", PASSWORD),
        ("remember", "on"),
    ];
    ada.post_form("/.vestibule/login", &fields).await;
    let reply = change(&ada, PASSWORD, NEW, NEW).await;
    let cookie = reply.values("set-cookie")[0];
    assert!(cookie.ends_with("; Max-Age=2592000"), "{cookie}");
    gate.advance(Duration::from_hours(24 * 29));
    assert_signed_in(&[&ada]).await;
}

#[tokio::test]
async fn a_new_password_that_will_not_do_is_refused_with_its_reason() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let path = gate.files().path("users.toml");
    let before = fs::read_to_string(&path).unwrap();
    let (longest, too_long) = ("x".repeat(1024), "x".repeat(1025));
    for (new, again, sentence) in [
        ("seven 7", "seven 7", "at least 8 characters"),
        ("", "", "at least 8 characters"),
        ("Password123", "Password123", "tried first"),
        (&*too_long, &too_long, "longer than 1024 bytes"),
        (PASSWORD, PASSWORD, "is the old one"),
        (NEW, "quiet otters sing", "are not the same"),
        (NEW, "", "are not the same"),
        (NEW, "quiet otters hum ", "are not the same"),
    ] {
        // More often than wrong passwords may be: what is wrong with the new one is no try.
        let reply = change(&ada, PASSWORD, new, again).await;
        reply
            .assert_status(400)
            .assert_contains("role=\"alert\"")
            .assert_contains(sentence);
        assert_eq!(reply.value("set-cookie"), None, "{reply}");
        let typed = [new, PASSWORD].map(|typed| format!("value=\"{typed}\""));
        assert!(new.is_empty() || !typed.iter().any(|typed| reply.text().contains(typed)));
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_signed_in(&[&ada, &other]).await;
    let reply = change(&ada, PASSWORD, &longest, &longest).await;
    reply.assert_redirects_to(ACCOUNT);
    gate.browser().login("ada", &longest).await;
}

#[tokio::test]
async fn sec_59_a_wrong_old_password_counts_like_a_login_and_ends_nothing() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let path = gate.files().path("users.toml");
    let before = fs::read_to_string(&path).unwrap();
    for wrong in ["wrong", ""] {
        let reply = change(&ada, wrong, NEW, NEW).await;
        reply
            .assert_status(403)
            .assert_contains("role=\"alert\"")
            .assert_contains("The current password is not right.");
    }
    let reply = change(&ada, "wrong", NEW, NEW).await;
    reply
        .assert_status(429)
        .assert_contains("Try again in 15 minutes.");
    // From here on the right one does not help, neither here nor at the login.
    let reply = change(&ada, PASSWORD, NEW, NEW).await;
    reply.assert_status(429);
    let wait: u64 = reply.value("retry-after").unwrap().parse().unwrap();
    assert!((1..=15 * 60).contains(&wait), "{wait}");
    let login = gate.browser().try_login("ada", PASSWORD).await;
    login.assert_status(429);
    gate.browser().login("bob", PASSWORD).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_signed_in(&[&ada, &other]).await;

    gate.advance(Duration::from_secs(15 * 60 + 1));
    change(&ada, PASSWORD, NEW, NEW)
        .await
        .assert_redirects_to(ACCOUNT);
    assert_signed_out(&[&other]).await;
}

#[tokio::test]
async fn a_users_file_that_the_server_does_not_take_is_not_written() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let path = gate.files().path("users.toml");
    let good = fs::read_to_string(&path).unwrap();
    let broken = format!("{good}[user.eve]\npassword = \"plain\"\n");
    gate.files().write("users.toml", &broken, 0o600);
    let reply = change(&ada, PASSWORD, NEW, NEW).await;
    reply
        .assert_status(500)
        .assert_contains("role=\"alert\"")
        .assert_contains("could not be saved, so the old one stays. The people who run");
    assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    assert_signed_in(&[&ada, &other]).await;
    gate.files().write("users.toml", &good, 0o600);
    change(&ada, PASSWORD, NEW, NEW)
        .await
        .assert_redirects_to(ACCOUNT);
}

/// A folder that can become a file system which nobody can write.
struct ReadOnly(tempfile::TempDir);

impl ReadOnly {
    fn mount(&self, options: &[&str]) -> bool {
        let mut mount = Command::new("mount");
        let (code, ..) = run_to_end(mount.args(options).arg(self.0.path()), "");
        code == Some(0)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn where_the_users_file_cannot_be_written_the_old_password_stays() {
    if !rustix::process::geteuid().is_root() {
        return real::missing("the right to mount a small file system");
    }
    // Permissions would not stop a test that runs as root; a file system that is read only does.
    let disk = ReadOnly(tempfile::tempdir().unwrap());
    if !disk.mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"]) {
        return real::missing("a small file system");
    }
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .prepare(|files| {
            let (link, path) = (files.path("users.toml"), disk.0.path().join("users.toml"));
            fs::copy(&link, &path).unwrap();
            fs::remove_file(&link).unwrap();
            symlink(&path, &link).unwrap();
        })
        .start()
        .await;
    assert!(disk.mount(&["-o", "remount,ro"]));
    let ada = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let reply = change(&ada, PASSWORD, NEW, NEW).await;
    reply
        .assert_status(500)
        .assert_contains("could not be saved, so the old one stays. The people who run");
    assert_signed_in(&[&ada, &other]).await;
    gate.browser().login("ada", PASSWORD).await;
    assert!(disk.mount(&["-o", "remount,rw"]));
    change(&ada, PASSWORD, NEW, NEW)
        .await
        .assert_redirects_to(ACCOUNT);
    assert_signed_out(&[&other]).await;
}

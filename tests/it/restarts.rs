//! Signed-in users stay signed in, and sessions that were ended stay ended, however the service
//! ends: REL-09.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use crate::harness::*;

#[tokio::test]
async fn a_restart_logs_nobody_out() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let gone = gate.browser().login("ada", PASSWORD).await;
    let stolen = gone.session_cookie();
    gone.logout().await;
    gate.advance(Duration::from_mins(20));
    ada.get("/").await.assert_status(200);

    let gate = gate.restart().await;
    let cookie = ada.session_cookie();
    gate.advance(Duration::from_mins(20));
    let ada = gate.browser().cookie(&cookie);
    ada.get("/").await.assert_status(200); // the last access was kept, too
    let gone = gate.browser().cookie(&stolen);
    gone.get("/").await.assert_status(303);
    gate.advance(Duration::from_mins(31));
    ada.get("/").await.assert_status(303);
}

#[tokio::test]
async fn session_data_outlives_a_restart() {
    let app =
        Upstream::raw("HTTP/1.1 200 OK\r\nX-Session-Set: count=3\r\nContent-Length: 0\r\n\r\n")
            .await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .app("session_data = true")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let cookie = ada.session_cookie();
    let gate = gate.restart().await;
    gate.browser().cookie(&cookie).get("/after").await;
    let seen = app.last();
    assert_eq!(seen.values("x-session-data"), ["count=3"]);
}

#[tokio::test]
async fn rel_08_a_clock_that_was_set_back_revives_nobody() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("idle_timeout = \"1h\"\nlifetime = \"2h\"")
        .start()
        .await;
    let cookie = gate.browser().login("ada", PASSWORD).await.session_cookie();
    gate.advance(Duration::from_mins(59));
    gate.browser()
        .cookie(&cookie)
        .get("/")
        .await
        .assert_status(200);
    gate.advance(Duration::from_mins(59));
    gate.browser()
        .cookie(&cookie)
        .get("/")
        .await
        .assert_status(200);
    // For the system the two hours have not passed.
    let gate = gate.restart_by_the_system_clock().await;
    gate.browser()
        .cookie(&cookie)
        .get("/")
        .await
        .assert_status(200);
    gate.advance(Duration::from_mins(3));
    gate.browser()
        .cookie(&cookie)
        .get("/")
        .await
        .assert_status(303);
}

#[tokio::test]
async fn the_sessions_file_is_ours_alone_and_holds_no_session_id() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let path = gate.files().path("sessions.redb");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
    let bytes = fs::read(&path).unwrap();
    let cookie = ada.session_cookie();
    let id = cookie.split_once('=').unwrap().1;
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(holds("\"ada\""), "the record is there");
    assert!(!holds(id), "the secret is not");
}

/// What was answered about a session before the crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    SignedIn,
    /// The crash came before the answer to the logout.
    SigningOut,
    SignedOut,
}

type Fates = Arc<Mutex<HashMap<String, Fate>>>;

/// Signs in again and again, and every other time out; a crash ends it.
async fn come_and_go(browser: Browser, fates: Fates) {
    for turn in 0.. {
        let browser = browser.fresh().login("ada", PASSWORD).await;
        let cookie = browser.session_cookie();
        let note = |fate| fates.lock().unwrap().insert(cookie.clone(), fate);
        note(Fate::SignedIn);
        if turn % 2 == 0 {
            let page = browser.get("/.vestibule/logout").await;
            let csrf = page.hidden("csrf");
            note(Fate::SigningOut);
            let form = [("csrf", csrf.as_str())];
            let reply = browser.post_form("/.vestibule/logout", &form).await;
            reply.assert_status(303);
            note(Fate::SignedOut);
        }
    }
}

#[tokio::test]
async fn rel_09_whenever_the_process_is_killed_each_session_has_the_fate_that_was_answered() {
    let rounds = 50;
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("max_per_user = 1000000")
        .config("[server.timeouts]\nkeep_alive = \"1s\"\n[log]\nlevel = \"warn\"\naccess = false")
        .spawn()
        .await;
    let mut counts = HashMap::new();
    let mut survivors = Vec::new();
    for round in 0..rounds {
        let fates = Fates::default();
        let visitors: Vec<_> = (0..4)
            .map(|_| tokio::spawn(come_and_go(gate.browser(), Arc::clone(&fates))))
            .collect();
        // Never at the same moment: after so many logins, and a few milliseconds more each time.
        let what = "visitors to come and go";
        eventually(what, || fates.lock().unwrap().len() >= 6).await;
        sleep(Duration::from_millis(round % 10)).await;
        gate = gate.crash().await;
        for visitor in visitors {
            assert!(visitor.await.is_err(), "the crash ends its connections");
        }
        let fates: Vec<_> = fates.lock().unwrap().drain().collect();
        for (cookie, fate) in fates {
            let reply = gate.browser().cookie(&cookie).get("/").await;
            let expected: &[u16] = match fate {
                Fate::SignedIn => &[200],
                Fate::SigningOut => &[200, 303],
                Fate::SignedOut => &[303],
            };
            assert!(
                expected.contains(&reply.status),
                "{fate:?} in round {round}: {reply}"
            );
            *counts.entry(fate).or_insert(0) += 1;
            if fate == Fate::SignedIn {
                survivors.push(cookie);
            }
        }
    }
    for cookie in &survivors {
        let reply = gate.browser().cookie(cookie).get("/").await;
        reply.assert_status(200); // through all the crashes after its own
    }
    println!("{rounds} crashes: {counts:?}");
    assert!(
        counts[&Fate::SignedIn] > 50 && counts[&Fate::SignedOut] > 50,
        "{counts:?}"
    );
}

#[tokio::test]
async fn a_second_process_does_not_touch_the_file_of_the_first() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).spawn().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let (code, _, said) = run(&gate.files, &["serve"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another process"), "{said}");
    ada.get("/").await.assert_status(200);
}

#[tokio::test]
async fn rel_09_with_a_damaged_file_it_starts_empty_and_says_so() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).user("ada", PASSWORD).spawn().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    gate.program.signal(Signal::TERM);
    assert!(gate.program.exit().await.success());
    let path = gate.files.path("sessions.redb");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 3]).unwrap();
    let gate = gate.start_again().await;
    ada.get("/").await.assert_status(303);
    gate.browser().login("ada", PASSWORD).await;
    let log = gate.program.stdout();
    assert!(log.contains("everybody has to sign in again"), "{log}");
    assert!(gate.files.path("sessions.redb.damaged-1").exists());
}

#[tokio::test]
async fn sec_79_a_sessions_file_that_others_may_read_stops_the_start() {
    let app = Upstream::echo().await;
    let files = Vestibule::before(&app).user("ada", PASSWORD).write();
    files.write("sessions.redb", "", 0o644);
    let (code, _, said) = run(&files, &["serve"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("chmod 600"), "{said}");
}

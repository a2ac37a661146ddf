//! A node that stands still, and one whose clock is wrong.

use base64::Engine;
use rustix::process::Signal;
use sha2::Digest;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_a_node_that_stood_still_opens_nothing_that_has_ended_meanwhile() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).spawn().await;
    let second = node(&app, &redis).spawn().await;
    let login = async || {
        let browser = first.browser();
        let reply = browser.try_login("ada", PASSWORD).await;
        (reply.status == 303).then_some(browser)
    };
    for _ in 0..3 {
        let ada = eventually_some("a login", login).await;
        let there = second.browser().cookie(&ada.session_cookie());
        becomes(&there, 200).await;
        let cookie = ada.session_cookie();
        let headers = [("origin", "https://gate.test"), ("cookie", &*cookie)];
        let socket = open_websocket(second.tcp().await, "/ws", &headers).await;
        let socket = socket.unwrap();
        second.program.signal(Signal::STOP);
        ada.logout().await.assert_status(303);
        // Longer than a node believes what it has read.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let there = second.browser().cookie(&cookie);
        let (reply, ()) = tokio::join!(there.fetch("/"), async {
            second.program.signal(Signal::CONT);
        });
        // Or it says that it does not know, until it has read on.
        assert!([401, 503].contains(&reply.status), "{reply}");
        let there = second.browser().cookie(&cookie);
        let asked = async || {
            let reply = there.fetch("/").await;
            assert!([401, 503].contains(&reply.status), "{reply}");
            (reply.status == 401).then_some(())
        };
        eventually_some("401", asked).await;
        let closed = timeout(Duration::from_secs(30), socket.closed()).await;
        closed.expect("the stream is cut");
    }
}

/// The library of Debian's package `faketime`.
fn faketime() -> Option<std::path::PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let mut files = folders.map(|it| it.path().join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.is_file())
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_50_a_node_whose_clock_is_wrong_ends_no_session_too_early_and_none_too_late() {
    let Some(redis) = Redis::start() else { return };
    let Some(library) = faketime() else {
        return crate::harness::real::missing("libfaketime");
    };
    let app = app().await;
    let idle = "idle_timeout = \"2m\"";
    let right = node(&app, &redis).session(idle).spawn().await;
    for offset in ["+5m", "-5m"] {
        let mut faked = command();
        faked.env("LD_PRELOAD", &library).env("FAKETIME", offset);
        // What counts up evenly stays so.
        faked.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let wrong = node(&app, &redis).session(idle).spawn_by(faked).await;
        let login = async |node: &Service| {
            let asked = async || {
                let browser = node.browser();
                let reply = browser.try_login("ada", PASSWORD).await;
                (reply.status == 303).then_some(browser)
            };
            eventually_some("a login", asked).await
        };
        let differs = async || {
            let log = wrong.program.log();
            let ahead = log.iter().find_map(|line| line["clock_ahead_ms"].as_i64());
            (ahead?.abs() > 200_000).then_some(())
        };
        eventually_some("a line that the clocks differ", differs).await;
        for (one, other) in [(&right, &wrong), (&wrong, &right)] {
            let ada = login(one).await;
            let there = other.browser().cookie(&ada.session_cookie());
            // Again and again: meanwhile each has looked for what has idled out.
            for _ in 0..30 {
                for browser in [&ada, &there] {
                    let reply = browser.fetch("/").await;
                    // Or a busy store is too slow.
                    assert!([200, 503].contains(&reply.status), "{offset}: {reply}");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            becomes(&ada, 200).await;
            becomes(&there, 200).await;
            there.logout().await.assert_status(303);
            becomes(&ada, 401).await;
        }
    }
}

/// How often the session is used, and for how long: other nodes know of a use 16 seconds later at most.
const USED_EVERY: Duration = Duration::from_millis(300);
const USED_FOR: Duration = Duration::from_secs(70);

/// On a machine that is too slow, the whole is tried again so often.
const ROUNDS: usize = 5;

/// After so long without use, another node may take it for idle.
const IDLE: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn sec_50_a_session_idles_out_by_its_last_use_on_any_node_whatever_their_clocks_say() {
    let Some(redis) = Redis::start() else { return };
    let Some(library) = faketime() else {
        return crate::harness::real::missing("libfaketime");
    };
    let app = app().await;
    let idle = "idle_timeout = \"60s\"";
    let right = node(&app, &redis).session(idle).spawn().await;
    let wrong = async |offset| {
        let mut faked = command();
        faked.env("LD_PRELOAD", &library).env("FAKETIME", offset);
        faked.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        node(&app, &redis).session(idle).spawn_by(faked).await
    };
    let (ahead, behind) = (wrong("+5m").await, wrong("-5m").await);
    let nodes = [&right, &ahead, &behind];
    tokio::join!(
        idles_out((&right, &ahead), "ada", nodes),
        idles_out((&ahead, &right), "bob", nodes),
        idles_out((&right, &behind), "ada", nodes),
        idles_out((&behind, &right), "bob", nodes)
    );
}

/// The end that its last use leads to. Any of the `nodes` may be the first to see it.
async fn idles_out((used, other): (&Service, &Service), name: &str, nodes: [&Service; 3]) {
    let mut key = None;
    for _ in 0..ROUNDS {
        key = stays_while_it_is_used(used, other, name).await;
        if key.is_some() {
            break;
        }
    }
    let key = key.expect("this machine is not too slow");
    let said = || {
        let logs = nodes.map(|node| node.program.log());
        let mut lines = logs.iter().flatten();
        lines.any(|line| line["message"] == "session expired" && line["session"] == *key)
    };
    let asked = async || said().then_some(());
    some_within(Duration::from_mins(3), "the idle end", asked).await;
}

/// Uses a session on one node for longer than it may idle, while the other one knows it, too. Gives the
/// beginning of its key; `None` where this machine was too slow to say anything by it.
async fn stays_while_it_is_used(used: &Service, other: &Service, name: &str) -> Option<String> {
    let asked = async || {
        let browser = used.browser();
        let reply = browser.try_login(name, PASSWORD).await;
        (reply.status == 303).then_some(browser)
    };
    let here = eventually_some("a login", asked).await;
    let there = other.browser().cookie(&here.session_cookie());
    let (began, mut last) = (tokio::time::Instant::now(), tokio::time::Instant::now());
    becomes(&there, 200).await;
    while began.elapsed() < USED_FOR {
        let reply = here.fetch("/").await;
        if last.elapsed() >= IDLE {
            return None;
        }
        assert!([200, 503].contains(&reply.status), "{reply}");
        if reply.status == 200 {
            last = tokio::time::Instant::now();
        }
        tokio::time::sleep(USED_EVERY).await;
    }
    let reply = there.fetch("/").await;
    if last.elapsed() >= IDLE {
        return None;
    }
    assert!([200, 503].contains(&reply.status), "{reply}");
    let id = here.session_cookie();
    let id = id.split_once('=').unwrap().1;
    let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(id);
    let key = sha2::Sha256::digest(id.unwrap());
    Some(
        key[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .concat(),
    )
}

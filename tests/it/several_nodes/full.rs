//! A server whose memory is full, with each of its eviction policies.

use super::*;

const POLICIES: [&str; 8] = [
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_whatever_a_full_server_throws_away_nobody_is_let_in_by_it() {
    let mut throws_away_and_revokes = false;
    for policy in POLICIES {
        let Some(redis) = Redis::start_with(&["--maxmemory-policy", policy]) else {
            return;
        };
        let revokes = Box::pin(check(&redis, policy)).await; // it is large
        throws_away_and_revokes |= revokes && policy != "noeviction";
    }
    assert!(
        throws_away_and_revokes,
        "no policy that throws away let a revocation pass"
    );
}

/// Gives whether all sessions of a user could be ended on the full server.
async fn check(redis: &Redis, policy: &str) -> bool {
    let app = app().await;
    let (mut first, second) = tokio::join!(node(&app, redis).start(), node(&app, redis).start());
    let ada = first.browser().login("ada", PASSWORD).await;
    let bob = first.browser().login("bob", PASSWORD).await;
    let there = [&ada, &bob].map(|browser| led_to(&second, browser));
    for browser in &there {
        browser.get("/").await.assert_status(200);
    }
    let over = second.browser().login("ada", PASSWORD).await;
    let over_here = led_to(&first, &over);
    over_here.get("/").await.assert_status(200);
    over.logout().await.assert_status(303);
    becomes(&over_here, 401).await;
    // Full: it takes no more, or throws something away for each that it takes.
    let used = redis.ask(&["INFO", "memory"]);
    let used = used
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let used: usize = used.unwrap().trim().parse().unwrap();
    let limit = (used + 256 * 1024).to_string();
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", &limit]), "OK\n");
    let value = "x".repeat(16 * 1024);
    for n in 0..64 {
        redis.ask(&["SET", &format!("junk{n}"), &value]);
    }
    let whose = async |browser: &Browser, name: &str| own_page_or_none(browser, name, policy).await;
    for _ in 0..10 {
        whose(&ada, "ada").await;
        whose(&there[0], "ada").await;
        whose(&bob, "bob").await;
        for ended in [&over, &over_here] {
            assert_ne!(ended.fetch("/").await.status, 200, "{policy}: it has ended");
        }
        let login = first.browser().try_login("ada", PASSWORD).await;
        assert!([303, 503].contains(&login.status), "{policy}: {login}");
    }
    // An end holds at once where it is asked for, and soon on the other node.
    let page = bob.get("/.vestibule/logout").await;
    if page.status == 200 && page.text().contains("name=\"csrf\"") {
        let csrf = page.hidden("csrf");
        let fields = [("csrf", &*csrf)];
        let left = bob.post_form("/.vestibule/logout", &fields).await;
        assert!([200, 303, 503].contains(&left.status), "{policy}: {left}");
        if left.status != 503 {
            assert_ne!(bob.fetch("/").await.status, 200, "{policy}");
            let ended = async || (whose(&there[1], "bob").await != 200).then_some(());
            eventually_some("the end on the other node", ended).await;
        }
    }
    // So does the end of all sessions of a user, which is an epoch.
    let revoked = run(first.files(), &["session", "revoke", "--user", "ada"]);
    let is_revoked = revoked.0 == Some(0);
    if policy == "noeviction" {
        assert!(is_revoked, "an end needs no room: {revoked:?}");
        becomes(&there[0], 401).await;
    } else if is_revoked {
        let over = async || (there[0].fetch("/").await.status != 200).then_some(());
        eventually_some("the end on the other node", over).await;
    }
    for n in 0..64 {
        redis.ask(&["SET", &format!("more{n}"), &value]);
    }
    for _ in 0..10 {
        assert_ne!(ada.fetch("/").await.status, 200, "{policy}: {revoked:?}");
        if is_revoked {
            assert_ne!(
                there[0].fetch("/").await.status,
                200,
                "{policy}: it has ended"
            );
        }
    }
    let (code, said, error) = run(first.files(), &["status"]);
    assert_eq!(code, Some(0), "{policy}: {said}{error}");
    // And back again, with room.
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "0"]), "OK\n");
    for node in [&first, &second] {
        let asked = async || {
            let browser = node.browser();
            (browser.try_login("ada", PASSWORD).await.status == 303).then_some(())
        };
        eventually_some("a login", asked).await;
    }
    assert_ne!(over_here.fetch("/").await.status, 200, "{policy}");
    is_revoked
}

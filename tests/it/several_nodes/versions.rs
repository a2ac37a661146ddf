//! Two versions side by side: what a later one has written is left alone.

use super::*;

/// The version of a seal is its first byte; in the record of a session, that comes after the last access
/// and the rest of the key.
const OF_SESSION: usize = 15 + 24;

/// Keys of the store that begin so.
fn keys(redis: &Redis, beginning: &str) -> Vec<String> {
    let keys = redis.ask(&["KEYS", &format!("{beginning}*")]);
    keys.lines().map(str::to_owned).collect()
}

/// Has a value be one of the version after this one; `false`: of this one again.
fn set_later(redis: &Redis, key: &str, at: usize, is_later: bool) {
    let version = if is_later { "\u{2}" } else { "\u{1}" };
    redis.ask(&["SETRANGE", key, &at.to_string(), version]);
}

fn is_later(redis: &Redis, key: &str, at: usize) -> bool {
    let at = at.to_string();
    redis.ask(&["GETRANGE", key, &at, &at]) == "\u{2}\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_19_a_session_that_a_later_version_has_written_is_left_alone_on_all_nodes() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let mut second = node(&app, &redis).start().await;
    let mut third = node(&app, &redis).start().await;
    for node in [&first, &second, &third] {
        away::is_ready(node).await;
    }
    let ada = first.browser().login("ada", PASSWORD).await;
    let [record] = &keys(&redis, "vestibule:{?}:s:")[..] else {
        panic!("one session");
    };
    let later = first.browser().login("ada", PASSWORD).await;
    let records = keys(&redis, "vestibule:{?}:s:");
    let record = records.iter().find(|key| *key != record).unwrap();
    set_later(&redis, record, OF_SESSION, true);
    for node in [&mut second, &mut third] {
        let there = led_to(node, &later);
        let reply = there.fetch("/").await;
        reply.assert_status(503);
        assert_eq!(reply.value("set-cookie"), None, "{reply}");
        assert_eq!(reply.json()["error"], "sessions_unavailable");
        led_to(node, &ada).get("/").await.assert_status(200);
        let (code, listed, said) = run(node.files(), &["session", "list", "--json"]);
        assert_eq!(code, Some(0), "{said}");
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    }
    // Neither the look-ups nor the lists have changed or removed it.
    assert!(is_later(&redis, record, OF_SESSION));
    set_later(&redis, record, OF_SESSION, false);
    for node in [&mut second, &mut third] {
        led_to(node, &later).get("/").await.assert_status(200);
        let (_, listed, _) = run(
            node.files(),
            &["session", "list", "--user", "ada", "--json"],
        );
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), 2, "indexes still have it");
    }
    // An end of all of a user's sessions is an end of this one, too, whoever can read it.
    set_later(&redis, record, OF_SESSION, true);
    let (code, _, said) = run(second.files(), &["session", "revoke", "--user", "ada"]);
    assert_eq!(code, Some(0), "{said}");
    set_later(&redis, record, OF_SESSION, false);
    becomes_401(&led_to(&third, &later)).await;
}

/// Until a request finds no session.
async fn becomes_401(browser: &Browser) {
    let asked = async || (browser.fetch("/").await.status == 401).then_some(());
    eventually_some("401 for /", asked).await;
}

#[tokio::test]
async fn rel_19_keys_that_a_later_version_has_written_are_left_alone_on_all_nodes() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let first = node(&app, &redis).start().await;
    let has_rings = || keys(&redis, "vestibule:v:keys:").len() == 2;
    eventually("both rings of keys", has_rings).await;
    let rings = keys(&redis, "vestibule:v:keys:");
    for ring in &rings {
        set_later(&redis, ring, 0, true);
    }
    let kept: Vec<_> = rings
        .iter()
        .map(|ring| redis.ask(&["DUMP", ring]))
        .collect();
    // A node that starts now has keys of its own, and serves.
    let second = node(&app, &redis).start().await;
    for node in [&first, &second] {
        away::is_ready(node).await;
        node.browser().login("ada", PASSWORD).await;
    }
    // By now, it has tried to read them many times.
    let now: Vec<_> = rings
        .iter()
        .map(|ring| redis.ask(&["DUMP", ring]))
        .collect();
    assert_eq!(now, kept);
    assert_eq!(keys(&redis, "vestibule:v:keys:").len(), 2);
}

//! What goes wrong with real servers. It passes without a restart of a node, and meanwhile nobody is told
//! that they are not signed in.

use super::away::{assert_unavailable, is_ready, notices};
use super::*;
use crate::harness::redis::Slow;
use crate::harness::tls::Certificate;

#[tokio::test]
async fn rel_10_a_server_that_sleeps_is_away_and_then_back() {
    let Some(redis) = Redis::start_with(&["--enable-debug-command", "yes"]) else {
        return;
    };
    let app = app().await;
    let (first, second) = tokio::join!(node(&app, &redis).start(), node(&app, &redis).start());
    let ada = first.browser().login("ada", PASSWORD).await;
    let bob = first.browser().login("bob", PASSWORD).await;
    let (unknown, left) = (led_to(&second, &ada), led_to(&second, &bob));
    left.get("/").await.assert_status(200);
    redis.tell(&["DEBUG", "SLEEP", "6"]);
    notices(&first).await;
    notices(&second).await;
    ada.get("/").await.assert_status(200);
    assert_unavailable(&unknown.fetch("/").await);
    bob.logout().await.assert_status(503);
    is_ready(&first).await;
    becomes(&left, 401).await;
    becomes(&unknown, 200).await;
    ada.get("/").await.assert_status(200);
    second.browser().login("bob", PASSWORD).await;
}

#[tokio::test]
async fn rel_10_scripts_that_the_server_forgets_between_two_logins_are_sent_again() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let (first, second) = tokio::join!(node(&app, &redis).start(), node(&app, &redis).start());
    let ada = first.browser().login("ada", PASSWORD).await;
    assert_eq!(redis.ask(&["SCRIPT", "FLUSH"]), "OK\n");
    let bob = second.browser().login("bob", PASSWORD).await;
    assert_eq!(redis.ask(&["SCRIPT", "FLUSH"]), "OK\n");
    led_to(&first, &bob).get("/").await.assert_status(200);
    let elsewhere = led_to(&second, &ada);
    elsewhere.get("/").await.assert_status(200);
    ada.logout().await.assert_status(303);
    becomes(&elsewhere, 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_the_right_password_is_taken_as_soon_as_the_file_has_it() {
    let Some(redis) = Redis::start_with(&["--requirepass", "right"]) else {
        return;
    };
    let app = app().await;
    let keys = "wait_replicas = 0\npassword_file = \"redis.password\"";
    let node = node_at(&app, &redis.url(), keys);
    let node = node.prepare(|files| drop(files.write("redis.password", "wrong\n", 0o600)));
    let mut node = node.start().await;
    notices(&node).await;
    let refused = node.browser().try_login("ada", PASSWORD).await;
    refused.assert_status(503);
    let (_, said, _) = run(node.files(), &["status"]);
    assert!(said.contains("WRONGPASS"), "{said}");
    node.files().write("redis.password", "right\n", 0o600);
    is_ready(&node).await;
    let ada = node.browser().login("ada", PASSWORD).await;
    // Another one, under way.
    let as_default = |password, words: &[&str]| redis.ask_as("default", password, words);
    as_default("right", &["CONFIG", "SET", "requirepass", "newer"]);
    as_default("newer", &["CLIENT", "KILL", "TYPE", "normal"]);
    notices(&node).await;
    ada.get("/").await.assert_status(200);
    node.files().write("redis.password", "newer\n", 0o600);
    is_ready(&node).await;
    ada.get("/").await.assert_status(200);
    node.browser().login("bob", PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_84_another_certificate_of_the_server_is_taken_with_its_authority() {
    let [old, new] = [(); 2].map(|()| Certificate::signed(&["127.0.0.1"]));
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
    let show = |signed: &crate::harness::tls::Signed| {
        std::fs::write(&cert, &signed.cert).unwrap();
        std::fs::write(&key, &signed.key).unwrap();
    };
    show(&old);
    let (port, text) = (held_port().port().to_string(), |path: &std::path::Path| {
        path.display().to_string()
    });
    let (cert, key) = (text(&cert), text(&key));
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key];
    let more = ["--tls-port", &port, "--tls-auth-clients", "no"];
    let Some(redis) = Redis::start_with(&[&files[..], &more].concat()) else {
        return;
    };
    let app = app().await;
    let url = format!("rediss://127.0.0.1:{port}");
    let node = node_at(&app, &url, "wait_replicas = 0\nca = \"ca.pem\"");
    let node = node.prepare(|files| drop(files.write("ca.pem", &old.authority, 0o644)));
    let mut node = node.start().await;
    let ada = node.browser().login("ada", PASSWORD).await;
    is_ready(&node).await;
    show(&new);
    let changed = redis.ask(&[
        "CONFIG",
        "SET",
        "tls-cert-file",
        &cert,
        "tls-key-file",
        &key,
    ]);
    assert_eq!(changed, "OK\n");
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    notices(&node).await;
    ada.get("/").await.assert_status(200);
    let (_, said, _) = run(node.files(), &["status"]);
    assert!(said.contains("TLS: "), "{said}");
    node.files().write("ca.pem", &new.authority, 0o644);
    is_ready(&node).await;
    ada.get("/").await.assert_status(200);
    node.browser().login("bob", PASSWORD).await;
}

#[tokio::test]
async fn rel_10_without_the_replica_that_is_waited_for_logins_and_ends_take_longer() {
    let Some(redis) = Redis::start() else { return };
    let mut replica = redis.replica();
    let app = app().await;
    let node = || node_at(&app, &redis.url(), "wait_replicas = 1").start();
    let (first, second) = tokio::join!(node(), node());
    let ada = first.browser().login("ada", PASSWORD).await;
    let has_it = replica.ask(&["KEYS", "*:s:*"]);
    assert!(has_it.contains(":s:"), "{has_it}");
    replica.kill();
    let bob = first.browser().login("bob", PASSWORD).await;
    for browser in [&ada, &led_to(&second, &bob)] {
        browser.get("/").await.assert_status(200);
    }
    let elsewhere = led_to(&second, &ada);
    elsewhere.get("/").await.assert_status(200);
    ada.logout().await.assert_status(303);
    becomes(&elsewhere, 401).await;
    replica.start_again();
    first.browser().login("ada", PASSWORD).await;
}

#[tokio::test]
async fn rel_18_a_node_that_is_cut_off_goes_on_for_stale_for_and_then_knows_nothing() {
    let Some(redis) = Redis::start() else { return };
    let (app, way) = (app().await, Slow::start(&redis).await);
    let keys = "wait_replicas = 0\nstale_for = \"4s\"";
    let (cut_off, other) = tokio::join!(
        node_at(&app, &way.url(), keys).start(),
        node_for(&app, &redis, "4s").start()
    );
    let ada = cut_off.browser().login("ada", PASSWORD).await;
    let bob = cut_off.browser().login("bob", PASSWORD).await;
    for browser in [&ada, &bob] {
        browser.get("/").await.assert_status(200);
    }
    let socket = websocket(&cut_off, &ada).await;
    is_ready(&cut_off).await;
    // What is asked arrives, and no answer comes back.
    way.set_delay(Duration::from_hours(1));
    led_to(&other, &ada).logout().await.assert_status(303);
    bob.get("/").await.assert_status(200);
    for browser in [&ada, &bob] {
        becomes(browser, 503).await;
        assert_unavailable(&browser.fetch("/").await);
    }
    assert_eq!(timeout(SOON, socket.closed()).await, Ok(Some(1008)));
    way.set_delay(Duration::ZERO);
    becomes(&bob, 200).await;
    becomes(&ada, 401).await;
}

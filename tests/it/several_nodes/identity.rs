//! All nodes sign identity tokens with the same keys.

use super::*;
use crate::identity_token::{HEADER, verify};

const KEYS: &str = "/.vestibule/jwks.json";

/// A node whose app gets tokens, as soon as it has keys.
async fn signing(app: &Upstream, redis: &Redis) -> Gate {
    let node = node(app, redis).app("identity_token = true").start().await;
    published(&node).await;
    node
}

async fn published(node: &Gate) -> serde_json::Value {
    let keys = async || {
        let keys = node.browser().get(KEYS).await;
        (keys.status == 200).then(|| keys.json())
    };
    eventually_some("keys", keys).await
}

#[tokio::test]
async fn a_token_of_one_node_is_good_by_the_keys_of_another() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let (first, second) = (signing(&app, &redis).await, signing(&app, &redis).await);
    let keys = [published(&first).await, published(&second).await];
    assert_eq!(keys[0], keys[1]);
    let ada = first.browser().login("ada", PASSWORD).await;
    for (node, keys) in [(&first, &keys[1]), (&second, &keys[0])] {
        led_to(node, &ada).get("/").await.assert_status(200);
        let request = app.last();
        let claims = verify(keys, request.value(HEADER).expect("a token"));
        assert_eq!(claims["name"], "ada");
    }
    let third = signing(&app, &redis).await;
    assert_eq!(published(&third).await, keys[0]);
}

#[tokio::test]
async fn rel_10_a_node_that_starts_without_the_store_has_its_keys() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let app = app().await;
    let first = signing(&app, &redis).await;
    let keys = published(&first).await;
    redis.kill();
    let first = first.restart().await;
    assert_eq!(
        first.browser().get(KEYS).await.assert_status(200).json(),
        keys
    );
    let second = node(&app, &redis)
        .app("identity_token = true")
        .start()
        .await;
    let none = second.browser().get(KEYS).await;
    none.assert_status(503);
    assert!(none.value("retry-after").is_some(), "{none}");
    redis.start_again();
    // An empty store takes the keys of one of them, and the other one follows.
    let are_the_same = async || {
        let keys = published(&second).await;
        (keys == published(&first).await).then_some(())
    };
    eventually_some("the same keys on both", are_the_same).await;
}

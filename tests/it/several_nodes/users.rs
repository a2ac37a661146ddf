//! Local users in the session store, the same on all nodes.

mod check;
mod commands;
mod files;
mod losses;
mod tokens;
mod unread;

use base64::Engine;
use bytes::Bytes;
use hyper::Method;

use super::away::{assert_unavailable, is_ready, notices};
use super::*;

const ACCOUNT: &str = "/.vestibule/account";
const NEW: &str = "quiet otters hum at noon";

/// With ada and bob in a users file, which the store takes over while it has nobody.
fn with_users(app: &Upstream, redis: &Redis, stale_for: &str) -> Vestibule {
    node_for(app, redis, stale_for).login("users = \"store\"")
}

async fn two_nodes(app: &Upstream, redis: &Redis) -> [Gate; 2] {
    let start = || with_users(app, redis, "30s").start();
    // Boxed: it is large.
    let starting = Box::pin(async {
        let first = start().await;
        is_ready(&first).await;
        first.browser().login("bob", PASSWORD).await;
        let second = start().await;
        is_ready(&second).await;
        [first, second]
    });
    starting.await
}

fn done(node: &mut Gate, args: &[&str], input: &str) -> String {
    let (code, said, error) = run_with_input(node.files(), args, input);
    assert_eq!(code, Some(0), "{args:?}: {said}{error}");
    said
}

/// A command that cannot do it; gives what it says of that.
fn fails(node: &mut Gate, args: &[&str]) -> String {
    let (code, said, error) = run_with_input(node.files(), args, NEW);
    assert_eq!(code, Some(1), "{args:?}: {said}{error}");
    error
}

/// Changes the seal of a user, past all nodes, and has them look.
fn damage(redis: &Redis, damaged: bool) {
    let script = "for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
            local value = redis.call('HGET', KEYS[1], field)
            local salt = string.char((string.byte(value, 3) + tonumber(ARGV[1])) % 256)
            redis.call('HSET', KEYS[1], field, string.sub(value, 1, 2) .. salt .. string.sub(value, 4))
        end
        return redis.call('DEL', 'vestibule:{users}:changes')";
    let by = if damaged { "1" } else { "255" };
    redis.ask(&["EVAL", script, "1", "vestibule:{users}:sealed", by]);
}

/// Whether no node can read any users: something else stands there.
fn hide(redis: &Redis, are_hidden: bool) {
    let (users, elsewhere) = ("vestibule:{users}:sealed", "vestibule:{users}:away");
    if are_hidden {
        redis.ask(&["RENAME", users, elsewhere]);
        redis.ask(&["SET", users, "no users"]);
    } else {
        redis.ask(&["RENAME", elsewhere, users]);
    }
}

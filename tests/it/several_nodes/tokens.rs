//! API tokens, which nodes share.

use bytes::Bytes;
use hyper::Method;

use super::away::{is_ready, notices};
use super::*;

const TOKENS: &str = "name = \"wiki\"\ntokens = true";
const ACCOUNT: &str = "/.vestibule/account";

async fn two_nodes(app: &Upstream, redis: &Redis, stale_for: &str) -> [Gate; 2] {
    let start = || node_for(app, redis, stale_for).app(TOKENS).start();
    let (first, second) = tokio::join!(start(), start());
    for node in [&first, &second] {
        is_ready(node).await;
    }
    [first, second]
}

async fn get(browser: &Browser, token: &str) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization)];
    browser
        .request(Method::GET, "/", &headers, Bytes::new())
        .await
}

/// Until a program with this token is answered so; soon.
async fn comes_to(node: &Gate, token: &str, status: u16) {
    let asked = async || (get(&node.browser(), token).await.status == status).then_some(());
    some_within(SOON, &format!("{status} for a token"), asked).await;
}

async fn stream(node: &Gate, token: &str) -> WebSocket {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization)];
    let opened = open_websocket(node.tcp().await, "/ws", &headers).await;
    opened.unwrap()
}

/// A command that has to succeed; gives what it printed.
fn done(node: &mut Gate, args: &[&str]) -> String {
    let (code, said, error) = run(node.files(), args);
    assert_eq!(code, Some(0), "{args:?}: {said}{error}");
    said
}

fn made(node: &mut Gate, user: &str) -> String {
    let token = done(node, &["token", "add", user]);
    token.trim_end().to_owned()
}

/// A command that cannot do it; gives what it says of that.
fn fails(node: &mut Gate, args: &[&str]) -> String {
    let (code, said, error) = run(node.files(), args);
    assert_eq!(code, Some(1), "{args:?}: {said}{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_a_token_is_good_on_every_node_and_ends_on_every_node() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, mut second] = two_nodes(&app, &redis, "30s").await;
    for by_key in [false, true] {
        let (of_ada, of_bob) = (made(&mut first, "ada"), made(&mut second, "bob"));
        comes_to(&second, &of_ada, 200).await;
        comes_to(&first, &of_bob, 200).await;
        let mut ended = vec![
            stream(&first, &of_ada).await,
            stream(&second, &of_ada).await,
        ];
        let mut kept = [
            stream(&first, &of_bob).await,
            stream(&second, &of_bob).await,
        ];
        if by_key {
            let listed = done(&mut second, &["token", "list", "--user", "ada", "--json"]);
            let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
            let key = &listed[0]["key"].as_str().unwrap()[..8];
            done(&mut second, &["token", "revoke", key]);
        } else {
            done(&mut first, &["token", "revoke", "--user", "ada"]);
        }
        for stream in ended.drain(..) {
            let closed = timeout(SOON, stream.closed()).await;
            assert_eq!(closed.expect("the stream is cut"), Some(1008));
        }
        for node in [&first, &second] {
            let refused = get(&node.browser(), &of_ada).await;
            refused.assert_status(401);
            assert_eq!(refused.json()["error"], "invalid_token");
        }
        for stream in &mut kept {
            assert_eq!(stream.ask("still here").await, "still here");
        }
    }
    for node in [&mut first, &mut second] {
        let (_, said, _) = run(node.files(), &["token", "list", "--json"]);
        let listed: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
        assert_eq!(listed.len(), 2, "those of bob: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_people_make_and_revoke_their_tokens_on_any_node() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = two_nodes(&app, &redis, "30s").await;
    let ada = first.browser().login("ada", PASSWORD).await;
    let page = ada.get(ACCOUNT).await;
    let fields = [
        ("csrf", &*page.hidden("csrf")),
        ("action", "make-token"),
        ("name", "phone"),
        ("app-0", "wiki"),
        ("days", "90"),
        ("methods", "any"),
        ("paths", ""),
        ("networks", ""),
        ("password", PASSWORD),
    ];
    let page = ada.post_form(ACCOUNT, &fields).await;
    let text = page.text();
    let at = text.find("<code>vst_").expect("a token") + "<code>".len();
    let token = text[at..at + 53].to_owned();
    comes_to(&second, &token, 200).await;
    let socket = stream(&first, &token).await;

    let elsewhere = led_to(&second, &ada);
    let page = elsewhere.get(ACCOUNT).await;
    page.assert_contains("phone");
    let field = "name=\"key\" value=\"";
    let at = page.text().rfind(field).expect("a button") + field.len();
    let fields = [
        ("csrf", &*page.hidden("csrf")),
        ("action", "revoke-token"),
        ("key", &page.text()[at..at + 64]),
    ];
    let revoked = elsewhere.post_form(ACCOUNT, &fields).await;
    revoked.assert_redirects_to(ACCOUNT);
    let closed = timeout(SOON, socket.closed()).await;
    assert_eq!(closed.expect("the stream is cut"), Some(1008));
    comes_to(&first, &token, 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_a_user_who_is_disabled_on_one_node_has_tokens_on_none() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, second] = two_nodes(&app, &redis, "30s").await;
    for command in ["disable", "remove"] {
        let user = if command == "disable" { "ada" } else { "bob" };
        let token = made(&mut first, user);
        comes_to(&second, &token, 200).await;
        let socket = stream(&second, &token).await;
        done(&mut first, &["user", command, user]);
        let closed = timeout(2 * SOON, socket.closed()).await;
        assert_eq!(closed.expect("the stream is cut"), Some(1008), "{command}");
        comes_to(&second, &token, 401).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_without_the_store_a_known_token_goes_on_for_a_while_and_no_token_is_called_wrong() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, second] = two_nodes(&app, &redis, "5s").await;
    let (of_ada, of_bob) = (made(&mut first, "ada"), made(&mut first, "bob"));
    for token in [&of_ada, &of_bob] {
        comes_to(&second, token, 200).await;
    }
    let socket = stream(&second, &of_ada).await;
    let unknown = made(&mut first, "ada");
    done(&mut first, &["token", "revoke", "--user", "ada"]);
    let of_ada = made(&mut first, "ada");
    comes_to(&second, &of_ada, 200).await;
    timeout(SOON, socket.closed()).await.unwrap();
    let socket = stream(&second, &of_ada).await;
    redis.stop();
    for node in [&first, &second] {
        notices(node).await;
    }
    get(&second.browser(), &of_ada).await.assert_status(200);
    // Nobody knows whether this one was made on another node.
    let refused = get(&second.browser(), &unknown).await;
    refused.assert_status(503);
    assert!(refused.value("retry-after").is_some(), "{refused}");
    assert_eq!(refused.value("www-authenticate"), None, "{refused}");
    let error = fails(&mut first, &["token", "add", "ada"]);
    assert!(
        error.contains("the session store cannot be reached"),
        "{error}"
    );
    let error = fails(&mut first, &["token", "revoke", "--user", "bob"]);
    assert!(error.contains("up to 5 seconds"), "{error}");
    // It is worthless here, and as long as the store is away nobody can say why.
    get(&first.browser(), &of_bob).await.assert_status(503);

    let closed = timeout(Duration::from_secs(20), socket.closed()).await;
    assert_eq!(closed.expect("the stream is cut"), Some(1008));
    let refused = get(&second.browser(), &of_ada).await;
    refused.assert_status(503);
    assert!(refused.value("retry-after").is_some(), "{refused}");
    assert_eq!(refused.json()["error"], "sessions_unavailable");
    for args in [&["token", "list"][..], &["token", "revoke", "12345678"]] {
        let error = fails(&mut first, args);
        assert!(error.contains("nobody can say which"), "{error}");
    }

    redis.go_on();
    for node in [&first, &second] {
        is_ready(node).await;
        comes_to(node, &of_ada, 200).await;
        comes_to(node, &of_bob, 401).await;
        comes_to(node, &unknown, 401).await;
    }
    made(&mut first, "ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_node_that_was_alone_are_taken_over() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let mut alone = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .app(TOKENS)
        .spawn()
        .await;
    let (_, token, _) = run(&alone.files, &["token", "add", "ada"]);
    let token = token.trim_end();
    let file = alone.files.path("authenticators.redb");
    assert!(file.exists());
    alone.program.signal(rustix::process::Signal::TERM);
    alone.program.exit().await;
    let config = std::fs::read_to_string(alone.files.path("config.toml")).unwrap();
    let config = config.replace("[session]\n", "[session]\nstore = \"redis\"\n");
    let (url, key) = (redis.url(), "5a".repeat(32));
    let config =
        format!("{config}\n[session.redis]\nurl = \"{url}\"\nkey = \"{key}\"\nwait_replicas = 0\n");
    alone.files.write("config.toml", &config, 0o644);

    let shared = alone.start_again().await;
    let asked = async || (get(&shared.browser(), token).await.status == 200).then_some(());
    eventually_some("200 for the token of the file", asked).await;
    let other = node(&app, &redis).app(TOKENS).start().await;
    comes_to(&other, token, 200).await;
    assert!(!file.exists(), "it would bring back what is revoked");
    assert!(shared.files.path("authenticators.redb.taken-over").exists());
    let (code, _, error) = run(&shared.files, &["token", "revoke", "--user", "ada"]);
    assert_eq!(code, Some(0), "{error}");
    let shared = shared.crash().await;
    is_ready(&other).await;
    let asked = async || (get(&shared.browser(), token).await.status == 401).then_some(());
    eventually_some("401 for what was revoked", asked).await;
}

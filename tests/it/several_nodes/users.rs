//! Local users in the session store, the same on all nodes.

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

/// Until it is another one's turn: the page says no more than that nobody is signed in.
async fn is_signed_out(browser: &Browser) {
    let asked = async || (browser.fetch("/").await.status == 401).then_some(());
    some_within(SOON, "the end of the session", asked).await;
}

async fn change_password(browser: &Browser, old: &str, new: &str) -> Reply {
    let csrf = browser.get(ACCOUNT).await.hidden("csrf");
    let fields = [
        ("csrf", &*csrf),
        ("action", "password"),
        ("old", old),
        ("new", new),
        ("again", new),
    ];
    browser.post_form(ACCOUNT, &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_sec_51_what_a_command_does_to_a_user_holds_on_all_nodes() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, mut second] = two_nodes(&app, &redis).await;
    let file = std::fs::read_to_string(first.files().path("users.toml")).unwrap();
    let add = [
        "user",
        "add",
        "Zoe",
        "--group",
        "admins",
        "--email",
        "zoe@example.org",
        "--password-stdin",
    ];
    let said = done(&mut first, &add, NEW);
    assert_eq!(said, "added Zoe to the session store\n");
    // Without a wait: a login asks whether there is anything new.
    let zoe = second.browser().login("zoe", NEW).await;
    zoe.get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-user"), Some("Zoe"));
    assert_eq!(
        app.last().value("x-forwarded-email"),
        Some("zoe@example.org")
    );
    let listed = done(&mut second, &["user", "list", "--json"], "");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["name"])
        .collect();
    assert_eq!(names, ["ada", "bob", "Zoe"]);
    assert_eq!(listed[2]["groups"], serde_json::json!(["admins"]));
    assert!(!listed.to_string().contains("$argon2"), "{listed}");
    let shown = done(&mut first, &["user", "list"], "");
    assert!(shown.starts_with("NAME  STATE    PASSWORD"), "{shown}");
    let status = done(&mut first, &["status"], "");
    assert!(
        status.contains("users        3, in the session store\n"),
        "{status}"
    );

    // She comes to the other node, and is ended there by a command on this one.
    let here = led_to(&first, &zoe);
    let socket = websocket(&first, &here).await;
    let disabled = done(&mut second, &["user", "disable", "ZOE"], "");
    assert_eq!(disabled, "ZOE is disabled\n");
    let closed = timeout(SOON, socket.closed()).await;
    assert_eq!(closed.expect("the stream is cut"), Some(1008));
    is_signed_out(&here).await;
    for node in [&first, &second] {
        let refused = node.browser().try_login("zoe", NEW).await;
        refused.assert_status(401);
    }
    assert_eq!(
        done(&mut first, &["user", "disable", "zoe"], ""),
        "zoe is already disabled\n"
    );
    done(&mut first, &["user", "enable", "zoe"], "");
    let zoe = second.browser().login("zoe", NEW).await;
    let passwd = ["user", "passwd", "zoe", "--password-stdin"];
    done(&mut first, &passwd, "another long password");
    is_signed_out(&zoe).await;
    let refused = second.browser().try_login("zoe", NEW).await;
    refused.assert_status(401);
    let zoe = second.browser().login("zoe", "another long password").await;
    done(&mut first, &["user", "remove", "zoe"], "");
    is_signed_out(&zoe).await;
    for args in [
        &["user", "remove", "zoe"][..],
        &["user", "disable", "nobody"],
        &["user", "passwd", "zoe", "--password-stdin"],
        &["user", "add", "ADA", "--password-stdin"],
    ] {
        fails(&mut second, args);
    }
    assert!(fails(&mut second, &["user", "remove", "adda"]).contains("did you mean \"ada\"?"));
    assert_eq!(
        std::fs::read_to_string(first.files().path("users.toml")).unwrap(),
        file,
        "the file is nobody's any more"
    );
    // Without a server there is nobody to ask.
    let files = with_users(&app, &redis, "30s").write();
    let (code, _, error) = run(&files, &["user", "list"]);
    assert_eq!(code, Some(3), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_sec_51_a_password_of_the_account_page_holds_on_all_nodes() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = two_nodes(&app, &redis).await;
    let (mut old, mut new) = (PASSWORD, NEW);
    // Again and again: the other node is asked before it has heard of the change.
    for _ in 0..4 {
        let ada = first.browser().login("ada", old).await;
        let other = second.browser().login("ada", old).await;
        let socket = websocket(&second, &other).await;
        let reply = change_password(&ada, old, new).await;
        reply.assert_redirects_to(ACCOUNT);
        led_to(&second, &ada).get("/").await.assert_status(200);
        let refused = second.browser().try_login("ada", old).await;
        refused.assert_status(401);
        let closed = timeout(SOON, socket.closed()).await;
        assert_eq!(closed.expect("the stream is cut"), Some(1008));
        is_signed_out(&other).await;
        for node in [&first, &second] {
            led_to(node, &ada).get("/").await.assert_status(200);
        }
        (old, new) = (new, old);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_files_are_taken_over_once_and_by_a_command() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, second] = two_nodes(&app, &redis).await;
    let passwd = ["user", "passwd", "ada", "--password-stdin"];
    done(&mut first, &passwd, NEW);
    done(&mut first, &["user", "remove", "bob"], "");
    drop(second);
    // Its file has the old password, and bob.
    let mut first = first.restart().await;
    is_ready(&first).await;
    first.browser().login("ada", NEW).await;
    for user in ["ada", "bob"] {
        let refused = first.browser().try_login(user, PASSWORD).await;
        refused.assert_status(401);
    }
    let import = ["user", "import", "users.toml"];
    let path = first.files().path("users.toml").display().to_string();
    let import = [import[0], import[1], &path];
    let said = done(&mut first, &import, "");
    assert!(
        said.starts_with("added bob\nkept ada, who exists already"),
        "{said}"
    );
    first.browser().login("bob", PASSWORD).await;
    first.browser().login("ada", NEW).await;
    done(&mut first, &[&import[..], &["--replace"]].concat(), "");
    first.browser().login("ada", PASSWORD).await;
    let htpasswd = first.files().write(
        "htpasswd",
        "old:$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n",
        0o600,
    );
    let htpasswd = htpasswd.display().to_string();
    let import = ["user", "import", &htpasswd, "--group", "staff"];
    assert_eq!(done(&mut first, &import, ""), "added old\n");
    // The old hash becomes argon2id with the login, and the session stays.
    let old = first.browser().login("old", "U*U").await;
    old.get("/").await.assert_status(200);
    let listed = done(&mut first, &["user", "list"], "");
    assert!(
        listed.lines().any(|line| line
            .split_whitespace()
            .eq(["old", "enabled", "argon2id", "staff", "-"])),
        "{listed}"
    );
    let second = with_users(&app, &redis, "30s").start().await;
    is_ready(&second).await;
    led_to(&second, &old).get("/").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_without_the_store_nobody_signs_in_and_no_user_changes() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let start = || with_users(&app, &redis, "5s").app("basic = true").start();
    let mut node = start().await;
    is_ready(&node).await;
    let ada = node.browser().login("ada", PASSWORD).await;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("bob:{PASSWORD}"));
    let basic = format!("Basic {pair}");
    let program = async |node: &Gate| {
        let headers = [("authorization", &*basic)];
        let browser = node.browser();
        browser
            .request(Method::GET, "/", &headers, Bytes::new())
            .await
    };
    program(&node).await.assert_status(200);
    redis.stop();
    notices(&node).await;
    ada.get("/").await.assert_status(200);
    let refused = node.browser().try_login("ada", PASSWORD).await;
    refused.assert_status(503);
    assert!(refused.value("retry-after").is_some(), "{refused}");
    // The login page once more, with the name.
    assert!(refused.text().contains(r#"value="ada""#), "{refused}");
    for args in [
        &["user", "list"][..],
        &["user", "disable", "ada"],
        &["user", "add", "zoe", "--password-stdin"],
        &["user", "passwd", "ada", "--password-stdin"],
        &["user", "remove", "ada"],
    ] {
        let error = fails(&mut node, args);
        assert!(
            error.contains("the session store cannot be reached"),
            "{error}"
        );
    }
    // One that starts now knows nobody, and says so of no password.
    let late = start().await;
    let refused = late.browser().try_login("ada", PASSWORD).await;
    refused.assert_status(503);
    assert_unavailable(&program(&late).await);
    // A password that was verified before is good for as long as a session is.
    let asked = async || (program(&node).await.status == 503).then_some(());
    eventually_some("503 for a password", asked).await;
    redis.go_on();
    for node in [&node, &late] {
        is_ready(node).await;
        node.browser().login("ada", PASSWORD).await;
        program(node).await.assert_status(200);
    }
    done(&mut node, &["user", "disable", "ada"], "");
    let refused = late.browser().try_login("ada", PASSWORD).await;
    refused.assert_status(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_a_store_that_was_emptied_has_the_users_of_the_nodes_again() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, second] = two_nodes(&app, &redis).await;
    let passwd = ["user", "passwd", "ada", "--password-stdin"];
    done(&mut first, &passwd, NEW);
    done(&mut first, &["user", "remove", "bob"], "");
    redis.ask(&["FLUSHALL"]);
    // Also for one that comes meanwhile with an old file.
    let third = with_users(&app, &redis, "30s").start().await;
    is_ready(&third).await;
    for node in [&first, &second, &third] {
        node.browser().login("ada", NEW).await;
        for user in ["ada", "bob"] {
            let asked = async || {
                let refused = node.browser().try_login(user, PASSWORD).await;
                (refused.status == 401).then_some(())
            };
            some_within(SOON, "the old users to be gone", asked).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_user_who_was_added_a_moment_ago_stays() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let start = || with_users(&app, &redis, "30s").app("tokens = true").start();
    let (mut first, mut second) = (start().await, start().await);
    for node in [&first, &second] {
        is_ready(node).await;
    }
    let get = async |node: &Gate, token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", &*authorization)];
        let browser = node.browser();
        browser
            .request(Method::GET, "/", &headers, Bytes::new())
            .await
    };
    let mut tokens = Vec::new();
    for n in 0..3 {
        let name = format!("user{n}");
        done(&mut first, &["user", "add", &name, "--password-stdin"], NEW);
        let token = done(&mut second, &["token", "add", &name], "");
        tokens.push(token.trim_end().to_owned());
    }
    for token in &tokens {
        for node in [&first, &second] {
            let asked = async || (get(node, token).await.status == 200).then_some(());
            some_within(SOON, "200 for a token", asked).await;
        }
    }
    done(&mut second, &["user", "disable", "user0"], "");
    let asked = async || (get(&first, &tokens[0]).await.status == 401).then_some(());
    some_within(SOON, "401 for a token", asked).await;
    get(&first, &tokens[1]).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_where_users_live_and_how_many_there_are() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, _second] = two_nodes(&app, &redis).await;
    let (_, said, error) = run(first.files(), &["check"]);
    assert!(
        said.contains("users        in the session store: 2 users\n"),
        "{said}{error}"
    );
    assert!(
        said.contains("users.toml: taken over while the session store has no users\n"),
        "{said}"
    );
    let url = "https://gate.test/";
    let asked = run(first.files(), &["check", "--url", url, "--user", "ADA"]);
    assert_eq!(asked.0, Some(0), "{}{}", asked.1, asked.2);
    done(&mut first, &["user", "disable", "ada"], "");
    let (_, said, error) = run(first.files(), &["check", "--url", url, "--user", "ada"]);
    assert!(said.contains("disabled"), "{said}{error}");
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

#[tokio::test(flavor = "multi_thread")]
async fn rel_19_users_who_cannot_be_read_keep_their_sessions() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, second] = two_nodes(&app, &redis).await;
    let ada = first.browser().login("ada", PASSWORD).await;
    let there = led_to(&second, &ada);
    there.get("/").await.assert_status(200);
    damage(&redis, true);
    for browser in [&ada, &there] {
        becomes(browser, 503).await;
        let reply = browser.fetch("/").await;
        assert_unavailable(&reply);
    }
    let listed = done(&mut first, &["session", "list", "--user", "ada"], "");
    assert!(listed.contains("ada"), "{listed}");
    let (_, _, warned) = run(first.files(), &["user", "list"]);
    assert!(
        warned.contains("2 more in the session store cannot be read"),
        "{warned}"
    );
    // Long enough for every node to have judged all sessions.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    damage(&redis, false);
    for browser in [&ada, &there] {
        becomes(browser, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_a_node_that_starts_ends_nobodys_session_before_it_has_read_the_users() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let crowd = |files: &Files| {
        let hash = hash(PASSWORD);
        let user = |n: usize| format!("[user.user{n}]\npassword = \"{hash}\"\n");
        let text: String = (0..5000).map(user).collect();
        files.write("users.toml", &text, 0o600);
    };
    let mut first = with_users(&app, &redis, "30s").prepare(crowd).start().await;
    is_ready(&first).await;
    let mut browsers = Vec::new();
    for n in 0..20 {
        let name = format!("user{}", n * 200);
        let asked = async || {
            let browser = first.browser();
            (browser.try_login(&name, PASSWORD).await.status == 303).then_some(browser)
        };
        browsers.push(eventually_some("a login", asked).await);
    }
    for _ in 0..3 {
        let second = with_users(&app, &redis, "30s").start().await;
        is_ready(&second).await;
        second.browser().login("user7", PASSWORD).await;
    }
    // Nor one that cannot read them at all.
    redis.ask(&[
        "RENAME",
        "vestibule:{users}:sealed",
        "vestibule:{users}:away",
    ]);
    redis.ask(&["SET", "vestibule:{users}:sealed", "no users"]);
    let third = with_users(&app, &redis, "30s").start().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let reply = led_to(&third, &browsers[0]).fetch("/").await;
    assert_unavailable(&reply);
    redis.ask(&[
        "RENAME",
        "vestibule:{users}:away",
        "vestibule:{users}:sealed",
    ]);
    for browser in &browsers {
        becomes(browser, 200).await;
    }
    becomes(&led_to(&third, &browsers[0]), 200).await;
    let listed = done(&mut first, &["session", "list", "--json"], "");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let of_crowd = listed.as_array().unwrap().iter();
    assert!(of_crowd.count() >= 20, "{listed}");
}

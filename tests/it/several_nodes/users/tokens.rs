//! API tokens of users in the store.

use super::*;

async fn get(node: &Gate, token: &str) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization)];
    let browser = node.browser();
    browser
        .request(Method::GET, "/", &headers, Bytes::new())
        .await
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
async fn rel_10_a_token_on_a_node_that_has_read_no_users_is_neither_refused_nor_revoked() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let start = || with_users(&app, &redis, "60s").app("tokens = true").start();
    let mut first = start().await;
    is_ready(&first).await;
    let token = done(&mut first, &["token", "add", "ada"], "");
    let token = token.trim_end();
    get(&first, token).await.assert_status(200);
    hide(&redis, true);
    let second = start().await;
    // Long enough for it to have read the tokens, and to have judged them.
    let judged = tokio::time::Instant::now() + Duration::from_millis(1500);
    while tokio::time::Instant::now() < judged {
        assert_unavailable(&get(&second, token).await);
    }
    hide(&redis, false);
    for node in [&second, &first] {
        let asked = async || (get(node, token).await.status == 200).then_some(());
        eventually_some("200 for a token", asked).await;
    }
    let listed = done(&mut first, &["token", "list"], "");
    assert!(listed.contains("ada"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_does_not_pass_to_the_next_user_of_that_name_on_any_node() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let start = || with_users(&app, &redis, "30s").app("tokens = true").start();
    let [mut first, mut second] = Box::pin(async {
        let first = start().await;
        is_ready(&first).await;
        first.browser().login("bob", PASSWORD).await;
        let second = start().await;
        is_ready(&second).await;
        [first, second]
    })
    .await;
    let add = ["user", "add", "bob", "--password-stdin"];
    let opens = async |node: &Gate, token: &str| {
        let headers = [("authorization", token)];
        let program = node.browser();
        let asked = program.request(Method::GET, "/", &headers, Bytes::new());
        asked.await.status == 200
    };
    // First of the file that was taken over, without an id; then of the command.
    for (n, steps) in [
        &[&["user", "remove", "bob"][..], &add][..],
        &[&["user", "remove", "bob"], &add],
        &[&["user", "disable", "bob"], &["user", "enable", "bob"]],
    ]
    .into_iter()
    .enumerate()
    {
        let token = done(&mut second, &["token", "add", "bob"], "");
        let token = format!("Bearer {}", token.trim_end());
        for node in [&first, &second] {
            let known = async || opens(node, &token).await.then_some(());
            some_within(SOON, "the token", known).await;
        }
        for step in steps {
            done(&mut first, step, NEW);
        }
        for node in [&first, &second] {
            let over = async || (!opens(node, &token).await).then_some(());
            some_within(SOON, "the end of the token", over).await;
        }
        let none = async || {
            let args = ["token", "list", "--json"];
            let lists = [run(first.files(), &args).1, run(second.files(), &args).1];
            lists.iter().all(|list| list == "[]\n").then_some(())
        };
        some_within(SOON, &format!("an empty list, case {n}"), none).await;
        for node in [&first, &second] {
            assert!(!opens(node, &token).await, "case {n}");
        }
    }
}

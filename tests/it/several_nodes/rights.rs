//! The rights that docs/several-nodes.md names are enough for all that nodes do, in scripts, too, which
//! pass over some of what they may not do.

use super::away::is_ready;
use super::*;

const PAGE: &str = include_str!("../../../docs/several-nodes.md");

const ACCOUNT: &str = "/.vestibule/account";

#[tokio::test(flavor = "multi_thread")]
async fn sec_84_the_rights_of_the_page_are_enough_for_all_that_nodes_do() {
    let Some(redis) = Redis::start() else { return };
    let rights = PAGE.lines().find(|line| line.starts_with("ACL SETUSER "));
    let words: Vec<_> = rights.unwrap().split(' ').collect();
    assert_eq!(redis.ask(&words), "OK\n");
    let app = app().await;
    let keys = "wait_replicas = 0\nusername = \"vestibule\"\npassword = \"CHANGE-ME\"";
    let start = || {
        let node = node_at(&app, &redis.url(), keys).login("users = \"store\"");
        node.app("tokens = true\nbasic = true\nsession_data = true")
            .start()
    };
    let (mut first, second) = (start().await, start().await);
    for node in [&first, &second] {
        is_ready(node).await;
    }
    let mut command = |args: &[&str]| {
        let (code, said, error) = run_with_input(first.files(), args, "quiet otters hum");
        assert_eq!(code, Some(0), "{args:?}: {said}{error}");
        said
    };
    // Whoever is asked first has to have read the users.
    for args in [
        &["user", "add", "zoe", "--password-stdin"][..],
        &["user", "passwd", "zoe", "--password-stdin"],
        &["user", "disable", "zoe"],
        &["user", "enable", "zoe"],
        &["user", "remove", "zoe"],
        &["user", "list"],
        &["token", "list"],
        &["node", "list"],
        &["status"],
    ] {
        command(args);
    }
    let token = command(&["token", "add", "ada"]);
    let authorization = format!("Bearer {}", token.trim_end());
    let program = second.browser().header("authorization", &authorization);
    let asked = async || (program.fetch("/").await.status == 200).then_some(());
    eventually_some("200 for a token", asked).await;
    for round in 0..2 {
        let refused = second.browser().try_login("ada", "wrong").await;
        refused.assert_status(401);
        let ada = second.browser().login("ada", PASSWORD).await;
        let elsewhere = second.browser().login("ada", PASSWORD).await;
        let bob = second.browser().login("bob", PASSWORD).await;
        for browser in [&ada, &elsewhere, &bob] {
            browser.get("/").await.assert_status(200);
        }
        let csrf = ada.get(ACCOUNT).await.hidden("csrf");
        let fields = [("csrf", &*csrf), ("action", "end-others")];
        ada.post_form(ACCOUNT, &fields)
            .await
            .assert_redirects_to(ACCOUNT);
        bob.logout().await.assert_status(303);
        becomes(&elsewhere, 401).await;
        let listed = command(&["session", "list"]);
        assert!(listed.contains("ada"), "{listed}");
        command(&["session", "list", "--user", "ada"]);
        command(&["session", "revoke", "--user", "ada"]);
        becomes(&ada, 401).await;
        // A form that waits for the login.
        let late = ada.post_form("/form", &[("text", "late")]).await;
        assert!([200, 401, 303].contains(&late.status), "{late}");
        second.browser().login("ada", PASSWORD).await;
        command(&["session", "revoke", "--all"]);
        if round == 0 {
            redis.ask(&["SCRIPT", "FLUSH"]);
        }
    }
    // What is put there again.
    redis.ask(&["FLUSHALL"]);
    let again = async || {
        let browser = second.browser();
        (browser.try_login("bob", PASSWORD).await.status == 303).then_some(())
    };
    eventually_some("a login", again).await;
    command(&["token", "add", "bob"]);
    command(&["token", "revoke", "--user", "bob"]);
    first.stop().await;
    second.stop().await;
    assert_eq!(redis.ask(&["ACL", "LOG"]), "", "nothing was denied");
}

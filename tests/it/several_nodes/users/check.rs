//! What `vestibule check` says.

use super::*;

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
        said.contains("users.toml: not read any more, as the session store has users\n"),
        "{said}"
    );
    for said_too in [
        "users.toml: nobody reads this users file any more",
        "take `users_file` out of [login]",
    ] {
        assert!(
            error.contains(said_too) || said.contains(said_too),
            "{said}{error}"
        );
    }
    let url = "https://gate.test/";
    let asked = run(first.files(), &["check", "--url", url, "--user", "ADA"]);
    assert_eq!(asked.0, Some(0), "{}{}", asked.1, asked.2);
    done(&mut first, &["user", "disable", "ada"], "");
    let (_, said, error) = run(first.files(), &["check", "--url", url, "--user", "ada"]);
    assert!(said.contains("disabled"), "{said}{error}");
    damage(&redis, true);
    let (_, said, error) = run(first.files(), &["check", "--url", url, "--user", "Bob"]);
    assert!(
        said.contains("Bob, unreadable in the session store: cannot sign in"),
        "{said}{error}"
    );
    let (_, said, error) = run(first.files(), &["check", "--url", url, "--user", "eve"]);
    assert!(
        said.contains("eve, unknown: cannot sign in"),
        "{said}{error}"
    );
    // A users file that is not there any more is nothing to warn of.
    damage(&redis, false);
    std::fs::remove_file(first.files().path("users.toml")).unwrap();
    let (_, said, error) = run(first.files(), &["check"]);
    assert!(
        !error.contains("nobody reads this users file"),
        "{said}{error}"
    );
    assert!(
        !said.contains("nobody reads this users file"),
        "{said}{error}"
    );
    // A store that takes its time with them is told of within the time of a check.
    redis.stop();
    let (_, said, error) = run(first.files(), &["check"]);
    assert!(
        format!("{said}{error}").contains("its users cannot be read: the session store"),
        "{said}{error}"
    );
    redis.go_on();
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_06_a_node_says_that_its_memory_may_not_be_enough() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let keys = "max_connections = 1_000_000_000";
    let mut node = with_users(&app, &redis, "30s").server(keys).start().await;
    is_ready(&node).await;
    let said = done(&mut node, &["status"], "");
    assert!(said.contains("the configuration may ask for"), "{said}");
}

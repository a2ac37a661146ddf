//! Users of files.

use super::*;

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
async fn rel_19_an_import_goes_on_past_a_damaged_user_and_says_how_to_mend_it() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let mut node = with_users(&app, &redis, "30s").start().await;
    is_ready(&node).await;
    damage_new(&redis, "junk");
    let line = |name: &str| {
        format!("{name}:$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n")
    };
    let file = ["eve", "junk", "zoe"].map(line).concat();
    let file = node.files().write("htpasswd", &file, 0o600);
    let import = ["user", "import", &file.display().to_string()];
    let (code, said, error) = run(node.files(), &import);
    assert_eq!(
        (code, &*said),
        (Some(1), "added eve\nadded zoe\n"),
        "{error}"
    );
    assert!(error.contains("junk was not imported: "), "{error}");
    assert!(error.contains("1 of 3 users were not imported"), "{error}");
    let (_, command) = error.split_once("do `redis-cli ").unwrap();
    let (command, _) = command.split_once('`').unwrap();
    redis_cli(&redis, command);
    // As soon as the node has looked at the store once more.
    let files = node.files();
    let imported = async || {
        let (code, said, _) = run(files, &import);
        (code == Some(0)).then_some(said)
    };
    let said = eventually_some("the import", imported).await;
    assert!(said.contains("added junk\n"), "{said}");
    node.browser().login("junk", "U*U").await;
}

/// Puts somebody there whom nobody can read.
fn damage_new(redis: &Redis, name: &str) {
    use std::fmt::Write;

    use sha2::Digest;
    let field = sha2::Sha256::digest(name.as_bytes());
    let field = field.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\x{byte:02x}").unwrap();
        text
    });
    let set = format!("HSET '\"vestibule:{{users}}:sealed\"' '\"{field}\"' '\"junk\"'");
    redis_cli(redis, &format!("--quoted-input {set}"));
}

fn redis_cli(redis: &Redis, words: &str) {
    let command = format!("redis-cli -p {} {words}", redis.port());
    let ran = std::process::Command::new("sh")
        .args(["-c", &command])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "1\n", "{command}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_of_a_users_file_is_too_large_for_the_store_is_named() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let group = "g".repeat(20_000);
    let eve = User::new("eve", PASSWORD).groups(&[&group]);
    let node = with_users(&app, &redis, "30s").account(eve).spawn().await;
    let named = || {
        let log = node.program.log();
        let message = "the users file was not taken over into the session store";
        let mut lines = log.iter().filter(|line| line["message"] == message);
        lines.any(|line| line["user"] == "eve")
    };
    eventually("a line with her name", named).await;
}

//! `vestibule user` and `vestibule hash-password`.

use serde_json::Value;

use crate::harness::*;

#[tokio::test]
async fn users_are_managed_without_a_restart() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .rule("/admin", "{ groups = [\"admins\"] }")
        .spawn()
        .await;
    let files = &service.files;
    let add = [
        "user",
        "add",
        "zoe",
        "--group",
        "admins",
        "--email",
        "zoe@example.org",
        "--password-stdin",
    ];
    let (code, _, stderr) = run_with_input(files, &add, "a good long password\nnot this line\n");
    assert_eq!(code, Some(0), "{stderr}");
    let text = std::fs::read_to_string(files.path("users.toml")).unwrap();
    assert!(
        text.contains("$argon2id$") && !text.contains("good long"),
        "{text}"
    );

    let browser = service.browser();
    eventually_some("zoe to be known", async || {
        (browser
            .try_login("zoe", "a good long password")
            .await
            .status
            == 303)
            .then_some(())
    })
    .await;
    browser.get("/admin").await.assert_status(200);
    assert_eq!(
        app.last().value("x-forwarded-email"),
        Some("zoe@example.org")
    );

    let (code, stdout, _) = run(files, &["user", "list", "--json"]);
    let users: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &users[0]["name"]),
        (Some(0), &Value::from("zoe")),
        "{stdout}"
    );
    assert!(!stdout.contains("$argon2"), "{stdout}");

    let soon = async |status| {
        let what = format!("{status} for zoe");
        eventually_some(&what, async || {
            (browser.fetch("/").await.status == status).then_some(())
        })
        .await;
    };
    assert_eq!(run(files, &["user", "disable", "zoe"]).0, Some(0));
    soon(401).await;
    assert_eq!(
        run(files, &["user", "enable", "ZOE"]).0,
        Some(0),
        "names have no case"
    );
    eventually_some("zoe to be let in", async || {
        (browser
            .try_login("zoe", "a good long password")
            .await
            .status
            == 303)
            .then_some(())
    })
    .await;
    let (code, _, stderr) = run_with_input(
        files,
        &["user", "passwd", "zoe", "--password-stdin"],
        "another long password",
    );
    assert_eq!(code, Some(0), "{stderr}");
    soon(401).await;
    browser
        .try_login("zoe", "another long password")
        .await
        .assert_status(303);
    assert_eq!(run(files, &["user", "remove", "zoe"]).0, Some(0));
    soon(401).await;

    for args in [
        &["user", "remove", "zoe"][..],
        &["user", "disable", "nobody"],
        &["user", "passwd", "nobody", "--password-stdin"],
    ] {
        let (code, _, stderr) = run_with_input(files, args, "a good long password");
        assert_eq!(code, Some(1), "{args:?}: {stderr}");
    }
}

#[test]
fn weak_passwords_and_second_users_of_a_name_are_refused() {
    let files = Vestibule::before_url("http://127.0.0.1:3000")
        .user("ada", PASSWORD)
        .write();
    let before = std::fs::read_to_string(files.path("users.toml")).unwrap();
    for (name, password) in [
        ("zoe", "short"),
        ("zoe", ""),
        ("zoe", "password123"),
        ("ADA", "a good long password"),
        ("a b", "a good long password"),
        ("zo\u{eb}", "a good long password"),
    ] {
        let (code, _, stderr) =
            run_with_input(&files, &["user", "add", name, "--password-stdin"], password);
        assert!(
            matches!(code, Some(1 | 2)),
            "{name} {password:?}: {code:?} {stderr}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(files.path("users.toml")).unwrap(),
        before
    );
}

#[test]
fn a_hash_is_printed_for_the_password_of_standard_input() {
    let (code, stdout, stderr) =
        run_to_end(command().arg("hash-password"), "a good long password\n");
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(
        stdout.starts_with("$argon2id$v=19$")
            && stdout.ends_with('\n')
            && stdout.lines().count() == 1,
        "{stdout}"
    );
}

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
        ("a  b", "a good long password"),
        ("zo\u{435}", "a good long password"),
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

#[tokio::test]
async fn users_of_a_real_htpasswd_file_sign_in_after_the_import() {
    if real::find("htpasswd").is_none() {
        return;
    }
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/staff", "{ groups = [\"staff\"] }")
        .spawn()
        .await;
    let htpasswd = |options: &str, name: &str, password: &str| {
        let mut command = std::process::Command::new("htpasswd");
        let (code, line, said) = run_to_end(command.args([options, name, password]), "");
        assert_eq!(code, Some(0), "{said}");
        line.trim_end().to_owned() + "\n"
    };
    let text = [
        "# the old proxy\n\n".to_owned(),
        htpasswd("-nbB", "bo", "the password of bo"),
        htpasswd("-nbB", "ADA", "another password of ada"),
        htpasswd("-nb5", "cy", "the password of cy"),
    ];
    let file = gate.files.write("htpasswd", &text.concat(), 0o644);
    let import = ["user", "import", file.to_str().unwrap(), "--group", "staff"];
    let (code, out, said) = run(&gate.files, &import);
    assert_eq!(
        (code, out.as_str(), said.as_str()),
        (
            Some(0),
            "added bo\nadded cy\n\
             kept ADA, who exists already; --replace takes the password in the file\n",
            ""
        )
    );
    let signs_in = async |name: &str, password: &str| {
        eventually_some(&format!("{name} to sign in"), async || {
            let browser = gate.browser();
            let reply = browser.try_login(name, password).await;
            (reply.status == 303).then_some(browser)
        })
        .await
    };
    for name in ["bo", "cy"] {
        let browser = signs_in(name, &format!("the password of {name}")).await;
        browser.get("/staff").await.assert_status(200);
    }
    let ada = signs_in("ada", PASSWORD).await;

    let (code, out, said) = run(&gate.files, &[&import[..], &["--replace"]].concat());
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(out.matches("has the password of").count(), 3, "{out}");
    eventually_some("the session of the old password to end", async || {
        (ada.fetch("/").await.status == 401).then_some(())
    })
    .await;
    let ada = signs_in("ada", "another password of ada").await;
    ada.get("/staff").await.assert_status(403);
}

#[test]
fn an_import_takes_everybody_or_nobody_unless_it_is_told_otherwise() {
    const GOOD: &str = "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq";
    let files = Vestibule::before_url("http://127.0.0.1:3000")
        .user("ada", PASSWORD)
        .write();
    let users = || std::fs::read_to_string(files.path("users.toml")).unwrap();
    let before = users();
    let text = format!(
        "bo:{GOOD}\ncy:$apr1$8Rt4hTgw$mJ0YyBoTuJYGDKi/5rvQy/\ndi:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n\
         ed:rqXexS6ZhobKA\nfay:in the clear\nno colon here\n"
    );
    let file = files.write("htpasswd", &text, 0o600);
    let import = ["user", "import", file.to_str().unwrap()];

    let (code, out, said) = run(&files, &import);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{said}");
    for (line, reason) in [
        (2, "user \"cy\": Apache MD5 (apr1)"),
        (3, "user \"di\": unsalted SHA-1"),
        (4, "user \"ed\": the password is DES crypt or not hashed"),
        (5, "user \"fay\": the password is DES crypt or not hashed"),
        (6, "no `:`"),
    ] {
        let expected = format!("{}:{line}: {reason}", file.display());
        assert!(said.contains(&expected), "{expected} in\n{said}");
    }
    assert!(
        said.contains("nobody was imported; fix the lines above (5)"),
        "{said}"
    );
    for secret in [
        "8Rt4hTgw",
        "W6ph5Mm5",
        "rqXexS6ZhobKA",
        "in the clear",
        "no colon here",
    ] {
        assert!(!said.contains(secret), "{secret} in\n{said}");
    }
    assert_eq!(users(), before);

    let (code, out, said) = run(&files, &[&import[..], &["--skip-invalid"]].concat());
    assert_eq!((code, out.as_str()), (Some(0), "added bo\n"), "{said}");
    assert!(said.contains("user \"cy\": Apache MD5"), "{said}");
    let after = users();
    let bo = format!("{before}\n[user.bo]\npassword = \"{GOOD}\"\nid = \"");
    assert!(after.starts_with(&bo), "{after}");
    assert_eq!(after.lines().count(), bo.lines().count());

    files.write("empty", "# nobody\n", 0o600);
    for (file, group, code, message) in [
        ("missing", "staff", 1, "cannot read"),
        ("empty", "staff", 1, "has no users to import"),
        (".", "staff", 1, "cannot read"),
        ("htpasswd", "a,b", 2, "is no group"),
    ] {
        let path = files.path(file);
        let import = ["user", "import", path.to_str().unwrap(), "--group", group];
        let (found, _, said) = run(&files, &import);
        assert_eq!(found, Some(code), "{file}: {said}");
        assert!(said.contains(message), "{file}: {said}");
    }
}

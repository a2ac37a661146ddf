use serde_json::Value;

use crate::harness::*;

/// Of the password `password`, by `htpasswd -B`.
const BCRYPT: &str = "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";

/// As a file has them, as people may type them, as they are kept, and as an app gets them.
const NAMES: [(&str, &str, &str, &str); 7] = [
    (
        "Ada Lovelace",
        "ada lovelace",
        "Ada Lovelace",
        "Ada%20Lovelace",
    ),
    ("jürgen", "JÜRGEN", "jürgen", "j%C3%BCrgen"),
    ("zoe\u{308}", "ZOË", "zoë", "zo%C3%AB"),
    ("CORP\\ada", "corp\\ADA", "CORP\\ada", "CORP\\ada"),
    ("o'brien", "O'Brien", "o'brien", "o'brien"),
    ("Юрий", "юрий", "Юрий", "%D0%AE%D1%80%D0%B8%D0%B9"),
    ("田中", "田中", "田中", "%E7%94%B0%E4%B8%AD"),
];

/// With these users, imported from a file that Windows has written.
async fn imported(app: &Upstream) -> Service {
    let spellings: Vec<_> = NAMES.iter().map(|(.., kept, _)| *kept).collect();
    let service = Vestibule::before(app)
        .user("ada", PASSWORD)
        .rule("/staff", "{ groups = [\"staff\"] }")
        .rule("/named", &format!("{{ users = {spellings:?} }}"))
        .rule("/nobody", "{ users = [\"ada\"] }")
        .spawn()
        .await;
    let lines = NAMES.map(|(name, ..)| format!("{name}:{BCRYPT}\r\n"));
    let lines = lines.concat();
    let file = service
        .files
        .write("htpasswd", &format!("\u{feff}{lines}"), 0o644);
    let import = ["user", "import", file.to_str().unwrap(), "--group", "staff"];
    let (code, out, said) = run(&service.files, &import);
    let expected = NAMES.map(|(.., kept, _)| format!("added {kept}\n"));
    let expected = expected.concat();
    assert_eq!((code, &*out, &*said), (Some(0), &*expected, ""));
    // Again they are there already, however they are written.
    let (code, out, said) = run(&service.files, &import);
    assert_eq!((code, &*said), (Some(0), ""));
    assert_eq!(out.matches("kept ").count(), NAMES.len(), "{out}");
    service
}

async fn signs_in(service: &Service, name: &str, password: &str) -> Browser {
    eventually_some(&format!("{name} to sign in"), async || {
        let browser = service.browser();
        let reply = browser.try_login(name, password).await;
        (reply.status == 303).then_some(browser)
    })
    .await
}

#[tokio::test]
async fn sec_40_users_with_spaces_umlauts_and_domains_keep_their_names() {
    let app = Upstream::echo().await;
    let service = imported(&app).await;
    for (_, typed, kept, sent) in NAMES {
        let browser = signs_in(&service, typed, "password").await;
        browser.get("/staff").await.assert_status(200);
        assert_eq!(app.last().value("x-forwarded-user"), Some(sent));
        browser.get("/named").await.assert_status(200);
        browser.get("/nobody").await.assert_status(403);
        let page = browser.get("/.vestibule/account").await.text();
        let shown = kept.replace('\'', "&#x27;");
        assert!(page.contains(&shown), "{shown} in {page}");

        // The commands know them by any spelling.
        let list = ["session", "list", "--json", "--user", typed];
        let (code, out, said) = run(&service.files, &list);
        assert_eq!(code, Some(0), "{said}");
        let sessions: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(sessions[0]["user"], kept, "{out}");
        let url = ["check", "--url", "https://gate.test/named", "--user", typed];
        let (code, out, said) = run(&service.files, &url);
        assert!(code == Some(0) && out.contains("allowed"), "{out}{said}");

        let passwd = ["user", "passwd", typed, "--password-stdin"];
        let (code, _, said) = run_with_input(&service.files, &passwd, "a good long password\n");
        assert_eq!(code, Some(0), "{said}");
        eventually_some("the session of the old password to end", async || {
            (browser.fetch("/").await.status == 401).then_some(())
        })
        .await;
        let browser = signs_in(&service, kept, "a good long password").await;
        let revoke = ["session", "revoke", "--user", typed];
        assert_eq!(run(&service.files, &revoke).0, Some(0));
        assert_eq!(browser.fetch("/").await.status, 401);
        assert_eq!(run(&service.files, &["user", "remove", typed]).0, Some(0));
    }
    let users = std::fs::read_to_string(service.files.path("users.toml")).unwrap();
    assert_eq!(users.matches("[user.").count(), 1, "{users}");
}

#[tokio::test]
async fn sec_58_what_looks_like_a_name_is_an_unknown_user() {
    let app = Upstream::echo().await;
    let service = imported(&app).await;
    signs_in(&service, "jürgen", "password").await;
    for name in [
        " jürgen",
        "jürgen ",
        "jürgen\u{a0}",
        "jurgen",
        "ju\u{308}\u{200d}rgen",
        "jürgen\u{200b}",
        "\u{202e}jürgen",
        "jürgen\0",
        "jürgen\r\n",
        "ｊüｒｇｅｎ",
        "Ada  Lovelace",
        "Ada\u{a0}Lovelace",
        "Ada\tLovelace",
        "Ada\u{2003}Lovelace",
        "CORP\\\\ada",
        "CORP/ada",
        "CORP\u{ff3c}ada",
        "CORP\\ad\u{430}",
        "o\u{2019}brien",
    ] {
        // Each from a network of its own: no throttle comes in between.
        let reply = service.browser().try_login(name, "password").await;
        assert_eq!(reply.status, 401, "{name:?}");
    }
}

#[test]
fn a_file_that_is_no_utf_8_is_told_with_the_command_that_converts_it() {
    if real::find("iconv").is_none() {
        return;
    }
    let files = Vestibule::before_url("http://127.0.0.1:3000").write();
    let text = format!("jürgen:{BCRYPT}\nada:{BCRYPT}\n");
    for (encoding, said, line) in [
        ("ISO-8859-1", "no UTF-8 text", ":1: "),
        ("UTF-16", "it is UTF-16 text", ": "),
    ] {
        let file = files.write("htpasswd", &text, 0o600);
        let sh = |script: &str| {
            let mut command = std::process::Command::new("sh");
            command.args(["-ec", script]).current_dir(files.path(""));
            let (code, _, said) = run_to_end(&mut command, "");
            assert_eq!(code, Some(0), "{script}: {said}");
        };
        sh(&format!(
            "iconv -f UTF-8 -t {encoding} htpasswd > other; mv other htpasswd"
        ));
        let (code, _, told) = run(&files, &["user", "import", file.to_str().unwrap()]);
        let expected = format!("{}{line}{said}; convert ", file.display());
        assert!(code == Some(1) && told.contains(&expected), "{told}");
        let (_, command) = told.split_once('`').unwrap();
        sh(command.split_once('`').unwrap().0);
        let converted = files.path("htpasswd.utf8");
        let import = ["user", "import", converted.to_str().unwrap()];
        let (code, out, told) = run(&files, &import);
        assert!(code == Some(0) && out.contains("jürgen"), "{out}{told}");
    }
}

#[test]
fn a_user_with_any_name_can_be_added_and_is_written_as_toml() {
    let files = Vestibule::before_url("http://127.0.0.1:3000").write();
    for (name, table) in [
        ("Ada Lovelace", "[user.\"Ada Lovelace\"]"),
        ("CORP\\ada", "[user.'CORP\\ada']"),
        ("zoe\u{308}", "[user.\"zoë\"]"),
    ] {
        let add = ["user", "add", name, "--password-stdin"];
        let (code, _, said) = run_with_input(&files, &add, "a good long password\n");
        assert_eq!((code, &*said), (Some(0), ""), "{name}");
        let users = std::fs::read_to_string(files.path("users.toml")).unwrap();
        assert!(users.contains(table), "{users}");
    }
    let add = ["user", "add", "ADA LOVELACE", "--password-stdin"];
    let (code, _, said) = run_with_input(&files, &add, "");
    let expected = "do `vestibule user passwd 'Ada Lovelace'` for another password";
    assert!(code == Some(1) && said.contains(expected), "{said}");
    for name in ["ad\u{430}", "ada ", "a/b"] {
        let add = ["user", "add", name, "--password-stdin"];
        let (code, _, said) = run_with_input(&files, &add, "a good long password\n");
        let expected = "is no name for a user: a name is 1 to 64 letters and digits";
        assert!(code == Some(2) && said.contains(expected), "{said}");
    }
}

//! The commands: what they print, how they end, and that nothing starts by half: SEC-80.

use std::net::TcpListener;

use serde_json::Value;

use crate::harness::*;

fn configuration() -> Vestibule {
    Vestibule::before_url("http://127.0.0.1:3000")
        .app("host = \"gate.test\"")
        .rule("/admin", "{ groups = [\"admins\"] }")
        .rule("/public", "everyone")
        .account(User::new("ada", PASSWORD).groups(&["admins"]))
        .user("bob", PASSWORD)
}

#[test]
fn check_says_what_a_configuration_means() {
    let files = configuration().write();
    let (code, stdout, stderr) = run(&files, &["check"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    for part in [
        "gate.test",
        "http://127.0.0.1:3000",
        "/admin: groups admins",
        "/public: everyone",
        "2 users",
    ] {
        assert!(stdout.contains(part), "{part:?} in {stdout}");
    }
    let (code, stdout, _) = run(&files, &["check", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)));
}

#[test]
fn check_says_who_may_open_what_and_by_which_rule() {
    let files = configuration().write();
    for (url, user, rule, verdict) in [
        (
            "https://gate.test/admin/x",
            "",
            "/admin: groups admins",
            "login required",
        ),
        (
            "https://gate.test/admin/x",
            "ada",
            "/admin: groups admins",
            "allowed",
        ),
        (
            "https://gate.test/%61dmin",
            "bob",
            "/admin: groups admins",
            "forbidden",
        ),
        (
            "https://gate.test/public/x?y",
            "",
            "/public: everyone",
            "allowed",
        ),
        (
            "https://other.test/",
            "ada",
            "no app has the host",
            "refused",
        ),
    ] {
        let user: &[_] = if user.is_empty() {
            &[]
        } else {
            &["--user", user]
        };
        let (code, stdout, stderr) = run(&files, &[&["check", "--url", url], user].concat());
        assert_eq!(code, Some(0), "{stderr}");
        assert!(
            stdout.contains(rule) && stdout.contains(verdict),
            "{url} {user:?}:\n{stdout}"
        );
    }
    let (code, _, stderr) = run(&files, &["check", "--url", "gate.test/admin"]);
    assert_eq!(code, Some(2), "{stderr}");
}

#[test]
fn sec_80_what_is_wrong_is_said_with_its_place_and_nothing_starts() {
    let valid = configuration().config("[log]\nlevel = \"info\"");
    let files = valid.write();
    let good = std::fs::read_to_string(files.path("config.toml")).unwrap();
    for (wrong, right, said) in [
        (
            "[session]\nidle_timout = \"5m\"",
            "[session]",
            "idle_timeout",
        ),
        ("[session]\nidle_timeout = 30", "[session]", "idle_timeout"),
        ("[sesion]", "[session]", "session"),
        ("allow = \"anyone\"", "allow = \"everyone\"", "everyone"),
        (
            "allow = { group = [\"admins\"] }",
            "allow = { groups = [\"admins\"] }",
            "groups",
        ),
        ("path = \"public\"", "path = \"/public\"", "path"),
        (
            "path = \"/admin/\"\nallow = \"nobody\"",
            "path = \"/public\"\nallow = \"everyone\"",
            "rule",
        ),
        (
            "upstream = \"127.0.0.1:3000\"",
            "upstream = \"http://127.0.0.1:3000\"",
            "upstream",
        ),
        ("level = info", "level = \"info\"", "quotes"),
    ] {
        assert!(good.contains(right), "{right} in {good}");
        files.write("config.toml", &good.replacen(right, wrong, 1), 0o644);
        for args in [&["check"][..], &["serve"], &["user", "list"]] {
            let (code, stdout, stderr) = run(&files, args);
            assert_eq!(
                (code, &*stdout),
                (Some(78), ""),
                "{args:?} {wrong:?}: {stderr}"
            );
            let place = stderr
                .split("config.toml:")
                .nth(1)
                .unwrap_or_else(|| panic!("no place: {stderr}"));
            assert!(place.starts_with(|c: char| c.is_ascii_digit()), "{stderr}");
            assert!(stderr.contains(said), "{said:?} for {wrong:?}: {stderr}");
        }
    }
}

#[test]
fn sec_80_every_problem_is_told_at_once() {
    let files = configuration()
        .session("idle_timout = \"5m\"\nlifetime = 12")
        .server("max_conections = 1")
        .write();
    let (code, _, stderr) = run(&files, &["check"]);
    assert_eq!(code, Some(78));
    for part in ["idle_timeout", "lifetime", "max_connections", "3 problems"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let (code, stdout, _) = run(&files, &["check", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["ok"]), (Some(78), &Value::Bool(false)));
    assert_eq!(
        report["problems"].as_array().map(Vec::len),
        Some(3),
        "{report:#}"
    );
}

#[test]
fn sec_80_files_that_are_missing_or_wrong_are_no_start() {
    for (name, content) in [
        ("users.toml", None),
        (
            "users.toml",
            Some("[user.ada]\npassword = \"plain text\"\n"),
        ),
        ("users.toml", Some("[user.ada]\npasword = \"x\"\n")),
        ("cert.pem", None),
        ("cert.pem", Some("nonsense")),
        ("key.pem", None),
        ("key.pem", Some("nonsense")),
    ] {
        let files = configuration().write();
        match content {
            None => std::fs::remove_file(files.path(name)).unwrap(),
            Some(text) => drop(files.write(name, text, 0o600)),
        }
        let (code, _, stderr) = run(&files, &["serve"]);
        assert_eq!(code, Some(78), "{name} {content:?}: {stderr}");
        assert!(stderr.contains(name), "{stderr}");
        if name == "users.toml" {
            let (code, _, stderr) = run(&files, &["check"]);
            assert_eq!(code, Some(78), "check, {content:?}: {stderr}");
        }
    }
    let (code, _, stderr) = run_without_config(&["serve", "--config", "/nonexistent/config.toml"]);
    assert_eq!(code, Some(78), "{stderr}");
}

#[test]
fn a_port_in_use_is_a_failure_that_may_pass() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let files = configuration()
        .server(&format!("redirect_http = [\"{address}\"]"))
        .write();
    let (code, _, stderr) = run(&files, &["serve"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&address.to_string()), "{stderr}");
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    for (args, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["serve", "--help"], 0),
        (&[], 2),
        (&["nonsense"], 2),
        (&["serve", "--nonsense"], 2),
        (&["user"], 2),
        (&["user", "add"], 2),
        (&["check", "--user", "ada"], 2),
        (&["hash-password", "a-password-as-argument"], 2),
        (&["completions", "nonsense"], 2),
        (&["quickstart", "not a url"], 2),
    ] {
        let (ended, stdout, stderr) = run_without_config(args);
        assert_eq!(ended, Some(code), "{args:?}: {stdout}{stderr}");
        let (wanted, other) = if code == 0 {
            (stdout, stderr)
        } else {
            (stderr, stdout)
        };
        assert!(
            !wanted.is_empty() && other.is_empty(),
            "{args:?}: {wanted:?} {other:?}"
        );
    }
}

#[test]
fn completions_and_manual_page_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (_, stdout, _) = run_without_config(&["completions", shell]);
        assert!(
            stdout.contains("quickstart") && stdout.contains("hash-password"),
            "{shell}: {stdout:.200}"
        );
    }
    let (_, page, _) = run_without_config(&["manpage"]);
    assert!(
        page.contains(".TH") && page.contains("quickstart"),
        "{page:.200}"
    );
}

#[test]
fn each_command_has_a_manual_page_and_no_page_names_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (code, stdout, stderr) = run_without_config(&["manpage", "--all-to", path]);
    assert_eq!((code, &*stdout, &*stderr), (Some(0), "", ""));
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name));
    let mut to_read = vec!["vestibule.1".to_owned()];
    let mut read = 0;
    while let Some(name) = to_read.pop() {
        let text = page(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let title = format!(".TH {} 1 ", name.trim_end_matches(".1"));
        assert!(text.contains(&title), "{name}: {text:.200}");
        // The list of sub-commands, with a backslash before each hyphen.
        let named = text.lines().filter_map(|line| line.strip_suffix("(1)"));
        to_read.extend(named.map(|name| format!("{}.1", name.replace('\\', ""))));
        read += 1;
    }
    for name in ["vestibule-serve.1", "vestibule-user-import.1"] {
        assert!(page(name).is_ok(), "{name}");
    }
    let written = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(written, read, "and no page is there that none leads to");

    let (code, _, stderr) = run_without_config(&["manpage", "--all-to", "/nonexistent"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("/nonexistent"), "{stderr}");
}

//! The rights of the page are enough, and all of them are needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::page::Page;
use crate::harness::redis::Redis;
use crate::harness::*;

#[test]
fn a_server_that_is_set_up_as_the_page_says_passes_the_check() {
    let mut page = Page::open("several-nodes.md");
    let acl = page.next("text");
    let persistence = page.next("text");
    let secrets = page.next("sh");
    let configuration = page.next("toml");
    assert_eq!(page.next("sh"), "vestibule check\n");
    let of_sentinel = page.next("toml");
    let of_cluster = page.next("toml");
    page.skip("sh", "the tests of several nodes do");
    page.skip("text", "it is what the command shows");
    for language in ["toml", "haproxy", "nginx"] {
        page.skip(
            language,
            "a test of partitions has them on machines of their own",
        );
    }
    page.skip("sh", "it builds a release; `.ci/run` runs it");
    page.skip("text", "it is what the command shows");
    let Some(server) = Redis::start() else {
        return;
    };
    for line in persistence.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        assert_eq!(server.ask(&["CONFIG", "SET", key, value]), "OK\n");
    }
    let words: Vec<_> = acl.split_whitespace().collect();
    assert_eq!(server.ask(&words), "OK\n");

    let write = |configuration: &str| {
        let files = Vestibule::before_url("http://127.0.0.1:9")
            .session("store = \"redis\"")
            .config(configuration)
            .user("ada", PASSWORD)
            .write();
        let here = files.path("").display().to_string();
        let secrets = secrets.replace("/etc/vestibule/", &here);
        let ended = run_to_end(std::process::Command::new("sh").args(["-ec", &secrets]), "");
        assert_eq!(ended.0, Some(0), "{ended:?}");
        files
    };
    let (_, section) = configuration.split_once("\n\n").unwrap();
    let here = section.replace("rediss://redis.example.org:6379", &server.url());
    let (code, said, _) = run(&write(&here), &["check"]);
    assert_eq!(code, Some(0), "{said}");
    // What the server is, and nothing against it.
    let store = said.lines().find(|line| line.starts_with("store "));
    let store = store.unwrap_or_else(|| panic!("{said}"));
    for fact in [
        &*server.url(),
        " Redis ",
        ", master, 0 replicas, appendonly yes, noeviction, clock ",
    ] {
        assert!(store.contains(fact), "{store}");
    }
    assert_eq!(
        said.matches("edis").count(),
        store.matches("edis").count(),
        "{said}"
    );

    let without_one = words.iter().filter(|word| **word != "+xadd");
    let without_one: Vec<_> = without_one.copied().collect();
    assert_eq!(server.ask(&without_one), "OK\n");
    let (code, said, _) = run(&write(&here), &["check"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("it lacks +xadd"), "{said}");

    for section in [of_sentinel, of_cluster] {
        let (code, said, _) = run(&write(&section), &["check", "--url", "https://gate.test/"]);
        assert_eq!(code, Some(0), "{said}");
    }
}

/// Each command that the sources send, from a client or in a script.
fn sent() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let is_of_tests = ["tests", "tests.rs", "test_server.rs"]
                .iter()
                .any(|name| path.ends_with(name));
            if path.is_dir() && !is_of_tests {
                folders.push(path);
            } else if !path.is_dir() && !is_of_tests {
                texts.push(fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut sent = BTreeSet::new();
    for text in texts {
        let program = text.split("mod tests {").next().unwrap();
        for begin in [
            "cmd(\"",
            "redis.call('",
            "redis.call(\"",
            "redis.pcall('",
            "redis.pcall(\"",
        ] {
            for rest in program.split(begin).skip(1) {
                let end = rest.find(|c: char| !c.is_ascii_uppercase());
                let (name, after) = rest.split_at(end.unwrap_or(0));
                let sub = after.strip_prefix("\").arg(\"");
                let sub = sub.and_then(|sub| sub.split_once('"'));
                let is_sub = ["SCRIPT", "CLUSTER"].contains(&name);
                let sub = sub.filter(|_| is_sub).map(|(sub, _)| format!("|{sub}"));
                sent.insert(format!("+{name}{}", sub.unwrap_or_default()).to_ascii_lowercase());
            }
        }
    }
    // To sentinels, which have users of their own; and what a try of each right is made of.
    sent.remove("+sentinel");
    // Nobody needs a right to sign in.
    sent.remove("+auth");
    sent.remove("+");
    sent
}

#[test]
fn the_page_names_each_command_that_is_sent_and_no_other() {
    let page = fs::read_to_string(super::page::folder().join("several-nodes.md")).unwrap();
    let named = page
        .split(['`', ' ', '\n'])
        .filter(|word| word.starts_with('+'));
    let named: BTreeSet<_> = named.map(str::to_owned).collect();
    let rights = include_str!("../../../src/redis/rights.rs");
    let words = rights.split('"').skip(1).step_by(2);
    let is_command = |word: &&str| {
        let is_name = |c: char| c.is_ascii_uppercase() || c == ' ';
        word.len() > 2 && word.chars().all(is_name) && !["KEY", "CHANNEL"].contains(word)
    };
    let rule = |word: &str| format!("+{}", word.to_ascii_lowercase().replace(' ', "|"));
    let mut listed: BTreeSet<_> = words.filter(is_command).map(rule).collect();
    listed.insert("+subscribe".to_owned());
    assert_eq!(named, listed);
    let sent = sent();
    assert!(sent.len() > 5, "{sent:?}");
    assert!(sent.is_subset(&named), "{:?}", sent.difference(&named));
}

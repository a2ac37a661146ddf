use super::*;
use crate::access::{self, Decision, Rules};
use crate::config::Config;
use crate::doctor::named::testing::users;
use crate::request::{Limits, PathCase, Readings};

/// The findings of one app with these rules, as `line: message; help`.
fn found(rules: &str, users: Option<&Users>) -> Vec<String> {
    let text = format!(
        "[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\nname = \"wiki\"\nupstream = \"http://a:1\"\n{rules}"
    );
    let config = Config::parse(&text, "config.toml".as_ref()).unwrap();
    shown(&config.apps, &config.limits, users)
}

fn shown(apps: &[AppSettings], limits: &Limits, users: Option<&Users>) -> Vec<String> {
    let findings = examine(apps, limits, users);
    findings
        .into_iter()
        .map(|one| {
            format!(
                "{:?} {}: {}; {}",
                one.line, one.subject, one.message, one.help
            )
        })
        .collect()
}

fn rule(path: &str, rest: &str) -> String {
    format!("[[app.rule]]\npath = \"{path}\"\n{rest}\n")
}

#[test]
fn a_rule_for_some_methods_that_write_leaves_the_others_to_no_weaker_one() {
    let closed = rule("/a", "methods = [\"PUT\", \"DELETE\"]\nallow = \"nobody\"");
    let [finding] = &found(&closed, None)[..] else {
        panic!()
    };
    assert!(
        finding.contains(
            "it leaves methods that write to a weaker rule: POST, PATCH, ACL and 25 more"
        ),
        "{finding}"
    );
    let few = "methods = [\"GET\", \"PUT\", \"DELETE\", \"MOVE\", \"PROPFIND\"]\n";
    let [finding] = &found(&format!("{few}{closed}"), None)[..] else {
        panic!()
    };
    assert!(finding.contains("weaker rule: MOVE; leave"), "{finding}");
    for fine in [
        format!("{closed}{}", rule("/", "allow = \"nobody\"")),
        format!("{closed}{}", rule("/a", "allow = \"nobody\"")),
        rule(
            "/a",
            "methods = [\"GET\", \"PROPFIND\"]\nallow = \"nobody\"",
        ),
        rule("/a", "methods = [\"PUT\"]\nallow = \"everyone\""),
        rule("/a", "methods = [\"PUT\"]\nallow = \"signed-in\""),
        format!(
            "{}{}",
            rule(
                "/a",
                "methods = [\"PUT\"]\nallow = { groups = [\"a\", \"b\"] }"
            ),
            rule("/", "allow = { groups = [\"b\"] }")
        ),
    ] {
        assert!(found(&fine, None).is_empty(), "{fine}");
    }
    let inside = rule(
        "/a",
        "methods = [\"PUT\"]\nallow = { networks = [\"10.1.0.0/16\"] }",
    );
    for (rest, findings) in [
        ("", 1),
        ("allow = { networks = [\"10.0.0.0/8\"] }", 1),
        ("allow = { networks = [\"10.1.2.0/24\"] }", 0),
        ("allow = \"nobody\"", 0),
    ] {
        let rest = if rest.is_empty() {
            String::new()
        } else {
            rule("/", rest)
        };
        let found = found(&format!("{inside}{rest}"), None);
        assert_eq!(found.len(), findings, "{rest}: {found:?}");
    }
    let wider = format!(
        "{}{}",
        rule("/a", "methods = [\"PUT\"]\nallow = { groups = [\"b\"] }"),
        rule("/", "allow = { groups = [\"a\", \"b\"] }")
    );
    assert_eq!(found(&wider, None).len(), 1);
}

#[test]
fn a_rule_whose_methods_other_rules_all_name_is_never_asked() {
    let some = rule(
        "/a",
        "methods = [\"GET\", \"HEAD\", \"OPTIONS\"]\nallow = \"everyone\"",
    );
    let rest = rule(
        "/a/",
        "methods = [\"POST\", \"PUT\", \"PATCH\", \"DELETE\"]\nallow = \"nobody\"",
    );
    let all = rule("/a", "allow = \"signed-in\"");
    let known =
        "methods = [\"GET\", \"HEAD\", \"OPTIONS\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]\n";
    assert_eq!(
        found(&format!("{known}{some}{rest}{all}"), None),
        [
            "Some(16) app wiki, rule /a: it can never match: other rules of this path name every \
          method (line 8, 12); leave one of them out"
        ]
    );
    assert!(found(&format!("{some}{all}"), None).is_empty());
    assert!(found(&format!("{known}{some}{rest}"), None).is_empty());
    // A longer path leaves the shorter one something: at least its own.
    let longer = rule("/a/b", "allow = \"everyone\"");
    assert!(found(&format!("{longer}{all}"), None).is_empty());
}

#[test]
fn a_path_with_parameters_is_never_judged_alone() {
    for (path, bare) in [
        ("/a;x", "/a"),
        ("/a;x/b", "/a"),
        ("/a%3Bx", "/a"),
        ("/;x", "/"),
    ] {
        let found = found(&rule(path, "allow = \"everyone\""), None);
        let [finding] = &found[..] else {
            panic!("{path}: {found:?}");
        };
        assert!(
            finding.contains("it opens nothing by itself: a path with `;`"),
            "{finding}"
        );
        assert!(finding.ends_with(&format!("as in \"{bare}\"")), "{finding}");
        // So it is: where nobody may open anything else, this rule lets nobody in.
        let open = Rule::new(path, vec![], Allow::Everyone);
        let rules = vec![open, Rule::new("/", vec![], Allow::Nobody)];
        let rules = Rules::new(rules, PathCase::Sensitive).unwrap();
        let target = format!("{path}/below");
        let readings = Readings::of(&target, PathCase::Sensitive).unwrap();
        let decision = access::decide(&rules, &readings, &Method::GET, None, None);
        assert!(matches!(decision, Decision::Forbid), "{path}");
    }
}

#[test]
fn a_path_that_no_target_can_have_is_never_asked() {
    let long = format!("/{}", "x".repeat(9 * 1024));
    let found = found(&rule(&long, "allow = \"nobody\""), None);
    assert!(
        found[0].contains("its path is longer than `target`"),
        "{found:?}"
    );
}

#[test]
fn whom_a_rule_names_in_vain_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let users = users(&folder);
    for (allow, expected) in [
        ("{ groups = [\"admins\"] }", None),
        ("{ groups = [\"guests\"] }", None), // whoever is disabled may come back
        ("{ users = [\"ada\", \"eve\"] }", None),
        ("\"signed-in\"", None),
        ("\"nobody\"", None),
        (
            "{ groups = [\"admin\"] }",
            Some("no user is in the group \"admin\": it lets nobody in; did you mean \"admins\"?"),
        ),
        (
            "{ groups = [\"admins\", \"staff\", \"it\"] }",
            Some("no user is in the groups \"staff\", \"it\"; add \"staff\" to the `groups` of"),
        ),
        (
            "{ groups = [\"Admins\"] }",
            Some(
                "no user is in the group \"Admins\": it lets nobody in; did you mean \"admins\"? Upp",
            ),
        ),
        (
            "{ groups = [\"GÄSTE\"] }",
            Some(
                "no user is in the group \"GÄSTE\": it lets nobody in; did you mean \"Gäste\"? Upp",
            ),
        ),
        ("{ users = [\"Ada\", \"JÜRGEN\", \"Ju\u{308}rgen\"] }", None),
        (
            "{ users = [\"adam\"] }",
            Some("there is no user \"adam\": it lets nobody in; did you mean \"ada\"?"),
        ),
        (
            "{ users = [\"zoe\"] }",
            Some("there is no user \"zoe\": it lets nobody in; do `vestibule user add zoe`, or"),
        ),
        (
            "{ users = [\"$(touch y)\"] }",
            Some(
                "there is no user \"$(touch y)\": it lets nobody in; do `vestibule user add \
                 '$(touch y)'`, or",
            ),
        ),
        (
            "{ users = [\"-x y\"] }",
            Some(
                "there is no user \"-x y\": it lets nobody in; do `vestibule user add -- '-x y'`, or",
            ),
        ),
    ] {
        let rules = rule("/x", &format!("allow = {allow}"));
        let found = found(&rules, Some(&users));
        let place = "Some(7) app wiki, rule /x: ";
        match (expected, &found[..]) {
            (None, []) => {}
            (Some(said), [one]) => {
                assert!(one.starts_with(&format!("{place}{said}")), "{allow}: {one}");
            }
            _ => panic!("{allow}: {found:?}"),
        }
    }
    // When the users file cannot be read, that is the finding.
    assert!(found(&rule("/x", "allow = { users = [\"zoe\"] }"), None).is_empty());
}

#[test]
fn a_host_that_browsers_write_in_another_way_is_never_asked_for() {
    let app = |host: &str| found(&format!("host = \"{host}\""), None);
    for host in ["[::1]", "[2001:db8::1]", "wiki.example.org", "127.0.0.1"] {
        assert!(app(host).is_empty(), "{host}");
    }
    for host in ["[0:0:0:0:0:0:0:1]", "[2001:db8:0::1]", "[::0]"] {
        let found = app(host);
        assert!(
            found[0].contains("nobody gets to this app; write host = \"["),
            "{found:?}"
        );
    }
}

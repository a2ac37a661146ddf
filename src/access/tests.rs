use super::*;
use crate::clock::Timestamp;
use crate::principal::{AccountRef, AuthContext, Method as By, Scope};

fn someone(groups: &[&str]) -> Principal {
    called("ada", groups)
}

fn called(user: &str, groups: &[&str]) -> Principal {
    let groups = groups.iter().map(|&g| g.to_owned()).collect();
    let identity = Identity::new(user.to_owned(), groups, None);
    let context = AuthContext::new(By::Password.into(), Timestamp::from_millis(0));
    let account = AccountRef::of_users_file(user);
    Principal::new(account, identity.into(), context.into())
}

fn verdict(rules: &[Rule], method: &Method, path: &str, who: Option<Principal>) -> String {
    verdict_at(None, rules, method, path, who)
}

fn verdict_at(
    client: Option<IpAddr>,
    rules: &[Rule],
    method: &Method,
    path: &str,
    who: Option<Principal>,
) -> String {
    let rules = Rules::new(rules.to_vec(), PathCase::Sensitive).unwrap();
    match decide(
        &rules,
        &Readings::of(path, rules.case()).unwrap(),
        method,
        who,
        client,
    ) {
        Decision::Allow(_) => "allow".to_owned(),
        Decision::Forbid => "forbid".to_owned(),
        Decision::Login => "login".to_owned(),
        Decision::OutOfScope => "scope".to_owned(),
        Decision::WrongNetwork => "network".to_owned(),
    }
}

#[test]
fn sec_96_a_scope_narrows_what_the_rules_allow_in_every_reading() {
    let rules = [
        Rule::new("/api/closed", vec![], Allow::Nobody),
        Rule::new("/public", vec![], Allow::Everyone),
    ];
    let paths = vec!["/api".to_owned()];
    let scope = Scope::new(vec![], paths, vec![Method::GET], Networks::default());
    let scope = std::sync::Arc::new(scope);
    for (method, path, expected) in [
        (Method::GET, "/api/x", "allow"),
        (Method::GET, "/api/closed", "forbid"),
        (Method::POST, "/api/x", "scope"),
        (Method::GET, "/other", "scope"),
        (Method::GET, "/public", "scope"),
        (Method::GET, "/api;v=1/x", "scope"),
        (Method::GET, "/api/x;v=1", "allow"),
    ] {
        let who = someone(&[]).within(std::sync::Arc::clone(&scope));
        let found = verdict(&rules, &method, path, Some(who));
        assert_eq!(found, expected, "{method} {path}");
    }
}

#[test]
fn without_a_rule_any_signed_in_user_may_open_everything() {
    assert_eq!(verdict(&[], &Method::GET, "/", None), "login");
    assert_eq!(
        verdict(&[], &Method::POST, "/x", Some(someone(&[]))),
        "allow"
    );
}

#[test]
fn sec_32_a_prefix_matches_whole_segments() {
    let rules = [Rule::new("/public/", vec![], Allow::Everyone)];
    for (path, expected) in [
        ("/public", "allow"),
        ("/public/", "allow"),
        ("/public/a/b", "allow"),
        ("/publicx", "login"),
        ("/publi", "login"),
        ("/", "login"),
        ("/Public", "login"),
        ("/x/public", "login"),
    ] {
        assert_eq!(
            verdict(&rules, &Method::GET, path, None),
            expected,
            "{path}"
        );
    }
}

#[test]
fn sec_34_the_longest_path_wins_then_the_rule_that_names_methods() {
    let admins = || Allow::Groups(vec!["admins".to_owned()]);
    let rules = [
        Rule::new("/", vec![], Allow::Everyone),
        Rule::new("/admin", vec![], admins()),
        Rule::new("/admin/health", vec![Method::GET], Allow::Everyone),
        Rule::new("/api", vec![Method::GET, Method::HEAD], Allow::Everyone),
        Rule::new("/api", vec![], Allow::Nobody),
    ];
    for (method, path, who, expected) in [
        (Method::GET, "/", None, "allow"),
        (Method::GET, "/admin", None, "login"),
        (Method::GET, "/admin/x", Some(someone(&["users"])), "forbid"),
        (
            Method::GET,
            "/admin/x",
            Some(someone(&["users", "admins"])),
            "allow",
        ),
        (Method::GET, "/admin/health", None, "allow"),
        (Method::POST, "/admin/health", None, "login"),
        (Method::GET, "/api/v1", None, "allow"),
        (
            Method::POST,
            "/api/v1",
            Some(someone(&["admins"])),
            "forbid",
        ),
    ] {
        assert_eq!(
            verdict(&rules, &method, path, who),
            expected,
            "{method} {path}"
        );
    }
}

#[test]
fn sec_58_users_are_compared_as_everywhere() {
    for (named, user, expected) in [
        ("ada", "ada", "allow"),
        ("Ada", "ada", "allow"),
        ("ada", "Ada", "allow"),
        ("JÜRGEN", "Jürgen", "allow"),
        ("Ju\u{308}rgen", "JÜRGEN", "allow"),
        ("jurgen", "Jürgen", "forbid"),
        ("ada", "adam", "forbid"),
        ("ada", "ad\u{430}", "forbid"),
    ] {
        let names = ["eve", named].map(str::to_owned).to_vec();
        let rules = [Rule::new("/", vec![], Allow::Users(UserNames::new(names)))];
        let verdict = verdict(&rules, &Method::GET, "/", Some(called(user, &[])));
        assert_eq!(verdict, expected, "{named} {user}");
    }
}

#[test]
fn sec_34_overlap_that_is_ambiguous_is_refused() {
    let rule = |path, methods| Rule::new(path, methods, Allow::Everyone);
    let get = || vec![Method::GET];
    let inside = || Networks::new(vec!["10.0.0.0/8".parse().unwrap()]);
    for (first, second, ambiguous) in [
        (rule("/a", vec![]), rule("/a/", vec![]), true),
        (
            rule("/a", vec![]).within(inside()),
            rule("/a", vec![]),
            true,
        ),
        (
            rule("/a", get()),
            rule("/a", vec![Method::POST, Method::GET]),
            true,
        ),
        (rule("/a", get()), rule("/a", vec![Method::POST]), false),
        (rule("/a", get()), rule("/a", vec![]), false),
        (rule("/a", vec![]), rule("/a/b", vec![]), false),
    ] {
        let expected = Ambiguous {
            first: 0,
            second: 1,
        };
        let refused = Rules::new(vec![first.clone(), second.clone()], PathCase::Sensitive).err();
        assert_eq!(
            refused,
            ambiguous.then_some(expected),
            "{first:?} {second:?}"
        );
    }
}

#[test]
fn sec_93_a_request_is_permitted_only_if_each_reading_is() {
    let rules = [
        Rule::new("/", vec![], Allow::Everyone),
        Rule::new("/admin", vec![], Allow::Groups(vec!["admins".to_owned()])),
        Rule::new("/admin/open", vec![], Allow::Everyone),
        Rule::new("/closed", vec![], Allow::Nobody),
        Rule::new("/a%2Fb", vec![], Allow::Everyone),
    ];
    for (path, stranger, user, admin) in [
        ("/x%2Fy", "allow", "allow", "allow"),
        ("/admin%2Fx", "login", "forbid", "allow"),
        ("/%2Fadmin/x", "login", "forbid", "allow"),
        ("/admin;a%2Fx", "login", "forbid", "allow"),
        ("/admin;x", "login", "forbid", "allow"),
        ("/admin.", "login", "forbid", "allow"),
        ("/admin%20/x", "login", "forbid", "allow"),
        ("/admin%2Fopen", "allow", "allow", "allow"),
        ("/admin%2F%2Fopen", "login", "forbid", "allow"),
        ("/closed%2Fx", "forbid", "forbid", "forbid"),
        ("/closed;/x", "forbid", "forbid", "forbid"),
        ("/a%2Fb", "allow", "allow", "allow"),
    ] {
        let verdict = |who| verdict(&rules, &Method::GET, path, who);
        assert_eq!(verdict(None), stranger, "{path}");
        assert_eq!(verdict(Some(someone(&["users"]))), user, "{path}");
        assert_eq!(verdict(Some(someone(&["admins"]))), admin, "{path}");
    }
}

#[test]
fn sec_93_rules_compare_without_case_where_the_app_does() {
    let rules = || vec![Rule::new("/Admin", vec![], Allow::Nobody)];
    let forbids = |case, path| {
        let rules = Rules::new(rules(), case).unwrap();
        let readings = Readings::of(path, case).unwrap();
        let decision = decide(&rules, &readings, &Method::GET, Some(someone(&[])), None);
        matches!(decision, Decision::Forbid)
    };
    for path in ["/Admin/x", "/admin", "/ADMIN.", "/aDMIN%2Fx"] {
        assert!(forbids(PathCase::Insensitive, path), "{path}");
        assert_eq!(
            forbids(PathCase::Sensitive, path),
            path.starts_with("/Admin"),
            "{path}"
        );
    }
    let twice = ["/a", "/A"].map(|path| Rule::new(path, vec![], Allow::Everyone));
    assert!(Rules::new(twice.to_vec(), PathCase::Sensitive).is_ok());
    assert!(Rules::new(twice.to_vec(), PathCase::Insensitive).is_err());
}

#[test]
fn sec_33_a_rule_with_networks_lets_nobody_in_from_elsewhere() {
    let inside = || Networks::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let rule = |path, allow| Rule::new(path, vec![], allow).within(inside());
    let rules = [
        rule("/", Allow::SignedIn),
        rule("/admin", Allow::Groups(vec!["admins".to_owned()])),
        rule("/open", Allow::Everyone),
        Rule::new("/open/anywhere", vec![], Allow::SignedIn),
    ];
    for (path, stranger, user, admin) in [
        ("/", "login", "allow", "allow"),
        ("/admin", "login", "forbid", "allow"),
        ("/admin%2Fx", "login", "forbid", "allow"),
        ("/open", "allow", "allow", "allow"),
    ] {
        let at = |client: Option<&str>, who| {
            let client = client.map(|client| client.parse().unwrap());
            verdict_at(client, &rules, &Method::GET, path, who)
        };
        for client in [Some("10.9.8.7"), Some("::ffff:10.9.8.7")] {
            assert_eq!(at(client, None), stranger, "{path}");
            assert_eq!(at(client, Some(someone(&[]))), user, "{path}");
            assert_eq!(at(client, Some(someone(&["admins"]))), admin, "{path}");
        }
        for client in [Some("192.0.2.1"), Some("::1"), None] {
            assert_eq!(at(client, None), "network", "{path}");
            assert_eq!(at(client, Some(someone(&["admins"]))), "network", "{path}");
        }
    }
    assert_eq!(
        verdict(&rules, &Method::GET, "/open/anywhere", None),
        "login"
    );
    let mixed = verdict(&rules, &Method::GET, "/open%2Fanywhere", Some(someone(&[])));
    assert_eq!(mixed, "network", "one reading is of the rule with networks");
}

#[test]
fn sec_67_what_is_for_a_network_is_not_for_shared_caches() {
    let inside = Networks::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let rule = || Rule::new("/", vec![], Allow::Everyone);
    for (rule, public) in [(rule(), true), (rule().within(inside), false)] {
        let rules = Rules::new(vec![rule], PathCase::Sensitive).unwrap();
        let readings = Readings::of("/", PathCase::Sensitive).unwrap();
        let client = Some("10.1.1.1".parse().unwrap());
        let decision = decide(&rules, &readings, &Method::GET, None, client);
        let Decision::Allow(permit) = decision else {
            panic!("{decision:?}");
        };
        assert_eq!(permit.is_anonymous(), public);
        assert!(!permit.lets_service_workers());
    }
}

/// What an index is to find, looked for rule by rule.
fn first_that_matches<'r>(rules: &'r Rules, path: &str, method: &Method) -> Option<&'r Rule> {
    rules.iter().find(|rule| {
        let below = path.strip_prefix(rule.key.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) && rule.is_for(method)
    })
}

#[test]
fn sec_32_the_strongest_rule_speaks_among_thousands() {
    let methods = |n: usize| match n % 3 {
        0 => vec![],
        1 => vec![Method::GET],
        _ => vec![Method::POST, Method::PUT],
    };
    let mut rules = Vec::new();
    for n in 0..3000 {
        let path = format!("/{}/{}/{}", n % 7, n / 7 % 11, n / 77);
        rules.push(Rule::new(&path, methods(n), Allow::SignedIn).at(n));
        if n < 77 {
            rules.push(Rule::new(
                &format!("/{}/{}", n % 7, n / 7),
                methods(n),
                Allow::Nobody,
            ));
        }
    }
    rules.push(Rule::new("/", vec![], Allow::Nobody));
    let rules = Rules::new(rules, PathCase::Sensitive).unwrap();
    for path in [
        "*",
        "/",
        "/6",
        "/6/",
        "/6/10",
        "/6/10/38",
        "/6/10/38/x",
        "/0/0/0",
        "/6/1",
        "/7/1",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let found = rules.find(path, &method).map(std::ptr::from_ref);
            let expected = first_that_matches(&rules, path, &method).map(std::ptr::from_ref);
            assert_eq!(found, expected, "{method} {path}");
        }
    }
}

use super::*;

#[test]
fn pages_of_our_own_are_where_one_login_for_all_puts_them() {
    let (_folder, config) = config_of(TOGETHER);
    let not_found = |rule: &str| (rule.to_owned(), "not found");
    let alone = || not_found("a page of login.test alone");
    let none = || not_found("Vestibule's own address, and none of its pages");
    let own = |verdict| (OWN.to_owned(), verdict);
    for (url, method, user, expected) in [
        ("wiki.test/.vestibule/account", "GET", "ada", alone()),
        ("wiki.test/.vestibule/login", "GET", "", alone()),
        ("wiki.test/.vestibule/logout", "GET", "", own("allowed")),
        ("wiki.test/.vestibule/sso", "GET", "", own("allowed")),
        ("wiki.test/.vestibule/form", "GET", "", own("allowed")),
        ("wiki.test/.vestibule/nothing", "GET", "ada", none()),
        ("a.metrics.test/.vestibule/login", "GET", "", alone()),
        // Apart from the others: all of its pages are there, and no `sso`.
        ("a.wiki.test/.vestibule/login", "GET", "", own("allowed")),
        (
            "a.wiki.test/.vestibule/account",
            "GET",
            "ada",
            own("allowed"),
        ),
        ("a.wiki.test/.vestibule/sso", "GET", "", none()),
        ("login.test/.vestibule/login", "GET", "", own("allowed")),
        ("login.test/.vestibule/login", "POST", "", own("allowed")),
        (
            "login.test/.vestibule/login",
            "PUT",
            "",
            (format!("{OWN}, for GET, HEAD, POST"), "refused"),
        ),
        (
            "login.test/.vestibule/account",
            "GET",
            "ada",
            own("allowed"),
        ),
        (
            "login.test/.vestibule/account",
            "GET",
            "",
            own("login required"),
        ),
        ("login.test/.vestibule/form", "GET", "ada", none()),
        ("login.test/.vestibule/sso", "GET", "", none()),
        (
            "login.test/",
            "GET",
            "",
            ("303 to /.vestibule/account".to_owned(), "allowed"),
        ),
        (
            "login.test/wiki",
            "GET",
            "ada",
            not_found("the host of the login has Vestibule's own pages, and no app"),
        ),
    ] {
        let perspective = Perspective {
            user: Some(user).filter(|user| !user.is_empty()),
            ..Perspective::default()
        };
        let method = method.parse().unwrap();
        let answer = ask(&config, &format!("https://{url}"), &method, perspective).unwrap();
        assert_eq!((answer.rule, answer.verdict), expected, "{method} {url}");
    }
    let shut = Perspective {
        from: "192.0.2.1".parse().ok(),
        ..Perspective::default()
    };
    for (url, verdict) in [
        ("wiki.test/.vestibule/sso", WRONG_NETWORK),
        ("a.wiki.test/.vestibule/login", WRONG_NETWORK),
        ("login.test/.vestibule/login", "allowed"), // for the other apps
    ] {
        let answer = ask(&config, &format!("https://{url}"), &Method::GET, shut);
        assert_eq!(answer.unwrap().verdict, verdict, "{url}");
    }
}

#[test]
fn a_host_is_explained_with_its_entry_its_login_and_its_programs() {
    let (_folder, config) = config_of(TOGETHER);
    let none = "sign in like visitors: `tokens` and `basic` are off";
    for (host, expected) in [
        (
            "wiki.test",
            "host     wiki.test\nlogin    on login.test, for all apps\napp      wiki\n",
        ),
        (
            "a.wiki.test",
            "host     a.wiki.test, by *.wiki.test\n\
             login    on this host: without `sso_wildcard`, *.wiki.test takes no part in the one login\n\
             app      wiki\n",
        ),
        (
            "a.metrics.test",
            "host     a.metrics.test, by *.metrics.test\nlogin    on login.test, for all apps\n\
             app      metrics\n",
        ),
        (
            "graphs.metrics.test",
            "host     graphs.metrics.test\nlogin    on login.test, for all apps\napp      graphs\n",
        ),
        (
            "login.test",
            "host     login.test\nlogin    on this host, for all apps\napp      none\n",
        ),
    ] {
        let url = format!("https://{host}/");
        let answer = ask(&config, &url, &Method::GET, Perspective::default()).unwrap();
        let text = answer.text();
        let shown = text.split_once('\n').unwrap().1;
        assert!(shown.starts_with(expected), "{text}");
    }
    for (host, programs) in [
        (
            "wiki.test",
            "API tokens, in Authorization or X-Api-Key; passwords, by HTTP Basic",
        ),
        ("graphs.metrics.test", "passwords, by HTTP Basic"),
        ("metrics.test", none),
    ] {
        let url = format!("https://{host}/");
        let answer = ask(&config, &url, &Method::GET, Perspective::default()).unwrap();
        let line = format!("programs {programs}\n");
        assert!(answer.text().contains(&line), "{}", answer.text());
    }
}

use super::*;
use crate::admin::protocol::TokenView;

const OUTSIDE: &str = "outside the scope of the token";

/// A token of ada's that is good for everything.
fn open() -> TokenView {
    TokenView {
        key: "1a2b3c4d".repeat(8),
        user: "ada".to_owned(),
        name: "backup".to_owned(),
        apps: vec![],
        paths: vec![],
        methods: vec![],
        networks: vec![],
        created: String::new(),
        expires: String::new(),
        expired: false,
        last_used: None,
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

/// The same for some paths and methods.
fn narrow() -> TokenView {
    TokenView {
        paths: texts(&["/dav"]),
        methods: texts(&["GET", "PUT"]),
        ..open()
    }
}

#[test]
fn sec_96_a_token_opens_as_much_as_it_is_good_for() {
    let (_folder, config) = config_of(TOGETHER);
    let at_home = || TokenView {
        networks: texts(&["10.1.0.0/16", "192.0.2.7"]),
        ..open()
    };
    let of_nobody = || TokenView {
        user: "eve".to_owned(),
        ..open()
    };
    let expired = || TokenView {
        expired: true,
        ..open()
    };
    let of_metrics = || TokenView {
        apps: texts(&["metrics"]),
        ..open()
    };
    for (view, url, method, from, verdict) in [
        (open(), "wiki.test/x", "GET", "10.1.1.1", "allowed"),
        (open(), "wiki.test/x", "GET", "192.0.2.1", WRONG_NETWORK),
        (open(), "wiki.test/x", "GET", "", DEPENDS),
        (open(), "metrics.test/x", "GET", "", "login required"),
        (
            open(),
            "login.test/.vestibule/account",
            "GET",
            "",
            "login required",
        ),
        (narrow(), "wiki.test/dav/x", "PUT", "10.1.1.1", "allowed"),
        (narrow(), "wiki.test/davx", "PUT", "10.1.1.1", OUTSIDE),
        (narrow(), "wiki.test/dav/x", "POST", "10.1.1.1", OUTSIDE),
        (narrow(), "wiki.test/x", "GET", "", OUTSIDE),
        // What goes through a WebSocket has no method.
        (
            narrow(),
            "wss://wiki.test/dav/x",
            "GET",
            "10.1.1.1",
            OUTSIDE,
        ),
        (narrow(), "wss://wiki.test/dav/x", "GET", "", OUTSIDE),
        (
            narrow(),
            "wss://wiki.test/dav/x",
            "GET",
            "192.0.2.1",
            WRONG_NETWORK,
        ),
        (at_home(), "wss://wiki.test/x", "GET", "10.1.1.1", "allowed"),
        (at_home(), "wiki.test/x", "GET", "10.1.1.1", "allowed"),
        (at_home(), "wiki.test/x", "GET", "10.2.1.1", OUTSIDE),
        (at_home(), "wiki.test/x", "GET", "", DEPENDS),
        (of_metrics(), "wiki.test/x", "GET", "", OUTSIDE),
        (of_metrics(), "wiki.test/x", "GET", "10.1.1.1", OUTSIDE),
        (
            of_nobody(),
            "wiki.test/x",
            "GET",
            "10.1.1.1",
            "token refused",
        ),
        (expired(), "wiki.test/x", "GET", "10.1.1.1", "token refused"),
    ] {
        let token = Token::new(view).unwrap();
        let perspective = Perspective {
            user: Some(&token.view.user),
            token: Some(&token),
            from: from.parse().ok(),
        };
        let method = method.parse().unwrap();
        let url = if url.starts_with("wss://") {
            url.to_owned()
        } else {
            format!("https://{url}")
        };
        let answer = ask(&config, &url, &method, perspective).unwrap();
        assert_eq!(answer.verdict, verdict, "{method} {url} {:?}", token.view);
    }
}

#[test]
fn what_a_token_opens_is_shown() {
    let (_folder, config) = config_of(TOGETHER);
    let token = Token::new(narrow()).unwrap();
    let perspective = Perspective {
        user: Some("ada"),
        token: Some(&token),
        from: None,
    };
    let shown = |host: &str| {
        let url = format!("https://{host}/x");
        ask(&config, &url, &Method::GET, perspective)
            .unwrap()
            .text()
    };
    let line =
        "\ntoken    1a2b3c4d, backup: opens every app below /dav by GET PUT, and no WebSocket";
    assert!(shown("wiki.test").contains(&format!("{line}\n")));
    assert!(shown("metrics.test").contains(&format!("{line}; this app takes no tokens\n")));
}

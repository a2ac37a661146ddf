mod one_login;
mod tokens;

use super::judge::{DEPENDS, OWN, WRONG_NETWORK};
use super::*;

const FILE: &str = r#"
        [server]
        trusted_proxies = ["10.9.9.9"]
        [tls]
        cert = "c.pem"
        key = "k.pem"
        [[app]]
        name = "wiki"
        host = "wiki"
        upstream = "http://127.0.0.1:3000"
        [[app.rule]]
        path = "/admin"
        allow = { groups = ["admins"] }
        [[app.rule]]
        path = "/public"
        methods = ["GET"]
        allow = "everyone"
        [[app.rule]]
        path = "/office"
        allow = { networks = ["10.0.0.0/8"] }
        [[app.rule]]
        path = "/admin/office"
        allow = { groups = ["admins"], networks = ["10.0.0.0/8"] }
        [[app]]
        host = "inside"
        networks = ["10.0.0.0/8", "192.0.2.7", "::1"]
        upstream = "http://127.0.0.1:3001"
        [[app.rule]]
        path = "/more"
        allow = { networks = ["192.0.2.0/24"] }
        [[app]]
        host = "git"
        encoded_slash = true
        upstream = "unix:/run/git.sock"
    "#;

const USERS: [(&str, &str); 3] = [
    ("ada", "groups = [\"admins\"]"),
    ("bob", ""),
    ("eve", "groups = [\"admins\"]\ndisabled = true"),
];

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$\
                    ZHVtbXlkdW1teWR1bW15ZHVtbXlkdW1teWR1bW15MTI";

/// A configuration with a users file beside it, that only its owner may read.
fn config() -> (tempfile::TempDir, Config) {
    config_of(FILE)
}

fn config_of(file: &str) -> (tempfile::TempDir, Config) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    let text = USERS.map(|(name, rest)| format!("[user.{name}]\npassword = \"{HASH}\"\n{rest}\n"));
    std::fs::write(&users, text.concat()).unwrap();
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = Config::parse(file, &folder.path().join("config.toml")).unwrap();
    (folder, config)
}

#[test]
fn an_address_gets_the_verdict_of_the_rules() {
    let (_folder, config) = config();
    let (admins, none) = ("/admin: groups admins", "none: any signed-in user");
    for (url, method, user, rule, verdict) in [
        ("wiki/admin", "GET", "ada", admins, "allowed"),
        ("wiki/admin/x", "POST", "bob", admins, "forbidden"),
        ("wiki/admin", "GET", "", admins, "login required"),
        ("wiki/admin", "GET", "eve", admins, "login required"),
        ("wiki/admin", "GET", "zoe", admins, "login required"),
        (
            "wiki/public/%2E%2e/admin",
            "GET",
            "",
            "no path: `.` and `..` segments are not allowed",
            "refused",
        ),
        (
            "WIKI:8443/public/a?b#c",
            "GET",
            "",
            "/public (GET): everyone",
            "allowed",
        ),
        ("wiki/public", "POST", "", none, "login required"),
        ("wiki", "GET", "bob", none, "allowed"),
        ("git/a%2Fb", "GET", "bob", none, "allowed"),
        ("wiki/.vestibule/login", "GET", "", OWN, "allowed"),
        (
            "other/",
            "GET",
            "ada",
            "no app has the host other",
            "refused",
        ),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let user = Some(user).filter(|user| !user.is_empty());
        let perspective = Perspective {
            user,
            ..Perspective::default()
        };
        let answer = ask(&config, &format!("https://{url}"), &method, perspective).unwrap();
        let got = (answer.rule.as_str(), answer.verdict);
        assert_eq!(got, (rule, verdict), "{method} {url} {user:?}");
    }
    let refused = ask(
        &config,
        "https://wiki.example.org/a%2Fb",
        &Method::GET,
        Perspective::default(),
    )
    .unwrap();
    assert_eq!(refused.verdict, "refused");
}

#[test]
fn the_network_of_the_client_counts_where_it_is_said() {
    let (_folder, config) = config();
    let (depends, wrong) = (Err("allowed"), Ok(WRONG_NETWORK));
    for (url, user, from, expected) in [
        ("wiki/office", "ada", "", depends),
        ("wiki/office", "", "", Err("login required")),
        ("wiki/office", "ada", "10.1.1.1", Ok("allowed")),
        ("wiki/office", "ada", "::ffff:10.1.1.1", Ok("allowed")),
        ("wiki/office", "", "10.1.1.1", Ok("login required")),
        ("wiki/office", "ada", "192.0.2.7", wrong),
        ("wiki/office", "ada", "10.9.9.9", wrong), // a trusted proxy
        ("wiki/office;x", "ada", "", depends),
        ("wiki/admin/office", "bob", "", Ok("forbidden")),
        ("wiki/admin/office", "bob", "10.1.1.1", Ok("forbidden")),
        ("wiki/admin", "ada", "", Ok("allowed")),
        ("wiki/admin", "ada", "192.0.2.7", Ok("allowed")),
        ("inside/", "ada", "", depends),
        ("inside/", "ada", "::1", Ok("allowed")),
        ("inside/", "ada", "::2", wrong),
        ("inside/more", "ada", "10.1.1.1", wrong),
        ("inside/more", "ada", "192.0.2.7", Ok("allowed")),
        ("inside/.vestibule/login", "", "192.0.2.8", wrong),
        ("inside/.vestibule/login", "", "192.0.2.7", Ok("allowed")),
        ("inside/.vestibule/logout", "", "192.0.2.8", Ok("allowed")),
    ] {
        let perspective = Perspective {
            user: Some(user).filter(|user| !user.is_empty()),
            from: from.parse().ok(),
            ..Perspective::default()
        };
        let answer = ask(
            &config,
            &format!("https://{url}"),
            &Method::GET,
            perspective,
        )
        .unwrap();
        let verdict = match answer.within_networks {
            Some(within) => Err(within),
            None => Ok(answer.verdict),
        };
        assert_eq!(verdict, expected, "{url} {user} {from}");
        assert_eq!(verdict.is_err(), answer.verdict == DEPENDS);
    }
    let shown = |url: &str, from: &str| {
        let perspective = Perspective {
            user: Some("ada"),
            from: from.parse().ok(),
            ..Perspective::default()
        };
        ask(&config, url, &Method::GET, perspective).unwrap().text()
    };
    assert_eq!(
        shown("https://inside/more", ""),
        "request  GET /more\nhost     inside\nlogin    on this host\napp      inside\n\
         upstream GET /more\nrule     /more: signed-in from 192.0.2.0/24\n\
         networks 192.0.2.0/24; of these only 10.0.0.0/8, 192.0.2.7, ::1\n\
         programs sign in like visitors: `tokens` and `basic` are off\n\
         user     ada, in admins\n\
         verdict  depends on the network: allowed there, --from ADDRESS asks for another\n"
    );
    assert!(shown("https://inside/", "::2").ends_with(
        "rule     networks of the app\nnetworks 10.0.0.0/8, 192.0.2.7, ::1\n\
             programs sign in like visitors: `tokens` and `basic` are off\n\
             user     ada, in admins\nfrom     ::2\nverdict  wrong network\n"
    ));
}

#[test]
fn who_cannot_sign_in_is_said() {
    let (_folder, config) = config();
    for (user, said) in [
        (Some("ada"), "user     ada, in admins\n"),
        (Some("bob"), "user     bob, in no group\n"),
        (Some("eve"), "user     eve, disabled: cannot sign in\n"),
        (Some("zoe"), "user     zoe, unknown: cannot sign in\n"),
        (None, "user     not signed in\n"),
    ] {
        let perspective = Perspective {
            user,
            ..Perspective::default()
        };
        let answer = ask(&config, "https://wiki/", &Method::GET, perspective).unwrap();
        assert!(answer.text().contains(said), "{}", answer.text());
    }
}

#[test]
fn what_is_no_address_is_wrong_usage() {
    let (_folder, config) = config();
    for url in [
        "wiki/",
        "http://wiki/",
        "https://a@wiki/",
        "https://:443/",
        "https://wiki:0/",
    ] {
        let asked = ask(&config, url, &Method::GET, Perspective::default());
        assert!(matches!(asked, Err(Failure::Usage(_))), "{url}: {asked:?}");
    }
}

#[test]
fn sec_73_what_an_app_could_take_for_an_address_of_ours_is_not_found() {
    let (_folder, config) = config_of(
        r#"
        [tls]
        cert = "c.pem"
        key = "k.pem"
        [[app]]
        host = "wiki.test"
        path = "/wiki/"
        strip_path = true
        encoded_slash = true
        upstream = "http://127.0.0.1:3000"
        [[app]]
        host = "wiki.test"
        path = "/whole/"
        upstream = "http://127.0.0.1:3001"
    "#,
    );
    for (path, verdict, upstream) in [
        ("/wiki/.vestibule/login", "not found", None),
        ("/wiki/.vestibule", "not found", None),
        ("/wiki/.vestibule%2Flogin", "not found", None),
        ("/wiki/.vestibule;x/login", "not found", None),
        ("/wiki/.vestibules", "allowed", Some("/.vestibules")),
        (
            "/wiki/x/.vestibule/login",
            "allowed",
            Some("/x/.vestibule/login"),
        ),
        (
            "/whole/.vestibule/login",
            "allowed",
            Some("/whole/.vestibule/login"),
        ),
    ] {
        let perspective = Perspective {
            user: Some("ada"),
            ..Perspective::default()
        };
        let url = format!("https://wiki.test{path}");
        let answer = ask(&config, &url, &Method::GET, perspective).unwrap();
        assert_eq!(answer.verdict, verdict, "{path}");
        assert_eq!(answer.upstream.as_deref(), upstream, "{path}");
    }
}

#[test]
fn a_websocket_is_asked_for_by_its_address() {
    let (_folder, config) = config();
    let perspective = Perspective {
        user: Some("ada"),
        ..Perspective::default()
    };
    let ask = |method: Method| ask(&config, "wss://wiki/admin/ws", &method, perspective);
    let text = ask(Method::GET).unwrap().text();
    assert!(
        text.starts_with("request  GET /admin/ws, to open a WebSocket\n"),
        "{text}"
    );
    assert!(text.ends_with("verdict  allowed\n"), "{text}");
    assert!(matches!(ask(Method::POST), Err(Failure::Usage(_))));
}

/// One login for all apps, and apps for programs.
const TOGETHER: &str = r#"
        [tls]
        cert = "c.pem"
        key = "k.pem"
        [login]
        host = "login.test"
        [[app]]
        name = "wiki"
        host = ["wiki.test", "*.wiki.test"]
        upstream = "http://127.0.0.1:3000"
        networks = ["10.0.0.0/8"]
        methods = ["GET", "POST", "PUT"]
        tokens = true
        token_header = "X-Api-Key"
        basic = true
        [[app]]
        name = "metrics"
        host = ["metrics.test", "*.metrics.test"]
        sso_wildcard = true
        upstream = "http://127.0.0.1:3001"
        [[app.rule]]
        path = "/admin"
        allow = { groups = ["admins"] }
        [[app]]
        name = "graphs"
        host = "graphs.metrics.test"
        upstream = "http://127.0.0.1:3002"
        basic = true
    "#;

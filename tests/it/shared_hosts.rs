//! Several apps below paths of one host, with or without the path.

use crate::harness::*;
use crate::session_data;

const HOST: &str = "host = \"gate.test\"";

/// An app below a path of the same host.
fn below(path: &str, app: &Upstream, keys: &str) -> String {
    let url = app.url();
    format!("[[app]]\n{HOST}\npath = \"{path}\"\nupstream = \"{url}\"\n{keys}\n{OPEN}")
}

const OPEN: &str = "[[app.rule]]\npath = \"/\"\nallow = \"everyone\"\n";

async fn ask(gate: &Gate, request_line: &str, fields: &str) -> Reply {
    let mut raw = gate.raw().await;
    raw.send(format!(
        "{request_line} HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n"
    ))
    .await;
    raw.response().await
}

#[tokio::test]
async fn the_longest_path_chooses_the_app() {
    let (root, wiki, live) = (
        Upstream::echo().await,
        Upstream::echo().await,
        Upstream::echo().await,
    );
    let gate = Vestibule::before(&root)
        .app(HOST)
        .public()
        .config(&below("/wiki/", &wiki, ""))
        .config(&below("/wiki/live", &live, ""))
        .start()
        .await;
    let count = || {
        [&root, &wiki, &live]
            .map(Upstream::requests)
            .iter()
            .sum::<usize>()
    };
    for (target, app, sent) in [
        ("/", &root, "/"),
        ("/wikis/x", &root, "/wikis/x"),
        ("/a/wiki/", &root, "/a/wiki/"),
        ("/Wiki/", &root, "/Wiki/"),
        ("/wiki/", &wiki, "/wiki/"),
        ("/wiki/a?b=/", &wiki, "/wiki/a?b=/"),
        ("/%77iki/lively", &wiki, "/wiki/lively"),
        ("/wiki/live/", &live, "/wiki/live/"),
        ("/wiki//live/a", &live, "/wiki/live/a"),
    ] {
        let before = count();
        ask(&gate, &format!("GET {target}"), "")
            .await
            .assert_status(200);
        assert_eq!(app.last().target(), sent);
        let mut http2 = gate.raw_http2().await;
        http2.headers(1, &RawHttp2::get(target), true).await;
        assert_eq!(http2.outcome(1).await.status, Some(200), "{target}");
        assert_eq!((app.last().target(), count()), (sent, before + 2));
    }
}

#[tokio::test]
async fn sec_33_a_question_about_the_whole_server_is_one_about_its_root_too() {
    let (root, wiki) = (Upstream::echo().await, Upstream::echo().await);
    for (allow, root_status, status) in [
        ("everyone", 200, 401), // no rule for a path speaks for it: any signed-in user
        ("signed-in", 401, 401),
        ("nobody", 403, 403),
    ] {
        let gate = Vestibule::before(&root)
            .app(HOST)
            .rule("/", allow)
            .config(&below("/wiki/", &wiki, ""))
            .start()
            .await;
        for (target, status) in [("/", root_status), ("*", status)] {
            let reply = ask(&gate, &format!("OPTIONS {target}"), "").await;
            reply.assert_status(status);
        }
    }
    assert_eq!((root.requests(), wiki.requests()), (1, 0));
}

#[tokio::test]
async fn sec_93_apps_without_regard_to_case_share_a_host_by_whichever_case() {
    let (root, wiki) = (Upstream::echo().await, Upstream::echo().await);
    for (of_root, of_wiki) in [("insensitive", "sensitive"), ("sensitive", "insensitive")] {
        let gate = Vestibule::before(&root)
            .app(HOST)
            .app(&format!("path_case = \"{of_root}\""))
            .public()
            .config(&below(
                "/Wiki/",
                &wiki,
                &format!("path_case = \"{of_wiki}\""),
            ))
            .start()
            .await;
        for target in [
            "/wiki/x",
            "/WIKI",
            "/wiki%3Bx/y",
            "/w%49ki/",
            "/wi%E2%84%AAi/x",
        ] {
            let reply = ask(&gate, &format!("GET {target}"), "").await;
            reply
                .assert_status(400)
                .assert_contains("could be meant for one app");
            let put = format!("If: <{target}> (<urn:1>)\r\nContent-Length: 0\r\n");
            ask(&gate, "PUT /x", &put).await.assert_status(502);
        }
        ask(&gate, "GET /Wiki/x", "").await.assert_status(200);
    }
    assert_eq!((root.requests(), wiki.requests()), (0, 2));
}

#[tokio::test]
async fn the_folder_of_an_app_leads_to_its_slash() {
    let (root, wiki) = (Upstream::echo().await, Upstream::websocket().await);
    let gate = Vestibule::before(&root)
        .app(HOST)
        .config(&below("/wiki", &wiki, "strip_path = true"))
        .start()
        .await;
    for (line, location) in [
        ("GET /wiki", "/wiki/"),
        ("HEAD /wiki?x=1&y=/", "/wiki/?x=1&y=/"),
        ("POST /wiki?", "/wiki/?"),
        ("GET https://gate.test/%77iki", "/wiki/"),
    ] {
        // Only what opens a WebSocket is one.
        for upgrade in [
            "",
            "Connection: Upgrade\r\nUpgrade: h2c\r\n",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            "Upgrade: TLS/1.3\r\n",
        ] {
            let mut raw = gate.raw().await;
            raw.send(format!(
                "{line} HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 0\r\n{upgrade}\r\n"
            ))
            .await;
            let reply = raw.response_to_head().await;
            assert_eq!(reply.status, 308, "{line} {upgrade}");
            assert_eq!(reply.value("location"), Some(location));
        }
    }
    assert_eq!((root.requests(), wiki.requests()), (0, 0));
    let origin = [("origin", "https://gate.test")];
    let opened = open_websocket(gate.tcp().await, "/wiki", &origin).await;
    assert_eq!(opened.unwrap().ask("hello").await, "hello");
    assert_eq!(wiki.last().target(), "/");
}

#[tokio::test]
async fn strip_path_takes_the_path_off_and_says_so() {
    let (root, wiki) = (Upstream::echo().await, Upstream::echo().await);
    let gate = Vestibule::before(&root)
        .app(HOST)
        .public()
        .config(&below(
            "/a/wiki/",
            &wiki,
            "strip_path = true\nallow_in_path = [\"double-slash\"]",
        ))
        .start()
        .await;
    for (target, sent) in [
        ("/a/wiki/", "/"),
        ("/a/wiki/?q", "/?q"),
        ("/a/wiki/a/wiki/x?y=/a/wiki/", "/a/wiki/x?y=/a/wiki/"),
        ("/a/wiki//x", "//x"),
    ] {
        ask(
            &gate,
            &format!("GET {target}"),
            "X-Forwarded-Prefix: /evil\r\n",
        )
        .await
        .assert_status(200);
        assert_eq!(wiki.last().target(), sent);
        assert_eq!(wiki.last().value("x-forwarded-prefix"), Some("/a/wiki"));
        assert_eq!(wiki.last().value("host"), Some("gate.test"));
    }
    ask(&gate, "GET /x", "X-Forwarded-Prefix: /evil\r\n")
        .await
        .assert_status(200);
    assert_eq!(root.last().value("x-forwarded-prefix"), None);
}

#[tokio::test]
async fn rules_judge_the_path_as_the_browser_has_it() {
    let (root, wiki) = (Upstream::echo().await, Upstream::echo().await);
    let closed = "[[app.rule]]\npath = \"/wiki/admin\"\nallow = \"nobody\"\n";
    let keys = "strip_path = true\nallow_in_path = [\"double-slash\", \"encoded-slash\"]";
    let gate = Vestibule::before(&root)
        .app(HOST)
        .config(&format!("{}{closed}", below("/wiki/", &wiki, keys)))
        .start()
        .await;
    for path in [
        "/wiki/admin",
        "/wiki/admin%2Fx",
        "/wiki/%61dmin;x/y",
        // What is left is another host's for some parsers.
        "/wiki//x/admin",
        "/wiki/%2Fx%2Fadmin/y",
    ] {
        ask(&gate, &format!("GET {path}"), "")
            .await
            .assert_status(403);
    }
    for destination in ["/wiki/admin/y", "/wiki/%2Fx%2Fadmin/y"] {
        let fields = format!("Destination: {destination}\r\nContent-Length: 0\r\n");
        ask(&gate, "PUT /wiki/x", &fields).await.assert_status(403);
    }
    assert_eq!(wiki.requests(), 0, "{:?}", wiki.received());
    ask(&gate, "GET /wiki/x/admin", "").await.assert_status(200);
}

#[tokio::test]
async fn sec_93_a_path_that_could_be_for_two_apps_is_refused() {
    let (root, wiki) = (Upstream::echo().await, Upstream::echo().await);
    let every = "allow_in_path = [\"encoded-slash\", \"encoded-percent\", \"encoded-backslash\", \
                 \"any-bytes\", \"double-slash\"]";
    let gate = Vestibule::before(&root)
        .app(HOST)
        .app(every)
        .public()
        .config(&below("/wiki/", &wiki, ""))
        .start()
        .await;
    for path in [
        "/wiki%2Fx",
        "/wiki;x/y",
        "/wiki./x",
        "/wiki%20/x",
        "//wiki/x",
        "/%2577iki/x",
        "/wiki%5Cx",
        "/x%2F..%2Fwiki/x",
        "//host/wiki/x",
        "/w%FFiki/x",
        "/wiki%2500/x",
    ] {
        ask(&gate, &format!("GET {path}"), "")
            .await
            .assert_status(400);
    }
    assert_eq!((root.requests(), wiki.requests()), (0, 0));
    for path in ["/x%2Fwiki/", "/wikis%2Fx", "/x//wiki/y"] {
        ask(&gate, &format!("GET {path}"), "")
            .await
            .assert_status(200);
        assert_eq!(root.last().target(), path);
    }
}

#[tokio::test]
async fn sec_73_our_pages_are_there_where_no_app_has_the_rest_of_the_host() {
    let (wiki, git) = (Upstream::echo().await, Upstream::echo().await);
    let gate = Vestibule::before(&wiki)
        .app(&format!("{HOST}\npath = \"/wiki/\""))
        .user("ada", PASSWORD)
        .config(&below("/git/", &git, ""))
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/wiki/x").await.assert_status(200);
    ada.get("/.vestibule/account").await.assert_status(200);
    for path in ["/", "/x", "/wikis"] {
        ada.get(path).await.assert_status(404);
        gate.browser().get(path).await.assert_status(404);
    }
    ada.get("/wiki/.vestibule/login").await.assert_status(200);
    assert_eq!(wiki.last().target(), "/wiki/.vestibule/login");
    ada.logout().await;
    let asked = gate.browser().get("/wiki/x").await;
    assert_eq!(
        asked.assert_status(303).value("location"),
        Some("/.vestibule/login?return_to=%2Fwiki%2Fx")
    );
}

#[tokio::test]
async fn sec_88_apps_of_one_host_keep_their_session_data_apart() {
    let (root, wiki) = (session_data::app().await, session_data::app().await);
    let gate = Vestibule::before(&root)
        .app(HOST)
        .app("session_data = true")
        .user("ada", PASSWORD)
        .config(&below("/wiki/", &wiki, "session_data = true"))
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get(&session_data::query("root=1")).await;
    ada.get(&format!("/wiki{}", session_data::query("wiki=1")))
        .await;
    ada.get("/").await;
    assert_eq!(root.last().value("x-session-data"), Some("root=1"));
    ada.get("/wiki/").await;
    assert_eq!(wiki.last().value("x-session-data"), Some("wiki=1"));
}

#[tokio::test]
async fn check_says_which_app_gets_an_address_and_what_it_gets() {
    let files = Vestibule::before_url("http://127.0.0.1:9")
        .app(HOST)
        .config(
            "[[app]]\nhost = \"gate.test\"\npath = \"/wiki/\"\nstrip_path = true\n\
             upstream = \"http://127.0.0.1:10\"\n[[app.rule]]\npath = \"/wiki/a\"\nallow = \"nobody\"",
        )
        .write();
    for (url, said) in [
        (
            "https://gate.test/x",
            "app      gate.test\nupstream GET /x\n",
        ),
        (
            "https://gate.test/wiki/a",
            "app      gate.test/wiki\nupstream GET /a\nrule     /wiki/a: nobody\n",
        ),
        ("https://gate.test/wiki", "rule     308 to /wiki/\n"),
        (
            "https://gate.test/wiki;x",
            "rule     no path: several apps of this host could be meant by the path\n",
        ),
    ] {
        let (code, stdout, stderr) = run(&files, &["check", "--url", url]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains(said), "{stdout}");
    }
    let (_, stdout, _) = run(&files, &["check"]);
    assert!(
        stdout.contains("app gate.test/wiki: gate.test/wiki/ -> http://127.0.0.1:10"),
        "{stdout}"
    );
}

#[tokio::test]
async fn a_login_leads_to_the_app_that_has_the_path() {
    let (root, wiki) = (Upstream::echo().await, Upstream::echo().await);
    let gate = Vestibule::before(&root)
        .app(HOST)
        .rule("/", "nobody")
        .user("ada", PASSWORD)
        .config(&below("/wiki/", &wiki, ""))
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let at = |target: &str| format!("/.vestibule/login?return_to={target}");
    let open = ada.get(&at("%2Fwiki%2Fx")).await;
    open.assert_redirects_to("/wiki/x");
    ada.get(&at("%2Fx")).await.assert_status(200);
}

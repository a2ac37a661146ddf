//! An app has several host names, and wildcards.

use std::collections::BTreeSet;
use std::fmt::Write;

use tokio::net::TcpStream;

use crate::harness::*;

/// Apps with these hosts, as TOML has them; each answers with its number.
async fn numbered(hosts: &[&str]) -> (Vec<Upstream>, Gate) {
    let mut apps = Vec::new();
    let mut text = String::new();
    for (number, host) in hosts.iter().enumerate() {
        let app = Upstream::echo().await;
        write!(
            text,
            "[[app]]\nname = \"{number}\"\nhost = {host}\nupstream = \"{}\"\n",
            app.url()
        )
        .unwrap();
        text += "[[app.rule]]\npath = \"/public\"\nallow = \"everyone\"\n";
        apps.push(app);
    }
    let gate = Vestibule::before_app(&text).user("ada", PASSWORD);
    (apps, gate.start().await)
}

async fn status(gate: &Gate, host: &str) -> u16 {
    gate.browser_for(host).get("/public").await.status
}

#[tokio::test]
async fn a_name_comes_before_a_wildcard_and_the_longest_wildcard_first() {
    let (apps, gate) = numbered(&[
        r#"["*.example.test", "example.org"]"#,
        r#"["*.a.example.test"]"#,
        r#"["b.example.test", "b.example.org"]"#,
    ])
    .await;
    for (host, expected) in [
        ("example.org", Some(0)),
        ("x.example.test", Some(0)),
        ("x.y.example.test", Some(0)),
        ("X.Example.TEST", Some(0)),
        ("a.example.test", Some(0)),
        ("x.a.example.test", Some(1)),
        ("x.y.a.example.test", Some(1)),
        ("b.example.test", Some(2)),
        ("B.EXAMPLE.test", Some(2)),
        ("b.example.org", Some(2)),
        ("x.b.example.test", Some(0)),
        ("example.test", None),
        ("x.example.org", None),
        ("xexample.test", None),
        ("example.test.evil.test", None),
    ] {
        let before: Vec<_> = apps.iter().map(Upstream::requests).collect();
        let status = status(&gate, host).await;
        let after = apps.iter().map(Upstream::requests);
        let asked = after
            .zip(&before)
            .position(|(after, before)| after > *before);
        assert_eq!(asked, expected, "{host}");
        assert_eq!(status, if expected.is_some() { 200 } else { 421 }, "{host}");
    }
}

#[tokio::test]
async fn sec_88_a_session_of_one_name_of_an_app_opens_none_of_its_other_names() {
    let (apps, gate) = numbered(&[r#"["one.test", "two.test", "*.three.test"]"#]).await;
    let ada = gate.browser_for("one.test").login("ada", PASSWORD).await;
    ada.get("/x").await.assert_status(200);
    assert_eq!(apps[0].last().value("x-forwarded-host"), Some("one.test"));
    for host in ["two.test", "a.three.test"] {
        let there = gate.browser_for(host).cookie(&ada.session_cookie());
        let login = there.get("/x").await;
        login.assert_redirects_to("/.vestibule/login?return_to=%2Fx");
    }
    let three = gate
        .browser_for("a.three.test")
        .login("ada", PASSWORD)
        .await;
    three.get("/x").await.assert_status(200);
    let there = gate
        .browser_for("b.three.test")
        .cookie(&three.session_cookie());
    there.get("/x").await.assert_status(303);
}

#[tokio::test]
async fn sec_09_what_looks_like_a_name_below_a_wildcard_is_judged_as_a_host_first() {
    let (apps, gate) = numbered(&[r#""*.example.test""#]).await;
    for (host, expected) in [
        ("a..example.test", 400),
        (".example.test", 400),
        ("*.example.test", 400),
        ("a/b.example.test", 400),
        ("evil.test@a.example.test", 400),
        ("a.example.test:x", 400),
        ("a.example.test, b.example.test", 400),
        ("10.0.0.1", 421),
        ("[::1]", 421),
        ("a.example.test.", 200),
        ("a.example.test:1", 200),
        ("a_b.example.test", 200),
    ] {
        let reply = gate.exchange(format!(
            "GET /public HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ));
        let reply = reply.await;
        // The connection asks for another name in TLS, which alone is refused with 421.
        let status = if expected == 200 { 421 } else { expected };
        assert!(
            reply.starts_with(&format!("HTTP/1.1 {status} ")),
            "{host}: {reply}"
        );
        if expected == 200 {
            let browser = gate.browser_for(host.trim_end_matches([':', '1', '.']));
            let browser = browser.header("host", host);
            browser.get("/public").await.assert_status(200);
        }
    }
    assert_eq!(apps[0].requests(), 3);
}

#[tokio::test]
async fn apps_of_a_shared_name_have_their_paths_there_and_all_paths_elsewhere() {
    let (root, wiki) = (Upstream::echo().await, Upstream::echo().await);
    let gate = Vestibule::before(&root)
        .app("host = [\"one.test\", \"two.test\"]\nhsts = \"90s\"")
        .public()
        .config(&format!(
            "[[app]]\nhost = [\"two.test\", \"three.test\"]\npath = \"/wiki/\"\nupstream = \"{}\"\n\
             [[app.rule]]\npath = \"/\"\nallow = \"everyone\"",
            wiki.url()
        ))
        .start()
        .await;
    for (host, target, expected, hsts) in [
        ("one.test", "/wiki/", 200, true),
        ("two.test", "/wiki/", 200, true),
        ("two.test", "/", 200, true),
        ("three.test", "/wiki/", 200, false),
        ("three.test", "/", 404, false),
    ] {
        let reply = gate
            .browser_for(host)
            .header("host", &format!("{host}:8443"));
        let reply = reply.get(target).await;
        reply.assert_status(expected);
        let said = reply.value("strict-transport-security");
        assert_eq!(said, hsts.then_some("max-age=90"), "{host}{target}");
    }
    assert_eq!((root.requests(), wiki.requests()), (2, 2));
}

#[tokio::test]
async fn an_app_of_several_names_is_counted_and_listed_once() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("name = \"wiki\"\nhost = [\"gate.test\", \"other.test\", \"*.wiki.test\"]")
        .public()
        .admin("socket = \"admin.sock\"\nmetrics = \"127.0.0.1:0\"")
        .start()
        .await;
    gate.browser().get("/").await.assert_status(200);
    gate.browser_for("a.wiki.test")
        .get("/")
        .await
        .assert_status(200);
    let stream = TcpStream::connect(gate.metrics_address()).await.unwrap();
    let mut raw = Raw::new(stream);
    raw.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let metrics = raw.response().await.text();
    let of_wiki = |line: &&str| !line.starts_with('#') && line.contains("app=\"wiki\"");
    let series: Vec<_> = metrics.lines().filter(of_wiki).collect();
    let series: Vec<_> = series
        .iter()
        .filter_map(|line| line.rsplit_once(' '))
        .collect();
    let names: BTreeSet<_> = series.iter().map(|(name, _)| name).collect();
    assert!(names.len() > 10, "{metrics}");
    assert_eq!(names.len(), series.len(), "{metrics}");
}

#[tokio::test]
async fn check_explains_which_app_a_host_is_of() {
    let files = Vestibule::before_app(
        "[[app]]\nname = \"all\"\nhost = [\"*.example.test\", \"example.org\"]\n\
         upstream = \"http://127.0.0.1:1\"\n\
         [[app]]\nname = \"one\"\nhost = \"one.example.test\"\nupstream = \"http://127.0.0.1:1\"\n",
    )
    .write();
    for (url, expected) in [
        ("https://one.example.test/", "one"),
        ("https://two.example.test/", "all"),
        ("https://example.org/", "all"),
    ] {
        let (_, stdout, stderr) = run(&files, &["check", "--json", "--url", url]);
        let answer: serde_json::Value = serde_json::from_str(&stdout).expect(&stderr);
        assert_eq!(answer["app"], expected, "{url}: {answer}");
    }
    let (_, stdout, _) = run(&files, &["check", "--json"]);
    let facts: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let hosts = serde_json::json!(["*.example.test", "example.org"]);
    assert_eq!(facts["apps"][0]["hosts"], hosts, "{facts}");
}

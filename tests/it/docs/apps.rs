//! What an app is told, what it may keep, and what of its answers goes no further.

use std::collections::BTreeSet;
use std::process::Command;

use super::page::{Page, quoted};
use crate::harness::*;
use crate::session_data;

const HOST: &str = "gate.test";

#[tokio::test]
async fn an_app_is_told_what_the_page_says_and_its_answers_lose_what_the_page_says() {
    let mut page = Page::open("apps.md");
    headers_of_ones_own_are_set_and_removed(&mut page).await;
    let block = page.next("http");
    let (request, answer) = block.split_once("\n\n").unwrap();
    let app = session_data::app().await;
    let ada = User::new("ada", PASSWORD);
    let ada = ada.groups(&["staff", "Domain Users"]);
    let gate = Vestibule::before(&app)
        .app("session_data = true\nidentity_token = true")
        .account(ada.email("ada@example.org"))
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get(&session_data::query(field(request, "X-Session-Data")))
        .await;
    every_header_of_the_table_arrives(&page, &ada, &app).await;

    let unset = field(answer, "X-Session-Unset");
    let (set, _) = (field(answer, "X-Session-Set"), ada.get("/").await);
    let told = app.last().value("x-session-data").map(str::to_owned);
    assert_eq!(told.as_deref(), Some(field(request, "X-Session-Data")));
    let target = format!("{}&unset={unset}", session_data::query(set));
    ada.get(&target).await.assert_status(200);
    ada.get("/").await;
    assert_eq!(app.last().value("x-session-data"), Some(set));
    Box::pin(a_client_uses_the_session_of_a_browser(&mut page)).await;
    what_reaches_beyond_the_app_is_dropped(&page).await;
}

/// By the file of cookies that the commands of the page make.
async fn a_client_uses_the_session_of_a_browser(page: &mut Page) {
    let commands = page.next("sh");
    if real::find("curl").is_none() {
        return;
    }
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let (folder, port) = (tempfile::tempdir().unwrap(), gate.address().port());
    let (_, value) = ada.session_cookie().split_once('=').map(own).unwrap();
    let trust = format!(
        "curl --cacert {} --resolve {HOST}:{port}:127.0.0.1",
        gate.certificate()
    );
    let commands = commands
        .replace(
            "https://wiki.example.org/",
            &format!("https://{HOST}:{port}/"),
        )
        .replace("wiki.example.org", HOST)
        .replace("VALUE", &value)
        .replace("curl", &trust);
    let run = async || {
        let mut shell = Command::new("sh");
        shell.args(["-ec", &commands]).env("HOME", folder.path());
        tokio::task::spawn_blocking(move || run_to_end(&mut shell, "")).await
    };
    let (code, _, errors) = run().await.unwrap();
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
    ada.logout().await;
    let (_, said, _) = run().await.unwrap();
    assert!(said.contains("login_required"), "{said}");
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The value of a field in a message of the page.
fn field<'m>(message: &'m str, name: &str) -> &'m str {
    let mut lines = message.lines();
    let line = lines.find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {message}"))
}

async fn headers_of_ones_own_are_set_and_removed(page: &mut Page) {
    let answer = "HTTP/1.1 200 OK\r\nServer: x\r\nX-Powered-By: x\r\nContent-Length: 0\r\n\r\n";
    let app = Upstream::raw(answer).await;
    let keys = page.next("toml") + &page.next("toml");
    let gate = Vestibule::before(&app)
        .app("path = \"/wiki/\"\nstrip_path = true")
        .app(&keys)
        .rule("/wiki/", "everyone")
        .prepare(|files| {
            files.write("wiki.token", "Basic dXNlcjpwYXNz\n", 0o600);
        });
    let gate = gate.start().await;
    let browser = gate.browser().header("accept-encoding", "gzip");
    let reply = browser.get("/wiki/page").await;
    let told = app.last();
    for (name, value) in [
        ("x-real-ip", Some("127.0.0.1")),
        ("x-script-name", Some("/wiki")),
        ("x-scheme", Some("https")),
        ("authorization", Some("Basic dXNlcjpwYXNz")),
        ("accept-encoding", None),
    ] {
        assert_eq!(told.value(name), value, "{name} in {}", told.head);
    }
    for (name, value) in [
        ("x-frame-options", Some("SAMEORIGIN")),
        ("x-content-type-options", Some("nosniff")),
        ("content-security-policy", Some("frame-ancestors 'self'")),
        ("server", None),
        ("x-powered-by", None),
    ] {
        assert_eq!(reply.value(name), value, "{name} in {reply}");
    }
    let rows = page.rows("in `set`");
    let names: BTreeSet<_> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    let known = ["{client}", "{host}", "{prefix}", "{proto}", "{request_id}"];
    assert_eq!(names, known.into());
}

async fn every_header_of_the_table_arrives(page: &Page, ada: &Browser, app: &Upstream) {
    let forged = ada.clone().header("x_forwarded_user", "root");
    forged.get("/").await.assert_status(200);
    let told = app.last();
    let expected = [
        ("X-Forwarded-User", "ada"),
        ("X-Forwarded-Groups", "staff,Domain%20Users"),
        ("X-Forwarded-Email", "ada@example.org"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", HOST),
        ("Host", HOST),
        ("X-Session-Data", "count=3, theme=\"dark\""),
    ];
    for (name, value) in expected {
        assert_eq!(told.value(name), Some(value), "{name} in {}", told.head);
    }
    assert_eq!(told.value("x_forwarded_user"), None);
    assert_eq!(told.value("x-forwarded-prefix"), None, "without strip_path");
    let rows = page.rows("header");
    let listed: BTreeSet<_> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    let names = expected.iter().map(|(name, _)| *name);
    let some = ["X-Forwarded-Prefix", "X-Request-Id", "X-Vestibule-Token"];
    assert_eq!(listed, names.chain(some).collect());
    let token = told.value("x-vestibule-token");
    assert!(
        token.is_some_and(|it| it.starts_with("ey")),
        "{}",
        told.head
    );
    assert!(told.value("x-request-id").is_some(), "{}", told.head);
}

async fn what_reaches_beyond_the_app_is_dropped(page: &Page) {
    let rows = page.rows("response header");
    let names: BTreeSet<_> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    let fields: String = names
        .iter()
        .map(|name| match *name {
            "Clear-Site-Data" => "Clear-Site-Data: \"cookies\", \"storage\"\r\n".to_owned(),
            name => format!("{name}: of-the-app\r\n"),
        })
        .collect();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n");
    let app = Upstream::raw(answer).await;
    let gate = Vestibule::before(&app).public().start().await;
    let reply = gate.browser().get("/").await;
    reply.assert_status(200);
    for name in names {
        let left = reply.values(&name.to_lowercase());
        let ours = name == "Strict-Transport-Security";
        assert!(!left.contains(&"of-the-app"), "{name}: {reply}");
        assert_eq!(left.len(), usize::from(ours), "{name}: {reply}");
    }
}

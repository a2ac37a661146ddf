//! What visitors sign in to, and whose error they see: SEC-65 and SEC-70.

use super::*;
use crate::harness::tls;

const LOGIN: &str = "/.vestibule/login";

/// An app for a host, two for parts of another, and one without a title.
fn apps(app: &Upstream) -> Vestibule {
    let other = |host: &str, keys: &str| {
        let url = app.url();
        format!("[[app]]\nhost = \"{host}\"\nupstream = \"{url}\"\n{keys}\n")
    };
    Vestibule::before(app)
        .app("host = \"gate.test\"\ntitle = \"R&D <Wiki>\"")
        .user("ada", PASSWORD)
        .rule("/closed", "nobody")
        .config(&other(
            "tools.test",
            "path = \"/files/\"\ntitle = \"Files\"",
        ))
        .config(&other("tools.test", "path = \"/mail/\"\nname = \"mail\""))
        .config(&other("plain.test", ""))
}

fn title(page: &Reply) -> String {
    let text = page.text();
    let title = text
        .split("<title>")
        .nth(1)
        .unwrap_or_else(|| panic!("{page}"));
    title.split("</title>").next().unwrap().to_owned()
}

#[tokio::test]
async fn the_login_names_the_app_that_it_leads_to() {
    let app = Upstream::echo().await;
    let mut gate = apps(&app).start().await;
    for (host, query, expected) in [
        ("gate.test", "?return_to=%2Fx", "R&amp;D &lt;Wiki&gt;"),
        ("gate.test", "", "R&amp;D &lt;Wiki&gt;"),
        (
            "gate.test",
            "?return_to=%2F.vestibule%2Faccount",
            "R&amp;D &lt;Wiki&gt;",
        ),
        ("tools.test", "?return_to=%2Ffiles%2Fa", "Files"),
        ("tools.test", "?return_to=%2Fmail", "mail"),
        ("tools.test", "?return_to=%2Fmail%2F%3Fa%3D1", "mail"),
        // Of two apps, neither.
        ("tools.test", "?return_to=%2F", "Vestibule"),
        ("tools.test", "?return_to=%2Ffiles%3Bx%2F", "Vestibule"),
        ("plain.test", "?return_to=%2Fx", "plain.test"),
    ] {
        let page = gate.browser_for(host).get(&format!("{LOGIN}{query}")).await;
        page.assert_status(200);
        let heading = format!("Sign in to {expected}");
        assert_eq!(title(&page), heading, "{host} {query}");
        page.assert_contains(&format!("<h1>{heading}</h1>"));
    }
    // A wrong password changes nothing of it.
    let browser = gate.browser_for("tools.test");
    let there = format!("{LOGIN}?return_to=%2Ffiles%2F");
    let page = browser.login_at(&there, "ada", "wrong").await;
    assert_eq!(title(&page), "Sign in to Files");
    gate.reload(|text| text.replace("title = \"Files\"", "title = \"Papers\""))
        .unwrap();
    let page = browser.get(&there).await;
    assert_eq!(title(&page), "Sign in to Papers");
    gate.reload(|text| text.replace("[login]", "[login]\ntitle = \"Example Ltd.\""))
        .unwrap();
    for (host, query, expected) in [
        ("gate.test", "", "R&amp;D &lt;Wiki&gt;"),
        ("tools.test", "?return_to=%2Fmail%2F", "Example Ltd."),
        ("tools.test", "", "Example Ltd."),
        ("plain.test", "", "Example Ltd."),
    ] {
        let page = gate.browser_for(host).get(&format!("{LOGIN}{query}")).await;
        assert_eq!(title(&page), format!("Sign in to {expected}"), "{host}");
    }
}

#[tokio::test]
async fn all_pages_name_the_app_and_those_of_several_apps_none() {
    let app = Upstream::echo().await;
    let gate = apps(&app).start().await;
    let named = "R&amp;D &lt;Wiki&gt;";
    let form = [
        ("accept", "text/html"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
    ];
    for (host, path, expected) in [
        ("gate.test", "/save", named),
        ("tools.test", "/files/save", "Files"),
        ("tools.test", "/mail/save", "mail"),
    ] {
        let browser = gate.browser_for(host);
        let late = browser.request(Method::POST, path, &form, "a=1".into());
        assert_eq!(title(&late.await), format!("Sign in to {expected}"));
        let framed = browser
            .header("sec-fetch-dest", "iframe")
            .header("sec-fetch-site", "same-origin");
        assert_eq!(
            title(&framed.get(path).await),
            format!("Sign in to {expected}")
        );
    }
    for (host, named) in [("gate.test", named), ("tools.test", "Vestibule")] {
        let ada = gate.browser_for(host).login("ada", PASSWORD).await;
        for (page, expected) in [
            ("account", format!("Your account, {named}")),
            ("logout", format!("Sign out of {named}")),
        ] {
            let page = ada.get(&format!("/.vestibule/{page}")).await;
            assert_eq!(title(&page), expected);
        }
        let form = ada.get("/.vestibule/form").await;
        form.assert_contains(&format!("Go to {named}"));
        ada.logout().await;
        let out = ada.get("/.vestibule/logout").await;
        assert_eq!(title(&out), format!("Signed out of {named}"));
    }
}

const WIKI: Option<&str> = Some("R&amp;D &lt;Wiki&gt;");

/// Host, request, status, reason, a part of the sentence and the title of the app.
type Refusal = (
    &'static str,
    &'static str,
    u16,
    &'static str,
    &'static str,
    Option<&'static str>,
);

const REFUSALS: [Refusal; 11] = [
    (
        "gate.test",
        "GET /echo%2fed",
        400,
        "bad_request",
        "encoded slash",
        WIKI,
    ),
    (
        "gate.test",
        "GET /echo%00ed",
        400,
        "bad_request",
        "null byte",
        WIKI,
    ),
    (
        "gate.test",
        "GET /echo%zzed",
        400,
        "bad_request",
        "percent sign",
        WIKI,
    ),
    (
        "gate.test",
        "PURGE /echoed",
        405,
        "method_not_allowed",
        "",
        WIKI,
    ),
    (
        "gate.test",
        "GET /closed/echoed",
        403,
        "forbidden",
        "Nobody may open",
        WIKI,
    ),
    (
        "gate.test",
        "GET /.vestibule/echoed",
        404,
        "not_found",
        "no such page",
        WIKI,
    ),
    (
        "tools.test",
        "GET /files/echo%2fed",
        400,
        "bad_request",
        "encoded slash",
        Some("Files"),
    ),
    (
        "tools.test",
        "GET /mail/echo%5ced",
        400,
        "bad_request",
        "backslash",
        Some("mail"),
    ),
    (
        "tools.test",
        "GET /echoed",
        404,
        "not_found",
        "no such page",
        None,
    ),
    (
        "tools.test",
        "GET /echo%2fed",
        400,
        "bad_request",
        "encoded slash",
        None,
    ),
    (
        "nobody.test",
        "GET /echoed",
        421,
        "misdirected",
        "no app at this address",
        None,
    ),
];

#[tokio::test]
async fn sec_70_a_refusal_names_app_and_reason_on_the_page_and_in_the_log() {
    let app = Upstream::echo().await;
    let service = apps(&app)
        .app("name = \"wiki\"")
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    for (host, line, status, _, sentence, named) in REFUSALS {
        let stream = tls::connect(service.tcp().await, host, &["http/1.1"]).await;
        let mut raw = Raw::new(stream.unwrap());
        raw.send(format!(
            "{line}?query=1 HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n"
        ))
        .await;
        let page = raw.response().await;
        page.assert_status(status).assert_contains(sentence);
        assert!(!page.text().contains("echo"), "SEC-70: {page}");
        assert!(!page.text().contains("your account"), "{page}");
        if let (Some(named), true) = (named, page.text().contains("<html")) {
            page.assert_contains(&format!("<p class=\"host\">{named}</p>"))
                .assert_contains(&format!("The people who run {named}"));
        }
    }
    let lines = || -> Vec<_> {
        let log = service.program.log().into_iter();
        log.filter(|line| line["target"] == "access").collect()
    };
    eventually("a line for each", || lines().len() == REFUSALS.len()).await;
    let names = |title: Option<&str>| match title {
        Some("Files") => Some("tools.test/files"),
        Some("mail") => Some("mail"),
        Some(_) => Some("wiki"),
        None => None,
    };
    for (line, (host, request, status, reason, _, title)) in lines().iter().zip(REFUSALS) {
        assert_eq!(line["status"], status, "{request}: {line}");
        assert_eq!(line["reason"], reason, "{request}: {line}");
        assert_eq!(
            line["app"].as_str(),
            names(title),
            "{host} {request}: {line}"
        );
        assert_eq!(
            line["error"].is_string(),
            matches!(status, 400 | 405),
            "{line}"
        );
    }
}

#[tokio::test]
async fn the_login_says_that_open_pages_go_on_where_one_may_be_open() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let said = "Pages that are still open in other tabs go on";
    let stranger = gate.browser();
    let page = stranger.get(&format!("{LOGIN}?return_to=%2Fx")).await;
    assert!(!page.text().contains(said), "{page}");

    // A script was refused, and leads there.
    let refused = stranger.fetch("/x").await;
    refused.assert_status(401);
    let login = refused.json()["login_url"].as_str().unwrap().to_owned();
    stranger.get(&login).await.assert_contains(said);
    let page = stranger.login_at(&login, "ada", "wrong").await;
    page.assert_status(401);
    let program = gate.browser().header("user-agent", "curl/8.5.0");
    let refused = program.request(Method::GET, "/x", &[], Bytes::new()).await;
    assert_eq!(refused.json()["login_url"], LOGIN);

    // A session of this browser has ended.
    let ada = gate.browser().login("ada", PASSWORD).await;
    let switch = ada.get(&format!("{LOGIN}?switch=1&background=1")).await;
    assert!(!switch.text().contains(said), "{switch}");
    gate.advance(std::time::Duration::from_hours(13));
    ada.fetch("/x").await.assert_status(401);
    let page = ada.get(&format!("{LOGIN}?return_to=%2Fx")).await;
    page.assert_contains(said);
    // Nothing is open after a sign-out.
    let bob = gate.browser().login("ada", PASSWORD).await;
    bob.logout().await;
    let page = bob.get(LOGIN).await;
    assert!(!page.text().contains(said), "{page}");
}

//! The configuration of one login for all apps, and which pages are where.

use super::page::{Page, quoted};
use crate::harness::*;

#[tokio::test]
async fn the_login_host_and_the_hosts_of_apps_have_the_pages_that_the_page_says() {
    let mut page = Page::open("one-login.md");
    let text = page.next("toml");
    page.skip("text", "it is a picture");
    let (login, apps) = text.split_once("[[app]]").unwrap();
    let gate = Vestibule::before_app(&format!("[[app]]{apps}"))
        .login(login.trim_start_matches("[login]\n"))
        .user("ada", PASSWORD)
        .start()
        .await;
    let app = gate.browser_for("wiki.example.org");
    let there = app.get("/page").await;
    let to_login = there.value("location").unwrap();
    let login = "https://login.example.org/.vestibule/login?state=";
    assert!(to_login.starts_with(login), "{to_login}");
    let wildcard = gate.browser_for("a.metrics.example.com").get("/").await;
    assert!(wildcard.value("location").unwrap().starts_with(login));

    let login = gate
        .browser_for("login.example.org")
        .login("ada", PASSWORD)
        .await;
    let rows = page.rows("below `/.vestibule/`");
    assert_eq!(rows.len(), 6);
    for row in rows {
        let target = format!("/.vestibule/{}", quoted(row[0]).pop_first().unwrap());
        for (browser, said) in [(&login, row[1]), (&app, row[2])] {
            let reply = browser.get(&target).await;
            assert_eq!(reply.status == 404, said == "no", "{target}: {reply}");
            let leads = reply
                .value("location")
                .is_some_and(|to| to.starts_with("https://"));
            let says_so = said.contains("leads to") || said.contains("begins");
            // Without a session, the page of forms leads to where a login begins.
            assert_eq!(leads, says_so, "{target}: {reply}");
        }
    }
}

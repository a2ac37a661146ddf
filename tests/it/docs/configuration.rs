//! What the configurations of the page mean, what `check` says of one, and who may open what there.

use std::path::Path;

use vestibule::config::Config;

use super::desk::Desk;
use super::page::{Page, quoted};
use crate::harness::tls::Certificate;
use crate::harness::*;

const WIKI: &str = "wiki.example.org";
const METRICS: &str = "metrics.example.org";

#[tokio::test]
async fn two_apps_with_rules_are_checked_and_open_as_the_page_says() {
    let mut page = Page::open("configuration.md");
    let smallest = page.next("toml");
    assert_is_accepted(&smallest);
    for row in page.rows("`allow`") {
        let allow = quoted(row[0]).pop_first().unwrap();
        let rule = format!("[[app.rule]]\npath = \"/\"\nallow = {allow}\n");
        assert_is_accepted(&(smallest.clone() + &rule));
    }

    let mut desk = Desk::new(WIKI);
    let certificate = Certificate::generate(&[WIKI, METRICS]);
    desk.write("/etc/vestibule/cert.pem", &certificate.cert_pem);
    desk.write_secret("/etc/vestibule/key.pem", &certificate.key_pem);
    let wiki = [Upstream::echo().await, Upstream::echo().await];
    let mut metrics = Upstream::echo().await;
    metrics.stop().await;
    let address = desk.free("[::]:443");
    desk.free("[::]:80");
    desk.place("http://10.1.0.5:3000", wiki[0].url());
    desk.place("http://10.1.0.6:3000", wiki[1].url());
    desk.place("http://127.0.0.1:9090", metrics.url());
    let admin = "\n[admin]\nsocket = \"admin.sock\"\n";
    desk.write(
        "/etc/vestibule/config.toml",
        &(page.next("toml") + admin), // at the end, as lines are counted
    );
    let tls = smallest.split("[[app]]").next().unwrap();
    for _ in 0..4 {
        assert_is_accepted(&(tls.to_owned() + &page.next("toml")));
    }
    assert_is_accepted(&(smallest.clone() + &page.next("toml")));
    desk.run("vestibule user add ada --group admins\nvestibule user add bob --group operators")
        .await;
    let checked = desk.run(&page.next("sh")).await;
    assert_eq!(
        of_every_machine(&checked),
        of_every_machine(&desk.here(&page.next("text")))
    );
    assert_eq!(desk.run(&page.next("sh")).await, page.next("text"));

    metrics.start().await;
    let served = desk.serve(address).await;
    let stranger = served.browser(WIKI);
    stranger.get("/public/a").await.assert_status(200);
    let post = stranger.post_form("/public/a", &[]).await;
    post.assert_status(401);
    stranger.get("/").await.assert_status(303);
    for (name, status) in [("ada", 200), ("bob", 403)] {
        let browser = served.browser(WIKI).login(name, PASSWORD).await;
        browser.get("/a").await.assert_status(200);
        browser.get("/admin/users").await.assert_status(status);
    }
    let bob = served.browser(METRICS).login("bob", PASSWORD).await;
    bob.get("/").await.assert_status(200);
    let told = metrics.last();
    assert_eq!(told.value("x-webauth-user"), Some("bob"));
    assert_eq!(told.value("x-forwarded-user"), None, "instead of these");
}

fn assert_is_accepted(text: &str) {
    let config = Config::parse(text, Path::new("/etc/vestibule/config.toml"));
    assert!(config.is_ok(), "{}\nin:\n{text}", config.unwrap_err());
}

/// Without what depends on who checks, when, and with how many cores.
fn of_every_machine(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("checked as "));
    let lines = lines.map(|line| match line.split(' ').next().unwrap() {
        "certificate" => line.split("; until ").next().unwrap().to_owned(),
        "memory" => line.replace(|c: char| c.is_ascii_digit(), ""),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

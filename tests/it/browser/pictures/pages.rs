//! Vestibule's own pages, as a visitor of one app comes by them.

use std::time::Duration;

use serde_json::json;

use super::super::sign_in;
use super::{is_so_large, keep};
use crate::harness::webdriver::Chromium;
use crate::harness::{Gate, PASSWORD, Upstream, User, Vestibule};

const ORIGIN: &str = "https://wiki.example.org";
const ACCOUNT: &str = "/.vestibule/account";
const IDLE: Duration = Duration::from_mins(30);
const FIREFOX: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0";
const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1";

/// A wiki with one page, which is written.
async fn wiki() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async move {
            let page = "<!doctype html><title>Wiki</title>\
                        <form method=post action=/notes/42/save>\
                        <textarea name=text></textarea><button>Save</button></form>";
            let html = [("Content-Type", "text/html; charset=utf-8")];
            exchange.reply("200 OK", &html, page).await;
        })
    })
    .await
}

async fn gate(wiki: &Upstream) -> Gate {
    let app = "name = \"wiki\"\ntitle = \"Wiki\"\nhost = \"wiki.example.org\"\ntokens = true";
    Vestibule::before(wiki)
        .app(app)
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .session("idle_timeout = \"30m\"")
        .account(User::new("ada", PASSWORD).groups(&["editors"]))
        .start()
        .await
}

/// The other places where ada is signed in.
async fn signs_in_elsewhere(gate: &Gate) {
    for (agent, address) in [(SAFARI, "198.51.100.7"), (FIREFOX, "192.0.2.31")] {
        let browser = gate
            .browser_for("wiki.example.org")
            .header("user-agent", agent);
        let browser = browser.header("x-forwarded-for", address);
        browser.login("ada", PASSWORD).await;
        gate.advance(Duration::from_mins(4));
    }
}

async fn prefers(browser: &Chromium, scheme: &str) {
    let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    browser
        .devtools("Emulation.setEmulatedMedia", &features)
        .await;
}

#[tokio::test]
async fn a_login_a_late_form_the_account_and_a_token() {
    let wiki = wiki().await;
    let gate = gate(&wiki).await;
    let hosts = [("wiki.example.org", gate.address().port())];
    let Some(browser) = Chromium::start_for(&hosts).await else {
        return;
    };
    browser.devtools("Network.enable", &json!({})).await;
    let from = json!({"headers": {"X-Forwarded-For": "192.0.2.10"}});
    browser.devtools("Network.setExtraHTTPHeaders", &from).await;

    browser.goto(&format!("{ORIGIN}/notes/42")).await;
    assert_eq!(browser.text("h1").await, "Sign in to Wiki");
    let hidden = json!({"hidden": true});
    browser
        .devtools("Emulation.setScrollbarsHidden", &hidden)
        .await;
    is_so_large(&browser, 520, 600).await;
    let mut logins = Vec::new();
    for scheme in ["light", "dark"] {
        prefers(&browser, scheme).await;
        logins.push(keep(&browser, &format!("login-{scheme}.png")).await);
    }
    assert_ne!(logins[0], logins[1]);
    prefers(&browser, "light").await;

    sign_in(&browser, "ada", PASSWORD).await;
    browser
        .type_into("textarea", "what the meeting has decided")
        .await;
    gate.advance(IDLE);
    browser.click("button").await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser.wait_until("document.querySelector('.kept')").await;
    let page = browser.text("main").await;
    for part in ["You were about to send this to Wiki", "/notes/42/save"] {
        assert!(page.contains(part), "{page}");
    }
    is_so_large(&browser, 520, 720).await;
    keep(&browser, "kept-form.png").await;
    browser.click(".kept button").await;
    browser.wait_until("document.title === 'Wiki'").await;

    signs_in_elsewhere(&gate).await;
    browser.goto(&format!("{ORIGIN}{ACCOUNT}")).await;
    let page = browser.text("main").await;
    let other = ["Firefox on Windows", "Safari on iPhone"];
    for part in ["Chrome on Linux", "This browser"].into_iter().chain(other) {
        assert!(page.contains(part), "{page}");
    }
    is_so_large(&browser, 620, 1180).await;
    keep(&browser, "account.png").await;

    for name in ["backup of the notes", "calendar on the phone"] {
        browser.type_into("#token-name", name).await;
        browser.type_into("#token-password", PASSWORD).await;
        browser.click("#token-password ~ button").await;
        let made =
            format!("document.querySelector('[role=status]')?.textContent.includes('{name}')");
        browser.wait_until(&made).await;
    }
    let section = "return document.querySelector('[role=status]').previousElementSibling\
                   .previousElementSibling.scrollIntoView()";
    browser.script(section).await;
    is_so_large(&browser, 620, 520).await;
    browser.script(section).await;
    keep(&browser, "tokens.png").await;
    let errors = browser.errors().await;
    let is_of_the_late_form = |error: &String| error.contains("/save - ") && error.contains("401");
    assert!(errors.iter().all(is_of_the_late_form), "{errors:?}");
}

//! One login for apps of two domains, in a real browser.

use std::collections::BTreeSet;
use std::time::Duration;

use super::sign_in;
use crate::harness::webdriver::Chromium;
use crate::harness::{Gate, PASSWORD, SESSION_COOKIE, Upstream, Vestibule};

const IS_ADA: &str = "document.body.textContent.includes('X-Forwarded-User: ada')";
const TABS: usize = 20;
const IDLE: Duration = Duration::from_mins(30);
const SIGNED_OUT: &str = "document.querySelector('h1').textContent === 'You are signed out'";

async fn gate(wiki: &Upstream, metrics: &Upstream) -> Gate {
    Vestibule::before(wiki)
        .app("name = \"wiki\"\nhost = \"wiki.test\"")
        .rule("/public", "everyone")
        .login("host = \"login.test\"")
        .session("idle_timeout = \"30m\"")
        .user("ada", PASSWORD)
        .config(&format!(
            "[[app]]\nname = \"metrics\"\nhost = \"metrics.test\"\nupstream = \"{}\"",
            metrics.url()
        ))
        .start()
        .await
}

#[tokio::test]
async fn sec_97_one_sign_in_opens_apps_of_two_domains_and_one_sign_out_closes_them() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let gate = gate(&wiki, &metrics).await;
    let port = gate.address().port();
    let at = |host: &str, target: &str| format!("https://{host}.test:{port}{target}");

    let wanted = at("wiki", "/page?q=a%20b#part");
    browser.goto(&wanted).await;
    let login = browser.url().await;
    assert!(
        login.starts_with(&at("login", "/.vestibule/login?state=")),
        "{login}"
    );
    assert_eq!(browser.text("h1").await, "Sign in to wiki");
    assert_eq!(browser.text(".host").await, format!("login.test:{port}"));
    sign_in(&browser, "ada", PASSWORD).await;
    browser
        .wait_until(&format!("location.href === '{wanted}'"))
        .await;
    browser.wait_until(IS_ADA).await;
    let mut ids = BTreeSet::new();
    for (host, target) in [
        ("wiki", "/"),
        ("metrics", "/graph"),
        ("login", "/.vestibule/account"),
    ] {
        browser.goto(&at(host, target)).await;
        assert_eq!(browser.url().await, at(host, target), "without a word");
        assert_eq!(browser.script("return document.cookie").await, "");
        let cookies = browser.cookies().await;
        let of_session = cookies
            .iter()
            .find(|cookie| cookie["name"] == SESSION_COOKIE);
        let of_session = of_session.unwrap_or_else(|| panic!("{cookies:?}"));
        assert_eq!(of_session["domain"], format!("{host}.test"));
        ids.insert(of_session["value"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 3, "each host has an id of its own");
    assert_eq!(metrics.last().value("x-forwarded-user"), Some("ada"));
    assert_eq!(browser.errors().await, [""; 0]);

    browser.goto(&at("metrics", "/.vestibule/logout")).await;
    let page = browser.text("main").await;
    assert!(
        page.contains("wiki.test") && page.contains("metrics.test"),
        "{page}"
    );
    browser.click("[type=submit]").await;
    browser.wait_until(SIGNED_OUT).await;
    let page = browser.text("main").await;
    assert!(
        page.contains("wiki.test") && page.contains("metrics.test"),
        "{page}"
    );
    for host in ["wiki", "metrics"] {
        browser.goto(&at(host, "/")).await;
        let login = browser.url().await;
        assert!(
            login.starts_with(&at("login", "/.vestibule/login?state=")),
            "{login}"
        );
    }
}

#[tokio::test]
async fn twenty_tabs_that_open_at_once_all_arrive() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let gate = gate(&wiki, &metrics).await;
    let port = gate.address().port();
    let open = |host: &str| {
        format!(
            "for (let n = 0; n < {TABS}; n++) window.open('https://{host}.test:{port}/tab/' + n)"
        )
    };

    // A browser without any session.
    browser
        .goto(&format!("https://wiki.test:{port}/public"))
        .await;
    let first = browser.tab().await;
    browser.script(&open("wiki")).await;
    let mut tabs = browser.tabs().await;
    tabs.retain(|tab| *tab != first);
    assert_eq!(tabs.len(), TABS);
    for tab in &tabs {
        browser.switch_to(tab).await;
        browser
            .wait_until("document.querySelector('#login [name=state]')")
            .await;
    }
    sign_in(&browser, "ada", PASSWORD).await;
    browser.wait_until(IS_ADA).await;
    let mut arrived = BTreeSet::new();
    for tab in &tabs {
        browser.switch_to(tab).await;
        browser.bring_to_front().await; // it goes on by itself
        browser.wait_until(IS_ADA).await;
        arrived.insert(browser.url().await);
    }
    let all = |host: &str| -> BTreeSet<_> {
        let tab = |n| format!("https://{host}.test:{port}/tab/{n}");
        (0..TABS).map(tab).collect()
    };
    assert_eq!(arrived, all("wiki"));

    // One that is signed in.
    let before: BTreeSet<_> = browser.tabs().await.into_iter().collect();
    browser.script(&open("metrics")).await;
    let mut arrived = BTreeSet::new();
    for tab in browser
        .tabs()
        .await
        .iter()
        .filter(|tab| !before.contains(*tab))
    {
        browser.switch_to(tab).await;
        browser.wait_until(IS_ADA).await;
        arrived.insert(browser.url().await);
    }
    assert_eq!(arrived, all("metrics"));
}

/// An app whose pages have this in them; `/ws` is a WebSocket.
async fn app(content: &'static str) -> Upstream {
    Upstream::scripted(move |exchange| {
        Box::pin(async move {
            if exchange.target() == "/ws" {
                return exchange.echo_websocket().await;
            }
            let body = exchange.body().await;
            let title = if body.is_empty() { "Editor" } else { "Saved" };
            let page = format!("<!doctype html><title>{title}</title>{content}");
            let html = [("Content-Type", "text/html; charset=utf-8")];
            exchange.reply("200 OK", &html, page).await;
        })
    })
    .await
}

#[tokio::test]
async fn a_late_form_is_kept_while_its_user_signs_in_on_the_other_host() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let form =
        "<form method=post action=/save><textarea name=text></textarea><button>Save</button>";
    let (wiki, metrics) = (app(form).await, Upstream::echo().await);
    let gate = gate(&wiki, &metrics).await;
    let origin = format!("https://wiki.test:{}", gate.address().port());
    let title = async |title: &str| {
        let is_there = format!("document.title === '{title}'");
        browser.wait_until(&is_there).await;
    };
    browser.goto(&format!("{origin}/edit")).await;
    sign_in(&browser, "ada", PASSWORD).await;
    title("Editor").await;
    browser.type_into("textarea", "an hour of work").await;
    gate.advance(IDLE);
    browser.click("button").await;

    title("Sign in to wiki").await;
    assert_eq!(browser.url().await, format!("{origin}/save"));
    browser.click("[href='/.vestibule/sso']").await;
    browser
        .wait_until("location.hostname === 'login.test'")
        .await;
    sign_in(&browser, "ada", PASSWORD).await;
    title("Send it to wiki?").await;
    assert_eq!(browser.url().await, format!("{origin}/.vestibule/form"));
    browser.click(".kept button").await;
    title("Saved").await;
    let received = wiki.received();
    let posts = received.iter().filter(|it| it.head.starts_with("POST "));
    let bodies: Vec<_> = posts.map(|it| &*it.body).collect();
    assert_eq!(bodies, [b"text=an+hour+of+work"]);
}

#[tokio::test]
async fn sec_75_a_sign_out_on_one_domain_closes_the_websocket_on_the_other() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let talk = "<output></output><script>
        const said = document.querySelector('output');
        const socket = new WebSocket(`wss://${location.host}/ws`);
        socket.onopen = () => socket.send('hello');
        socket.onmessage = event => said.value = event.data;
        socket.onclose = event => said.value = `closed ${event.code}`;
        </script>";
    let (wiki, metrics) = (Upstream::echo().await, app(talk).await);
    let gate = gate(&wiki, &metrics).await;
    let at = |host: &str, target: &str| {
        let port = gate.address().port();
        format!("https://{host}.test:{port}{target}")
    };
    browser.goto(&at("wiki", "/")).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser.wait_until(IS_ADA).await;
    browser.goto(&at("metrics", "/")).await;
    let says = |text: &str| format!("document.querySelector('output')?.value === '{text}'");
    browser.wait_until(&says("hello")).await;

    let live = browser.tab().await;
    browser.new_tab().await;
    browser.goto(&at("wiki", "/.vestibule/logout")).await;
    browser.click("[type=submit]").await;
    browser.wait_until(SIGNED_OUT).await;
    browser.switch_to(&live).await;
    browser.wait_until(&says("closed 1008")).await;
}

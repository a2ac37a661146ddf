//! The login in a real browser leads to where the visitor was going, wherever that is.

use super::{sign_in, sign_out};
use crate::harness::webdriver::Chromium;
use crate::harness::{PASSWORD, Upstream, Vestibule};

#[tokio::test]
async fn sec_64_a_login_follows_the_app_to_another_scheme_port_or_host() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let (plain, other_port) = (Upstream::echo().await, Upstream::tls().await);
    let port_of = |app: &Upstream| app.authority().rsplit_once(':').unwrap().1.to_owned();
    let places = [
        format!("http://elsewhere.test:{}/sub/", port_of(&plain)),
        format!("https://gate.test:{}/sub/", port_of(&other_port)),
    ];
    for place in places {
        let location = place.clone();
        let app = Upstream::scripted(move |exchange| {
            let location = location.clone();
            Box::pin(async move {
                let field = [("Location", location.as_str())];
                exchange.reply("301 Moved Permanently", &field, "").await;
            })
        })
        .await;
        let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
        let wanted = format!("https://gate.test:{}/sub", gate.address().port());
        browser.goto(&wanted).await;
        sign_in(&browser, "ada", "wrong password").await;
        browser
            .wait_until("document.querySelector('[role=alert]')")
            .await;
        sign_in(&browser, "ada", PASSWORD).await;
        browser
            .wait_until(&format!("location.href === '{place}'"))
            .await;
    }
}

#[tokio::test]
async fn sec_64_a_sign_out_leads_to_another_host_and_where_that_leads() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let plain = Upstream::echo().await;
    let port = plain.authority().rsplit_once(':').unwrap().1.to_owned();
    let place = format!("http://elsewhere.test:{port}/bye");
    let location = place.clone();
    let app = Upstream::scripted(move |exchange| {
        let location = location.clone();
        Box::pin(async move {
            let field = [("Location", location.as_str())];
            if exchange.target() == "/goodbye" {
                exchange.reply("302 Found", &field, "").await;
            } else {
                exchange.reply("200 OK", &[], "").await;
            }
        })
    })
    .await;
    let mut gate = Vestibule::before(&app)
        .app("host = \"gate.test\"")
        .rule("/goodbye", "everyone")
        .user("ada", PASSWORD)
        .start()
        .await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    gate.reload(|text| {
        let port = origin.rsplit_once(':').unwrap().1;
        let text = text.replace("[server]", &format!("[server]\npublic_port = {port}"));
        text.replace(
            "[login]",
            &format!("[login]\nafter_logout = \"{origin}/goodbye\""),
        )
    })
    .unwrap();
    browser.goto(&format!("{origin}/.vestibule/account")).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser.click("[href='/.vestibule/logout']").await;
    browser.click("[action='/.vestibule/logout'] button").await;
    browser
        .wait_until(&format!("location.href === '{place}'"))
        .await;
}

#[tokio::test]
async fn an_open_page_goes_on_after_a_login_in_another_tab() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let page = "<!doctype html><title>Editor</title><textarea></textarea><output></output>\
                        <script>async function save() {\
                        const answer = await fetch('/save', {method: 'POST', body: 'x'});\
                        const said = answer.ok ? {} : await answer.json();\
                        window.login = said.login_url;\
                        document.querySelector('output').value = said.message ?? 'saved'; }</script>";
            exchange.body().await;
            let html = [("Content-Type", "text/html")];
            exchange.reply("200 OK", &html, page).await;
        })
    })
    .await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    browser.goto(&format!("{origin}/edit")).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser.wait_until("document.title === 'Editor'").await;
    browser.type_into("textarea", "an hour of work").await;
    gate.advance(std::time::Duration::from_hours(13));
    browser.script("save()").await;
    browser
        .wait_until("document.querySelector('output').value.includes('in another tab')")
        .await;
    let login = browser.script("return window.login").await;
    let editor = browser.tab().await;
    browser.new_tab().await;
    browser
        .goto(&format!("{origin}{}", login.as_str().unwrap()))
        .await;
    let notice = browser.text("#open").await;
    assert!(notice.contains("go on once you have signed in"), "{notice}");
    sign_in(&browser, "ada", PASSWORD).await;
    browser.wait_until("document.title === 'Editor'").await;
    browser.switch_to(&editor).await;
    browser.script("save()").await;
    browser
        .wait_until("document.querySelector('output').value === 'saved'")
        .await;
    let typed = "return document.querySelector('textarea').value";
    assert_eq!(browser.script(typed).await, "an hour of work");
}

#[tokio::test]
async fn sec_63_the_fragment_survives_the_login() {
    for browser in [
        Chromium::start().await,
        Chromium::start_without_script().await,
    ] {
        let Some(browser) = browser else {
            return;
        };
        let app = Upstream::echo().await;
        let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
        let origin = format!("https://gate.test:{}", gate.address().port());
        let long = format!("/?{}#/deep/link", "a".repeat(4000));
        for target in ["/app/?a=1#/deep/link", "/#v1:0:18:4:::::::", &long] {
            let wanted = format!("{origin}{target}");
            browser.goto(&wanted).await;
            sign_in(&browser, "ada", "wrong password").await;
            browser
                .wait_until("document.querySelector('[role=alert]')")
                .await;
            sign_in(&browser, "ada", PASSWORD).await;
            browser
                .wait_until(&format!("location.href === '{wanted}'"))
                .await;
            // The login page, left open in another tab, leads to the same place.
            let query: String =
                form_urlencoded::byte_serialize(target.split('#').next().unwrap().as_bytes())
                    .collect();
            let fragment = target.split_once('#').unwrap().1;
            let login = format!("{origin}/.vestibule/login?return_to={query}#{fragment}");
            browser.goto("about:blank").await;
            browser.goto(&login).await;
            browser
                .wait_until(&format!("location.href === '{wanted}'"))
                .await;
            sign_out(&browser, &origin).await;
        }
    }
}

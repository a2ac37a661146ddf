use super::*;
use crate::harness::webdriver::Chromium;

/// A site that sends a form to the gate as soon as it is loaded, from whichever host it is asked.
async fn identity_provider(target: &str) -> Upstream {
    let page = format!(
        "<!doctype html><title>IdP</title><form method=post action=\"{target}\">\
         <input name=SAMLResponse value=\"abc+\"><input name=RelayState value=\"/start\"></form>\
         <script>if (location.pathname === '/go') document.forms[0].submit()</script>"
    );
    Upstream::scripted(move |exchange| {
        let page = page.clone();
        Box::pin(async move {
            let html = [("Content-Type", "text/html; charset=utf-8")];
            exchange.reply("200 OK", &html, page).await;
        })
    })
    .await
}

fn port_of(upstream: &Upstream) -> String {
    let authority = upstream.authority();
    authority.rsplit_once(':').unwrap().1.to_owned()
}

fn posts(app: &Upstream) -> Vec<Received> {
    let mut received = app.received();
    received.retain(|request| request.head.starts_with("POST "));
    received
}

async fn sign_in(browser: &Chromium) {
    browser.type_into("[name=username]", "ada").await;
    browser.type_into("[name=password]", PASSWORD).await;
    browser.click("#submit").await;
}

#[tokio::test]
async fn the_answer_of_an_identity_provider_arrives_after_one_click() {
    let app = Upstream::echo().await;
    let mut gate = wiki(&app).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let idp = identity_provider(&format!("{origin}/saml/acs?a=1")).await;
    let sender = format!("http://idp.test:{}", port_of(&idp));
    gate.reload(|text| text.replace("http://pay.test", &sender))
        .unwrap();
    for (script, is_signed_in) in [(true, true), (true, false), (false, true), (false, false)] {
        let browser = if script {
            Chromium::start().await
        } else {
            Chromium::start_without_script().await
        };
        let Some(browser) = browser else {
            return;
        };
        if is_signed_in {
            browser.goto(&format!("{origin}/")).await;
            sign_in(&browser).await;
            browser
                .wait_until("document.body.textContent.includes('X-Forwarded-User: ada')")
                .await;
        }
        let before = posts(&app).len();
        browser.goto(&format!("{sender}/")).await;
        browser.script("document.forms[0].submit()").await;
        browser
            .wait_until("document.title === 'Send it to Team Wiki?'")
            .await;
        let shown = browser.text("dl").await;
        for part in [&*sender, "Team Wiki", "/saml/acs", "text"] {
            assert!(shown.contains(part), "{part:?} is not in {shown:?}");
        }
        assert_eq!(browser.errors().await, [""; 0]);
        assert_eq!(posts(&app).len(), before, "nothing is sent by itself");
        browser.click("form button").await;
        if !is_signed_in {
            browser
                .wait_until("document.title === 'Sign in to Team Wiki'")
                .await;
            sign_in(&browser).await;
            if !script {
                browser
                    .wait_until("document.title === 'Send it to Team Wiki?'")
                    .await;
                browser.click("form button").await;
            }
        }
        browser
            .wait_until("document.body.textContent.includes('POST /saml/acs?a=1')")
            .await;
        let sent = posts(&app);
        assert_eq!(sent.len(), before + 1, "{script} {is_signed_in}");
        let sent = sent.last().unwrap();
        assert_eq!(sent.body, b"SAMLResponse=abc%2B&RelayState=%2Fstart");
        assert_eq!(sent.value("origin"), Some(&*sender), "{}", sent.head);
        assert_eq!(sent.value("sec-fetch-site"), Some("cross-site"));
        let by_click = is_signed_in || !script;
        let clicked = by_click.then_some("?1");
        assert_eq!(sent.value("sec-fetch-user"), clicked, "{}", sent.head);
        let referer = sent.value("referer").unwrap_or_default();
        assert!(!referer.contains("gate.test"), "{}", sent.head);
        assert_eq!(sent.value("x-forwarded-user"), Some("ada"));
    }
}

#[tokio::test]
async fn another_origin_and_a_frame_are_refused() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let mut gate = wiki(&app).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let idp = identity_provider(&format!("{origin}/saml/acs")).await;
    let port = port_of(&idp);
    gate.reload(|text| text.replace("http://pay.test", &format!("http://idp.test:{port}")))
        .unwrap();
    browser.goto(&format!("{origin}/")).await;
    sign_in(&browser).await;
    browser
        .wait_until("document.body.textContent.includes('X-Forwarded-User: ada')")
        .await;
    browser.goto(&format!("http://evil.test:{port}/go")).await;
    browser
        .wait_until("document.title === 'A form of another site was not delivered'")
        .await;
    browser.goto(&format!("http://idp.test:{port}/")).await;
    browser
        .script(
            "const frame = document.createElement('iframe'); frame.name = 'f'; \
             document.body.append(frame); document.forms[0].target = 'f'; \
             frame.onload = () => { window.loaded = true; }; document.forms[0].submit()",
        )
        .await;
    browser.wait_until("window.loaded").await;
    assert_eq!(posts(&app).len(), 0);
}

#[tokio::test]
async fn two_tabs_and_an_open_login_page_lose_nothing() {
    let app = Upstream::echo().await;
    let mut gate = wiki(&app).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let idp = identity_provider(&format!("{origin}/saml/acs?a=1")).await;
    let sender = format!("http://idp.test:{}", port_of(&idp));
    gate.reload(|text| text.replace("http://pay.test", &sender))
        .unwrap();
    for first in [0, 1] {
        let Some(browser) = Chromium::start().await else {
            return;
        };
        let before = posts(&app).len();
        browser.goto(&format!("{origin}/wiki/page")).await;
        browser
            .wait_until("document.title === 'Sign in to Team Wiki'")
            .await;
        let login = browser.tab().await;
        let mut tabs = Vec::new();
        for _ in 0..2 {
            browser.new_tab().await;
            browser.goto(&format!("{sender}/")).await;
            browser.script("document.forms[0].submit()").await;
            browser
                .wait_until("document.title === 'Send it to Team Wiki?'")
                .await;
            tabs.push(browser.tab().await);
        }
        // One click before the login, which another tab does; one after it.
        browser.switch_to(&tabs[first]).await;
        browser.click("form button").await;
        browser
            .wait_until("document.title === 'Sign in to Team Wiki'")
            .await;
        browser.switch_to(&login).await;
        sign_in(&browser).await;
        browser
            .wait_until("document.body.textContent.includes('POST /saml/acs?a=1')")
            .await;
        assert_eq!(posts(&app).len(), before + 1);
        browser.switch_to(&tabs[1 - first]).await;
        browser.click("form button").await;
        browser
            .wait_until("document.body.textContent.includes('POST /saml/acs?a=1')")
            .await;
        assert_eq!(posts(&app).len(), before + 2);
    }
}

//! The same with a real browser, whose word we take for what a request is.

use crate::harness::webdriver::Chromium;
use crate::harness::*;

/// What a page of the app can do, as a function of its own; each gives a promise of a word.
const SCRIPT: &str = "
    async function read(address) {
        const answer = await fetch(address);
        return answer.status + ' ' + (await answer.text()).includes('csrf');
    }
    async function framed(address) {
        const frame = document.createElement('iframe');
        frame.src = address;
        await new Promise(done => { frame.onload = done; document.body.append(frame); });
        try { return String(frame.contentDocument.body.innerHTML.includes('csrf')); }
        catch (error) { return 'closed'; }
    }
    async function act(address, fields) {
        const answer = await fetch(address, { method: 'POST', body: new URLSearchParams(fields) });
        return String(answer.status);
    }
    async function take(script) {
        try {
            await navigator.serviceWorker.register(script, { scope: '/' });
            return 'registered';
        } catch (error) { return error.name; }
    }
    async function try_all() {
        const said = [
            await read('/.vestibule/account'), await framed('/.vestibule/account'),
            await act('/.vestibule/account', { action: 'end-others' }),
            await act('/.vestibule/logout', {}), await take('/public/sw.js'),
        ];
        document.title = said.join(', ');
    }
    function submit(address, fields) {
        const form = document.createElement('form');
        form.method = 'post';
        form.action = address;
        for (const [name, value] of Object.entries(fields)) {
            const input = document.createElement('input');
            [input.name, input.value] = [name, value];
            form.append(input);
        }
        document.body.append(form);
        form.submit();
    }";

/// An app that a script has been stored in, and a service worker where everyone may read.
async fn infected() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async move {
            exchange.body().await;
            let (kind, body) = if exchange.target().ends_with("/sw.js") {
                let worker = "self.onfetch = event => event.respondWith(new Response('mine'))";
                ("text/javascript", worker.to_owned())
            } else {
                (
                    "text/html",
                    format!("<!doctype html><body><script>{SCRIPT}</script>"),
                )
            };
            let fields = [("Content-Type", kind), ("Service-Worker-Allowed", "/")];
            exchange.reply("200 OK", &fields, body).await;
        })
    })
    .await
}

#[tokio::test]
async fn sec_91_a_script_of_the_app_reads_no_page_of_ours_and_ends_no_session() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = infected().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .start()
        .await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    browser.goto(&format!("{origin}/page")).await;
    browser.type_into("[name=username]", "ada").await;
    browser.type_into("[name=password]", PASSWORD).await;
    browser.click("[type=submit]").await;
    browser.wait_until("typeof try_all === 'function'").await;
    browser.script("try_all()").await;
    browser.wait_until("document.title !== ''").await;
    let said = browser.script("return document.title").await;
    let said = said.as_str().unwrap();
    let parts: Vec<_> = said.split(", ").collect();
    assert_eq!(parts[0], "403 false", "{said}");
    assert!(["false", "closed"].contains(&parts[1]), "{said}");
    assert_eq!(parts[2..4], ["403", "403"], "{said}");
    // From the root of the app one may load, as the README says.
    assert_ne!(parts[4], "registered", "{said}");

    browser
        .script("submit('/.vestibule/account', { action: 'end-others' })")
        .await;
    browser
        .wait_until("location.pathname === '/.vestibule/account'")
        .await;
    let text = browser.text("h1").await;
    assert_eq!(text, "This form was not sent from our page");
    other.get("/").await.assert_status(200);

    browser.goto(&format!("{origin}/page")).await;
    browser.wait_until("typeof submit === 'function'").await;
    browser.script("submit('/.vestibule/logout', {})").await;
    browser
        .wait_until("location.pathname === '/.vestibule/logout'")
        .await;
    assert!(browser.text("h1").await.starts_with("Sign out of"));
    let session = browser.script("return document.cookie").await;
    assert_eq!(session, "", "HttpOnly");
    browser.click("[type=submit]").await;
    browser
        .wait_until("document.querySelector('h1').textContent === 'You are signed out'")
        .await;
}

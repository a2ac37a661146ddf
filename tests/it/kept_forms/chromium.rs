use super::*;
use crate::harness::webdriver::Chromium;

/// `/edit` is a page with a form for `/save`, `/upload` one with a file and with no action.
async fn editor() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            let body = exchange.body().await;
            let form = |attributes: &str| {
                format!(
                    "<!doctype html><title>Editor</title><form method=post {attributes}>\
                     <textarea name=text></textarea><input type=file name=file>\
                     <button>Save</button></form>"
                )
            };
            let page = match exchange.target() {
                "/edit" => form("action=\"save?draft=1#end\""),
                "/upload" => form("enctype=multipart/form-data"),
                _ => format!(
                    "<!doctype html><title>Saved</title><p>{} bytes</p><a href=list>List</a>",
                    body.len()
                ),
            };
            let html = [("Content-Type", "text/html; charset=utf-8")];
            exchange.reply("200 OK", &html, page).await;
        })
    })
    .await
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

async fn wait_for_title(browser: &Chromium, title: &str) {
    browser
        .wait_until(&format!("document.title === '{title}'"))
        .await;
}

#[tokio::test]
async fn what_was_typed_in_an_ended_session_arrives_after_the_login() {
    for browser in [
        Chromium::start().await,
        Chromium::start_without_script().await,
    ] {
        let Some(browser) = browser else {
            return;
        };
        let app = editor().await;
        let gate = gate(&app).await;
        let origin = format!("https://gate.test:{}", gate.address().port());
        browser.goto(&format!("{origin}/edit")).await;
        sign_in(&browser).await;
        wait_for_title(&browser, "Editor").await;
        browser.type_into("textarea", "Märchen & more").await;
        gate.advance(IDLE);
        browser.click("button").await;

        wait_for_title(&browser, "Sign in to app").await;
        let notice = browser.text(".notice").await;
        assert!(notice.contains("is kept for 15 minutes"), "{notice}");
        assert_eq!(
            browser.script("return document.activeElement.name").await,
            "username"
        );
        sign_in(&browser).await;
        wait_for_title(&browser, "Send it to app?").await;
        assert_eq!(
            browser.text("h1").await,
            "You were about to send this to app"
        );
        let shown = browser.text("dl").await;
        for part in ["/save", "32 bytes, text", "just now"] {
            assert!(shown.contains(part), "{part:?} is not in {shown:?}");
        }
        assert_eq!(posts(&app).len(), 0, "nothing is sent by itself");
        browser.click(".kept button").await;
        wait_for_title(&browser, "Saved").await;
        let [sent] = &posts(&app)[..] else {
            panic!("{:?}", posts(&app))
        };
        assert_eq!(sent.target(), "/save?draft=1");
        assert_eq!(
            String::from_utf8_lossy(&sent.body),
            "text=M%C3%A4rchen+%26+more&file="
        );
        assert_eq!(sent.value("content-type"), Some(URLENCODED));
        assert_eq!(sent.value("x-forwarded-user"), Some("ada"));
        let link = "return document.querySelector('a').href";
        assert_eq!(browser.script(link).await, format!("{origin}/list"));

        // Loaded again, the page sends nothing again.
        browser.script("location.reload()").await;
        wait_for_title(&browser, "Nothing to send").await;
        assert_eq!(posts(&app).len(), 1);
    }
}

#[tokio::test]
async fn a_file_that_was_chosen_in_an_ended_session_arrives_after_the_login() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = editor().await;
    let gate = gate(&app).await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let folder = tempfile::tempdir().unwrap();
    let (file, content) = (
        folder.path().join("all.bin"),
        (0..=255).collect::<Vec<u8>>(),
    );
    std::fs::write(&file, &content).unwrap();
    browser.goto(&format!("{origin}/upload")).await;
    sign_in(&browser).await;
    wait_for_title(&browser, "Editor").await;
    browser
        .type_into("[type=file]", file.to_str().unwrap())
        .await;
    gate.advance(IDLE);
    browser.click("button").await;
    wait_for_title(&browser, "Sign in to app").await;
    sign_in(&browser).await;
    wait_for_title(&browser, "Send it to app?").await;
    browser.click(".kept button").await;
    browser
        .wait_until(
            "location.pathname === '/upload' && location.search.startsWith('?vestibule-form=')",
        )
        .await;
    let sent = app.received();
    let sent = sent
        .iter()
        .find(|got| got.head.starts_with("POST "))
        .unwrap();
    assert_eq!(sent.target(), "/upload");
    let kind = sent.value("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let begin = format!("--{boundary}\r\n");
    let end = format!("\r\n--{boundary}--\r\n");
    assert!(sent.body.starts_with(begin.as_bytes()), "{}", sent.head);
    assert!(sent.body.ends_with(&[&content, end.as_bytes()].concat()));
}

#[tokio::test]
async fn a_page_of_the_app_that_finds_a_mistake_can_be_sent_once_more() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = editor().await;
    let gate = gate(&app).await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    browser.goto(&format!("{origin}/upload")).await;
    sign_in(&browser).await;
    wait_for_title(&browser, "Editor").await;
    gate.advance(IDLE);
    browser.click("button").await;
    wait_for_title(&browser, "Sign in to app").await;
    sign_in(&browser).await;
    wait_for_title(&browser, "Send it to app?").await;
    browser.click(".kept button").await;
    // The answer is the page with the form, and its address has our parameter.
    wait_for_title(&browser, "Editor").await;
    browser.type_into("textarea", "corrected").await;
    browser.click("button").await;
    eventually("the corrected form", || posts(&app).len() == 2).await;
    let [first, second] = &posts(&app)[..] else {
        panic!("{:?}", posts(&app))
    };
    assert_eq!((first.target(), second.target()), ("/upload", "/upload"));
    let body = String::from_utf8_lossy(&second.body);
    assert!(body.contains("corrected"), "{body}");
}

#[tokio::test]
async fn an_app_that_answers_with_another_host_is_followed_there() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            let host = exchange.header("host").unwrap();
            let there = format!("https://{}/there", host.replace("gate.", "elsewhere."));
            if exchange.target() == "/leave" {
                let location = [("Location", there.as_str())];
                exchange.reply("303 See Other", &location, "").await;
            } else {
                let page = "<!doctype html><title>App</title>\
                            <form method=post action=leave><button>Go</button></form>";
                let html = [("Content-Type", "text/html")];
                exchange.reply("200 OK", &html, page).await;
            }
        })
    })
    .await;
    let gate = gate(&app).await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    browser.goto(&format!("{origin}/edit")).await;
    sign_in(&browser).await;
    wait_for_title(&browser, "App").await;
    gate.advance(IDLE);
    browser.click("button").await;
    wait_for_title(&browser, "Sign in to app").await;
    sign_in(&browser).await;
    wait_for_title(&browser, "Send it to app?").await;
    browser.click(".kept button").await;
    browser
        .wait_until("location.hostname === 'elsewhere.test'")
        .await;
}

#[tokio::test]
async fn an_upload_that_is_too_large_says_that_it_was_not_delivered() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = editor().await;
    let gate = gate(&app).await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.bin");
    std::fs::write(&file, vec![7; 20 * 1024 * 1024]).unwrap();
    browser.goto(&format!("{origin}/upload")).await;
    sign_in(&browser).await;
    wait_for_title(&browser, "Editor").await;
    browser
        .type_into("[type=file]", file.to_str().unwrap())
        .await;
    browser.type_into("textarea", "typed").await;
    gate.advance(IDLE);
    browser.click("button").await;
    wait_for_title(&browser, "What you sent was not delivered").await;
    let advice = browser.text("main").await;
    assert!(advice.contains("Go back and copy"), "{advice}");
    assert_eq!(posts(&app).len(), 0);
    browser.back().await;
    wait_for_title(&browser, "Editor").await;
    let typed = browser
        .script("return document.querySelector('textarea').value")
        .await;
    assert_eq!(typed, "typed", "what the advice says can be done");
}

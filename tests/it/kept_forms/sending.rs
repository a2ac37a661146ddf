use http_body_util::{BodyExt, Full};
use hyper::Request;

use super::*;

/// Every byte there is, and what parsers of forms stumble over.
fn odd_bytes() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend_from_slice(b"\r\n--x\r\n\0&=%zz+;csrf=1&csrf=2");
    bytes
}

#[tokio::test]
async fn a_form_arrives_after_the_login_exactly_as_it_was_sent() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for http2 in [false, true] {
        for kind in [
            URLENCODED,
            "application/x-www-form-urlencoded; charset=UTF-8",
            "multipart/form-data; boundary=\"--a b;c\";x=1",
            "Multipart/Form-Data",
        ] {
            for had_session in [true, false] {
                let what = format!("{kind}, {http2}, {had_session}");
                let mut browser = gate.browser();
                if http2 {
                    browser = browser.over_http2();
                }
                if had_session {
                    browser = browser.login("ada", PASSWORD).await;
                    browser.get("/edit").await.assert_status(200);
                    gate.advance(IDLE);
                }
                let before = app.requests();
                let target = "/save/%C3%A9?x=%2F&y=1?";
                let page = post(&browser, target, kind, odd_bytes()).await;
                assert_kept(&page);
                sign_in(&browser, &page, "ada")
                    .await
                    .assert_redirects_to(FORMS);
                let page = browser.get(FORMS).await;
                page.assert_contains("/save/%C3%A9".replace('/', "&#x2f;").as_str());
                assert!(
                    !page.text().contains("<dd>&#x2f;save&#x2f;%C3%A9?"),
                    "{page}"
                );
                assert_eq!(app.requests(), before, "{what}: nothing is sent by itself");
                send(&browser, &page).await.assert_status(200);
                assert_eq!(app.requests(), before + 1, "{what}");
                let sent = app.last();
                assert!(sent.head.starts_with("POST "), "{}", sent.head);
                assert_eq!(sent.target(), target, "{what}");
                assert_eq!(sent.body, odd_bytes(), "{what}");
                assert_eq!(sent.value("content-type"), Some(kind), "{what}");
                let length = odd_bytes().len().to_string();
                assert_eq!(sent.value("content-length"), Some(&*length), "{what}");
                assert_eq!(sent.value("transfer-encoding"), None, "{what}");
                assert!(sent.complete && sent.trailers.is_empty(), "{what}");
                assert_nothing_waits(&browser.get(FORMS).await);
            }
        }
    }
}

#[tokio::test]
async fn a_form_of_any_framing_arrives_with_its_length() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for (framing, body) in [
        (
            "Transfer-Encoding: chunked",
            "2\r\na=\r\n3\r\n\0\r\n\r\n0\r\nx: y\r\n\r\n",
        ),
        ("Expect: 100-continue\r\nContent-Length: 5", "a=\0\r\n"),
        ("Content-Length: 05", "a=\0\r\n"),
    ] {
        let mut raw = gate.raw().await;
        let head = format!(
            "POST /save HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
             Accept: text/html\r\nContent-Type: {URLENCODED}\r\n{framing}\r\n\r\n"
        );
        raw.send([head.as_bytes(), body.as_bytes()].concat()).await;
        let mut page = raw.response().await;
        if page.status == 100 {
            page = raw.response().await;
        }
        assert_kept(&page);
        let cookie = page.value("set-cookie").unwrap();
        let browser = gate.browser().cookie(cookie.split(';').next().unwrap());
        sign_in(&browser, &page, "ada").await;
        send(&browser, &browser.get(FORMS).await)
            .await
            .assert_status(200);
        assert_eq!(app.last().body, b"a=\0\r\n", "{framing}");
        assert_eq!(app.last().value("content-length"), Some("5"), "{framing}");
        assert_eq!(app.last().value("transfer-encoding"), None, "{framing}");
        // The connection was read to the end of the form, and goes on.
        raw.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
        raw.response().await.assert_status(401);
    }
}

#[tokio::test]
async fn a_form_without_fields_arrives_empty() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/button", "").await;
    send(&browser, &page).await.assert_status(200);
    assert_eq!(app.last().body, b"");
    assert_eq!(app.last().value("content-length"), Some("0"));
    assert_eq!(app.last().value("content-type"), Some(URLENCODED));
}

#[tokio::test]
async fn the_app_is_told_of_the_new_session_and_of_nothing_else() {
    let app = Upstream::echo().await;
    let gate = people(Vestibule::before(&app))
        .app("[app.identity]\n\"X-Who\" = \"{user}/{groups}/{session}\"")
        .start()
        .await;
    let (browser, page) = kept(&gate, "/save", "a=1").await;
    sign_in(&browser, &page, "eve").await;
    let browser = browser.header("x-who", "root").header("cookie", "mine=1");
    let page = browser.get(FORMS).await;
    let session = app_session(&browser, &app).await;
    send(&browser, &page).await.assert_status(200);
    let sent = app.last();
    assert_eq!(sent.value("x-who"), Some(&*session));
    assert!(session.starts_with("eve/admins/"), "{session}");
    assert_eq!(sent.target(), "/save");
    let head = sent.head.to_lowercase();
    for ours in ["vestibule", "csrf"] {
        let told = head.lines().filter(|line| !line.starts_with("referer"));
        assert!(!told.clone().any(|line| line.contains(ours)), "{head}");
    }
}

#[tokio::test]
async fn what_the_button_says_of_its_own_body_is_not_said_of_the_form() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    let body = format!("csrf={}", page.hidden("csrf"));
    let mut raw = gate.raw().await;
    raw.send(format!(
        "POST {} HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\nCookie: {}\r\n\
         Content-Type: {PLAIN}\r\nContent-Length: {}\r\nContent-MD5: x\r\nDigest: x\r\n\
         Content-Digest: x\r\nRepr-Digest: x\r\nREPR_DIGEST: x\r\n\
         Content-Disposition: x\r\nContent-Language: x\r\nContent-Language: y\r\n\
         Content-Location: x\r\nContent-Range: x\r\nContent-Encoding: gzip\r\n\
         Content_Length: 9\r\nContent-New: x\r\nContented: kept\r\nX-Digest: kept\r\n\r\n{body}",
        address(&page),
        browser.cookies(),
        body.len()
    ))
    .await;
    raw.response().await.assert_status(200);
    let sent = app.last();
    let head = sent.head.to_lowercase().replace('_', "-");
    let said = |line: &&str| {
        ["content-", "digest:", "repr-"]
            .iter()
            .any(|of| line.starts_with(of))
    };
    let mut said: Vec<_> = head.lines().filter(said).collect();
    said.sort_unstable();
    let kind = format!("content-type: {URLENCODED}");
    assert_eq!(said, ["content-length: 3", kind.as_str()], "{head}");
    assert_eq!(sent.value("contented"), Some("kept"));
    assert!(sent.value("x-request-id").is_some(), "{head}");
    assert_eq!(sent.value("x-digest"), Some("kept"));
    assert_eq!(sent.body, b"a=1");
}

/// What the app is told of who asks.
async fn app_session(browser: &Browser, app: &Upstream) -> String {
    browser.get("/").await.assert_status(200);
    app.last().value("x-who").unwrap().to_owned()
}

#[tokio::test]
async fn a_form_without_action_on_the_page_of_the_answer_is_the_apps() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/save?x=1", "a=1").await;
    send(&browser, &page).await.assert_status(200);
    // The app has found a mistake, and its page comes back to the address that it was shown at.
    let corrected = post(&browser, &address(&page), URLENCODED, "csrf=x").await;
    corrected.assert_status(200);
    assert_eq!(app.last().target(), "/save?x=1");
    assert_eq!(app.last().body, b"csrf=x");
    gate.advance(IDLE);
    let late = post(&browser, &address(&page), URLENCODED, "a=3").await;
    assert_kept(&late);
    sign_in(&browser, &late, "ada").await;
    let page = browser.get(FORMS).await;
    send(&browser, &page).await.assert_status(200);
    assert_eq!(app.last().target(), "/save?x=1");
    assert_eq!(app.last().body, b"a=3");
}

#[tokio::test]
async fn a_session_that_ends_before_send_is_pressed_loses_nothing() {
    let app = Upstream::echo().await;
    let gate = people(Vestibule::before(&app))
        .session("idle_timeout = \"5m\"")
        .start()
        .await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    gate.advance(std::time::Duration::from_mins(6));
    let reply = send(&browser, &page).await;
    reply
        .assert_status(401)
        .assert_contains("Your session has ended");
    let login = browser.get("/.vestibule/login").await;
    sign_in(&browser, &login, "ada")
        .await
        .assert_redirects_to(FORMS);
    let page = browser.get(FORMS).await;
    send(&browser, &page).await.assert_status(200);
    assert_eq!(app.last().body, b"a=1");
}

#[tokio::test]
async fn rel_04_an_app_that_is_down_can_have_the_form_later() {
    let mut app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    app.stop().await;
    send(&browser, &page).await.assert_status(502);
    let page = browser.get(FORMS).await;
    app.start().await;
    send(&browser, &page).await.assert_status(200);
    assert_eq!(app.last().body, b"a=1");
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn rel_03_a_form_that_got_no_answer_is_not_sent_again() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            exchange.close();
        })
    })
    .await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    send(&browser, &page).await.assert_status(502);
    assert_nothing_waits(&browser.get(FORMS).await);
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn a_form_whose_sender_clicks_twice_or_leaves_is_sent_all_the_same() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            exchange.wait_until_closed().await;
        })
    })
    .await;
    let gate = people(Vestibule::before(&app))
        .app("response_timeout = \"2s\"")
        .start()
        .await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    let http2 = gate.http2().await;
    let request = Request::post(format!("https://gate.test{}", address(&page)))
        .header("cookie", browser.cookies())
        .header("content-type", PLAIN)
        .body(Full::from(format!("csrf={}", page.hidden("csrf"))))
        .unwrap();
    let request = request.map(|body| body.map_err(|never| match never {}).boxed());
    let sending = tokio::spawn(async move { http2.send(request).await.map(drop) });
    app.wait_for(1).await;
    sending.abort();
    let _ = sending.await;
    // The connection to the app is given its time, whatever became of the browser's.
    let second = send(&browser, &page).await;
    second.assert_redirects_to(FORMS);
    assert_eq!((app.requests(), app.closed()), (1, 0));
    eventually("the app to be given up", || app.closed() == 1).await;
}

#[tokio::test]
async fn several_forms_wait_side_by_side_and_each_can_be_discarded() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, _) = kept(&gate, "/first", "a=1").await;
    let page = post(&browser, "/second?x=1", URLENCODED, "b=2").await;
    assert_kept(&page);
    // Reloaded, the second is still one form.
    let page = post(&browser, "/second?x=1", URLENCODED, "b=2").await;
    sign_in(&browser, &page, "ada").await;
    let page = browser.get(FORMS).await;
    let buttons = page.actions();
    assert_eq!(buttons.len(), 4, "{page}");
    let (csrf, id) = (page.hidden("csrf"), page.hidden("form"));
    for (fields, status) in [
        (&[("action", "discard"), ("form", "x")][..], 400),
        (&[("action", "send"), ("form", &id)], 400),
        (&[("form", &id)], 400),
    ] {
        let fields = [fields, &[("csrf", &csrf)]].concat();
        let reply = browser.post_form(FORMS, &fields).await;
        assert_eq!(reply.status, status, "{fields:?}");
    }
    let discard = |id: String| {
        let (browser, csrf) = (browser.clone(), csrf.clone());
        let fields = [
            ("action", "discard".to_owned()),
            ("form", id),
            ("csrf", csrf),
        ];
        async move {
            let fields = fields
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            browser.post_form(FORMS, &fields).await
        }
    };
    discard(id.clone()).await.assert_redirects_to(FORMS);
    let page = browser.get(FORMS).await;
    assert!(address(&page).starts_with("/second?x=1&vestibule-form="));
    discard(page.hidden("form")).await.assert_redirects_to("/");
    discard(id).await.assert_redirects_to("/");
    assert_nothing_waits(&browser.get(FORMS).await);
    assert_eq!(app.requests(), 0);
}

use super::*;

/// Who would get the form if it were kept.
async fn assert_not_kept(browser: &Browser) {
    let reply = browser.try_login("ada", PASSWORD).await;
    reply.assert_redirects_to("/");
    assert_nothing_waits(&browser.get(FORMS).await);
}

#[tokio::test]
async fn a_form_that_another_site_may_have_sent_is_not_kept() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for said in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.test")],
        &[("origin", "null")],
        &[
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://evil.test"),
        ],
        &[("referer", "https://gate.test/edit")],
        &[],
    ] {
        let browser = gate.browser();
        let form = [("sec-fetch-mode", "navigate"), ("content-type", URLENCODED)];
        let headers = [said, &form].concat();
        let reply = browser
            .request(Method::POST, "/save", &headers, "a=1".into())
            .await;
        assert_eq!(reply.status, 401, "{said:?}: {reply}");
        reply.assert_contains("not delivered");
        assert_eq!(browser.cookies(), "", "{said:?}");
        assert_not_kept(&browser).await;
    }
    for said in [
        &[("sec-fetch-site", "same-origin")][..],
        &[("sec-fetch-site", "same-origin"), ("origin", "null")],
        &[("origin", "https://gate.test")],
    ] {
        let form = [("sec-fetch-mode", "navigate"), ("content-type", URLENCODED)];
        let headers = [said, &form].concat();
        let browser = gate.browser();
        let reply = browser
            .request(Method::POST, "/save", &headers, "a=1".into())
            .await;
        assert_kept(&reply);
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_69_what_is_no_form_of_a_page_gets_its_401_as_before() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let own = ("origin", "https://gate.test");
    let navigate = ("sec-fetch-mode", "navigate");
    for (method, headers) in [
        (
            Method::POST,
            &[
                own,
                ("sec-fetch-mode", "cors"),
                ("content-type", URLENCODED),
            ][..],
        ),
        (
            Method::POST,
            &[own, ("accept", "*/*"), ("content-type", URLENCODED)],
        ),
        (
            Method::POST,
            &[own, navigate, ("content-type", "application/json")],
        ),
        (
            Method::POST,
            &[own, navigate, ("content-type", "text/plain")],
        ),
        (Method::POST, &[own, navigate]),
        (
            Method::POST,
            &[
                own,
                navigate,
                ("content-type", URLENCODED),
                ("content-type", "multipart/form-data; boundary=x"),
            ],
        ),
        (
            Method::POST,
            &[
                own,
                navigate,
                ("content-type", URLENCODED),
                ("content-encoding", "gzip"),
            ],
        ),
        (Method::PUT, &[own, navigate, ("content-type", URLENCODED)]),
    ] {
        let (browser, is_form) = (gate.browser(), method == Method::POST);
        let reply = browser
            .request(method, "/save", headers, "a=1".into())
            .await;
        assert_eq!(reply.status, 401, "{headers:?}: {reply}");
        if is_form && headers.contains(&navigate) {
            reply.assert_contains("What you sent was not delivered");
        } else {
            assert_eq!(reply.json()["error"], "login_required", "{headers:?}");
        }
        assert_not_kept(&browser).await;
    }
}

#[tokio::test]
async fn an_app_or_the_operator_can_do_without() {
    let app = Upstream::echo().await;
    for gate in [
        Vestibule::before(&app).app("keep_forms = false"),
        Vestibule::before(&app).login("kept_forms = \"0B\""),
    ] {
        let gate = people(gate).start().await;
        let browser = gate.browser();
        let reply = post(&browser, "/save", URLENCODED, "a=1").await;
        reply
            .assert_status(401)
            .assert_contains("What you sent was not delivered");
        assert_not_kept(&browser).await;
    }
}

#[tokio::test]
async fn a_form_that_is_too_large_is_not_kept_and_its_sender_is_told_so() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "POST /save HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
         Accept: text/html\r\nContent-Type: {URLENCODED}\r\nContent-Length: 1048577\r\n\r\n"
    ))
    .await;
    let page = raw.response().await;
    page.assert_status(401)
        .assert_contains("What you sent was not delivered")
        .assert_contains("Go back and copy")
        .assert_header("connection", "close");
    let browser = gate.browser();
    let largest = vec![b'x'; 1024 * 1024];
    assert_kept(&post(&browser, "/save", URLENCODED, largest).await);
    let address = format!("/save?{}", "x".repeat(2048));
    let page = post(&browser, &address, URLENCODED, "a=1").await;
    page.assert_status(401).assert_contains("not delivered");
}

#[tokio::test]
async fn sec_26_a_form_has_to_come_as_a_whole() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "POST /save HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
         Accept: text/html\r\nContent-Type: {URLENCODED}\r\nContent-Length: 10\r\n\r\na=1"
    ))
    .await;
    let page = raw.response().await;
    page.assert_status(401).assert_contains("not delivered");
}

#[tokio::test]
async fn sec_87_strangers_share_half_of_the_room_and_take_none_from_users() {
    let app = Upstream::echo().await;
    let gate = people(Vestibule::before(&app))
        .login("kept_forms = \"2MiB\"")
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let from = |address: &str| gate.browser().header("x-forwarded-for", address);
    let ada = from("192.0.2.1").login("ada", PASSWORD).await;
    gate.advance(IDLE);
    // With what a form takes besides its body, ten of them are less than half of the room.
    let body = || vec![b'x'; 100 * 1024];
    let mut first = None;
    for (network, expected) in [(1, 5), (2, 2), (3, 1), (4, 1), (5, 0)] {
        let mut kept = 0;
        for _ in 0..8 {
            let browser = from(&format!("192.0.2.{network}"));
            let page = post(&browser, "/save", URLENCODED, body()).await;
            page.assert_status(401);
            if page.text().contains("is kept for") {
                kept += 1;
                first.get_or_insert(browser);
            } else {
                page.assert_contains("not delivered");
            }
        }
        assert_eq!(kept, expected, "network {network}");
    }
    assert_kept(&post(&ada, "/save", URLENCODED, body()).await);

    // None of those before had to go for it, and what is sent makes room.
    let first = first.unwrap();
    let login = first.get("/.vestibule/login").await;
    sign_in(&first, &login, "ada").await;
    let waiting = first.get(FORMS).await;
    send(&first, &waiting).await.assert_status(200);
    assert_eq!(app.last().body, body());
    let last = from("192.0.2.5");
    assert_kept(&post(&last, "/save", URLENCODED, body()).await);
}

/// Whoever announces a large form and sends nothing of it takes no room for it.
#[tokio::test]
async fn sec_87_only_bytes_that_have_arrived_take_room() {
    let app = Upstream::echo().await;
    let gate = people(Vestibule::before(&app))
        .login("kept_forms = \"2MiB\"")
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let mut announced = Vec::new();
    for n in 1..=20 {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "POST /save HTTP/1.1\r\nHost: gate.test\r\nX-Forwarded-For: 192.0.2.{n}\r\n\
             Origin: https://gate.test\r\nAccept: text/html\r\nContent-Type: {URLENCODED}\r\n\
             Content-Length: 122880\r\n\r\na=1"
        ))
        .await;
        announced.push(raw);
    }
    let browser = gate.browser().header("x-forwarded-for", "192.0.2.99");
    let body = vec![b'x'; 120 * 1024];
    assert_kept(&post(&browser, "/save", URLENCODED, body).await);
    for raw in &mut announced[..2] {
        raw.send(vec![b'x'; 122_877]).await;
        let page = raw.response().await;
        page.assert_status(401).assert_contains("is kept for");
    }
}

#[tokio::test]
async fn parallel_uploads_do_not_exceed_the_room() {
    let app = Upstream::echo().await;
    let gate = people(Vestibule::before(&app))
        .login("kept_forms = \"1MiB\"")
        .start()
        .await;
    // Each has taken half of its body's room when the others begin.
    let mut uploads = Vec::new();
    for _ in 0..3 {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "POST /save HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
             Accept: text/html\r\nContent-Type: {URLENCODED}\r\nContent-Length: 102400\r\n\r\n"
        ))
        .await;
        raw.send(vec![b'x'; 51_200]).await;
        uploads.push(raw);
    }
    let mut kept = 0;
    for mut raw in uploads {
        raw.send(vec![b'x'; 51_200]).await;
        let page = raw.response().await;
        page.assert_status(401);
        kept += usize::from(page.text().contains("is kept for"));
    }
    assert!(kept <= 2, "{kept} of 100 KiB in half of 512 KiB");
}

#[tokio::test]
async fn rel_01_what_waits_outlives_a_reload_and_what_comes_is_kept_as_it_says() {
    let app = Upstream::echo().await;
    let mut gate = people(Vestibule::before(&app))
        .login("kept_forms = \"1MiB\"")
        .start()
        .await;
    let (browser, page) = kept(&gate, "/save", "a=1").await;
    let off = |text: &str| text.replace("kept_forms = \"1MiB\"", "kept_forms = \"0B\"");
    assert!(gate.reload(off).unwrap().is_empty());
    let late = post(&gate.browser(), "/save", URLENCODED, "b=1").await;
    late.assert_contains("What you sent was not delivered");
    sign_in(&browser, &page, "ada").await;
    let page = browser.get(FORMS).await;
    send(&browser, &page).await.assert_status(200);
    assert_eq!(app.last().body, b"a=1");
}

#[tokio::test]
async fn the_login_page_speaks_of_the_form_until_it_is_gone() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept(&gate, "/save", "a=1").await;
    let (csrf, wrong) = (page.hidden("csrf"), "no such password");
    let fields = [("csrf", &*csrf), ("username", "ada"), ("password", wrong)];
    let refused = browser.post_form("/.vestibule/login", &fields).await;
    refused
        .assert_status(401)
        .assert_contains("do not match")
        .assert_contains("is kept for 15 minutes");
    gate.advance(std::time::Duration::from_mins(10));
    let later = browser.get("/.vestibule/login").await;
    later.assert_contains("is kept for 5 minutes");
    gate.advance(std::time::Duration::from_mins(5));
    let too_late = browser.get("/.vestibule/login").await;
    assert!(!too_late.text().contains("is kept"), "{too_late}");
    sign_in(&browser, &too_late, "ada")
        .await
        .assert_redirects_to("/");
    assert_nothing_waits(&browser.get(FORMS).await);
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_72_logs_say_what_became_of_a_form_and_nothing_of_what_is_in_it() {
    let app = Upstream::echo().await;
    let service = people(Vestibule::before(&app))
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    let browser = service.browser();
    let page = post(
        &browser,
        "/save?q=secret-query",
        URLENCODED,
        "a=secret-body",
    )
    .await;
    assert_kept(&page);
    sign_in(&browser, &page, "ada").await;
    let page = browser.get(FORMS).await;
    send(&browser, &page).await.assert_status(200);
    let audit = || -> Vec<serde_json::Value> {
        let lines = service.program.log().into_iter();
        lines.filter(|line| line["target"] == "audit").collect()
    };
    eventually("three audit lines", || audit().len() >= 3).await;
    let [kept, _, sent] = &audit()[..] else {
        panic!("{:?}", audit())
    };
    for (field, value) in [
        ("message", "form kept".into()),
        ("client", "127.0.0.1".into()),
        ("app", "app".into()),
        ("bytes", serde_json::Value::from(13)),
    ] {
        assert_eq!(kept[field], value, "{field} in {kept}");
    }
    for (field, value) in [
        ("message", "form sent".into()),
        ("user", "ada".into()),
        ("bytes", serde_json::Value::from(13)),
        ("answered", true.into()),
    ] {
        assert_eq!(sent[field], value, "{field} in {sent}");
    }
    let log = service.program.stdout();
    assert!(!log.contains("secret-"), "{log}");
}

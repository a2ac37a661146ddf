use super::*;

/// Names that a server takes for the header of the token (RFC 3875 §4.1.18).
const FORGED: [&str; 4] = [
    "X-Vestibule-Token",
    "x_vestibule_token",
    "X.Vestibule.Token",
    "X-Vestibule_Anything",
];

#[tokio::test]
async fn sec_36_a_token_of_the_client_reaches_no_app_under_any_name() {
    let app = Upstream::echo().await;
    for keys in [ON, "identity_token = false"] {
        let gate = Vestibule::before(&app)
            .app(keys)
            .rule("/public", "everyone")
            .user("ada", PASSWORD)
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        for (browser, tokens) in [
            (gate.browser(), 0),
            (gate.browser().over_http2(), 0),
            (ada.clone(), 1),
            (ada.over_http2(), 1),
        ] {
            let mut browser = browser.header("x-vestibule-token", "forged.forged.forged");
            for name in FORGED {
                browser = browser.header(&name.to_ascii_lowercase(), "forged.forged.forged");
            }
            browser.get("/public").await.assert_status(200);
            let head = app.last().head.to_ascii_lowercase();
            assert!(!head.contains("forged"), "{head}");
            let found = head.matches("vestibule").count();
            let expected = if keys == ON { tokens } else { 0 };
            assert_eq!(found, expected, "{head}");
        }
        // In raw bytes, with several of one name, and one in a trailer (SEC-39).
        let mut raw = gate.raw().await;
        raw.send(
            "POST /public HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\
             Trailer: X-Vestibule-Token\r\nX-VESTIBULE-TOKEN: forged\r\nX-Vestibule-Token: forged\r\n\
             Connection: x-vestibule-token\r\n\r\n1\r\nx\r\n0\r\nX-Vestibule-Token: forged\r\n\r\n",
        )
        .await;
        raw.response().await.assert_status(200);
        let got = app.last();
        assert!(
            !got.head.contains("forged") && got.trailers.is_empty(),
            "{got:?}"
        );
    }
}

#[tokio::test]
async fn sec_38_a_client_cannot_have_the_token_taken_out() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: gate.test\r\nCookie: {}\r\n\
         Connection: X-Vestibule-Token, keep-alive\r\n\r\n",
        ada.session_cookie()
    ))
    .await;
    raw.response().await.assert_status(200);
    claims(&keys(&gate).await, &app.last());
}

#[tokio::test]
async fn nobody_gets_the_token_of_somebody_else_however_alike_their_requests_are() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let keys = keys(&gate).await;
    let mut browsers = Vec::new();
    for user in ["ada", "bob", "ada"] {
        browsers.push((user, gate.browser().login(user, PASSWORD).await));
    }
    let mut sessions = std::collections::BTreeSet::new();
    for _ in 0..20 {
        for (user, browser) in &browsers {
            for target in ["/a", "/b"] {
                browser.get(target).await.assert_status(200);
                let claims = claims(&keys, &app.last());
                assert_eq!(claims["name"], *user);
                assert_eq!(claims["htu"], format!("https://gate.test{target}"));
                sessions.insert(claims["sid"].to_string());
            }
        }
    }
    assert_eq!(sessions.len(), browsers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_72_no_log_has_a_token_and_no_page_of_ours_either() {
    let app = Upstream::echo().await;
    let service = before(&app)
        .config("[log]\nlevel = \"trace\"")
        .spawn()
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    ada.get("/page").await.assert_status(200);
    let token = app.last().value(HEADER).unwrap().to_owned();
    let signature = token.rsplit('.').next().unwrap();
    for target in ["/.vestibule/account", "/.vestibule/session", KEYS] {
        let page = ada.get(target).await;
        assert!(!page.text().contains(signature), "{page}");
    }
    eventually("the access line", || {
        service.program.stdout().contains("/page")
    })
    .await;
    let (stdout, stderr) = (service.program.stdout(), service.program.stderr());
    assert!(!stdout.contains(signature) && !stderr.contains(signature));
}

//! What somebody without a session is told: SEC-69.

use super::*;

#[tokio::test]
async fn sec_69_only_a_page_load_is_sent_to_the_login() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let html = ("accept", "text/html,*/*;q=0.8");
    let navigate = ("sec-fetch-mode", "navigate");
    for (method, headers, status) in [
        (Method::GET, &[navigate, html][..], 303),
        (Method::HEAD, &[navigate], 303),
        (Method::GET, &[html], 303),
        (Method::GET, &[], 401),
        (Method::GET, &[("accept", "application/json")], 401),
        (Method::GET, &[("accept", "*/*")], 401),
        (Method::GET, &[("sec-fetch-mode", "cors"), html], 401),
        (
            Method::GET,
            &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
            401,
        ),
        (Method::PUT, &[html], 401),
        (Method::DELETE, &[navigate], 401),
        (Method::OPTIONS, &[navigate], 401),
    ] {
        let reply = gate
            .browser()
            .request(method.clone(), "/x?y=1", headers, Bytes::new())
            .await;
        assert_eq!(reply.status, status, "{method} {headers:?}: {reply}");
        if status == 303 {
            reply.assert_header("location", "/.vestibule/login?return_to=%2Fx%3Fy%3D1");
        } else {
            let body = reply.json();
            assert_eq!(body["error"], "login_required");
            let is_browser = headers
                .iter()
                .any(|(name, _)| name.starts_with("sec-fetch-"));
            let background = if is_browser { "?background=1" } else { "" };
            assert_eq!(body["login_url"], format!("/.vestibule/login{background}"));
            let message = "Your session has ended. Sign in again in another tab, then go on here.";
            assert_eq!(body["message"], message);
            assert!(body["request_id"].is_string(), "{body}");
        }
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn a_form_that_is_not_delivered_gets_a_page_that_says_so() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let html = ("accept", "text/html,*/*;q=0.8");
    let navigate = ("sec-fetch-mode", "navigate");
    let site = |site| ("sec-fetch-site", site);
    let (foreign, null) = (("origin", "https://idp.test"), ("origin", "null"));
    let (another, lost) = ("form of another site", "What you sent was not delivered");
    for (headers, part) in [
        (&[navigate, html, site("cross-site"), foreign][..], another),
        (&[navigate, html, site("cross-site"), null], another),
        // Browsers that know no Sec-Fetch.
        (&[html, foreign], another),
        (&[html, null], another),
        (&[html], lost),
        (&[navigate, html, site("same-site"), foreign], lost),
        (&[navigate, html, site("none")], lost),
    ] {
        for browser in [gate.browser(), gate.browser().over_http2()] {
            let headers = [headers, &[form]].concat();
            let request = browser.request(Method::POST, "/saml/acs", &headers, "a=1".into());
            let reply = request.await;
            reply.assert_status(401).assert_contains(part);
            reply.assert_header("content-type", "text/html; charset=utf-8");
            assert!(reply.value("www-authenticate").is_some(), "{reply}");
        }
    }
    // What no navigation sends is a program's.
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS] {
        let browser = gate.browser();
        let headers = [navigate, html];
        let request = browser.request(method, "/x", &headers, Bytes::new());
        assert_eq!(request.await.json()["error"], "login_required");
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn only_a_program_is_asked_for_a_password_as_a_browser_would_show_a_dialog() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ended = gate.browser().login("ada", PASSWORD).await;
    let cookie = ended.session_cookie();
    ended.logout().await;
    for (field, scheme) in [
        (("accept", "*/*"), "basic"),
        (("user-agent", "curl/8.5.0"), "basic"),
        (("user-agent", "Python-urllib/3.12"), "basic"),
        (("user-agent", "Mozilla/5.0 (X11) Safari/600"), "Cookie"),
        (("sec-fetch-mode", "cors"), "Cookie"),
        (("sec-fetch-mode", "no-cors"), "Cookie"),
        (("sec-fetch-dest", "empty"), "Cookie"),
        (("origin", "https://gate.test"), "Cookie"),
    ] {
        let browser = gate.browser().cookie(&cookie);
        for browser in [browser.clone(), browser.over_http2()] {
            let headers = [field];
            let request = browser.request(Method::GET, "/api", &headers, Bytes::new());
            let reply = request.await;
            reply.assert_status(401);
            let challenge = reply.value("www-authenticate").unwrap();
            assert!(challenge.starts_with(scheme), "{field:?}: {reply}");
            assert_eq!(reply.json()["error"], "login_required");
        }
    }
}

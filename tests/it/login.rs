//! Signing in and out, SEC-54, SEC-55, SEC-61 to SEC-63 and SEC-66.

mod leads_on;
mod sign_out;

use crate::harness::*;
use bytes::Bytes;
use hyper::Method;

const LOGIN: &str = "/.vestibule/login";
const FORM: &str = "application/x-www-form-urlencoded";

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .account(User::new("gone", PASSWORD).disabled())
        .start()
        .await
}

fn credentials() -> Bytes {
    Bytes::from(format!(
        "username=ada&password={}",
        PASSWORD.replace(' ', "+")
    ))
}

#[tokio::test]
async fn sec_54_a_form_of_another_site_signs_nobody_in() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for headers in [
        &[("origin", "https://evil.test")][..],
        &[("origin", "null")],
        &[("origin", "http://gate.test")],
        &[("origin", "https://gate.test.evil")],
        &[("origin", "https://gate.test:444")],
        &[("sec-fetch-site", "cross-site")],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "https://gate.test"),
        ],
        &[
            ("origin", "https://evil.test"),
            ("sec-fetch-site", "same-origin"),
        ],
        &[("referer", "https://gate.test/.vestibule/login")],
        &[],
    ] {
        let browser = gate.browser();
        let headers = [headers, &[("content-type", FORM)]].concat();
        let reply = browser
            .request(Method::POST, LOGIN, &headers, credentials())
            .await;
        assert_eq!(reply.status, 403, "{headers:?}: {reply}");
        assert!(!browser.is_signed_in(), "{headers:?}");
    }
    for headers in [
        &[("origin", "https://gate.test")][..],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ] {
        let browser = gate.browser();
        let headers = [headers, &[("content-type", FORM)]].concat();
        let reply = browser
            .request(Method::POST, LOGIN, &headers, credentials())
            .await;
        assert_eq!(reply.status, 303, "{headers:?}: {reply}");
    }
}

#[tokio::test]
async fn sec_54_without_those_headers_the_hidden_token_has_to_fit_the_cookie() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let victim = gate.browser();
    let mine = victim.get(LOGIN).await.hidden("csrf");
    let foreign = gate.browser().get(LOGIN).await.hidden("csrf");
    for (browser, token, status) in [
        (gate.browser(), mine.clone(), 403),
        (victim.clone(), foreign, 403),
        (victim.clone(), String::new(), 403),
        (victim, mine, 303),
    ] {
        let mut body = format!("csrf={token}&").into_bytes();
        body.extend(credentials());
        let reply = browser
            .request(Method::POST, LOGIN, &[("content-type", FORM)], body.into())
            .await;
        reply.assert_status(status);
    }
}

#[tokio::test]
async fn sec_54_origin_null_says_nothing_as_a_proxy_may_make_browsers_send_it() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let null = ("origin", "null");
    let form = ("content-type", FORM);
    let navigate = ("sec-fetch-mode", "navigate");
    let same_origin = [null, ("sec-fetch-site", "same-origin"), navigate, form];
    for browser in [gate.browser(), gate.browser().over_http2()] {
        let request = browser.request(Method::POST, LOGIN, &same_origin, credentials());
        request.await.assert_status(303);
        let csrf = browser.get("/.vestibule/logout").await.hidden("csrf");
        let body = format!("csrf={csrf}");
        let request = browser.request(
            Method::POST,
            "/.vestibule/logout",
            &same_origin,
            body.into(),
        );
        request.await.assert_redirects_to("/.vestibule/logout");
    }
    // A browser that knows no Sec-Fetch has the token.
    let browser = gate.browser();
    let csrf = browser.get(LOGIN).await.hidden("csrf");
    let mut body = format!("csrf={csrf}&").into_bytes();
    body.extend(credentials());
    let headers = [null, form];
    let request = browser.request(Method::POST, LOGIN, &headers, body.into());
    request.await.assert_status(303);
}

#[tokio::test]
async fn sec_54_a_refused_form_names_its_cause() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let form = ("content-type", FORM);
    let (same_origin, own) = (
        ("sec-fetch-site", "same-origin"),
        ("origin", "https://gate.test"),
    );
    let navigate = ("sec-fetch-mode", "navigate");
    let inside = ("origin", "https://inside.test");
    let with_cookie = gate.browser();
    with_cookie.get(LOGIN).await.assert_status(200);
    let ada = gate.browser().login("ada", PASSWORD).await;
    for (browser, headers, cause) in [
        (gate.browser(), &[inside][..], "another site"),
        (
            gate.browser(),
            &[navigate, ("sec-fetch-site", "cross-site")],
            "another site",
        ),
        (
            gate.browser(),
            &[navigate, ("sec-fetch-site", "same-site"), own],
            "another site",
        ),
        (
            gate.browser(),
            &[navigate, same_origin, inside],
            "Host header",
        ),
        (gate.browser(), &[("origin", "null")], "no cookie"),
        (gate.browser(), &[], "no cookie"),
        (with_cookie.clone(), &[("origin", "null")], "too long"),
        (with_cookie, &[], "too long"),
    ] {
        let headers = [headers, &[form, ("accept", "text/html")]].concat();
        let causes = [
            "another site",
            "Host header",
            "no cookie",
            "too long",
            "does not say where",
        ];
        for (browser, target) in [(&browser, LOGIN), (&ada, "/.vestibule/logout")] {
            let request = browser.request(Method::POST, target, &headers, credentials());
            let reply = request.await;
            reply.assert_status(403);
            // A browser with a session shows its cookie.
            let is_here = |known: &str| reply.text().contains(known);
            let named: Vec<_> = causes.into_iter().filter(|known| is_here(known)).collect();
            let shows_cookie = target != LOGIN && cause == "no cookie";
            let hides_origin = target != LOGIN && headers.contains(&("origin", "null"));
            let expected = match (hides_origin, shows_cookie) {
                (true, _) => "does not say where",
                (_, true) => "too long",
                _ => cause,
            };
            assert_eq!(named, [expected], "{target} {headers:?}: {reply}");
        }
    }
}

#[tokio::test]
async fn sec_54_a_link_signs_nobody_in() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let browser = gate.browser();
    let query = format!(
        "{LOGIN}?username=ada&password={}",
        PASSWORD.replace(' ', "+")
    );
    let reply = browser.get(&query).await;
    reply.assert_status(200);
    assert!(!browser.is_signed_in());
    assert!(!reply.text().contains("correct horse"), "{reply}");
    let origin = [("origin", "https://gate.test"), ("content-type", FORM)];
    let reply = browser
        .request(Method::POST, &query, &origin, Bytes::new())
        .await;
    assert!(reply.status >= 400 && !browser.is_signed_in(), "{reply}");
}

#[tokio::test]
async fn sec_55_a_login_is_a_form_with_each_field_once() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let origin = ("origin", "https://gate.test");
    for kind in [
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "",
        "application/x-www-form-urlencodedx",
    ] {
        let headers = [origin, ("content-type", kind)];
        let reply = gate
            .browser()
            .request(Method::POST, LOGIN, &headers, credentials())
            .await;
        assert_eq!(reply.status, 415, "{kind}: {reply}");
    }
    let password = PASSWORD.replace(' ', "+");
    for body in [
        format!("username=ada&username=ada&password={password}"),
        format!("username=ada&password={password}&password={password}"),
        format!("username=ada&password=x&password={password}"),
        format!("password={password}"),
        "username=ada".to_owned(),
        String::new(),
    ] {
        let headers = [origin, ("content-type", FORM)];
        let browser = gate.browser();
        let reply = browser
            .request(Method::POST, LOGIN, &headers, body.clone().into())
            .await;
        assert_eq!(reply.status, 400, "{body}: {reply}");
        assert!(!browser.is_signed_in());
    }
    let headers = [
        origin,
        (
            "content-type",
            "Application/X-WWW-Form-URLencoded; charset=UTF-8",
        ),
    ];
    gate.browser()
        .request(Method::POST, LOGIN, &headers, credentials())
        .await
        .assert_status(303);
}

#[tokio::test]
async fn sec_61_a_login_is_small() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let head = "POST /.vestibule/login HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n\
        Content-Type: application/x-www-form-urlencoded\r\n";
    // At once: by the length alone, before any of the body came.
    let answer = gate
        .exchange(format!("{head}Content-Length: 16385\r\n\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let answer = gate
        .exchange(format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn sec_62_a_login_leads_to_this_host_only() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for (return_to, location) in [
        ("/report?q=1%262", "/report?q=1%262"),
        ("/", "/"),
        ("//evil.test", "/"),
        ("/\\evil.test", "/"),
        ("///evil.test", "/"),
        ("https://evil.test/", "/"),
        ("https:/evil.test", "/"),
        ("\\\\evil.test", "/"),
        ("javascript:alert(1)", "/"),
        ("/%09/evil.test", "/"),
        ("/\t/evil.test", "/"),
        ("/%5cevil.test", "/"),
        ("/..//evil.test", "/"),
        ("/a\r\nX-Evil: 1", "/"),
        ("/a%0d%0aX-Evil:1", "/"),
        ("@evil.test", "/"),
        (".evil.test", "/"),
        ("/.vestibule/logout", "/"),
        ("", "/"),
    ] {
        let browser = gate.browser();
        let csrf = browser.get(LOGIN).await.hidden("csrf");
        let fields = [
            ("csrf", csrf.as_str()),
            ("return_to", return_to),
            ("username", "ada"),
            ("password", PASSWORD),
        ];
        let reply = browser.post_form(LOGIN, &fields).await;
        reply.assert_redirects_to(location);
        let query: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
        let form = gate
            .browser()
            .get(&format!("{LOGIN}?return_to={query}"))
            .await;
        assert_eq!(form.hidden("return_to"), location, "{return_to:?}");
    }
}

#[tokio::test]
async fn sec_62_redirects_do_not_name_a_host() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let reply = gate.browser_for("localhost").get("/x").await;
    assert!(
        reply
            .value("location")
            .unwrap()
            .starts_with("/.vestibule/login"),
        "{reply}"
    );
}

#[tokio::test]
async fn sec_63_a_login_leads_back_to_where_it_began() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let browser = gate.browser();
    let target = "/report/2026?from=a%20b&to=%C3%A4&x=1&x=2";
    let reply = browser.get(target).await;
    reply.assert_status(303);
    let login = reply.value("location").unwrap().to_owned();
    // A wrong password in between does not lose it.
    browser
        .login_at(&login, "ada", "wrong")
        .await
        .assert_status(401);
    let wrong = browser.login_at(&login, "ada", "wrong").await;
    assert_eq!(wrong.hidden("return_to"), target);
    let reply = browser.login_at(&login, "ada", PASSWORD).await;
    reply.assert_redirects_to(target);
    browser.get(target).await.assert_status(200);
    assert_eq!(app.last().target(), target);
}

#[tokio::test]
async fn sec_66_logout_is_a_form_of_ours() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let page = ada.get("/.vestibule/logout").await;
    page.assert_status(200)
        .assert_contains("<form")
        .assert_contains("ada");
    ada.get("/").await.assert_status(200);
    for headers in [
        &[("origin", "https://evil.test")][..],
        &[("sec-fetch-site", "cross-site")],
        &[],
    ] {
        let headers = [headers, &[("content-type", FORM)]].concat();
        let reply = ada
            .request(Method::POST, "/.vestibule/logout", &headers, Bytes::new())
            .await;
        assert_eq!(reply.status, 403, "{headers:?}: {reply}");
        ada.get("/").await.assert_status(200);
    }
    ada.logout().await.assert_status(303);
    ada.fetch("/").await.assert_status(401);
    let page = ada.get("/.vestibule/logout").await;
    page.assert_status(200).assert_contains("signed out");
}

#[tokio::test]
async fn the_account_page_says_who_is_signed_in() {
    let app = Upstream::echo().await;
    let eve = User::new("eve", PASSWORD)
        .groups(&["<script>", "R&D"])
        .email("eve@example.org");
    let gate = Vestibule::before(&app).account(eve).start().await;
    gate.browser()
        .get("/.vestibule/account")
        .await
        .assert_status(303);
    gate.browser()
        .fetch("/.vestibule/account")
        .await
        .assert_status(403);
    let eve = gate.browser().login("eve", PASSWORD).await;
    let page = eve.get("/.vestibule/account").await;
    page.assert_status(200)
        .assert_contains("eve@example.org")
        .assert_contains("R&amp;D");
    assert!(!page.text().contains("<script>"), "SEC-65: {page}");
}

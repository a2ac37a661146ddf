use super::*;

#[test]
fn sec_64_67_68_70_every_exit_has_the_safety_headers() {
    let pages = pages("the wiki", None);
    let all = all("the wiki", "text").into_iter().map(Page::into_response);
    let (framed, mut exits): (Vec<_>, Vec<_>) =
        all.partition(|exit| !exit.headers().contains_key("x-frame-options"));
    assert_eq!(framed.len(), FRAMED.len());
    exits.push(json(StatusCode::UNAUTHORIZED, &["login_required"]));
    exits.push(plain(StatusCode::NOT_FOUND, "There is nothing here."));
    exits.push(redirect(
        StatusCode::SEE_OTHER,
        HeaderValue::from_static("/.vestibule/login"),
    ));
    exits.extend(
        ["style.css", "login.js", "icon.svg", "waiting.js"].map(|name| pages.asset(name).unwrap()),
    );
    let (cacheable, private): (Vec<_>, Vec<_>) = exits
        .iter()
        .partition(|exit| exit.headers()["cache-control"] != "no-store");
    assert_eq!(cacheable.len(), 4, "the assets");
    assert!(private.len() >= 15);
    let (own, any): (Vec<_>, Vec<_>) = exits.iter().partition(|exit| {
        let csp = exit.headers()["content-security-policy"].to_str().unwrap();
        csp.contains("; form-action 'self';")
    });
    assert_eq!(
        any.len(),
        3 + 13 + 2,
        "saved POSTs, logins, a sign-out, a form of another site"
    );
    assert!(own.len() > any.len());
    for exit in any {
        let csp = exit.headers()["content-security-policy"].to_str().unwrap();
        assert!(csp.contains("; form-action *;"), "{csp}");
    }
    let asks = |exit: &&Response<Bytes>| {
        let csp = exit.headers()["content-security-policy"].to_str().unwrap();
        csp.ends_with("; connect-src 'self'")
    };
    let asking = exits.iter().filter(asks).count();
    assert_eq!(
        asking, 13,
        "the pages of the login ask for the session, and nothing else does"
    );
    for exit in &exits {
        let headers = exit.headers();
        let csp = headers["content-security-policy"].to_str().unwrap();
        for directive in [
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "img-src 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(csp.split("; ").any(|part| part == directive), "{csp}");
        }
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "same-origin");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert!(headers.contains_key("permissions-policy"));
        assert!(headers.contains_key("content-type"));
        assert!(!headers.contains_key("server"));
        assert!(
            headers
                .keys()
                .all(|name| !name.as_str().starts_with("access-control"))
        );
        for name in headers.keys() {
            assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
        }
    }
}

#[test]
fn sec_64_what_may_be_framed_has_no_form_and_no_script_and_opens_a_tab() {
    let pages = pages("the wiki", None);
    for why in FRAMED {
        let link = "/.vestibule/login?return_to=%2Fx";
        let host = "wiki.example.org";
        let page = pages.framed(&FramedView { host, link, why });
        let response = page.into_response();
        let headers = response.headers();
        assert_eq!(
            headers["content-security-policy"],
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; \
             base-uri 'none'; frame-ancestors *"
        );
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "same-origin");
        let html = std::str::from_utf8(response.body()).unwrap();
        for absent in ["<form", "<script", "<input", "<iframe"] {
            assert!(!html.contains(absent), "{absent} in {html}");
        }
        let link = format!("href=\"{link}\" target=\"_blank\" rel=\"noopener\"");
        assert_eq!(html.matches(&link).count(), 1, "{html}");
    }
}

#[test]
fn a_page_keeps_its_own_headers_but_not_against_the_safety_headers() {
    let response = pages("the wiki", None)
        .signed_out("wiki.example.org", &[])
        .set_cookie(HeaderValue::from_static("a=1"))
        .set_cookie(HeaderValue::from_static("b=2"))
        .header(header::CACHE_CONTROL, HeaderValue::from_static("public"))
        .retry_after(Duration::from_millis(1500))
        .into_response();
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(
        response.headers().get_all("cache-control").iter().count(),
        1
    );
    assert_eq!(response.headers()["retry-after"], "2");
}

//! The session cookie, SEC-43 to SEC-53.

use std::time::Duration;

use crate::harness::*;

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .start()
        .await
}

#[tokio::test]
async fn sec_43_the_cookie_is_for_this_host_over_tls_and_not_for_scripts() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let reply = gate.browser().try_login("ada", PASSWORD).await;
    let cookies = reply.values("set-cookie");
    let session: Vec<_> = cookies
        .iter()
        .filter(|set| set.starts_with("__Host-Http-vestibule="))
        .collect();
    let [session] = session[..] else {
        panic!("one session cookie in {reply}")
    };
    assert!(session.split(';').next().unwrap().len() < 100, "{session}");
    for cookie in &cookies {
        let attributes: Vec<_> = cookie.split("; ").skip(1).collect();
        assert!(cookie.starts_with("__Host-"), "{cookie}");
        for wanted in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(attributes.contains(&wanted), "{wanted} in {cookie}");
        }
        assert!(
            !attributes.iter().any(|name| name.starts_with("Domain")),
            "{cookie}"
        );
    }
}

#[tokio::test]
async fn sec_44_ids_are_long_and_never_alike() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let cookie = gate.browser().login("ada", PASSWORD).await.session_cookie();
        let id = cookie
            .strip_prefix("__Host-Http-vestibule=")
            .unwrap()
            .to_owned();
        assert_eq!(id.len(), 43, "256 bits in base64url: {id}");
        assert!(
            id.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
            "{id}"
        );
        assert!(seen.insert(id));
    }
}

#[tokio::test]
async fn sec_45_a_login_gives_a_new_id_and_ends_the_session_before() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let planted = format!("{SESSION_COOKIE}={}", "A".repeat(43));
    let victim = gate.browser().cookie(&planted).login("ada", PASSWORD).await;
    assert_ne!(victim.session_cookie(), planted, "session fixation");
    gate.browser()
        .cookie(&planted)
        .fetch("/")
        .await
        .assert_status(401);

    let first = victim.session_cookie();
    let again = victim.login("ada", PASSWORD).await;
    assert_ne!(again.session_cookie(), first);
    gate.browser()
        .cookie(&first)
        .fetch("/")
        .await
        .assert_status(401);
    again.get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_46_after_logout_the_old_cookie_opens_nothing() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let elsewhere = gate.browser().login("ada", PASSWORD).await;
    let browser = gate.browser().login("ada", PASSWORD).await;
    let stolen = browser.session_cookie();
    let reply = browser.logout().await;
    reply.assert_status(303);
    assert!(!browser.is_signed_in(), "{reply}");
    let reply = gate.browser().cookie(&stolen).get("/report?q=1").await;
    reply.assert_redirects_to("/.vestibule/login?return_to=%2Freport%3Fq%3D1");
    assert_eq!(
        app.requests(),
        0,
        "nothing may reach the upstream without a permit"
    );
    elsewhere.get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_47_our_cookie_never_reaches_an_upstream() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    for (sent, passed) in [
        (format!("Cookie: {ada}\r\n"), None),
        (
            format!("Cookie: a=1; {ada}; b=\"x y\"\r\n"),
            Some("a=1; b=\"x y\""),
        ),
        (format!("Cookie: {ada};a=1\r\n"), Some("a=1")),
        (
            format!("Cookie: a=1; b=2; c\r\nCookie: {ada}\r\n"),
            Some("a=1; b=2; c"),
        ),
        (
            format!("Cookie: {ada}\r\nCookie: a=1\r\nCookie: b=2\r\n"),
            Some("a=1; b=2"),
        ),
        (format!("Cookie: =x; {ada}; a==; %\r\n"), Some("=x; a==; %")),
        (
            format!("Cookie: __Host-Http-vestibule2=1; {ada}\r\n"),
            Some("__Host-Http-vestibule2=1"),
        ),
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!("GET / HTTP/1.1\r\nHost: gate.test\r\n{sent}\r\n"))
            .await;
        raw.response().await.assert_status(200);
        assert_eq!(app.last().value("cookie"), passed, "{sent:?}");
    }
    // HTTP/2 splits cookies into crumbs (RFC 9113 §8.2.3).
    let mut http2 = gate.raw_http2().await;
    let crumbs = [("cookie", "a=1"), ("cookie", &*ada), ("cookie", "b=2")];
    http2
        .headers(1, &[&RawHttp2::get("/")[..], &crumbs].concat(), true)
        .await;
    assert_eq!(http2.outcome(1).await.status, Some(200));
    assert_eq!(app.last().value("cookie"), Some("a=1; b=2"));
    let bytes = String::from_utf8_lossy(&app.bytes()).into_owned();
    let id = ada.split('=').nth(1).unwrap();
    assert!(!bytes.contains(id), "the id is in {bytes}");
}

#[tokio::test]
async fn sec_47_other_spellings_of_our_cookie_are_cut_out_too() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let id = ada.split('=').nth(1).unwrap();
    for cookie in [
        format!("__HOST-HTTP-VESTIBULE={id}"),
        format!("__host-http-vestibule={id}"),
        format!("__Host-Http-vestibule ={id}"),
        format!("\t__Host-Http-vestibule={id}"),
        format!("__Host-Http-vestibule={id}; __Host-Http-vestibule={id}"),
        format!("__Host-Http-vestibule-login={id}"),
        format!("__Host-vestibule={id}"),
        format!("__HOST-vestibule={id}; __Host-vestibule={id}; __Host-Http-vestibule={id}"),
        format!("__Host-vestibule-login={id}"),
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "GET /public HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(200);
        assert_eq!(app.last().value("cookie"), None, "{cookie}");
    }
}

#[tokio::test]
async fn sec_48_an_upstream_cannot_set_our_cookie() {
    let app = Upstream::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=1; Path=/\r\n\
         Set-Cookie: __Host-Http-vestibule=stolen; Secure; Path=/\r\nSet-Cookie:  __host-http-VESTIBULE =stolen\r\n\
         Set-Cookie: =__Host-Http-vestibule=stolen\r\nSet-Cookie: __Host-Http-vestibule-login=stolen\r\n\
         Set-Cookie: __Host-vestibule=stolen\r\nSet-Cookie: =__host-Vestibule-Login=stolen\r\n\
         Set-Cookie: b=__Host-Http-vestibule\r\n\r\nok",
    )
    .await;
    let gate = Vestibule::before(&app).public().start().await;
    for browser in [gate.browser(), gate.browser().over_http2()] {
        let reply = browser.get("/").await;
        assert_eq!(
            reply.values("set-cookie"),
            ["a=1; Path=/; Secure", "b=__Host-Http-vestibule; Secure"]
        );
    }
}

#[tokio::test]
async fn sec_49_two_cookies_of_our_name_are_nobody() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let other = format!("{SESSION_COOKIE}={}", "B".repeat(43));
    for cookies in [
        format!("Cookie: {ada}; {other}\r\n"),
        format!("Cookie: {other}; {ada}\r\n"),
        format!("Cookie: {ada}; {ada}\r\n"),
        format!("Cookie: {ada}\r\nCookie: {other}\r\n"),
        format!("Cookie: {other}\r\nCookie: {ada}\r\n"),
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: gate.test\r\n{cookies}\r\n"
        ))
        .await;
        raw.response().await.assert_status(401);
    }
    // What a script may have set under the old name neither opens anything nor shuts anybody out.
    let (_, id) = ada.split_once('=').unwrap();
    let old = format!("__Host-vestibule={id}");
    let planted = format!("__Host-vestibule={}", "B".repeat(43));
    for (cookies, status) in [
        (old.clone(), 401),
        (format!("{ada}; {planted}"), 200),
        (format!("{planted}; {ada}"), 200),
        (format!("{other}; {old}"), 401),
        (format!("{old}; {other}"), 401),
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookies}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(status);
    }
    let mut raw = gate.raw().await;
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: gate.test\r\nCookie: bad\u{e4}; =; ;;{ada};\"\r\n\r\n"
    ))
    .await;
    raw.response().await.assert_status(200);
}

#[tokio::test]
async fn sec_50_an_idle_session_ends_and_a_busy_one_goes_on() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("idle_timeout = \"30m\"\nlifetime = \"12h\"")
        .start()
        .await;
    let idle = gate.browser().login("ada", PASSWORD).await;
    let busy = gate.browser().login("ada", PASSWORD).await;
    for _ in 0..4 {
        gate.advance(Duration::from_mins(20));
        busy.get("/").await.assert_status(200);
    }
    idle.fetch("/").await.assert_status(401);
    gate.advance(Duration::from_mins(31));
    busy.fetch("/").await.assert_status(401);
    busy.fetch("/").await.assert_status(401);
}

#[tokio::test]
async fn sec_50_no_session_outlives_its_lifetime() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("idle_timeout = \"30m\"\nlifetime = \"2h\"")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for _ in 0..5 {
        gate.advance(Duration::from_mins(20));
        ada.get("/").await.assert_status(200);
    }
    gate.advance(Duration::from_mins(21));
    ada.fetch("/").await.assert_status(401);
}

#[tokio::test]
async fn sec_50_asking_how_long_is_left_does_not_prolong_it() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("idle_timeout = \"10m\"")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for minutes in [9, 6, 3] {
        gate.advance(Duration::from_mins(3));
        let reply = ada.fetch("/.vestibule/session").await;
        let left = reply.json()["seconds_left"].as_u64().unwrap();
        assert!(
            left < minutes * 60 && reply.json()["user"] == "ada",
            "{reply}"
        );
    }
    gate.advance(Duration::from_mins(2));
    ada.fetch("/.vestibule/session").await.assert_status(401);
}

#[tokio::test]
async fn sec_52_strangers_start_no_session_and_cost_nobody_theirs() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .session("max_sessions = 2")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for n in 0..20 {
        let forged = format!("{SESSION_COOKIE}={n:A>43}");
        let stranger = gate.browser().cookie(&forged);
        let reply = stranger.get("/public").await;
        assert_eq!(reply.values("set-cookie"), Vec::<&str>::new(), "{reply}");
        stranger.fetch("/").await.assert_status(401);
    }
    ada.get("/").await.assert_status(200);
    gate.browser().login("ada", PASSWORD).await;
    gate.browser()
        .try_login("ada", PASSWORD)
        .await
        .assert_status(503);
    ada.get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_52_of_one_user_the_oldest_session_ends() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .session("max_per_user = 2")
        .start()
        .await;
    let bob = gate.browser().login("bob", PASSWORD).await;
    let mut ada = Vec::new();
    for _ in 0..3 {
        gate.advance(Duration::from_secs(1));
        ada.push(gate.browser().login("ada", PASSWORD).await);
    }
    ada[0].fetch("/").await.assert_status(401);
    for browser in [&ada[1], &ada[2], &bob] {
        browser.get("/").await.assert_status(200);
    }
}

#[tokio::test]
async fn sec_53_a_token_is_good_whole_in_the_cookie_and_nowhere_else() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let id = ada.split('=').nth(1).unwrap();
    let mut flipped = id.to_owned();
    let last = if flipped.ends_with('A') { "E" } else { "A" };
    flipped.replace_range(42.., last);
    for value in [
        "",
        "x",
        &id[..42],
        &id[1..],
        &format!("{id}A"),
        &format!("{id}="),
        &flipped,
        &format!("\"{id}\""),
        "null",
    ] {
        let cookie = format!("{SESSION_COOKIE}={value}");
        let mut raw = gate.raw().await;
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(401);
    }
    for (target, header) in [
        (format!("/?{ada}"), ("x-none", String::new())),
        ("/".to_owned(), ("authorization", format!("Bearer {id}"))),
        ("/".to_owned(), ("x-session", id.to_owned())),
        ("/".to_owned(), ("cookie2", ada.clone())),
    ] {
        gate.browser()
            .header(header.0, &header.1)
            .fetch(&target)
            .await
            .assert_status(401);
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_52_a_logout_with_an_invented_id_writes_nothing() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    gate.browser().login("ada", PASSWORD).await;
    let path = gate.files().path("sessions.redb");
    let written = || std::fs::metadata(&path).unwrap().modified().unwrap();
    let before = written();
    for digit in ["A", "B", "C"] {
        let invented = format!("{SESSION_COOKIE}={}A", digit.repeat(42));
        let browser = gate.browser().cookie(&invented);
        let reply = browser.post_form("/.vestibule/logout", &[]).await;
        reply.assert_status(303);
    }
    assert_eq!(written(), before);
}

#[tokio::test]
async fn cookies_of_a_neighbour_keep_nobody_from_our_pages() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for n in 0..3 {
        let _ = ada.clone().cookie(&format!("j{n}={}", "x".repeat(4000)));
    }
    for browser in [ada.clone(), ada.clone().over_http2()] {
        browser.get("/x").await.assert_status(431);
        for page in ["login", "logout", "account", "form", "session"] {
            let page = browser.get(&format!("/.vestibule/{page}?switch=1")).await;
            page.assert_status(200);
        }
    }
    ada.logout().await.assert_status(303);
    ada.get("/.vestibule/session").await.assert_status(401);
    let reply = ada.try_login("ada", PASSWORD).await;
    reply.assert_status(303);
    // The limit of the whole head is for all of them.
    let _ = ada.clone().cookie(&format!("j={}", "x".repeat(40_000)));
    ada.get("/.vestibule/login").await.assert_status(431);
}

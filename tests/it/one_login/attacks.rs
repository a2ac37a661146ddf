use std::time::Duration;

use super::*;

/// What a browser gets that shows this; no session, and nothing of the app.
#[track_caller]
fn assert_refused(reply: &Reply) {
    assert!(!sets_session(reply), "{reply}");
    match reply.status {
        303 => {
            let (host, target) = leads_to(WIKI, reply);
            assert_eq!(host, LOGIN, "{reply}");
            assert!(target.starts_with("/.vestibule/login?state="), "{reply}");
        }
        status => assert_eq!(status, 400, "{reply}"),
    }
}

/// A browser with the pre-login cookie of another one, and no more.
fn with_login_cookie_of(gate: &Gate, profile: &Profile, host: &str) -> Browser {
    let cookies = profile.at(host).cookies();
    let mut pairs = cookies.split("; ");
    let pair = pairs.find(|pair| pair.starts_with(LOGIN_COOKIE)).unwrap();
    gate.browser_for(host).cookie(pair)
}

#[tokio::test]
async fn sec_97_a_code_opens_the_session_once() {
    let (wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    let back = profile.code("ada", WIKI, "/").await;
    let copy = with_login_cookie_of(&gate, &profile, WIKI);
    let first = profile.at(WIKI).get(&back).await;
    assert!(sets_session(&first), "{first}");
    for _ in 0..2 {
        assert_refused(&copy.get(&back).await);
    }
    // In the browser that is signed in by now, it is a page like any other.
    let again = profile.at(WIKI).get(&back).await;
    again.assert_redirects_to("/");
    assert!(!sets_session(&again));
    assert_eq!(wiki.requests(), 0);
}

#[tokio::test]
async fn sec_97_a_code_is_for_the_browser_that_asked() {
    let (_wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    let strangers = [
        gate.browser_for(WIKI),
        gate.browser_for(WIKI)
            .cookie(&format!("{LOGIN_COOKIE}=AAAAAAAAAAAAAAAAAAAAAA")),
        gate.browser_for(WIKI).cookie(&format!("{LOGIN_COOKIE}=")),
        gate.browser_for(WIKI)
            .cookie("__Host-vestibule-login=AAAAAAAAAAAAAAAAAAAAAA"),
    ];
    let mut target = profile.code("ada", WIKI, "/").await;
    for stranger in strangers {
        assert_refused(&stranger.get(&target).await);
        // It is worth nothing any more, in the right browser either: that one goes by the login.
        let own = profile.at(WIKI).get(&target).await;
        assert_refused(&own);
        target = profile.next_code(WIKI, "/").await;
    }
    // The one with the cookie of a second browser, that has begun a sign-in of its own.
    let other = Profile::new(&gate);
    other.load(WIKI, "/").await;
    assert_refused(&other.at(WIKI).get(&target).await);
}

#[tokio::test]
async fn sec_97_a_code_is_for_the_host_that_asked() {
    let (_wiki, metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    let back = profile.code("ada", WIKI, "/").await;
    profile.at(METRICS).get("/").await; // has a pre-login cookie now
    let there = with_login_cookie_of(&gate, &profile, WIKI).for_host(METRICS);
    let pair = with_login_cookie_of(&gate, &profile, WIKI).cookies();
    for browser in [profile.at(METRICS), there.cookie(&pair)] {
        let reply = browser.get(&back).await;
        assert!(!sets_session(&reply), "{reply}");
        reply.assert_status(400);
        reply.assert_contains("could not be finished here");
    }
    assert_refused(&profile.at(WIKI).get(&back).await); // it was shown
    let code = |target: &str| target[..target.find('&').unwrap()].to_owned();
    let state = |target: &str| target[target.find('&').unwrap()..].to_owned();
    // The code of one host with the state of the other, in a browser that has begun both.
    let (wiki, other) = (
        profile.next_code(WIKI, "/").await,
        profile.next_code(METRICS, "/").await,
    );
    let crossed = code(&wiki) + &state(&other);
    assert_refused(&profile.at(METRICS).get(&crossed).await);
    let crossed = code(&other) + &state(&wiki);
    assert_refused(&profile.at(WIKI).get(&crossed).await);
    assert_eq!(metrics.requests(), 0);
}

#[tokio::test]
async fn sec_97_a_code_is_good_for_a_minute() {
    let (_wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    let back = profile.code("ada", WIKI, "/late").await;
    gate.advance(Duration::from_secs(61));
    let late = profile.at(WIKI).get(&back).await;
    assert_refused(&late);
    // Whose login is still good gets there all the same, with another code.
    let place = profile.follow(WIKI, &back, late).await;
    place.assert_is(WIKI, "/late");
    let back = Profile::new(&gate);
    let target = back.code("ada", WIKI, "/late").await;
    gate.advance(Duration::from_secs(58));
    assert!(sets_session(&back.at(WIKI).get(&target).await));
}

#[tokio::test]
async fn sec_97_a_code_of_a_session_that_has_ended_opens_nothing() {
    let (_wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    let back = profile.code("ada", WIKI, "/").await;
    profile.at(LOGIN).logout().await.assert_status(303);
    let reply = profile.at(WIKI).get(&back).await;
    assert_refused(&reply);
    profile.follow(WIKI, &back, reply).await.assert_is_login();
}

#[tokio::test]
async fn sec_97_a_forged_state_leads_nowhere() {
    let (_wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    let back = profile.code("ada", WIKI, "/").await;
    let (_, state) = back.split_once("&state=").unwrap();
    let (text, signature) = state.split_once('.').unwrap();
    let other = Profile::new(&gate).code("bob", METRICS, "/").await;
    let (_, of_other) = other.split_once("&state=").unwrap();
    let (other_text, _) = of_other.split_once('.').unwrap();
    let sign_out = profile.at(WIKI).get("/.vestibule/logout").await;
    let (_, sign_out) = leads_to(WIKI, &sign_out);
    assert_eq!(
        sign_out, "/.vestibule/logout",
        "there is no session to name yet"
    );
    for forged in [
        "",
        "x",
        ".",
        text,
        &format!("{text}."),
        &format!("{text}.{}", signature.chars().rev().collect::<String>()),
        &format!("{other_text}.{signature}"),
        &format!("{}.{signature}", text.to_lowercase()),
        &format!("{state}&state={state}"),
        of_other,
        &"A".repeat(4000),
    ] {
        // Where a login comes back to.
        for query in [format!("code=x&state={forged}"), format!("state={forged}")] {
            let reply = profile.at(WIKI).get(&format!("{SSO}?{query}")).await;
            assert_refused(&reply);
        }
        // Where it leads to after the login, too: to nobody's host but the login's.
        if forged != of_other {
            let login = profile
                .at(LOGIN)
                .get(&format!("{SIGN_IN}?state={forged}"))
                .await;
            login.assert_redirects_to("/");
        }
    }
    assert!(
        sets_session(&profile.at(WIKI).get(&back).await),
        "the code is still good"
    );
}

#[tokio::test]
async fn sec_97_nobody_is_signed_in_as_somebody_else_by_a_link() {
    let (wiki, _metrics, gate) = started().await;
    let (mallory, victim) = (Profile::new(&gate), Profile::new(&gate));
    // Mallory's own way back, unused, in a mail to somebody.
    let back = mallory.code("bob", WIKI, "/").await;
    for _ in 0..2 {
        let place = victim.load(WIKI, &back).await;
        place.assert_is_login();
    }
    assert!(!victim.at(WIKI).is_signed_in());
    // Mallory's way to the login, to somebody who is signed in there: the code goes to the app's
    // host in the browser of the victim, who has not asked for it, and is worth nothing.
    victim
        .sign_in("ada", METRICS, "/")
        .await
        .assert_is(METRICS, "/");
    let mallory = Profile::new(&gate);
    let (_, login) = leads_to(WIKI, &mallory.at(WIKI).get("/x").await);
    let reply = victim.at(LOGIN).get(&login).await;
    let (host, back) = leads_to(LOGIN, &reply);
    assert_eq!(host, WIKI);
    assert_refused(&gate.browser_for(WIKI).get(&back).await);
    assert_refused(&mallory.at(WIKI).get(&back).await);
    assert_eq!(wiki.requests(), 0);
    let place = victim.load(WIKI, &back).await;
    place.assert_is(WIKI, "/x");
    assert_eq!(wiki.last().value("x-forwarded-user"), Some("ada"));
}

#[tokio::test]
async fn sec_88_an_id_opens_the_host_that_it_was_set_on() {
    let (wiki, metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    profile.load(METRICS, "/").await.assert_is(METRICS, "/");
    let before = (wiki.requests(), metrics.requests());
    let hosts = [LOGIN, WIKI, METRICS, "a.metrics.org"];
    for of in &hosts[..3] {
        for at in hosts.iter().filter(|at| *at != of) {
            let stolen = profile.at(of).session_cookie();
            let thief = gate.browser_for(at).cookie(&stolen);
            thief.fetch("/.vestibule/session").await.assert_status(401);
            let old_name = stolen.replace("-Http", "");
            let thief = gate.browser_for(at).cookie(&old_name);
            thief.fetch("/.vestibule/session").await.assert_status(401);
            if *at != LOGIN {
                thief.fetch("/").await.assert_status(401);
            }
        }
    }
    assert_eq!((wiki.requests(), metrics.requests()), before);
    for host in &hosts[..3] {
        let own = profile.at(host);
        own.fetch("/.vestibule/session").await.assert_status(200);
    }
}

#[tokio::test]
async fn sec_62_a_sign_in_leads_to_hosts_of_the_configuration() {
    let (_wiki, _metrics, mut gate) = started().await;
    let profile = Profile::new(&gate);
    for evil in [
        "https://evil.test/",
        "//evil.test/",
        "/%5cevil.test",
        "/\\evil.test",
        "%2F%2Fevil.test",
        "https%3A%2F%2Fevil.test%2F",
        "/%252f%252fevil.test",
        "javascript:alert(1)",
        "/.vestibule/logout",
    ] {
        for parameter in ["return_to", "state", "code"] {
            let target = format!("{SSO}?{parameter}={evil}");
            let place = profile.load(WIKI, &target).await;
            if place.page.status == 200 {
                let reply = profile.fill_in(&place, "ada").await;
                let place = profile.follow(LOGIN, SIGN_IN, reply).await;
                place.assert_is(WIKI, "/");
            } else {
                place.page.assert_status(400);
            }
            let place = profile
                .load(LOGIN, &format!("{SIGN_IN}?{parameter}={evil}"))
                .await;
            assert_eq!(place.host, LOGIN, "{evil}");
            if profile.at(LOGIN).is_signed_in() {
                profile.at(LOGIN).logout().await;
            }
        }
    }
    // The port of the browser is that of the others; nothing else of `Host` is taken over.
    for host in ["wiki.test:8443", "WIKI.test:8443", "wiki.test.:8443"] {
        let there = gate.browser_for(WIKI).header("host", host).get("/x").await;
        let location = there.value("location").unwrap().to_owned();
        assert!(location.starts_with("https://login.test:8443/.vestibule/login?state="));
    }
    for host in ["evil.test", "wiki.test.evil.test", "login.test.evil.test"] {
        gate.browser_for(host).get("/x").await.assert_status(421);
    }
    // A host that the configuration does not have any more.
    let profile = Profile::new(&gate);
    let (_, login) = leads_to(METRICS, &profile.at(METRICS).get("/").await);
    gate.reload(|text| text.replace("metrics.org", "metrics.net"))
        .unwrap();
    let form = profile.at(LOGIN).get(&login).await;
    form.assert_status(200);
    let csrf = form.hidden("csrf");
    let (_, state) = login.split_once("state=").unwrap();
    let fields = [
        ("csrf", &*csrf),
        ("username", "ada"),
        ("password", PASSWORD),
        ("state", state),
    ];
    let reply = profile.at(LOGIN).post_form(SIGN_IN, &fields).await;
    reply.assert_redirects_to("/");
}

#[tokio::test]
async fn a_browser_that_keeps_no_cookies_is_told_so() {
    let (_wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    profile
        .sign_in("ada", METRICS, "/")
        .await
        .assert_is(METRICS, "/");
    let mut reply = gate.browser_for(WIKI).get("/x").await;
    for turn in 0.. {
        let (host, login) = leads_to(WIKI, &reply);
        assert_eq!(host, LOGIN);
        let (_, back) = leads_to(LOGIN, &profile.at(LOGIN).get(&login).await);
        reply = gate.browser_for(WIKI).get(&back).await;
        if reply.status != 303 {
            assert!(turn < 5);
            break;
        }
    }
    reply.assert_status(400);
    reply.assert_contains("keeps no cookies");
    reply.assert_contains("href=\"/.vestibule/sso\"");
}

/// Method, query and more fields, with this code and state.
type Shape = fn(&str, &str) -> (&'static str, String, String);

/// On the wire, in shapes that no browser sends.
#[tokio::test]
async fn sec_97_a_code_in_another_shape_opens_nothing() {
    let (wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    let send = async |profile: &Profile, method: &str, target: &str, fields: &str| {
        let cookies = profile.at(WIKI).cookies();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {WIKI}\r\nCookie: {cookies}\r\n{fields}\r\n"
        );
        let stream = gate.tcp().await;
        let stream = tls::connect(stream, WIKI, &["http/1.1"]).await.unwrap();
        let mut raw = Raw::new(stream);
        raw.send(request).await;
        raw.response().await
    };
    let navigation =
        "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n";
    // As it is, it opens the session.
    let other = Profile::new(&gate);
    let back = other.code("ada", WIKI, "/").await;
    let reply = send(&other, "GET", &back, navigation).await;
    assert!(sets_session(&reply), "{reply}");
    let shapes: [Shape; 9] = [
        |code, state| {
            (
                "GET",
                format!("code={code}&code={code}&state={state}"),
                String::new(),
            )
        },
        |code, state| {
            (
                "GET",
                format!("code={code}&state={state}&state={state}"),
                String::new(),
            )
        },
        |code, state| {
            (
                "GET",
                format!("code={}&state={state}", &code[..code.len() - 1]),
                String::new(),
            )
        },
        |code, state| ("GET", format!("code={code}A&state={state}"), String::new()),
        |code, state| {
            (
                "GET",
                format!("code=%20{code}&state={state}"),
                String::new(),
            )
        },
        |code, state| ("GET", format!("CODE={code}&STATE={state}"), String::new()),
        |code, state| {
            (
                "GET",
                format!("state={state}"),
                format!("X-Code: {code}\r\n"),
            )
        },
        |code, state| {
            (
                "GET",
                format!("code={}&state={state}", "A".repeat(4_000)),
                format!("X-Code: {code}\r\n"),
            )
        },
        |code, state| {
            (
                "POST",
                format!("code={code}&state={state}"),
                String::from("Content-Length: 0\r\n"),
            )
        },
    ];
    let mut back = profile.code("ada", WIKI, "/").await;
    for shape in shapes {
        let (_, query) = back.split_once('?').unwrap();
        let (code, state) = query.split_once("&state=").unwrap();
        let (method, query, more) = shape(code.strip_prefix("code=").unwrap(), state);
        let (target, fields) = (format!("{SSO}?{query}"), format!("{navigation}{more}"));
        let reply = send(&profile, method, &target, &fields).await;
        assert!(!sets_session(&reply), "{query}: {reply}");
        assert!([303, 400, 405].contains(&reply.status), "{query}: {reply}");
        assert!(!profile.at(WIKI).is_signed_in());
        back = profile.next_code(WIKI, "/").await;
    }
    // Not by a script, a picture or a frame of another page (SEC-91).
    for (mode, dest, opens) in [
        ("cors", "empty", false),
        ("no-cors", "image", false),
        ("navigate", "iframe", false),
        ("navigate", "document", true),
    ] {
        let fields = format!(
            "Sec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\nSec-Fetch-Site: cross-site\r\n"
        );
        let reply = send(&profile, "GET", &back, &fields).await;
        assert_eq!(sets_session(&reply), opens, "{mode} {dest}: {reply}");
        back = profile.next_code(WIKI, "/").await;
    }
    assert_eq!(wiki.requests(), 0);
}

//! The account page: who am I, where am I signed in, and an end to that.

mod new_password;
mod tokens;

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use tokio::time::Instant;

use crate::harness::*;

const ACCOUNT: &str = "/.vestibule/account";
const NEW: &str = "quiet otters hum";

const FIREFOX: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0";
const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1";

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .config("[login.throttle]\naccount_failures = 3")
        .start()
        .await
}

/// The entries of the list on the page, in their order.
fn entries(page: &Reply) -> Vec<String> {
    page.assert_status(200);
    let text = page.text();
    let list = text.split("<ul class=\"sessions\"").nth(1).unwrap();
    let list = list.split("</ul>").next().unwrap();
    list.split("<li>").skip(1).map(str::to_owned).collect()
}

/// The keys that the page has a button for, in their order.
fn keys(page: &Reply) -> Vec<String> {
    let text = page.text();
    let buttons = text.split("name=\"key\" value=\"").skip(1);
    buttons.map(|rest| rest[..64].to_owned()).collect()
}

/// Sends a form of the page as the page has it.
async fn send(browser: &Browser, fields: &[(&str, &str)]) -> Reply {
    let page = browser.get(ACCOUNT).await;
    page.assert_status(200);
    let csrf = page.hidden("csrf");
    let fields = [&[("csrf", csrf.as_str())], fields].concat();
    browser.post_form(ACCOUNT, &fields).await
}

async fn change(browser: &Browser, old: &str, new: &str, again: &str) -> Reply {
    let fields = [
        ("action", "password"),
        ("old", old),
        ("new", new),
        ("again", again),
    ];
    send(browser, &fields).await
}

async fn assert_signed_in(browsers: &[&Browser]) {
    for browser in browsers {
        browser.get("/").await.assert_status(200);
    }
}

async fn assert_signed_out(browsers: &[&Browser]) {
    for browser in browsers {
        browser.get("/").await.assert_status(303);
    }
}

#[tokio::test]
async fn my_sessions_are_listed_with_this_one_first_and_then_the_latest_active() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let browser = |agent: &str, address: &str| {
        let browser = gate.browser().header("user-agent", agent);
        browser.header("x-forwarded-for", address)
    };
    let this = browser(FIREFOX, "192.0.2.1").login("ada", PASSWORD).await;
    gate.advance(Duration::from_mins(5));
    let busy = browser(SAFARI, "2001:db8::7").login("ada", PASSWORD).await;
    gate.advance(Duration::from_mins(1));
    browser("curl/8.5.0", "198.51.100.9")
        .login("ada", PASSWORD)
        .await;
    browser("<b>Mallory</b>", "203.0.113.5")
        .login("bob", PASSWORD)
        .await;
    gate.advance(Duration::from_mins(3));
    busy.get("/").await.assert_status(200);
    gate.advance(Duration::from_mins(2));

    let page = this.get(ACCOUNT).await;
    let entries = entries(&page);
    for (entry, parts) in entries.iter().zip([
        [
            "Firefox on Windows <span>This browser</span>",
            "Address 192.0.2.1,",
            ">11 minutes ago</time>, last active",
            ">just now</time>",
        ],
        [
            "<h3>Safari on iPhone</h3>",
            "Address 2001:db8::7,",
            ">6 minutes ago</time>, last active",
            ">2 minutes ago</time>",
        ],
        [
            "<h3>curl</h3>",
            "Address 198.51.100.9,",
            ">5 minutes ago</time>, last active",
            "ends at the latest",
        ],
    ]) {
        for part in parts {
            assert!(entry.contains(part), "{part:?} is not in {entry}");
        }
    }
    assert_eq!(entries.len(), 3, "nobody else's: {page}");
    let keys = keys(&page);
    assert_eq!(keys.len(), 2, "there is no button for this one: {page}");
    for (key, entry) in keys.iter().zip(&entries[1..]) {
        assert!(entry.contains(key), "{key} is not in {entry}");
        assert!(entry.contains(&format!("session {}<", &key[..8])));
    }
    assert!(!page.text().contains("Mozilla"), "{page}");
    let ids = [this.session_cookie(), busy.session_cookie()];
    for id in ids.map(|cookie| cookie.split('=').nth(1).unwrap().to_owned()) {
        assert!(!page.text().contains(&id), "the id of a session is shown");
    }
}

#[tokio::test]
async fn one_session_is_ended_by_its_button_and_no_other() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let lost = gate.browser().login("ada", PASSWORD).await;
    gate.advance(Duration::from_mins(1));
    let third = gate.browser().login("ada", PASSWORD).await;

    let key = keys(&ada.get(ACCOUNT).await).pop().unwrap();
    let reply = send(&ada, &[("action", "end"), ("key", &key)]).await;
    reply.assert_redirects_to(ACCOUNT);
    assert_signed_out(&[&lost]).await;
    assert_signed_in(&[&ada, &third]).await;
    let page = ada.get(ACCOUNT).await;
    assert_eq!(entries(&page).len(), 2);
    assert!(!keys(&page).contains(&key), "{page}");

    let again = send(&ada, &[("action", "end"), ("key", &key)]).await;
    again
        .assert_status(200)
        .assert_contains("role=\"alert\"")
        .assert_contains("That session has ended already.");
    assert_signed_in(&[&ada, &third]).await;
}

#[tokio::test]
async fn all_other_sessions_are_ended_at_once() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (ada, bob) = (gate.browser(), gate.browser().login("bob", PASSWORD).await);
    let ada = ada.login("ada", PASSWORD).await;
    let one = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let reply = send(&ada, &[("action", "end-others")]).await;
    reply.assert_redirects_to(ACCOUNT);
    assert_signed_out(&[&one, &other]).await;
    assert_signed_in(&[&ada, &bob]).await;
    assert_eq!(ada.session_cookie(), cookie);
    let page = ada.get(ACCOUNT).await;
    assert_eq!(entries(&page).len(), 1);
    assert!(!page.text().contains("end-others"), "{page}");
    let reply = send(&ada, &[("action", "end-others")]).await;
    reply.assert_redirects_to(ACCOUNT); // none is left, and that is no error
    assert_signed_in(&[&ada, &bob]).await;
}

#[tokio::test]
async fn the_session_of_somebody_else_cannot_be_ended() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let bob = gate.browser().login("bob", PASSWORD).await;
    gate.browser().login("bob", PASSWORD).await;
    let of_bob = keys(&bob.get(ACCOUNT).await).pop().unwrap();
    let unknown = "0".repeat(64);
    for key in [&of_bob, &of_bob.to_uppercase(), &of_bob[..8], &unknown, ""] {
        let reply = send(&ada, &[("action", "end"), ("key", key)]).await;
        reply
            .assert_status(200)
            .assert_contains("That session has ended already.");
    }
    assert_signed_in(&[&ada, &bob]).await;
    let page = bob.get(ACCOUNT).await;
    assert_eq!(keys(&page), [of_bob], "{page}");
}

#[tokio::test]
async fn sec_54_nothing_is_ended_or_changed_by_a_form_of_another_site() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let bob = gate.browser().login("bob", PASSWORD).await;
    let page = ada.get(ACCOUNT).await;
    let (mine, key) = (page.hidden("csrf"), keys(&page).pop().unwrap());
    let of_bob = bob.get(ACCOUNT).await.hidden("csrf");
    let of_login = gate.browser().get("/.vestibule/login").await.hidden("csrf");
    let words = |text: &str| text.replace(' ', "+");
    let (old, new) = (words(PASSWORD), words(NEW));
    let forms = [
        format!("action=end&key={key}"),
        "action=end-others".to_owned(),
        format!("action=password&old={old}&new={new}&again={new}"),
    ];
    for form in &forms {
        for (headers, token) in [
            (&[("origin", "https://evil.test")][..], &mine),
            (&[("origin", "null")], &mine),
            (&[("sec-fetch-site", "cross-site")], &mine),
            (&[("sec-fetch-site", "same-site")], &mine),
            (&[], &String::new()),
            (&[], &of_bob),
            (&[], &of_login),
        ] {
            let kind = ("content-type", "application/x-www-form-urlencoded");
            let headers = [headers, &[kind]].concat();
            let body = format!("csrf={token}&{form}");
            let reply = ada
                .request(Method::POST, ACCOUNT, &headers, body.into())
                .await;
            assert_eq!(reply.status, 403, "{headers:?} {form}: {reply}");
        }
        ada.get(&format!("{ACCOUNT}?csrf={mine}&{form}"))
            .await
            .assert_status(200);
    }
    assert_signed_in(&[&ada, &other, &bob]).await;
    // The token alone is as good as those headers, for who sends neither.
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let body = Bytes::from(format!("csrf={mine}&{}", forms[0]));
    let reply = ada.request(Method::POST, ACCOUNT, &kind, body).await;
    reply.assert_redirects_to(ACCOUNT);
    assert_signed_out(&[&other]).await;
}

#[tokio::test]
async fn sec_55_what_is_no_form_of_the_page_changes_nothing() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    for fields in [
        &[][..],
        &[("action", "")],
        &[("action", "everything")],
        &[("action", "end")],
        &[("action", "end-others"), ("action", "end-others")],
        &[("action", "password"), ("old", PASSWORD), ("new", NEW)],
        &[("action", "password"), ("new", NEW), ("again", NEW)],
    ] {
        let reply = send(&ada, fields).await;
        assert_eq!(reply.status, 400, "{fields:?}: {reply}");
    }
    let origin = [
        ("origin", "https://gate.test"),
        ("content-type", "text/plain"),
    ];
    let post = |method, headers, body: &'static str| {
        ada.request(
            method,
            ACCOUNT,
            headers,
            Bytes::from_static(body.as_bytes()),
        )
    };
    let reply = post(Method::POST, &origin, "action=end-others").await;
    reply.assert_status(415);
    let reply = post(Method::DELETE, &origin[..1], "").await;
    reply
        .assert_status(405)
        .assert_header("allow", "GET, HEAD, POST");
    let long = "x".repeat(17 * 1024);
    change(&ada, PASSWORD, &long, &long)
        .await
        .assert_status(413);
    assert_signed_in(&[&ada, &other]).await;

    let stranger = gate.browser();
    let reply = stranger
        .post_form(ACCOUNT, &[("action", "end-others")])
        .await;
    reply.assert_status(401);
    let page = reply.text();
    assert!(page.contains("Your session has ended"), "{page}");
    let script = stranger.header("sec-fetch-mode", "cors");
    let reply = script.post_form(ACCOUNT, &[("action", "end-others")]).await;
    reply.assert_status(403);
    assert_eq!(reply.json()["error"], "page_load_required");
    assert_eq!(app.requests(), 2, "nothing of it reached the app");
}

#[tokio::test]
async fn sec_75_the_websocket_of_an_ended_session_closes_within_a_second() {
    let app = Upstream::websocket().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let ends: [&[(&str, &str)]; 2] = [
        &[("action", "end-others")],
        &[
            ("action", "password"),
            ("old", PASSWORD),
            ("new", NEW),
            ("again", NEW),
        ],
    ];
    for fields in ends {
        let other = gate.browser().login("ada", PASSWORD).await;
        let cookie = other.session_cookie();
        let headers = [("cookie", cookie.as_str()), ("origin", "https://gate.test")];
        let socket = open_websocket(gate.tcp().await, "/ws", &headers).await;
        let mut socket = socket.unwrap_or_else(|status| panic!("{status}"));
        assert_eq!(socket.ask("still there?").await, "still there?");
        send(&ada, fields).await.assert_redirects_to(ACCOUNT);
        let ended = Instant::now();
        assert_eq!(socket.closed().await, Some(1008), "{fields:?}");
        let took = ended.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?} for {fields:?}");
        assert_signed_out(&[&other]).await;
    }
}

#[tokio::test]
async fn the_audit_trail_says_who_ended_what_and_sec_72_no_password() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .config("[log]\nformat = \"json\"\nlevel = \"trace\"")
        .spawn()
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    service.browser().login("ada", PASSWORD).await;
    let key = keys(&ada.get(ACCOUNT).await).pop().unwrap();
    send(&ada, &[("action", "end"), ("key", &key)]).await;
    change(&ada, "wrong-password-typed", NEW, NEW).await;
    change(&ada, PASSWORD, NEW, NEW)
        .await
        .assert_redirects_to(ACCOUNT);
    let audit = || {
        let log = service.program.log().into_iter();
        log.filter(|line| line["target"] == "audit")
            .collect::<Vec<_>>()
    };
    eventually("seven events", || audit().len() >= 7).await;
    let audit = audit();
    let messages: Vec<_> = audit.iter().map(|line| &line["message"]).collect();
    let expected = [
        "login",
        "login",
        "session ended by its user",
        "password change failed",
        "password changed",
        "session ended: its user set a new password",
        "login",
    ];
    assert_eq!(messages, expected, "{audit:#?}");
    for line in &audit {
        assert_eq!(line["user"], "ada", "{line}");
        assert_eq!(line["client"], "127.0.0.1", "{line}");
    }
    let (first, second) = (&audit[0]["session"], &audit[1]["session"]);
    assert_eq!(second.as_str(), Some(&key[..8]));
    assert_eq!((&audit[2]["session"], &audit[2]["by"]), (second, first));
    assert_eq!(&audit[4]["session"], first, "who changed it");
    assert_eq!((&audit[5]["session"], &audit[5]["by"]), (first, first));
    assert_eq!(audit[6]["method"], "new password");
    let log = service.program.stdout() + &service.program.stderr();
    for typed in [PASSWORD, NEW, "wrong-password-typed"] {
        for typed in [typed.to_owned(), typed.replace(' ', "+")] {
            assert!(!log.contains(&typed), "{typed} is in the log:\n{log}");
        }
    }
}

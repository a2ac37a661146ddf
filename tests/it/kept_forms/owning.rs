use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn the_form_of_one_user_is_never_that_of_another() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for ended in ["idle", "logout elsewhere"] {
        let browser = gate.browser().login("ada", PASSWORD).await;
        browser.get("/edit").await.assert_status(200);
        if ended == "idle" {
            gate.advance(IDLE);
        } else {
            let other = gate.browser().cookie(&browser.session_cookie());
            other.logout().await.assert_status(303);
        }
        let before = app.requests();
        let page = post(&browser, "/save", URLENCODED, "a=1").await;
        assert_kept(&page);
        sign_in(&browser, &page, "bob")
            .await
            .assert_redirects_to("/");
        assert_nothing_waits(&browser.get(FORMS).await);
        // Nor does it come back for the one whose it was.
        browser.logout().await;
        let browser = browser.login("ada", PASSWORD).await;
        assert_nothing_waits(&browser.get(FORMS).await);
        assert_eq!(app.requests(), before, "{ended}");
    }
}

#[tokio::test]
async fn a_form_is_not_kept_where_nobody_knows_any_more_whose_session_had_ended() {
    let app = Upstream::echo().await;
    for store in ["disk", "memory"] {
        let gate = people(Vestibule::before(&app))
            .session(&format!("store = \"{store}\""))
            .start()
            .await;
        let before = gate.browser().login("ada", PASSWORD).await;
        before.get("/edit").await.assert_status(200);
        let gate = gate.restart().await;
        let browser = gate.browser().cookie(&before.session_cookie());
        gate.advance(IDLE);
        let requests = app.requests();
        let page = post(&browser, "/save", URLENCODED, "a=1").await;
        page.assert_status(401)
            .assert_contains("What you sent was not delivered");
        let reply = browser.try_login("bob", PASSWORD).await;
        reply.assert_redirects_to("/");
        assert_nothing_waits(&browser.get(FORMS).await);
        assert_eq!(app.requests(), requests, "{store}");
    }
}

#[tokio::test]
async fn a_session_that_is_seen_after_a_restart_is_its_users_again() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let before = gate.browser().login("ada", PASSWORD).await;
    let gate = gate.restart().await;
    let browser = gate.browser().cookie(&before.session_cookie());
    browser.get("/edit").await.assert_status(200);
    gate.advance(IDLE);
    let page = post(&browser, "/save", URLENCODED, "a=1").await;
    assert_kept(&page);
    sign_in(&browser, &page, "ada")
        .await
        .assert_redirects_to(FORMS);
}

#[tokio::test]
async fn sec_51_the_form_of_a_user_who_was_shut_out_is_nobody_elses() {
    let app = Upstream::echo().await;
    for how in ["disabled", "removed", "new password"] {
        let mut gate = gate(&app).await;
        let browser = gate.browser().login("ada", PASSWORD).await;
        browser.get("/edit").await.assert_status(200);
        let files = gate.files();
        match how {
            "disabled" => files.change_user("ada", |ada| ada.disabled = true),
            "removed" => files.remove_user("ada"),
            _ => files.change_user("ada", |ada| ada.hash = hash("another password")),
        }
        eventually_some("the session to end", async || {
            (browser.fetch("/").await.status == 401).then_some(())
        })
        .await;
        let page = post(&browser, "/save", URLENCODED, "a=1").await;
        assert_kept(&page);
        sign_in(&browser, &page, "bob")
            .await
            .assert_redirects_to("/");
        assert_nothing_waits(&browser.get(FORMS).await);
    }
}

#[tokio::test]
async fn a_form_that_waits_goes_with_its_user_to_the_session_of_a_new_password() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    let (before, csrf) = (browser.session_cookie(), page.hidden("csrf"));
    let new = "quiet otters hum";
    let fields = [
        ("csrf", &*csrf),
        ("action", "password"),
        ("old", PASSWORD),
        ("new", new),
        ("again", new),
    ];
    let reply = browser.post_form("/.vestibule/account", &fields).await;
    reply.assert_redirects_to("/.vestibule/account");
    assert_ne!(browser.session_cookie(), before);
    let page = browser.get(FORMS).await;
    send(&browser, &page).await.assert_status(200);
    assert_eq!(app.last().body, b"a=1");
    assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
}

#[tokio::test]
async fn what_waits_for_a_session_goes_with_its_logout_and_makes_room() {
    let app = Upstream::echo().await;
    let gate = people(Vestibule::before(&app))
        .login("kept_forms = \"18KiB\"")
        .start()
        .await;
    let browser = gate.browser();
    let mut page = None;
    for n in 0..4 {
        page = Some(post(&browser, &format!("/save/{n}"), URLENCODED, "a=1").await);
    }
    let reply = sign_in(&browser, &page.unwrap(), "ada").await;
    reply.assert_redirects_to(FORMS);
    // Four are half of what forms without a session may take.
    let full = post(&gate.browser(), "/save", URLENCODED, "b=1").await;
    full.assert_status(401).assert_contains("not delivered");
    browser.logout().await.assert_status(303);
    for _ in 0..4 {
        kept(&gate, "/save", "b=1").await;
    }
    let browser = browser.login("ada", PASSWORD).await;
    assert_nothing_waits(&browser.get(FORMS).await);
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn another_session_of_the_same_user_has_no_part_in_it() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    let other = gate.browser().login("ada", PASSWORD).await;
    assert_nothing_waits(&other.get(FORMS).await);
    let reply = press(&other, &address(&page), "").await;
    reply.assert_redirects_to(FORMS);
    assert_eq!(app.requests(), 0);
    send(&browser, &page).await.assert_status(200);
}

#[tokio::test]
async fn of_many_who_send_at_once_one_does() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    let mut sends = JoinSet::new();
    for _ in 0..10 {
        let (browser, page) = (browser.clone(), page.clone());
        sends.spawn(async move { send(&browser, &page).await.status });
    }
    let mut answers = sends.join_all().await;
    answers.sort_unstable();
    assert_eq!(answers, [200, 303, 303, 303, 303, 303, 303, 303, 303, 303]);
    let again = send(&browser, &page).await;
    again.assert_redirects_to(FORMS);
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn a_form_never_goes_to_another_host_or_target() {
    let (wiki, git) = (Upstream::echo().await, Upstream::echo().await);
    let gate = people(Vestibule::before(&wiki))
        .app("host = \"gate.test\"")
        .config(&format!(
            "[[app]]\nhost = \"other.test\"\nupstream = \"{}\"",
            git.url()
        ))
        .start()
        .await;
    let browser = gate.browser();
    let page = post(&browser, "/save", URLENCODED, "a=1").await;
    let login_cookie = browser.cookies();
    sign_in(&browser, &page, "ada").await;
    let page = browser.get(FORMS).await;
    let other = gate.browser_for("other.test").login("ada", PASSWORD).await;
    assert_nothing_waits(&other.get(FORMS).await);
    let csrf = page.hidden("csrf");
    let reply = press(&other, &address(&page), &csrf).await;
    reply.assert_redirects_to(FORMS);
    let elsewhere = address(&page).replace("/save", "/delete");
    let reply = press(&browser, &elsewhere, &csrf).await;
    reply.assert_redirects_to(FORMS);
    let more = address(&page).replace('?', "?force=1&");
    let reply = press(&browser, &more, &csrf).await;
    reply.assert_redirects_to(FORMS);
    assert_eq!((wiki.requests(), git.requests()), (0, 0));
    send(&browser, &page).await.assert_status(200);

    // A login at the other host with the same cookie claims nothing, either.
    let browser = gate.browser().cookie(&login_cookie);
    let page = post(&browser, "/save", URLENCODED, "a=1").await;
    assert_kept(&page);
    let other = gate.browser_for("other.test").cookie(&login_cookie);
    other
        .try_login("ada", PASSWORD)
        .await
        .assert_redirects_to("/");
    assert_eq!(git.requests(), 0);
}

#[tokio::test]
async fn sec_54_nothing_is_sent_or_discarded_by_another_site() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    let (id, csrf) = (page.hidden("form"), page.hidden("csrf"));
    let foreign = gate.browser().login("ada", PASSWORD).await;
    let foreign = foreign.get("/.vestibule/logout").await.hidden("csrf");
    for (said, token) in [
        (&[("sec-fetch-site", "cross-site")][..], &csrf),
        (&[("sec-fetch-site", "same-site")], &csrf),
        (&[("origin", "https://evil.test")], &csrf),
        (&[("origin", "null")], &csrf),
        (&[], &foreign),
        (&[], &String::new()),
    ] {
        for (target, kind, body) in [
            (&*address(&page), PLAIN, format!("csrf={token}\r\n")),
            (
                FORMS,
                URLENCODED,
                format!("csrf={token}&action=discard&form={id}"),
            ),
        ] {
            let navigate = [("sec-fetch-mode", "navigate"), ("content-type", kind)];
            let headers = [said, &navigate].concat();
            let reply = browser
                .request(Method::POST, target, &headers, body.into())
                .await;
            assert_eq!(reply.status, 403, "{said:?} to {target}: {reply}");
        }
    }
    assert_eq!(app.requests(), 0);
    // Without those headers, the token of the page is enough.
    let body = format!("csrf={csrf}").into();
    let reply = browser
        .request(
            Method::POST,
            &address(&page),
            &[("content-type", PLAIN)],
            body,
        )
        .await;
    reply.assert_status(200);
    assert_eq!(app.last().body, b"a=1");
}

#[tokio::test]
async fn sec_46_a_session_that_ends_while_its_button_is_read_sends_nothing() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let (browser, page) = kept_and_signed_in(&gate, "/save", "a=1").await;
    let body = format!("csrf={}", page.hidden("csrf"));
    let mut raw = gate.raw().await;
    raw.send(format!(
        "POST {} HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\nCookie: {}\r\n\
         Content-Type: {PLAIN}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        address(&page),
        browser.cookies(),
        body.len()
    ))
    .await;
    raw.head().await.assert_status(100); // so the session was found
    browser.logout().await.assert_status(303);
    raw.send(body).await;
    raw.response().await.assert_redirects_to(FORMS);
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn whoever_may_not_open_the_target_may_not_send_to_it() {
    let app = Upstream::echo().await;
    let gate = people(Vestibule::before(&app))
        .rule("/admin", "{ groups = [\"admins\"] }")
        .start()
        .await;
    let (browser, page) = kept_and_signed_in(&gate, "/admin/save", "a=1").await;
    send(&browser, &page).await.assert_status(403);
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn sec_69_what_names_a_form_reaches_no_app_without_a_session() {
    let app = Upstream::echo().await;
    let gate = people(Vestibule::before(&app))
        .rule("/public", "everyone")
        .start()
        .await;
    let id = "AAAAAAAAAAAAAAAAAAAAAA";
    for path in ["/save", "/public/save"] {
        let target = format!("{path}?vestibule-form={id}");
        let stranger = gate.browser();
        let reply = press(&stranger, &target, "").await;
        assert_asks_again(&reply);
        let plain = [("content-type", PLAIN)];
        let fetched = stranger
            .request(Method::POST, &target, &plain, "csrf=".into())
            .await;
        assert_eq!(fetched.json()["error"], "login_required");
        let ada = gate.browser().login("ada", PASSWORD).await;
        for body in ["", "csrf=\r\n", "a=1\r\nb", "=\n\n"] {
            let reply = post(&ada, &target, PLAIN, body).await;
            reply.assert_redirects_to(FORMS);
        }
        let twice = post(&ada, &target, PLAIN, "csrf=\r\ncsrf=\r\n").await;
        twice.assert_status(400);
        let large = post(&ada, &target, PLAIN, vec![b'x'; 16 * 1024 + 1]).await;
        large.assert_status(413);
    }
    assert_eq!(app.requests(), 0);
    let ada = gate.browser().login("ada", PASSWORD).await;
    let target = format!("/save?vestibule-form={id}");
    ada.get(&target).await.assert_status(200);
    assert_eq!(app.last().target(), target, "a GET is not special");
}

#[tokio::test]
async fn sec_73_the_page_is_ours_and_only_for_who_is_signed_in() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let stranger = gate.browser();
    let reply = stranger.get(FORMS).await;
    reply.assert_redirects_to("/.vestibule/login?return_to=%2F");
    let discard = [("action", "discard"), ("form", "AAAAAAAAAAAAAAAAAAAAAA")];
    assert_asks_again(&stranger.post_form(FORMS, &discard).await);
    let reply = stranger
        .request(Method::PUT, FORMS, &OWN_FORM, Bytes::new())
        .await;
    reply
        .assert_status(405)
        .assert_header("allow", "GET, HEAD, POST");
    assert_eq!(app.requests(), 0);
}

/// Who sends a form is told that they have to sign in, and is not led away from it.
fn assert_asks_again(reply: &Reply) {
    reply
        .assert_status(401)
        .assert_contains("Your session has ended")
        .assert_contains("href=\"/.vestibule/login\"");
    assert!(reply.value("www-authenticate").is_some(), "{reply}");
}

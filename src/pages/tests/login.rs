//! The login page.

use super::*;

#[test]
fn sec_56_a_refused_login_always_looks_the_same() {
    let pages = pages("the wiki", None);
    let refused = || {
        pages
            .login(&login(Some(LoginProblem::Refused)))
            .into_response()
    };
    let (first, second) = (refused(), refused());
    assert_eq!(first.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(first.status(), second.status());
    assert_eq!(first.headers(), second.headers());
    assert_eq!(first.body(), second.body());
}

/// The tag of a field.
fn input<'h>(html: &'h str, field: &str) -> &'h str {
    let mut tags = html.split("<input");
    let tag = tags.find(|tag| tag.contains(&format!("name=\"{field}\"")));
    tag.unwrap().split('>').next().unwrap()
}

#[test]
fn a_refused_login_keeps_the_user_name_and_asks_for_the_password() {
    let refused = |typed| {
        let problem = LoginProblem::Refused;
        html(pages("the wiki", None).login(&LoginView {
            notice: Some(LoginNotice::Problem { problem, typed }),
            ..login(None)
        }))
    };
    let again = refused(Some("ada"));
    assert!(
        input(&again, "username").contains(r#" value="ada""#),
        "{again}"
    );
    let password = input(&again, "password");
    for part in [" autofocus", r#" aria-describedby="problem""#] {
        assert!(password.contains(part), "{part} in {password}");
    }
    assert_eq!(again.matches("autofocus").count(), 1, "{again}");

    let hostile = refused(Some(HOSTILE));
    let shown = input(&hostile, "username");
    assert!(
        shown.contains("value=\"&quot;&gt;&lt;script&gt;alert"),
        "{shown}"
    );
}

#[test]
fn sec_70_the_login_page_has_no_place_for_a_password_that_was_typed() {
    for problem in [None, Some(LoginProblem::Refused)] {
        let html = html(pages("the wiki", None).login(&login(problem)));
        for field in ["username", "password"] {
            let tag = input(&html, field);
            assert!(!tag.contains(" value="), "{tag}");
        }
    }
    let typed = Some("ada");
    let problem = LoginProblem::Refused;
    let html = html(pages("the wiki", None).login(&LoginView {
        notice: Some(LoginNotice::Problem { problem, typed }),
        ..login(None)
    }));
    assert!(!input(&html, "password").contains(" value="), "{html}");
}

#[test]
fn the_login_form_is_what_password_managers_and_scripts_expect() {
    let pages = pages("the wiki", None);
    let fresh = html(pages.login(&login(None)));
    for part in [
        "<h1>Sign in to the wiki</h1>",
        "wiki.example.org",
        r#"<input type="hidden" name="csrf" value="token-123_AB">"#,
        r#"<input type="hidden" name="return_to" value="&#x2f;report?q=1">"#,
        r#"autocomplete="username""#,
        r#"autocomplete="current-password""#,
        r#"<form id="login" method="post">"#,
    ] {
        assert!(fresh.contains(part), "{part} in {fresh}");
    }
    assert!(!fresh.contains("role=\"alert\""), "{fresh}");
    let failed = html(pages.login(&login(Some(LoginProblem::Refused))));
    assert!(
        failed.contains("role=\"alert\" tabindex=\"-1\" autofocus"),
        "{failed}"
    );
    for html in [fresh, failed] {
        assert_eq!(html.matches("autofocus").count(), 1, "{html}");
    }
}

#[test]
fn a_login_page_at_another_address_says_where_its_form_goes() {
    let view = LoginView {
        action: Some("/.vestibule/login"),
        ..login(None)
    };
    let html = html(pages("the wiki", None).login(&view));
    assert!(
        html.contains(r#"action="&#x2f;.vestibule&#x2f;login""#),
        "{html}"
    );
}

#[test]
fn a_login_page_names_the_user_who_is_signed_in() {
    for (is_forbidden, part) in [
        (false, "That session ends when you sign in here."),
        (true, "who may not open that page."),
    ] {
        let user = "ada";
        let view = LoginView {
            notice: Some(LoginNotice::SignedInAs { user, is_forbidden }),
            ..login(None)
        };
        let html = html(pages("the wiki", None).login(&view));
        assert!(html.contains("signed in as <strong>ada</strong>"), "{html}");
        assert!(html.contains(part), "{html}");
    }
}

#[test]
fn sec_59_a_throttled_login_says_when_to_try_again() {
    let wait = Duration::from_secs(700);
    let page = pages("the wiki", None).login(&login(Some(LoginProblem::Throttled { wait })));
    let response = page.into_response();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "700");
    let html = std::str::from_utf8(response.body()).unwrap();
    assert!(html.contains("Try again in 12 minutes."), "{html}");
}

#[test]
fn a_login_page_says_for_how_long_a_form_is_kept() {
    let saved_for = Some(Duration::from_millis(899_500));
    let view = LoginView {
        saved_for,
        ..login(None)
    };
    let page = html(pages("the wiki", None).login(&view));
    assert!(page.contains("is kept for 15 minutes: sign in"), "{page}");
    let fresh = html(pages("the wiki", None).login(&login(None)));
    assert!(!fresh.contains("kept"), "{fresh}");
}

#[test]
fn the_box_to_stay_signed_in_is_there_when_it_is_offered_and_keeps_its_tick() {
    let offered = html(pages("the wiki", None).login(&login(None)));
    assert!(offered.contains("Stay signed in for 30 days"), "{offered}");
    assert!(!offered.contains("checked"), "{offered}");
    let again = html(pages("the wiki", None).login(&LoginView {
        remember: true,
        ..login(Some(LoginProblem::Refused))
    }));
    assert!(again.contains("value=\"on\" checked"), "{again}");
    let not_offered = Pages::new(&branding("the wiki", None), Duration::ZERO).unwrap();
    let not_offered = html(not_offered.login(&login(None)));
    assert!(!not_offered.contains("remember"), "{not_offered}");
}

/// Another tab may sign in meanwhile: the page goes on by itself where nothing else is to be done here.
#[test]
fn a_login_waits_for_other_tabs_unless_it_is_for_somebody_else_or_for_a_form() {
    let pages = pages("the wiki", None);
    let waits = |view: &LoginView<'_>| html(pages.login(view)).contains("/waiting.js?");
    let plain = login(None);
    assert!(waits(&plain) && waits(&login(Some(LoginProblem::Refused))));
    for view in [
        LoginView {
            waits: false,
            ..login(None)
        },
        LoginView {
            waits: false,
            ..login(Some(LoginProblem::Refused))
        },
        LoginView {
            saved_for: Some(Duration::from_mins(3)),
            ..login(None)
        },
        LoginView {
            action: Some("/.vestibule/login"),
            ..login(None)
        },
    ] {
        assert!(!waits(&view));
    }
}

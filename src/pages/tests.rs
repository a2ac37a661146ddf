mod assets;
mod headers;
mod login;
mod saved_posts;

use super::*;
use crate::auth::password::Weakness;
use crate::clock::Timestamp;
use crate::request::Forgery;

const HOSTILE: &str = r#""><script>alert('1')</script><b a="&"#;

fn branding(title: &str, footer: Option<&str>) -> Branding {
    Branding {
        title: title.to_owned(),
        logo: None,
        accent: None,
        footer: footer.map(str::to_owned),
    }
}

pub(super) fn pages(title: &str, footer: Option<&str>) -> Pages {
    Pages::new(&branding(title, footer), Duration::from_hours(30 * 24)).unwrap()
}

pub(super) fn html(page: Page) -> String {
    String::from_utf8(page.into_response().into_body().to_vec()).unwrap()
}

fn login(problem: Option<LoginProblem>) -> LoginView<'static> {
    LoginView {
        host: "wiki.example.org",
        csrf: "token-123_AB",
        action: None,
        return_to: "/report?q=1",
        kept: None,
        state: None,
        remember: false,
        notice: problem.map(|problem| LoginNotice::Problem {
            problem,
            typed: None,
        }),
        saved_for: None,
        sends_itself: false,
        has_open_pages: false,
        waits: true,
    }
}

/// As many as one address can keep.
fn saved_posts(text: &str, now: Timestamp) -> [SavedPostView<'_>; 8] {
    std::array::from_fn(|n| SavedPostView {
        id: text,
        action: text,
        path: text,
        origin: (n == 0).then_some(text),
        sends_itself: n == 0,
        multipart: n % 2 == 0,
        size: 1_048_576,
        saved: now,
    })
}

pub(super) fn session(user_agent: &str) -> SessionView<'_> {
    let now = Timestamp::from_millis(1_795_458_936_000);
    SessionView {
        key: "0123456789abcdef".repeat(4),
        user_agent,
        client: [192, 0, 2, 1].into(),
        signed_in: now,
        last_active: now,
        expires: now.plus(Duration::from_hours(12)),
    }
}

/// None, and each that an account page can have.
pub(super) fn account_problems() -> Vec<Option<(AccountForm, AccountProblem)>> {
    let throttled = AccountProblem::Throttled {
        wait: Duration::from_secs(700),
    };
    let of_each = [
        (AccountForm::Sessions, AccountProblem::AlreadyEnded),
        (AccountForm::Password, AccountProblem::Busy),
        (AccountForm::Password, AccountProblem::Differ),
        (AccountForm::Password, AccountProblem::NotWritten),
        (AccountForm::Password, AccountProblem::Overtaken),
        (AccountForm::Password, AccountProblem::Same),
        (AccountForm::Password, throttled),
        (
            AccountForm::Password,
            AccountProblem::Weak(Weakness::Common),
        ),
        (AccountForm::Password, AccountProblem::Weak(Weakness::Name)),
        (
            AccountForm::Password,
            AccountProblem::Weak(Weakness::TooLong),
        ),
        (
            AccountForm::Password,
            AccountProblem::Weak(Weakness::TooShort),
        ),
        (AccountForm::Password, AccountProblem::Unavailable),
        (AccountForm::Password, AccountProblem::Wrong),
        (AccountForm::Tokens, AccountProblem::NoApp),
        (AccountForm::Tokens, throttled),
        (AccountForm::Tokens, AccountProblem::TokenLimits),
        (AccountForm::Tokens, AccountProblem::TokenName),
        (AccountForm::Tokens, AccountProblem::TokenNetwork),
        (AccountForm::Tokens, AccountProblem::TokenNotKept),
        (AccountForm::Tokens, AccountProblem::TokenPath),
        (AccountForm::Tokens, AccountProblem::TooManyTokens),
        (AccountForm::Tokens, AccountProblem::Wrong),
    ];
    [None].into_iter().chain(of_each.map(Some)).collect()
}

/// Two tokens, of which one has not been used, and one that was just made.
pub(super) fn tokens<'a>(text: &'a str, texts: &'a [String]) -> TokensView<'a> {
    let now = Timestamp::from_millis(1_795_458_936_000);
    let token = |last_used| TokenView {
        key: "fedcba9876543210".repeat(4),
        name: text,
        apps: texts,
        paths: texts,
        methods: texts.to_vec(),
        networks: texts.to_vec(),
        expires: now,
        last_used,
    };
    let app = |is_here| TokenAppView {
        name: text,
        title: text,
        is_here,
    };
    TokensView {
        apps: vec![app(true), app(false)],
        days: &[7, 90],
        made: Some((text, text)),
        tokens: vec![token(None), token(Some(now))],
    }
}

const FRAMED: [Framed; 5] = [
    Framed::SignIn,
    Framed::Saved(Duration::from_mins(15)),
    Framed::NotDelivered,
    Framed::CrossSite,
    Framed::OwnPage,
];

/// Every page there is, with `text` wherever a page takes text.
fn all(title: &str, text: &str) -> Vec<Page> {
    let pages = pages(title, Some(text));
    let now = Timestamp::from_millis(1_795_458_936_000);
    let sessions = [session(text), session("curl/8.5.0")];
    let groups = [text.to_owned(), "admins".to_owned()];
    let account = |problem| AccountView {
        host: text,
        csrf: text,
        user: text,
        email: Some(text),
        groups: &groups,
        method: text,
        now,
        sessions: &sessions,
        password_is_new: true,
        leads_back: true,
        tokens: {
            let mut tokens = tokens(text, &groups);
            tokens.tokens.truncate(1);
            Some(tokens)
        },
        problem,
    };
    let logout = |leads_on| {
        pages.logout(&LogoutView {
            host: text,
            user: text,
            csrf: text,
            hosts: std::slice::from_ref(&groups[0]),
            session: Some(text),
            leads_on,
        })
    };
    let mut all = vec![
        pages.account(&AccountView {
            email: None,
            groups: &[],
            sessions: &sessions[..1],
            password_is_new: false,
            leads_back: true,
            tokens: None,
            ..account(None)
        }),
        logout(false),
        logout(true),
        pages.signed_out(text, &groups[..1]),
        pages.sign_in_first(&SignInFirstView {
            host: text,
            saved_for: Some(Duration::from_mins(15)),
            sends_itself: false,
        }),
    ];
    all.push(pages.cross_site_post(&CrossSitePostView {
        host: text,
        csrf: text,
        id: text,
        start: text,
        action: text,
        origin: text,
        path: text,
        multipart: false,
        size: 4711,
    }));
    for count in [0, 1, 8] {
        all.push(pages.saved_posts(&SavedPostsView {
            host: text,
            csrf: text,
            now,
            forms: &saved_posts(text, now)[..count],
        }));
    }
    let problems = account_problems().into_iter();
    all.extend(problems.map(|problem| pages.account(&account(problem))));
    for message in [
        &messages::FORBIDDEN,
        &messages::NOT_FOUND,
        &messages::OVERLOADED,
    ] {
        all.push(pages.error(&ErrorView {
            start: "",
            login: "/.vestibule/login",
            message,
            advice: message.advice,
            notice: Some(text),
            request_id: text,
            names_app: true,
        }));
    }
    all.extend(logins(&pages, text));
    all
}

/// Every login page, and what frames show in its place.
fn logins(pages: &Pages, text: &str) -> Vec<Page> {
    let mut all = Vec::new();
    for problem in [
        None,
        Some(LoginProblem::Refused),
        Some(LoginProblem::Throttled {
            wait: Duration::from_secs(700),
        }),
        Some(LoginProblem::Busy),
        Some(LoginProblem::Forged(Forgery::OtherSite)),
        Some(LoginProblem::Forged(Forgery::HostChanged)),
        Some(LoginProblem::Forged(Forgery::NoCookie)),
        Some(LoginProblem::Forged(Forgery::Outdated)),
        Some(LoginProblem::NotKept),
        Some(LoginProblem::SessionsFull),
        Some(LoginProblem::Unavailable),
    ] {
        all.push(pages.login(&LoginView {
            host: text,
            csrf: text,
            action: Some(text),
            return_to: text,
            kept: Some(text),
            state: Some(text),
            remember: true,
            notice: problem.map(|problem| LoginNotice::Problem {
                problem,
                typed: Some(text),
            }),
            saved_for: Some(Duration::from_mins(15)),
            sends_itself: true,
            has_open_pages: true,
            waits: true,
        }));
    }
    for why in FRAMED {
        all.push(pages.framed(&FramedView {
            host: text,
            link: "/.vestibule/login?return_to=%2Fx",
            why,
        }));
    }
    for is_forbidden in [false, true] {
        all.push(pages.login(&LoginView {
            host: text,
            notice: Some(LoginNotice::SignedInAs {
                user: text,
                is_forbidden,
            }),
            ..login(None)
        }));
    }
    all
}

#[test]
fn sec_65_whatever_is_shown_is_escaped() {
    for page in all(HOSTILE, HOSTILE) {
        let html = html(page);
        assert!(html.contains("&quot;&gt;&lt;script&gt;alert"), "{html}");
        assert!(!html.contains("<script>"), "{html}");
        assert!(!html.contains("<b a="), "{html}");
    }
}

#[test]
fn sec_65_no_page_has_an_inline_script_or_style() {
    for page in all("the wiki", "text") {
        let html = html(page);
        for inline in [
            "<style",
            "style=",
            "javascript:",
            " onclick",
            " onload",
            " onsubmit",
        ] {
            assert!(!html.contains(inline), "{inline} in {html}");
        }
        for script in html.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/.vestibule/assets/"), "{html}");
            assert!(script.contains("></script>"), "{html}");
        }
        for foreign in ["http://", "https://", "url("] {
            assert!(!html.contains(foreign), "{foreign} in {html}");
        }
    }
}

#[test]
fn each_page_is_below_15_kib_with_all_it_loads() {
    let pages = pages("the wiki", None);
    let loaded: usize = ["style.css", "login.js", "icon.svg"]
        .map(|name| pages.asset(name).unwrap().body().len())
        .iter()
        .sum();
    for page in all("the wiki", "text") {
        let html = html(page);
        let waiting = pages.asset("waiting.js").unwrap().body().len();
        let waits = html.contains("/waiting.js?");
        let size = loaded + html.len() + if waits { waiting } else { 0 };
        assert!(size < 15 * 1024, "{size}");
    }
}

#[test]
fn each_input_that_is_seen_has_a_label_and_each_id_is_one() {
    for page in all("the wiki", "text") {
        let html = html(page);
        let tags = html.split('<').filter_map(|tag| tag.split('>').next());
        let tags: Vec<_> = tags.collect();
        let ids: Vec<_> = tags
            .iter()
            .filter_map(|tag| tag.split(" id=\"").nth(1)?.split('"').next())
            .collect();
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len(), "{ids:?}");
        for input in tags.iter().filter(|tag| tag.starts_with("input ")) {
            let seen = !input.contains("type=\"hidden\"") && !input.ends_with(" hidden");
            let label = ids.iter().any(|id| {
                input.contains(&format!(" id=\"{id}\""))
                    && tags.contains(&format!("label for=\"{id}\"").as_str())
            });
            assert!(!seen || label, "{input} in {html}");
        }
    }
}

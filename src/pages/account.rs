//! The account page: who am I, where am I signed in, API tokens, and a new password.

mod tokens;

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use minijinja::{Value, context};

pub(crate) use tokens::{TokenAppView, TokenView, TokensView};

use super::messages::texts::{self, fill};
use super::{Page, Pages, humanise, user_agent};
use crate::auth::password::{MAX_LENGTH, MIN_CHARACTERS, Weakness};
use crate::clock::Timestamp;

/// Who am I.
pub(crate) struct AccountView<'a> {
    pub(crate) host: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) user: &'a str,
    pub(crate) email: Option<&'a str>,
    pub(crate) groups: &'a [String],
    /// How they signed in, as people say it: `password`.
    pub(crate) method: &'a str,
    pub(crate) now: Timestamp,
    /// The session that looks at the page first.
    pub(crate) sessions: &'a [SessionView<'a>],
    /// The password was set a moment ago, and this session started with it.
    pub(crate) password_is_new: bool,
    /// Whether there is an app on this host to go back to.
    pub(crate) leads_back: bool,
    /// `None` where there is nothing to say of them.
    pub(crate) tokens: Option<TokensView<'a>>,
    /// With the form that it is about.
    pub(crate) problem: Option<(AccountForm, AccountProblem)>,
}

/// A part of the account page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountForm {
    Password,
    Sessions,
    Tokens,
}

impl AccountForm {
    fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Sessions => "sessions",
            Self::Tokens => "tokens",
        }
    }
}

/// One of the user's sessions.
pub(crate) struct SessionView<'a> {
    /// All 64 hex digits; people see 8 of them.
    pub(crate) key: String,
    pub(crate) user_agent: &'a str,
    pub(crate) client: IpAddr,
    pub(crate) signed_in: Timestamp,
    pub(crate) last_active: Timestamp,
    /// When the session ends, if nothing else ends it before.
    pub(crate) expires: Timestamp,
}

/// Why a form of the account page changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountProblem {
    /// The user has no such session, or no more.
    AlreadyEnded,
    /// The queue of the password hashing is full (SEC-60).
    Busy,
    /// The new password and its repetition.
    Differ,
    /// The new token would open nothing.
    NoApp,
    /// The users file cannot be written.
    NotWritten,
    /// Somebody else has changed the account since the old password was verified.
    Overtaken,
    /// The new password is the old one.
    Same,
    /// Too many tries of this account or address (SEC-59).
    Throttled {
        wait: Duration,
    },
    /// Too many paths or networks, or too long.
    TokenLimits,
    /// A name that is none.
    TokenName,
    /// A network that is none.
    TokenNetwork,
    /// The store cannot be written.
    TokenNotKept,
    /// A path that is none, or not in normal form.
    TokenPath,
    TooManyTokens,
    /// The store that the users are in cannot be read.
    Unavailable,
    Weak(Weakness),
    /// The old password is not right.
    Wrong,
}

impl Pages {
    pub(crate) fn account(&self, view: &AccountView<'_>) -> Page {
        let (form, problem) = view.problem.unzip();
        let status = problem.map_or(StatusCode::OK, AccountProblem::status);
        let sentence = problem.map(|problem| problem.sentence(&self.title));
        let sessions = view.sessions.iter();
        let sessions: Vec<_> = sessions.map(|session| session.context(view.now)).collect();
        let page = self.page(
            status,
            "account.html",
            context! {
                host => view.host,
                csrf => view.csrf,
                user => view.user,
                email => view.email,
                groups => view.groups.to_vec(),
                method => view.method,
                sessions,
                password_is_new => view.password_is_new,
                tokens => view.tokens.as_ref().map(|tokens| tokens.context(view.now)),
                problem => sentence,
                form => form.map(AccountForm::name),
                leads_back => view.leads_back,
                min_characters => MIN_CHARACTERS,
            },
        );
        match problem.and_then(AccountProblem::wait) {
            Some(wait) => page.retry_after(wait),
            None => page,
        }
    }
}

impl SessionView<'_> {
    fn context(&self, now: Timestamp) -> Value {
        let moments = [
            ("ACCOUNT_SIGNED_IN", self.signed_in),
            ("ACCOUNT_LAST_ACTIVE", self.last_active),
            ("ACCOUNT_LATEST_END", self.expires),
        ];
        let moments = moments.map(|(what, moment)| {
            context! {
                what,
                words => humanise::relative(moment, now),
                date => humanise::date(moment),
                machine => humanise::machine(moment),
            }
        });
        context! {
            key => &self.key,
            short => self.key.get(..8),
            browser => user_agent::describe(self.user_agent),
            client => self.client.to_string(),
            moments => moments.to_vec(),
        }
    }
}

impl AccountProblem {
    /// What the visitor reads.
    fn sentence(self, title: &str) -> String {
        match self {
            Self::AlreadyEnded => texts::ACCOUNT_ALREADY_ENDED.into(),
            Self::Busy => texts::ACCOUNT_BUSY.into(),
            Self::Differ => texts::ACCOUNT_PASSWORDS_DIFFER.into(),
            Self::NoApp => texts::ACCOUNT_TOKEN_NO_APP.into(),
            Self::TokenLimits => texts::ACCOUNT_TOKEN_LIMITS.into(),
            Self::TokenName => texts::ACCOUNT_TOKEN_NAME.into(),
            Self::TokenNetwork => texts::ACCOUNT_TOKEN_NETWORK.into(),
            Self::TokenNotKept => texts::ACCOUNT_TOKEN_NOT_SAVED.into(),
            Self::TokenPath => texts::ACCOUNT_TOKEN_PATH.into(),
            Self::TooManyTokens => texts::ACCOUNT_TOKENS_TOO_MANY.into(),
            Self::Unavailable => texts::ACCOUNT_UNAVAILABLE.into(),
            Self::NotWritten => fill(texts::ACCOUNT_PASSWORD_NOT_SAVED, &[("title", title)]),
            Self::Overtaken => texts::ACCOUNT_PASSWORD_OVERTAKEN.into(),
            Self::Same => texts::ACCOUNT_PASSWORD_SAME.into(),
            Self::Throttled { wait } => {
                let wait = humanise::wait(wait.max(Duration::from_secs(1)));
                fill(texts::ACCOUNT_THROTTLED, &[("wait", &wait)])
            }
            Self::Weak(Weakness::Common) => texts::ACCOUNT_PASSWORD_COMMON.into(),
            Self::Weak(Weakness::Name) => texts::ACCOUNT_PASSWORD_IS_NAME.into(),
            Self::Weak(Weakness::TooLong) => {
                let bytes = MAX_LENGTH.to_string();
                fill(texts::ACCOUNT_PASSWORD_TOO_LONG, &[("bytes", &bytes)])
            }
            Self::Weak(Weakness::Short | Weakness::TooShort) => {
                let characters = MIN_CHARACTERS.to_string();
                let characters = [("characters", &*characters)];
                fill(texts::ACCOUNT_PASSWORD_TOO_SHORT, &characters)
            }
            Self::Wrong => texts::ACCOUNT_PASSWORD_WRONG.into(),
        }
    }

    fn status(self) -> StatusCode {
        match self {
            // What the visitor wanted is so.
            Self::AlreadyEnded => StatusCode::OK,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Differ
            | Self::NoApp
            | Self::Same
            | Self::TokenLimits
            | Self::TokenName
            | Self::TokenNetwork
            | Self::TokenPath
            | Self::Weak(_) => StatusCode::BAD_REQUEST,
            Self::NotWritten | Self::TokenNotKept => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overtaken | Self::TooManyTokens => StatusCode::CONFLICT,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Wrong => StatusCode::FORBIDDEN,
        }
    }

    fn wait(self) -> Option<Duration> {
        match self {
            Self::Throttled { wait } => Some(wait),
            Self::Busy | Self::Unavailable => Some(Duration::from_secs(5)),
            Self::AlreadyEnded
            | Self::Differ
            | Self::NoApp
            | Self::NotWritten
            | Self::Overtaken
            | Self::Same
            | Self::TokenLimits
            | Self::TokenName
            | Self::TokenNetwork
            | Self::TokenNotKept
            | Self::TokenPath
            | Self::TooManyTokens
            | Self::Weak(_)
            | Self::Wrong => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::tests::{account_problems, html, pages, session, tokens};

    fn account(
        sessions: &[SessionView<'_>],
        tokens: Option<TokensView<'_>>,
        problem: Option<(AccountForm, AccountProblem)>,
    ) -> Page {
        let now = Timestamp::from_millis(1_795_458_936_000);
        pages("the wiki", Some("Help: extension 4711")).account(&AccountView {
            host: "wiki.example.org",
            csrf: "a-token-of-43-characters-for-each-form-of-it",
            user: "ada.lovelace@example.org",
            email: Some("ada.lovelace@example.org"),
            groups: &["admins".to_owned(), "operators".to_owned()],
            method: "password",
            now: now.plus(Duration::from_mins(2000)),
            sessions,
            password_is_new: false,
            leads_back: true,
            tokens,
            problem,
        })
    }

    #[test]
    fn an_account_page_of_twenty_sessions_is_below_15_kib() {
        let samsung = "SamsungBrowser/28.0 (Linux; Android 10)";
        let sessions: Vec<_> = (0..20)
            .map(|_| SessionView {
                client: "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap(),
                ..session(samsung)
            })
            .collect();
        let problem = Some((AccountForm::Password, AccountProblem::NotWritten));
        let html = html(account(&sessions, None, problem));
        assert_eq!(html.matches("Samsung Internet on Android").count(), 20);
        assert!(html.len() < 15 * 1024, "{}", html.len());
    }

    #[test]
    fn the_account_page_offers_what_can_be_ended_and_nothing_else() {
        let sessions = [session("Firefox/140.0 (Windows NT 10.0)"), session("x")];
        let html_of = |sessions| html(account(sessions, None, None));
        let both = html_of(&sessions);
        for part in [
            "<h3>Firefox on Windows <span>This browser</span></h3>",
            "<h3>An unknown browser</h3>",
            "Address 192.0.2.1, session 01234567",
            r#"<time datetime="2026-11-23T18:35Z" title="23 Nov 2026, 18:35 UTC">33 hours ago</time>"#,
            r#"name="action" value="end-others""#,
            r#"autocomplete="current-password""#,
            r#"autocomplete="username""#,
        ] {
            assert!(both.contains(part), "{part} in {both}");
        }
        assert_eq!(both.matches("name=\"key\"").count(), 1, "not this one");
        assert_eq!(both.matches(r#"autocomplete="new-password""#).count(), 2);
        assert!(!both.contains("role=\"alert\""), "{both}");
        assert!(!both.contains("API token"), "{both}");
        let alone = html_of(&sessions[..1]);
        assert!(!alone.contains("name=\"key\""), "{alone}");
        assert!(!alone.contains("end-others"), "{alone}");
        let texts = ["10.0.0.0/8".to_owned()];
        for problem in account_problems().into_iter().flatten() {
            let tokens = Some(tokens("calendar", &texts));
            let page = html(account(&sessions, tokens, Some(problem)));
            let alert = r#"id="problem" role="alert" tabindex="-1" autofocus"#;
            assert_eq!(page.matches(alert).count(), 1, "{problem:?}: {page}");
            assert_eq!(page.matches("autofocus").count(), 1, "{problem:?}");
        }
    }

    #[test]
    fn the_account_page_shows_tokens_and_the_text_of_a_new_one() {
        let texts = ["wiki".to_owned()];
        let sessions = [session("Firefox/140.0 (Windows NT 10.0)")];
        let view = |made, apps: bool| {
            let mut view = tokens("calendar", &texts);
            view.made = made;
            if !apps {
                view.apps.clear();
            }
            html(account(&sessions, Some(view), None))
        };
        let made = view(Some(("phone", "vst_0")), true);
        for part in [
            "<code>vst_0</code>",
            "Copy the token “phone” now",
            "<h3>calendar <span>fedcba98</span></h3>",
            "<p>wiki; wiki; wiki; wiki</p>",
            "Never used, ended 33 hours ago",
            "Last used 33 hours ago",
            r#"name="app-0" value="calendar" checked"#,
            r#"name="app-1" value="calendar">"#,
            r#"<option value="90" selected>90 days</option>"#,
        ] {
            assert!(made.contains(part), "{part} in {made}");
        }
        let without = view(None, false);
        assert!(!without.contains("make-token"), "{without}");
        assert!(without.contains("revoke-token"), "{without}");
        assert!(!without.contains("<code>vst_"), "{without}");
    }
}

//! The sign-in form, and what is said above it.

use std::time::Duration;

use http::StatusCode;

use super::humanise;
use super::messages::texts;
use crate::request::Forgery;

/// The sign-in form.
#[expect(clippy::struct_excessive_bools, reason = "what the template asks")]
pub(crate) struct LoginView<'a> {
    /// The host that the visitor opened, so that they see where the password goes.
    pub(crate) host: &'a str,
    pub(crate) csrf: &'a str,
    /// Where the form goes if the page is shown at another address than its own. Without, browsers
    /// send it to the address of the page, and take its fragment along (HTML, "form submission").
    pub(crate) action: Option<&'a str>,
    pub(crate) return_to: &'a str,
    /// The name of a target that is too long for `return_to`.
    pub(crate) kept: Option<&'a str>,
    /// Where the login leads if that is another host.
    pub(crate) state: Option<&'a str>,
    /// They ticked the box before.
    pub(crate) remember: bool,
    pub(crate) notice: Option<LoginNotice<'a>>,
    /// For how long a form of this visitor still waits to be sent after the login.
    pub(crate) saved_for: Option<Duration>,
    /// Whether they have said already that it is to be sent.
    pub(crate) sends_itself: bool,
    /// Whether pages of the app may be open that wait for this login: a session of this browser has
    /// ended, or a script of such a page led here.
    pub(crate) has_open_pages: bool,
    /// Whether the page may go on by itself once another tab has signed in: nobody is signed in yet,
    /// and nobody has asked to sign in as another user.
    pub(crate) waits: bool,
}

/// What is said above the form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LoginNotice<'a> {
    Problem {
        problem: LoginProblem,
        /// The user name that was typed, so that only the password has to be typed again.
        typed: Option<&'a str>,
    },
    /// This browser is signed in as `user`, who may not open the page that they want, or wants to
    /// be somebody else.
    SignedInAs { user: &'a str, is_forbidden: bool },
}

/// Why a login did not succeed, in as much detail as a stranger may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginProblem {
    /// Unknown, wrong or disabled: one wording for all (SEC-56).
    Refused,
    /// Too many tries of this account or address (SEC-59).
    Throttled { wait: Duration },
    /// The queue of the password hashing is full (SEC-60).
    Busy,
    /// The form was not sent from our page (SEC-54).
    Forged(Forgery),
    /// The session could not be written down (REL-09).
    NotKept,
    /// No more sessions fit (SEC-52).
    SessionsFull,
    /// Whether the password is right cannot be found out now.
    Unavailable,
}

impl LoginProblem {
    /// What the visitor reads.
    pub(super) fn sentence(self) -> String {
        let text = match self {
            Self::Refused => texts::LOGIN_REFUSED,
            Self::Throttled { wait } => {
                let wait = humanise::wait(wait.max(Duration::from_secs(1)));
                return texts::fill(texts::LOGIN_THROTTLED, &[("wait", &wait)]);
            }
            Self::Busy => texts::LOGIN_BUSY,
            Self::Forged(Forgery::OtherSite) => texts::LOGIN_FORM_FROM_ANOTHER_SITE,
            Self::Forged(Forgery::HostChanged) => texts::LOGIN_FORM_HOST_CHANGED,
            Self::Forged(Forgery::NoCookie) => texts::LOGIN_FORM_WITHOUT_COOKIE,
            Self::Forged(Forgery::OriginHidden | Forgery::Outdated) => texts::LOGIN_FORM_OUTDATED,
            Self::NotKept => texts::LOGIN_NOT_SAVED,
            Self::SessionsFull => texts::LOGIN_SESSIONS_FULL,
            Self::Unavailable => texts::LOGIN_UNAVAILABLE,
        };
        text.to_owned()
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Refused => StatusCode::UNAUTHORIZED,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::NotKept | Self::SessionsFull | Self::Unavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Forged(_) => StatusCode::FORBIDDEN,
        }
    }

    pub(super) fn wait(self) -> Option<Duration> {
        match self {
            Self::Throttled { wait } => Some(wait),
            Self::Busy | Self::Unavailable => Some(Duration::from_secs(5)),
            Self::NotKept | Self::SessionsFull => Some(Duration::from_mins(5)),
            Self::Refused | Self::Forged(_) => None,
        }
    }
}

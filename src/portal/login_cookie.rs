//! The cookie that binds what comes before a login to one browser.

use http::{HeaderMap, header};

use super::RequestContext;
use super::csrf::Csrf;
use super::saved_posts::store::PostId;
use crate::error::RequestError;
use crate::pages::Page;
use crate::session::cookie::set_login;

/// Binds a login form, and what is kept until the login, to one browser. It is no session and
/// becomes none (SEC-54).
pub(super) struct LoginCookie {
    value: String,
    /// The browser has not shown it: it has to be set.
    is_new: bool,
}

impl LoginCookie {
    /// The one that the browser has, else a new one.
    pub(super) fn of(context: &RequestContext<'_>) -> Result<Self, RequestError> {
        Self::shown(context).map_or_else(
            || {
                let value = Csrf::login_cookie().map_err(RequestError::NoRandomness)?;
                Ok(Self::new(value))
            },
            Ok,
        )
    }

    /// The one that the browser has, else the one that sending on the form of a page gives it.
    pub(super) fn after(page: PostId, csrf: &Csrf, context: &RequestContext<'_>) -> Self {
        Self::shown(context)
            .unwrap_or_else(|| Self::new(csrf.login_cookie_after(page, context.authority)))
    }

    fn shown(context: &RequestContext<'_>) -> Option<Self> {
        let shown = context.cookies.login.as_ref()?.to_str().ok()?;
        Some(Self {
            value: shown.to_owned(),
            is_new: false,
        })
    }

    fn new(value: String) -> Self {
        Self {
            value,
            is_new: true,
        }
    }

    /// The browser has not shown it: nothing waits for it yet, but what was just kept.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.value.as_bytes()
    }

    /// Gives it to a browser that has not shown it.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        if self.is_new {
            headers.append(header::SET_COOKIE, set_login(&self.value));
        }
    }

    pub(super) fn set_on(&self, page: Page) -> Page {
        if self.is_new {
            page.set_cookie(set_login(&self.value))
        } else {
            page
        }
    }
}

//! The one page that may be shown in a frame: it leads to a tab of its own (SEC-64).
//!
//! A login form in a frame of another page could be laid under its clicks, and typed into by people
//! who do not see whose it is. So there is no form and no script here, and nothing about the visitor.

use std::time::Duration;

use http::StatusCode;
use minijinja::context;

use super::{Page, Pages, words};

/// A page of an app, or of ours, that was to be shown in a frame.
pub(crate) struct FramedView<'a> {
    pub(crate) host: &'a str,
    /// Where its link leads, as an attribute has it: a path of ours with a query that is encoded,
    /// or nothing, which is the address of the page.
    pub(crate) link: &'a str,
    pub(crate) why: Framed,
}

/// Why there is a link instead.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framed {
    /// There is no session.
    SignIn,
    /// There is no session, and what was sent waits this long for one.
    Saved(Duration),
    /// There is no session, and what was sent is lost.
    NotDelivered,
    /// Browsers send no session to a frame in a page of another site.
    CrossSite,
    /// Our pages are not shown in frames.
    OwnPage,
}

impl Pages {
    pub(crate) fn framed(&self, view: &FramedView<'_>) -> Page {
        let title = &self.title;
        let heading = match view.why {
            Framed::SignIn | Framed::Saved(_) => format!("Sign in to {title}"),
            Framed::NotDelivered => "What you sent was not delivered".to_owned(),
            Framed::CrossSite => format!("{title} cannot work in this frame"),
            Framed::OwnPage => "Open this page in a new tab".to_owned(),
        };
        let sentence = match view.why {
            Framed::SignIn => {
                "Your session has ended. Sign in in a new tab, then load this page again."
                    .to_owned()
            }
            Framed::Saved(wait) => format!(
                "Your session has ended. What you were sending is kept for {}: sign in in a new \
                 tab, and you can send it there.",
                words::wait(wait)
            ),
            Framed::NotDelivered => {
                "Your session has ended. Go back and copy what you typed before \
                                     you sign in in a new tab."
                    .to_owned()
            }
            Framed::CrossSite => format!(
                "This frame is part of a page of another site, and browsers do not send your \
                 session there. Open {title} in a tab of its own."
            ),
            Framed::OwnPage => "For your safety, it is not shown inside another page.".to_owned(),
        };
        let button = match view.why {
            Framed::SignIn | Framed::Saved(_) | Framed::NotDelivered => "Sign in in a new tab",
            Framed::CrossSite | Framed::OwnPage => "Open in a new tab",
        };
        let status = match view.why {
            Framed::OwnPage => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        let (host, link) = (view.host, view.link);
        let context = context! { host, heading, sentence, link, button };
        self.page(status, "framed.html", context).let_frame()
    }
}

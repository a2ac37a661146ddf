//! The one page that may be shown in a frame: it leads to a tab of its own (SEC-64).
//!
//! A login form in a frame of another page could be laid under its clicks, and typed into by people
//! who do not see whose it is. So there is no form and no script here, and nothing about the visitor.

use std::time::Duration;

use http::StatusCode;
use minijinja::context;

use super::messages::texts;
use super::{Page, Pages, humanise};

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
        let (heading, sentence, button) = match view.why {
            Framed::SignIn => (
                texts::FRAME_SIGN_IN_HEADING,
                texts::FRAME_SESSION_ENDED,
                texts::FRAME_SIGN_IN,
            ),
            Framed::Saved(_) => (
                texts::FRAME_SIGN_IN_HEADING,
                texts::FRAME_SAVED,
                texts::FRAME_SIGN_IN,
            ),
            Framed::NotDelivered => (
                texts::FRAME_NOT_DELIVERED_HEADING,
                texts::FRAME_NOT_DELIVERED,
                texts::FRAME_SIGN_IN,
            ),
            Framed::CrossSite => (
                texts::FRAME_CROSS_SITE_HEADING,
                texts::FRAME_CROSS_SITE,
                texts::FRAME_OPEN,
            ),
            Framed::OwnPage => (
                texts::FRAME_OWN_PAGE_HEADING,
                texts::FRAME_OWN_PAGE,
                texts::FRAME_OPEN,
            ),
        };
        let wait = match view.why {
            Framed::Saved(wait) => humanise::wait(wait),
            _ => String::new(),
        };
        let values = [("title", &*self.title), ("wait", &wait)];
        let heading = texts::fill(heading, &values);
        let sentence = texts::fill(sentence, &values);
        let status = match view.why {
            Framed::OwnPage => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        let (host, link) = (view.host, view.link);
        let context = context! { host, heading, sentence, link, button };
        self.page(status, "framed.html", context).let_frame()
    }
}

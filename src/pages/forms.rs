//! The pages of forms that are kept: those that met an ended session, and those of other sites.

use http::StatusCode;
use minijinja::{Value, context};

use super::messages::texts;
use super::{Page, Pages, humanise};
use crate::clock::Timestamp;

/// Forms that met an ended session, each with a button to send it and one to forget it.
pub(crate) struct SavedPostsView<'a> {
    pub(crate) host: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) now: Timestamp,
    /// The oldest first.
    pub(crate) forms: &'a [SavedPostView<'a>],
}

pub(crate) struct SavedPostView<'a> {
    pub(crate) id: &'a str,
    /// Where the button sends: a path on this host.
    pub(crate) action: &'a str,
    pub(crate) path: &'a str,
    /// Of the page that sent it, if that is of another site.
    pub(crate) origin: Option<&'a str>,
    /// Whether it goes without another click, where scripts run.
    pub(crate) sends_itself: bool,
    /// Whether it may carry files.
    pub(crate) multipart: bool,
    /// Bytes of the body.
    pub(crate) size: usize,
    pub(crate) saved: Timestamp,
}

/// A form of another site that waits for a click.
pub(crate) struct CrossSitePostView<'a> {
    pub(crate) host: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) id: &'a str,
    /// The first page of the app: a path on this host.
    pub(crate) start: &'a str,
    /// Where the button sends: a path on this host.
    pub(crate) action: &'a str,
    /// Of the page that sent it.
    pub(crate) origin: &'a str,
    pub(crate) path: &'a str,
    /// Whether it may carry files.
    pub(crate) multipart: bool,
    /// Bytes of the body.
    pub(crate) size: usize,
}

impl Pages {
    pub(crate) fn saved_posts(&self, view: &SavedPostsView<'_>) -> Page {
        let form = |form: &SavedPostView<'_>| {
            context! {
                id => form.id,
                action => form.action,
                path => humanise::shortened(form.path),
                origin => form.origin,
                sends_itself => form.sends_itself,
                kind => kind_of_form(form.multipart),
                size => humanise::size(form.size),
                kept => humanise::relative(form.saved, view.now),
            }
        };
        let forms: Vec<Value> = view.forms.iter().map(form).collect();
        self.page(
            StatusCode::OK,
            "kept_form.html",
            context! { host => view.host, csrf => view.csrf, forms },
        )
        .follow_forms()
    }

    pub(crate) fn cross_site_post(&self, view: &CrossSitePostView<'_>) -> Page {
        let context = context! {
            host => view.host,
            csrf => view.csrf,
            id => view.id,
            start => view.start,
            action => view.action,
            origin => view.origin,
            path => humanise::shortened(view.path),
            kind => kind_of_form(view.multipart),
            size => humanise::size(view.size),
        };
        self.page(StatusCode::OK, "cross_site_post.html", context)
            .follow_forms()
    }
}

fn kind_of_form(multipart: bool) -> &'static str {
    if multipart {
        texts::SAVED_POST_WITH_FILES
    } else {
        texts::SAVED_POST_WITH_TEXT
    }
}

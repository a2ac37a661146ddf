//! Our pages are for people who load them, not for scripts that share their origin (SEC-91).
//!
//! A script of an app may fetch any address of its host and read the answer: with the account page
//! it would have the token of its forms. Browsers say what a request is for (W3C Fetch Metadata),
//! and no script can say anything else; a page that was loaded into a tab of its own is closed to
//! all others by `Cross-Origin-Opener-Policy`.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use super::route::{Endpoint, is_page_load};
use crate::error::RequestError;
use crate::request;

/// How the browser may load one of our own addresses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loads {
    /// By scripts, too.
    Anything,
    Documents,
    /// Besides, a POST of a browser that does not say what it is: the password is what counts, and
    /// `Sec-Fetch-Site` is judged with the form.
    DocumentsAndLogins,
}

/// Refuses what is not for the scripts of a browser.
pub(super) fn check(endpoint: Endpoint<'_>, head: &Parts) -> Result<(), RequestError> {
    if request::is_service_worker(&head.headers) {
        return Err(RequestError::ServiceWorker);
    }
    let loads = match endpoint {
        Endpoint::Known(route, _) => route.loads,
        Endpoint::Unknown => Loads::Anything,
    };
    match loads {
        Loads::Anything => Ok(()),
        Loads::DocumentsAndLogins
            if head.method == Method::POST && is_silent_on_kind(&head.headers) =>
        {
            Ok(())
        }
        Loads::Documents | Loads::DocumentsAndLogins => check_load(&head.headers),
    }
}

/// Refuses everything but the load of a document into a tab, where a browser says what it is. The
/// first ones to send `Sec-Fetch-Mode` did not send `Sec-Fetch-Dest` yet.
pub(super) fn check_load(headers: &HeaderMap) -> Result<(), RequestError> {
    let only = |name, value: &[u8]| {
        let mut said = headers.get_all(name).iter();
        said.all(|said| said.as_bytes() == value)
    };
    let loads = headers.contains_key("sec-fetch-mode")
        && only("sec-fetch-mode", b"navigate")
        && only("sec-fetch-dest", b"document");
    if request::has_fetch_metadata(headers) && !loads {
        return Err(RequestError::NotANavigation);
    }
    Ok(())
}

/// Whether a browser loads a page into a frame of another page.
pub(super) fn is_framed(headers: &HeaderMap) -> bool {
    let mut loads = headers.get_all("sec-fetch-dest").iter();
    let is_frame = |load: &HeaderValue| matches!(load.as_bytes(), b"frame" | b"iframe");
    loads.next().is_some_and(is_frame) && loads.next().is_none() && is_page_load(headers)
}

/// Whether the page around the frame is of another site.
pub(super) fn is_in_another_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    sites.any(|site| site.as_bytes() == b"cross-site")
}

fn is_silent_on_kind(headers: &HeaderMap) -> bool {
    !headers.contains_key("sec-fetch-mode") && !headers.contains_key("sec-fetch-dest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_by_what_a_browser_says() {
        let navigate = ("sec-fetch-mode", "navigate");
        let load = |load| ("sec-fetch-dest", load);
        for (fields, expected) in [
            (&[navigate, load("iframe")][..], true),
            (&[navigate, load("frame")], true),
            (&[navigate, load("document")], false),
            (&[navigate, load("embed")], false),
            (&[navigate], false),
            (&[load("iframe")], false),
            (&[("sec-fetch-mode", "cors"), load("iframe")], false),
            (&[navigate, load("iframe"), load("document")], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_framed(&headers), expected, "{fields:?}");
        }
    }

    #[test]
    fn sec_91_only_the_load_of_a_document_is_let_in_where_a_browser_says_so() {
        let navigate = ("sec-fetch-mode", "navigate");
        let document = ("sec-fetch-dest", "document");
        for (fields, expected) in [
            (&[][..], true),
            (&[("origin", "https://a"), ("accept", "text/html")], true),
            (&[navigate, document], true),
            (
                &[navigate, document, ("sec-fetch-site", "same-origin")],
                true,
            ),
            (&[navigate], true),
            (&[document], false),
            (&[navigate, ("sec-fetch-dest", "iframe")], false),
            (&[navigate, ("sec-fetch-dest", "frame")], false),
            (&[navigate, ("sec-fetch-dest", "fencedframe")], false),
            (&[navigate, ("sec-fetch-dest", "embed")], false),
            (&[navigate, ("sec-fetch-dest", "object")], false),
            (&[navigate, ("sec-fetch-dest", "")], false),
            (&[navigate, document, ("sec-fetch-dest", "empty")], false),
            (&[navigate, ("sec-fetch-mode", "cors"), document], false),
            (
                &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
                false,
            ),
            (
                &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")],
                false,
            ),
            (&[("sec-fetch-mode", "same-origin"), document], false),
            (&[("sec-fetch-mode", "Navigate"), document], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-user", "?1")], false),
            (&[("sec-fetch-storage-access", "active")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(check_load(&headers).is_ok(), expected, "{fields:?}");
        }
    }
}

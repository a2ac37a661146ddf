//! Which of our addresses a request is for, and whether somebody looks at the answer.

use http::{HeaderMap, HeaderName, header};

/// Looked up in each request: as text it would be parsed each time.
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

use crate::request::own_path;

/// One of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    Account,
    Asset(&'a str),
    Form,
    Login,
    Logout,
    Session,
    Unknown,
}

impl<'a> Endpoint<'a> {
    /// The endpoint of a path in normal form; `None` for the apps' paths.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix(own_path!())?;
        let rest = match rest.as_bytes().first() {
            None => "",
            Some(b'/') => &rest[1..],
            // `/.vestibule;x/` is ours, too, for whoever reads parameters.
            Some(b';') => return Some(Self::Unknown),
            Some(_) => return None,
        };
        Some(match rest {
            "account" => Self::Account,
            "form" => Self::Form,
            "login" => Self::Login,
            "logout" => Self::Logout,
            "session" => Self::Session,
            _ => rest
                .strip_prefix("assets/")
                .map_or(Self::Unknown, Self::Asset),
        })
    }
}

/// Whether somebody looks at the answer: a navigation, or for browsers that do not say so, one
/// that asks for HTML.
pub(crate) fn is_page_load(headers: &HeaderMap) -> bool {
    if let Some(mode) = headers.get(&SEC_FETCH_MODE) {
        return mode.as_bytes() == b"navigate";
    }
    let fetch = ["sec-fetch-dest", "sec-fetch-site", "sec-fetch-user"];
    if fetch.iter().any(|name| headers.contains_key(*name)) {
        return false;
    }
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|accept| {
            accept.split(',').any(|range| {
                range
                    .split(';')
                    .next()
                    .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
            })
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn sec_73_our_addresses_are_known_by_their_normal_path() {
        for (path, expected) in [
            ("/.vestibule/login", Some(Endpoint::Login)),
            (
                "/.vestibule/assets/style.css",
                Some(Endpoint::Asset("style.css")),
            ),
            ("/.vestibule/form", Some(Endpoint::Form)),
            ("/.vestibule", Some(Endpoint::Unknown)),
            ("/.vestibule/", Some(Endpoint::Unknown)),
            ("/.vestibule/login/", Some(Endpoint::Unknown)),
            ("/.vestibule/x", Some(Endpoint::Unknown)),
            ("/.vestibule;x/login", Some(Endpoint::Unknown)),
            ("/.vestibulex", None),
            ("/a/.vestibule/login", None),
            ("/", None),
        ] {
            assert_eq!(Endpoint::of(path), expected, "{path}");
        }
    }

    #[test]
    fn sec_69_page_loads_are_told_from_background_requests() {
        for (fields, expected) in [
            (&[("sec-fetch-mode", "navigate")][..], true),
            (
                &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
                false,
            ),
            (
                &[("sec-fetch-dest", "empty"), ("accept", "text/html")],
                false,
            ),
            (
                &[("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")],
                true,
            ),
            (&[("accept", "application/json, Text/HTML;q=0.5")], true),
            (&[("accept", "application/json")], false),
            (&[("accept", "*/*")], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_page_load(&headers), expected, "{fields:?}");
        }
    }
}

//! What sends a request: a browser, or a program without pages.

use http::{HeaderMap, header};
use memchr::memmem;

use super::has_fetch_metadata;

/// Who reads the answer to a request without a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientKind {
    /// It would show a dialog for a password where an answer asks for one by HTTP.
    Browser,
    /// Git shows people what an answer says only if it is `text/plain`.
    Git,
    Program,
}

impl ClientKind {
    /// By what only browsers send. In doubt it is one: a dialog in front of a page is worse than
    /// words that a program does not understand. The calendar of Thunderbird has to be asked.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT);
        let agent = agent.map_or(&b""[..], |agent| agent.as_bytes());
        let is_browser = headers.contains_key(header::ORIGIN)
            || agent.starts_with(b"Mozilla/") && memmem::find(agent, b"Thunderbird/").is_none()
            || agent.starts_with(b"Opera/")
            || has_fetch_metadata(headers);
        if is_browser {
            Self::Browser
        } else if agent.starts_with(b"git/") {
            Self::Git
        } else {
            Self::Program
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn browsers_are_told_from_programs_by_what_they_send() {
        for (fields, expected) in [
            (&[][..], ClientKind::Program),
            (&[("user-agent", "curl/8.5.0")], ClientKind::Program),
            (&[("user-agent", "Python-urllib/3.12")], ClientKind::Program),
            (&[("accept", "text/html")], ClientKind::Program),
            (&[("user-agent", "git/2.47.1")], ClientKind::Git),
            (&[("user-agent", "gitk/1")], ClientKind::Program),
            (
                &[("user-agent", "Mozilla/5.0 (X11) Firefox/60.0")],
                ClientKind::Browser,
            ),
            (
                &[("user-agent", "Mozilla/5.0 (X11) Thunderbird/140.0")],
                ClientKind::Program,
            ),
            (&[("sec-fetch-site", "same-origin")], ClientKind::Browser),
            (
                &[("user-agent", "git/2"), ("sec-fetch-mode", "cors")],
                ClientKind::Browser,
            ),
            (&[("origin", "https://gate.test")], ClientKind::Browser),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(ClientKind::of(&headers), expected, "{fields:?}");
        }
    }
}

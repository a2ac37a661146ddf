//! Fields that are for one connection and end there (RFC 9110 §7.6.1).

use http::request::Parts;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use super::keep_alive::{self, KEEP_ALIVE};

const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

static OF_ONE_HOP: [HeaderName; 8] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes the fields of one hop from a request or a response, and those that `Connection` names.
///
/// Comes before anything is injected, so that a nomination cannot remove what we say (SEC-38), and
/// before the body is framed anew (SEC-14).
pub(crate) fn strip(headers: &mut HeaderMap) {
    strip_after(headers, |_| ());
}

/// The same of a response. Gives how long its application keeps the connection from now on, where
/// it says so.
pub(super) fn strip_response(headers: &mut HeaderMap) -> Option<Duration> {
    let mut limit = None;
    strip_after(headers, |headers| limit = keep_alive::limit(headers));
    limit
}

/// `look` sees the headers before, where fields of one hop are among them.
fn strip_after(headers: &mut HeaderMap, look: impl FnOnce(&HeaderMap)) {
    // One walk over the few fields that there are costs less than a look-up of each name.
    let (mut connection, mut others) = (false, false);
    for name in headers.keys() {
        match name.as_str().as_bytes() {
            [b'c', ..] => connection |= name == header::CONNECTION,
            [b'k' | b'p' | b't' | b'u', ..] => others |= OF_ONE_HOP.contains(name),
            _ => {}
        }
    }
    if others {
        look(headers);
    }
    if connection {
        let nominated: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
            .collect();
        for name in nominated {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    if others {
        for name in &OF_ONE_HOP {
            headers.remove(name);
        }
    }
}

/// Whether a request is the opening handshake of a WebSocket (RFC 6455 §4.1): the only upgrade
/// that is passed on (SEC-76). Everything else is an ordinary request.
pub(crate) fn opens_websocket(head: &Parts, has_body: bool) -> bool {
    head.method == Method::GET
        && head.version == Version::HTTP_11
        && !has_body
        && head
            .headers
            .get_all(header::SEC_WEBSOCKET_KEY)
            .iter()
            .count()
            == 1
        && names_websocket(&head.headers)
}

/// Whether `Connection` and `Upgrade` speak of a WebSocket and of nothing else.
pub(crate) fn names_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    protocols.next().is_some_and(websocket)
        && protocols.next().is_none()
        && headers.get_all(header::CONNECTION).iter().any(|value| {
            let mut tokens = value.as_bytes().split(|&byte| byte == b',');
            tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        })
}

/// Puts back what a WebSocket handshake needs, in one spelling.
pub(crate) fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn sec_38_fields_of_one_hop_and_nominated_ones_end_here() {
        let mut map = headers(&[
            ("connection", "close, X-Secret ,keep-alive"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        strip(&mut map);
        assert_eq!(map, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn sec_76_only_a_websocket_is_an_upgrade() {
        for (fields, expected) in [
            (
                &[("connection", "Upgrade"), ("upgrade", "websocket")][..],
                true,
            ),
            (
                &[
                    ("connection", "keep-alive, upgrade"),
                    ("upgrade", "WebSocket"),
                ],
                true,
            ),
            (
                &[("connection", "keep-alive"), ("upgrade", "websocket")],
                false,
            ),
            (&[("upgrade", "websocket")], false),
            (&[("connection", "upgrade"), ("upgrade", "h2c")], false),
            (
                &[("connection", "upgrade"), ("upgrade", "websocket, h2c")],
                false,
            ),
            (
                &[
                    ("connection", "upgrade"),
                    ("upgrade", "h2c"),
                    ("upgrade", "websocket"),
                ],
                false,
            ),
            (&[("connection", "upgrade")], false),
        ] {
            assert_eq!(names_websocket(&headers(fields)), expected, "{fields:?}");
        }
    }
}

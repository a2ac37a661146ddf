//! Addresses that a `WebDAV` client names in a request, put as the application knows them.
//!
//! An application compares them with the scheme and `Host` of the request that it sees (RFC 4918
//! §10.3), and refuses another server's with 502. That they are on our host, and permitted, was
//! judged before (SEC-93); what follows the host stays byte for byte as it was judged.

use http::{HeaderMap, Method, Request, header};

use super::Address;
use crate::request::webdav;

/// Whether a request names addresses besides its target. What only reads is not asked for more.
pub(super) fn is_rewritten<B>(request: &Request<B>) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD)
        && webdav::names_addresses(request.headers())
}

/// Gives `Destination` and the addresses in `If` the scheme of the application, and the `Host`
/// that it gets. A path without a host stays.
pub(super) fn rewrite(headers: &mut HeaderMap, to: &Address) {
    let Some(host) = headers.get(header::HOST).cloned() else {
        return;
    };
    let scheme: &[u8] = match to {
        Address::Https { .. } => b"https://",
        Address::Http { .. } | Address::Unix(_) => b"http://",
    };
    webdav::rewrite(headers, |address| match webdav::path_begin(address) {
        0 => address.to_vec(),
        path => [scheme, host.as_bytes(), &address[path..]].concat(),
    });
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn sec_93_addresses_get_the_origin_of_the_application_and_keep_the_rest() {
        let http = Address::Http {
            host: "127.0.0.1".into(),
            port: 3000,
        };
        let https = Address::Https {
            host: "127.0.0.1".into(),
            port: 3000,
        };
        for (to, name, sent, expected) in [
            (
                &http,
                "destination",
                "https://gate.test:8443/a%20b",
                "http://app.test/a%20b",
            ),
            (
                &https,
                "destination",
                "HTTP://gate.test",
                "https://app.test",
            ),
            (&http, "destination", "/a?b=http://c", "/a?b=http://c"),
            (
                &http,
                "if",
                "<https://gate.test/a> (<urn:x://y> [\"<z)\"]) </b> (Not <https://t>)",
                "<http://app.test/a> (<urn:x://y> [\"<z)\"]) </b> (Not <https://t>)",
            ),
            (&http, "if", "< /a://b/c> (<urn:1>)", "</a://b/c> (<urn:1>)"),
            (
                &http,
                "if",
                "(<opaquelocktoken:1>)",
                "(<opaquelocktoken:1>)",
            ),
            (&http, "x-other", "https://gate.test/", "https://gate.test/"),
        ] {
            let name = HeaderName::from_static(name);
            let host = (header::HOST, HeaderValue::from_static("app.test"));
            let field = (name.clone(), HeaderValue::from_static(sent));
            let mut headers = HeaderMap::from_iter([host, field]);
            rewrite(&mut headers, to);
            assert_eq!(headers[name], expected, "{sent}");
        }
    }
}

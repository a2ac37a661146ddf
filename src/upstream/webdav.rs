//! Addresses that a `WebDAV` client names in a request, put as the application knows them.
//!
//! An application compares them with the scheme and `Host` of the request that it sees (RFC 4918
//! §10.3), and refuses another server's with 502. That they are on our host, and permitted, was
//! judged before (SEC-93); what follows the host stays byte for byte as it was judged.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Address;

const DESTINATION: HeaderName = HeaderName::from_static("destination");
const IF: HeaderName = HeaderName::from_static("if");

/// Gives `Destination` and the addresses in `If` the scheme of the application, and the `Host`
/// that it gets.
pub(super) fn rewrite(headers: &mut HeaderMap, to: &Address) {
    if !headers.contains_key(DESTINATION) && !headers.contains_key(IF) {
        return;
    }
    let Some(host) = headers.get(header::HOST).cloned() else {
        return;
    };
    let scheme: &[u8] = match to {
        Address::Https { .. } => b"https://",
        Address::Http { .. } | Address::Unix(_) => b"http://",
    };
    let origin = [scheme, host.as_bytes()].concat();
    for (name, value) in headers.iter_mut() {
        let rewritten = match name {
            name if *name == DESTINATION => rewrite_address(value.as_bytes(), &origin),
            name if *name == IF => rewrite_tags(value.as_bytes(), &origin),
            _ => continue,
        };
        if let Ok(rewritten) = HeaderValue::from_bytes(&rewritten) {
            *value = rewritten;
        }
    }
}

/// A path without a host stays. Read as it was when it was judged: without the space around it.
fn rewrite_address(address: &[u8], origin: &[u8]) -> Vec<u8> {
    let address = address.trim_ascii();
    let path = memchr::memmem::find(address, b"://").map(|colon| {
        let rest = &address[colon + 3..];
        let end = rest.iter().position(|byte| b"/?#".contains(byte));
        &rest[end.unwrap_or(rest.len())..]
    });
    match path {
        Some(path) if !address.starts_with(b"/") => [origin, path].concat(),
        _ => address.to_vec(),
    }
}

/// The addresses of `If: <address> (condition) …` (RFC 4918 §10.4); those within parentheses are
/// lock tokens.
fn rewrite_tags(value: &[u8], origin: &[u8]) -> Vec<u8> {
    let mut rewritten = Vec::with_capacity(value.len());
    let (mut rest, mut in_list) = (value, false);
    while let Some(at) = rest.iter().position(|byte| b"()<\"".contains(byte)) {
        let (before, mark) = (&rest[..=at], rest[at]);
        rewritten.extend(before);
        rest = &rest[at + 1..];
        if matches!(mark, b'(' | b')') {
            in_list = mark == b'(';
            continue;
        }
        let end = if mark == b'<' { b'>' } else { b'"' };
        let end = memchr::memchr(end, rest).unwrap_or(rest.len());
        let (inner, behind) = rest.split_at(end);
        if mark == b'<' && !in_list {
            rewritten.extend(rewrite_address(inner, origin));
        } else {
            rewritten.extend(inner);
        }
        let closing = behind.len().min(1);
        rewritten.extend(&behind[..closing]);
        rest = &behind[closing..];
    }
    rewritten.extend(rest);
    rewritten
}

#[cfg(test)]
mod tests {
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

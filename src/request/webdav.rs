//! What a request of `WebDAV` names besides its target (RFC 4918 §10.3, §10.4).

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::path::push_escape;
use super::{AllowInPath, Authority, BadRequest, PathError, PathForm, normal_path};

const DESTINATION: HeaderName = HeaderName::from_static("destination");
const IF: HeaderName = HeaderName::from_static("if");

/// Addresses that one request may name, and their bytes: each of them is judged in every way that it
/// can be read, before anybody has signed in.
const MOST: usize = 16;
const MOST_TEXT: usize = 8 * 1024;

/// The paths, in normal form, that a request copies or moves to, or makes conditions about: the
/// application acts on them by the rights of this request (SEC-93). None for what only reads.
pub(crate) fn further_paths(
    head: &Parts,
    authority: &Authority,
    allow: AllowInPath,
) -> Result<Vec<String>, BadRequest> {
    if matches!(head.method, Method::GET | Method::HEAD) {
        return Ok(Vec::new());
    }
    let mut references = Vec::new();
    let mut destinations = head.headers.get_all(DESTINATION).iter();
    if let Some(destination) = destinations.next() {
        references.push(text(destination, allow)?.into_owned());
    }
    if destinations.next().is_some() {
        return Err(BadRequest::Field);
    }
    resource_tags(&head.headers, allow, &mut references)?;
    let length: usize = references.iter().map(String::len).sum();
    if references.len() > MOST || length > MOST_TEXT {
        return Err(BadRequest::TooManyAddresses);
    }
    let paths = references
        .iter()
        .map(|reference| path_of(reference, authority, allow));
    paths.collect()
}

/// A value as text. Bytes beyond ASCII are escaped, as those of a target are.
fn text(value: &HeaderValue, allow: AllowInPath) -> Result<Cow<'_, str>, BadRequest> {
    if let Ok(text) = value.to_str() {
        return Ok(Cow::Borrowed(text));
    }
    let bytes = value.as_bytes();
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(BadRequest::Field);
    }
    if !allow.has(PathForm::AnyBytes) {
        return Err(BadRequest::Path(PathError::Bytes));
    }
    Ok(Cow::Owned(escaped(bytes)))
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        match byte {
            0x80.. => push_escape(&mut text, byte),
            _ => text.push(char::from(byte)),
        }
    }
    text
}

/// The addresses of `If: <address> (condition) …`; those within parentheses are lock tokens.
fn resource_tags(
    headers: &HeaderMap,
    allow: AllowInPath,
    references: &mut Vec<String>,
) -> Result<(), BadRequest> {
    for value in headers.get_all(IF) {
        let value = text(value, allow)?;
        let mut rest = &*value;
        let mut in_list = false;
        while let Some(at) = rest.find(['(', ')', '<', '"']) {
            let (mark, behind) = (rest.as_bytes()[at], &rest[at + 1..]);
            rest = match mark {
                b'<' | b'"' => {
                    let end = if mark == b'<' { '>' } else { '"' };
                    let (inner, behind) = behind.split_once(end).ok_or(BadRequest::Field)?;
                    if mark == b'<' && !in_list {
                        references.push(inner.to_owned());
                    }
                    behind
                }
                list => {
                    in_list = list == b'(';
                    behind
                }
            };
        }
    }
    Ok(())
}

/// The path of an absolute address on this host, or of one without a host.
fn path_of(
    reference: &str,
    authority: &Authority,
    allow: AllowInPath,
) -> Result<String, BadRequest> {
    let reference = reference.trim();
    let path = if reference.starts_with('/') && !reference.starts_with("//") {
        reference
    } else {
        let (scheme, rest) = reference.split_once("://").ok_or(BadRequest::Target)?;
        let is_http = ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = HeaderValue::from_str(host).map_err(|_| BadRequest::Host)?;
        let host = Authority::parse(&host)?;
        // Whatever the application makes of another scheme or port: the path is judged all the same.
        if !is_http || host.to_host() != authority.to_host() {
            return Err(BadRequest::Destination);
        }
        if path.is_empty() { "/" } else { path }
    };
    if path.contains('#') {
        return Err(BadRequest::Target);
    }
    let path = path.split('?').next().unwrap_or_default();
    let normal = normal_path(path, allow).map_err(BadRequest::Path)?;
    Ok(normal.into_owned())
}

/// Puts the addresses as [`further_paths`] gives them: what is sent is the normal form, as it was
/// judged. An application that is not told of the folder `prefix` gets them without it.
pub(crate) fn as_judged(head: &mut Parts, prefix: Option<&str>, allow: AllowInPath) {
    if matches!(head.method, Method::GET | Method::HEAD) {
        return;
    }
    put_normal(&mut head.headers, prefix.unwrap_or_default(), allow);
}

/// Whether the addresses came as [`further_paths`] gives them: for what somebody else sends on.
pub(crate) fn are_as_judged(head: &Parts, allow: AllowInPath) -> bool {
    if matches!(head.method, Method::GET | Method::HEAD) || !names_addresses(&head.headers) {
        return true;
    }
    let mut normal = HeaderMap::new();
    for name in [DESTINATION, IF] {
        for value in head.headers.get_all(&name) {
            normal.append(&name, value.clone());
        }
    }
    put_normal(&mut normal, "", allow);
    let mut names = [DESTINATION, IF].into_iter();
    names.all(|name| {
        let sent = head.headers.get_all(&name).iter();
        sent.eq(normal.get_all(&name).iter())
    })
}

fn put_normal(headers: &mut HeaderMap, prefix: &str, allow: AllowInPath) {
    rewrite(headers, |address| {
        let address = escaped(address);
        let judged = judged(&address, prefix, allow);
        judged.unwrap_or(address).into_bytes() // one that was judged has a normal form and the prefix
    });
}

fn judged(address: &str, prefix: &str, allow: AllowInPath) -> Option<String> {
    let (origin, path) = address.split_at(path_begin(address.as_bytes()));
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    if path.is_empty() {
        return prefix.is_empty().then(|| address.to_owned());
    }
    let normal = normal_path(path, allow).ok()?;
    let rest = normal.strip_prefix(prefix)?;
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Some([origin, slash, rest, query].concat())
}

/// Changes each address in `Destination` and `If`, which is read as it was judged: without the space
/// around it.
pub(crate) fn rewrite(headers: &mut HeaderMap, change: impl Fn(&[u8]) -> Vec<u8>) {
    if !names_addresses(headers) {
        return;
    }
    for (name, value) in headers.iter_mut() {
        let rewritten = match name {
            name if *name == DESTINATION => change(value.as_bytes().trim_ascii()),
            name if *name == IF => rewrite_tags(value.as_bytes(), &change),
            _ => continue,
        };
        if let Ok(rewritten) = HeaderValue::from_bytes(&rewritten) {
            *value = rewritten;
        }
    }
}

/// Whether there is anything to rewrite.
pub(crate) fn names_addresses(headers: &HeaderMap) -> bool {
    headers.contains_key(DESTINATION) || headers.contains_key(IF)
}

/// Where the path of an address begins: at once, where no host is named.
pub(crate) fn path_begin(address: &[u8]) -> usize {
    let colon = memchr::memmem::find(address, b"://");
    let Some(colon) = colon.filter(|_| !address.starts_with(b"/")) else {
        return 0;
    };
    let rest = &address[colon + 3..];
    let length = rest.iter().position(|byte| b"/?#".contains(byte));
    colon + 3 + length.unwrap_or(rest.len())
}

/// The addresses of `If: <address> (condition) …` (RFC 4918 §10.4); those within parentheses are
/// lock tokens.
fn rewrite_tags(value: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
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
            rewritten.extend(change(inner.trim_ascii()));
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
    use crate::request::{PathError, PathForm};

    fn named(method: &str, fields: &[(&str, &str)]) -> Result<Vec<String>, BadRequest> {
        let mut request = http::Request::builder().method(method).uri("/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let authority = HeaderValue::from_static("dav.test:8443");
        let allow = AllowInPath::default().with(PathForm::EncodedSlash);
        further_paths(&head, &Authority::parse(&authority).unwrap(), allow)
    }

    #[test]
    fn sec_93_destinations_and_tagged_conditions_name_further_paths() {
        for (field, value, expected) in [
            (
                "destination",
                "https://dav.test:8443/admin/x",
                Ok(&["/admin/x"][..]),
            ),
            ("destination", "HTTP://DAV.test/admin", Ok(&["/admin"])),
            ("destination", "https://dav.test", Ok(&["/"])),
            ("destination", "/%61dmin//x?y", Ok(&["/admin/x"])),
            ("destination", "/a%2fb", Ok(&["/a%2Fb"])),
            (
                "destination",
                "https://evil.test/x",
                Err(BadRequest::Destination),
            ),
            (
                "destination",
                "ftp://dav.test/x",
                Err(BadRequest::Destination),
            ),
            ("destination", "https://u@dav.test/x", Err(BadRequest::Host)),
            ("destination", "//dav.test/x", Err(BadRequest::Target)),
            ("destination", "x", Err(BadRequest::Target)),
            ("destination", "", Err(BadRequest::Target)),
            (
                "destination",
                "/public/../admin",
                Err(BadRequest::Path(PathError::DotSegment)),
            ),
            ("destination", "/a#b", Err(BadRequest::Target)),
            ("if", "(<urn:uuid:1> [\"<x)\"])", Ok(&[])),
            (
                "if",
                "<https://dav.test/a> (<urn:1>) </b> (Not <urn:2>) (<urn:3>)",
                Ok(&["/a", "/b"]),
            ),
            (
                "if",
                "(<urn:1>) <https://evil.test/> (<urn:1>)",
                Err(BadRequest::Destination),
            ),
            ("if", "<https://dav.test/a", Err(BadRequest::Field)),
            ("destination", "https://dav.test./a", Ok(&["/a"])),
            (
                "destination",
                "https://dav.test/caf\u{e9}",
                Err(BadRequest::Path(PathError::Bytes)),
            ),
            ("x-other", "/admin", Ok(&[])),
        ] {
            let expected =
                expected.map(|paths| paths.iter().map(|&path| path.to_owned()).collect());
            assert_eq!(
                named("MOVE", &[(field, value)]),
                expected,
                "{field}: {value}"
            );
        }
        let two = [("destination", "/a"), ("destination", "/b")];
        assert_eq!(named("COPY", &two), Err(BadRequest::Field));
        assert_eq!(named("GET", &two), Ok(vec![]));
        let condition = [("if", "</a> (<urn:1>)")];
        assert_eq!(named("PUT", &condition), Ok(vec!["/a".to_owned()]));
        for (address, times, expected) in [
            ("/a", 16, Ok(16)),
            ("/a", 17, Err(BadRequest::TooManyAddresses)),
            (
                &*format!("/{}", "a".repeat(8 * 1024)),
                1,
                Err(BadRequest::TooManyAddresses),
            ),
        ] {
            let addresses = format!("<{address}> (<urn:1>) ").repeat(times);
            let paths = named("PUT", &[("if", &addresses)]);
            assert_eq!(paths.map(|paths| paths.len()), expected);
        }
    }

    #[test]
    fn sec_29_addresses_are_sent_as_they_were_judged() {
        for (field, sent, expected) in [
            (
                "destination",
                "https://dav.test/%61//b",
                "https://dav.test/a/b",
            ),
            ("destination", "/a%c3%a9?x=//y", "/a%C3%A9?x=//y"),
            ("destination", "/gr\u{f6}", "/gr%F6"),
            ("destination", "https://dav.test", "https://dav.test"),
            ("if", "< /%61> (<urn://%61>)", "</a> (<urn://%61>)"),
        ] {
            let sent: Vec<u8> = sent.chars().map(|c| c as u8).collect();
            let request = http::Request::builder()
                .method("MOVE")
                .header(field, &*sent);
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            as_judged(
                &mut head,
                None,
                AllowInPath::default().with(PathForm::AnyBytes),
            );
            assert_eq!(head.headers[field], expected);
        }
    }

    #[test]
    fn sec_93_an_app_below_a_folder_gets_the_paths_that_were_judged_without_it() {
        for (method, field, value, expected) in [
            (
                "MOVE",
                "destination",
                "https://dav.test:8443/wiki/a%20b?c=/wiki/",
                "https://dav.test:8443/a%20b?c=/wiki/",
            ),
            ("COPY", "destination", "/wiki/wiki/x", "/wiki/x"),
            (
                "COPY",
                "destination",
                "http://dav.test/wiki",
                "http://dav.test/",
            ),
            ("COPY", "destination", "/wiki?x", "/?x"),
            ("COPY", "destination", "//%77iki//%61%2fb", "/a%2Fb"),
            ("GET", "destination", "/wiki/x", "/wiki/x"),
            ("COPY", "x-other", "/wiki/x", "/wiki/x"),
            (
                "PUT",
                "if",
                "<https://dav.test/wiki/a> (<urn:/wiki/> [\"</wiki/b>\"]) </wiki/> (Not </wiki/c>)",
                "<https://dav.test/a> (<urn:/wiki/> [\"</wiki/b>\"]) </> (Not </wiki/c>)",
            ),
        ] {
            let request = http::Request::builder().method(method).header(field, value);
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            let allow = AllowInPath::default().with(PathForm::EncodedSlash);
            as_judged(&mut head, Some("/wiki"), allow);
            assert_eq!(head.headers[field], expected, "{value}");
        }
    }
}

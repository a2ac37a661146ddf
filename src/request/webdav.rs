//! What a request of `WebDAV` names besides its target (RFC 4918 §10.3, §10.4).

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{AllowInPath, Authority, BadRequest, normal_path};

const DESTINATION: HeaderName = HeaderName::from_static("destination");
const IF: HeaderName = HeaderName::from_static("if");

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
    references.extend(destinations.next().map(text).transpose()?);
    if destinations.next().is_some() {
        return Err(BadRequest::Field);
    }
    resource_tags(&head.headers, &mut references)?;
    let paths = references
        .into_iter()
        .map(|reference| path_of(reference, authority, allow));
    paths.collect()
}

fn text(value: &HeaderValue) -> Result<&str, BadRequest> {
    value.to_str().map_err(|_| BadRequest::Field)
}

/// The addresses of `If: <address> (condition) …`; those within parentheses are lock tokens.
fn resource_tags<'h>(
    headers: &'h HeaderMap,
    references: &mut Vec<&'h str>,
) -> Result<(), BadRequest> {
    for value in headers.get_all(IF) {
        let mut rest = text(value)?;
        let mut in_list = false;
        while let Some(at) = rest.find(['(', ')', '<', '"']) {
            let (mark, behind) = (rest.as_bytes()[at], &rest[at + 1..]);
            rest = match mark {
                b'<' | b'"' => {
                    let end = if mark == b'<' { '>' } else { '"' };
                    let (inner, behind) = behind.split_once(end).ok_or(BadRequest::Field)?;
                    if mark == b'<' && !in_list {
                        references.push(inner);
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
        if !is_http || !host.host().eq_ignore_ascii_case(authority.host()) {
            return Err(BadRequest::HostMismatch);
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
                Err(BadRequest::HostMismatch),
            ),
            (
                "destination",
                "ftp://dav.test/x",
                Err(BadRequest::HostMismatch),
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
                Err(BadRequest::HostMismatch),
            ),
            ("if", "<https://dav.test/a", Err(BadRequest::Field)),
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
    }
}

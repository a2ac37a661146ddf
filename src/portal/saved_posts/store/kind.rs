//! What a content type says of a form.

use http::HeaderValue;

/// Whether a form of HTML has this content type, whatever its parameters.
pub(in crate::portal) fn is_form(content_type: &HeaderValue) -> bool {
    let urlencoded = "application/x-www-form-urlencoded";
    essence(content_type)
        .is_some_and(|kind| kind.eq_ignore_ascii_case(urlencoded) || is_multipart(kind))
}

pub(in crate::portal) fn is_multipart_form(content_type: &HeaderValue) -> bool {
    essence(content_type).is_some_and(is_multipart)
}

fn is_multipart(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("multipart/form-data")
}

pub(super) fn essence(content_type: &HeaderValue) -> Option<&str> {
    let text = std::str::from_utf8(content_type.as_bytes()).ok()?;
    text.split(';').next().map(str::trim)
}

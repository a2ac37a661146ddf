//! Responses to one person are not for caches that others share (SEC-67).

use http::{HeaderMap, HeaderValue, header};

/// Of most of what is said in `Cache-Control`, to allocate once.
const USUAL_LENGTH: usize = 64;

/// Adds `private` to `Cache-Control`, in place of `public`, unless the application was stricter
/// (RFC 9111 §5.2.2.7).
pub(super) fn keep_private(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
        return;
    }
    let lines = headers.get_all(header::CACHE_CONTROL).iter();
    let directives = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim);
    let is = |directive: &str, names: &[&str]| {
        let name = directive.split('=').next().unwrap_or_default().trim_end();
        names.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let mut value = String::with_capacity(USUAL_LENGTH);
    value.push_str("private");
    for directive in directives.filter(|directive| !directive.is_empty()) {
        // `private="field"` restricts a field only.
        if is(directive, &["no-store"]) || directive.eq_ignore_ascii_case("private") {
            return;
        }
        if !is(directive, &["public", "s-maxage", "private"]) {
            value.push_str(", ");
            value.push_str(directive);
        }
    }
    let value = HeaderValue::try_from(value);
    headers.insert(
        header::CACHE_CONTROL,
        value.unwrap_or(HeaderValue::from_static("private")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_67_shared_caches_keep_nothing_of_a_protected_answer() {
        for (sent, expected) in [
            (&[][..], "private"),
            (&["max-age=60"], "private, max-age=60"),
            (&["public, max-age=60, s-maxage=600"], "private, max-age=60"),
            (&["Public"], "private"),
            (&["no-cache"], "private, no-cache"),
            (&["no-store"], "no-store"),
            (&["Private, max-age=5"], "Private, max-age=5"),
            (&["private=\"set-cookie\", max-age=5"], "private, max-age=5"),
            (&["public", "max-age=5"], "private, max-age=5"),
        ] {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(value));
            }
            keep_private(&mut headers);
            assert_eq!(headers[header::CACHE_CONTROL], expected, "{sent:?}");
            assert_eq!(headers.get_all(header::CACHE_CONTROL).iter().count(), 1);
        }
    }
}

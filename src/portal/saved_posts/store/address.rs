//! The address that a saved POST is sent by: its own, and one more query parameter that names it.
//! So the address in the browser, relative links of the answer, and the rules stay the form's own.
//!
//! The page that an app answers with may have a form without an action: that comes back to this
//! address, and is the app's. So our button is a form of `text/plain`, which no app uses.

use http::request::Parts;
use http::{Method, header};

use super::{PostId, essence};
use crate::request::Target;

const PARAMETER: &str = "vestibule-form=";

/// A target with more could not be sent: it has to stay below the limit with the parameter, too.
pub(in crate::portal) const LENGTH: usize = 1 + PARAMETER.len() + PostId::TEXT;

/// Where the button of the page sends.
pub(in crate::portal) fn address(target: &str, id: PostId) -> String {
    let joint = if target.contains('?') { '&' } else { '?' };
    format!("{target}{joint}{PARAMETER}{id}")
}

/// The target of a request without that parameter, which no app is to see; and the form that it
/// names, if this is our button.
pub(crate) fn split(head: &Parts, target: Target) -> (Target, Option<PostId>) {
    if head.method != Method::POST {
        return (target, None);
    }
    match named(&target) {
        Some((bare, id)) => (bare, is_button(head).then_some(id)),
        None => (target, None),
    }
}

fn is_button(head: &Parts) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(essence);
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("text/plain"))
}

fn named(target: &Target) -> Option<(Target, PostId)> {
    let query = target.query()?;
    let at = query.len().checked_sub(PARAMETER.len() + PostId::TEXT)?;
    let (before, parameter) = query.split_at_checked(at)?;
    let id = PostId::parse(parameter.strip_prefix(PARAMETER)?)?;
    let rest = match before {
        "" => None,
        before => Some(before.strip_suffix('&')?),
    };
    Some((target.with_query(rest)?, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::AllowInPath;

    fn split(method: &Method, text: &str, kind: &str) -> (String, Option<PostId>) {
        let request = http::Request::builder().method(method).uri(text);
        let request = request.header(header::CONTENT_TYPE, kind).body(()).unwrap();
        let (head, ()) = request.into_parts();
        let target = Target::parse(&head, AllowInPath::default()).unwrap();
        let (bare, named) = super::split(&head, target);
        (bare.as_str().to_owned(), named)
    }

    #[test]
    fn the_parameter_comes_off_and_leaves_the_target_as_it_was() {
        let id = PostId::ANY;
        for text in [
            "/",
            "/a",
            "/a?",
            "/a?x",
            "/a?x=1&y=?&",
            "/a?vestibule-form=x",
            "/a&b",
        ] {
            let sent = address(text, id);
            assert_eq!(sent.len(), text.len() + LENGTH);
            for (kind, named) in [
                ("text/plain", Some(id)),
                ("Text/Plain; charset=UTF-8", Some(id)),
                ("application/x-www-form-urlencoded", None),
                ("multipart/form-data; boundary=x", None),
                ("", None),
            ] {
                let parts = split(&Method::POST, &sent, kind);
                assert_eq!(parts, (text.to_owned(), named), "{kind}");
            }
        }
    }

    #[test]
    fn only_a_post_with_exactly_an_id_at_its_end_names_a_form() {
        let id = PostId::ANY.to_string();
        for text in [
            "/a".to_owned(),
            format!("/a&vestibule-form={id}"),
            format!("/vestibule-form={id}"),
            format!("/a?x-vestibule-form={id}"),
            format!("/a?vestibule-form={id}&x"),
            format!("/a?vestibule-form={}", &id[1..]),
            format!("/a?vestibule-form={id}="),
            format!("/a?vestibule-form=+{}", &id[1..]),
            format!("/a?Vestibule-Form={id}"),
        ] {
            let parts = split(&Method::POST, &text, "text/plain");
            assert_eq!(parts, (text, None));
        }
        let text = address("/a", PostId::ANY);
        let parts = split(&Method::GET, &text, "text/plain");
        assert_eq!(parts, (text, None));
    }
}

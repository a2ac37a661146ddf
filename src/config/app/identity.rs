//! `[app.identity]`.

use http::HeaderName;
use toml::de::DeValue;

use crate::config::section::Section;
use crate::config::value;
use crate::identity::{About, Headers, Template, TemplateError};
use crate::source_text::Fault;
use crate::source_text::nearest;

const DEFAULT_IDENTITY: [(HeaderName, &str); 3] = [
    (HeaderName::from_static("x-forwarded-user"), "{user}"),
    (HeaderName::from_static("x-forwarded-groups"), "{groups}"),
    (HeaderName::from_static("x-forwarded-email"), "{email}"),
];

/// Headers that frame, route or carry the request: an identity in one of them would break the
/// connection (RFC 9110 §7.6.1) or take the place of what Vestibule itself says in it.
const RESERVED: [&str; 40] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-envoy-auth-headers-to-remove",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "x-session-data",
    "x-session-set",
    "x-session-unset",
    "x-vestibule-authorization",
    "x-vestibule-cookie",
];

pub(super) fn identity(mut section: Section<'_>) -> Headers {
    let Some(entries) = section.entries() else {
        let default = |(name, text)| Some((name, Template::parse(text, About::of).ok()?));
        return Headers::new(DEFAULT_IDENTITY.into_iter().filter_map(default).collect());
    };
    let mut headers = Vec::new();
    let mut seen = Vec::new();
    for (key, value) in entries {
        let name = *key.get_ref();
        match header_name(name, &seen) {
            Ok(header) => {
                seen.push(fold(name));
                match template(value.get_ref()) {
                    Ok(template) => headers.push((header, template)),
                    Err(fault) => section.refuse_at(value.span(), name, fault),
                }
            }
            Err(fault) => section.refuse_at(key.span(), name, fault),
        }
    }
    Headers::new(headers)
}

/// Servers that turn headers into variables see `X_User` and `x-user` as one (SEC-36).
pub(super) fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

pub(super) fn header_name(name: &str, seen: &[String]) -> Result<HeaderName, Fault> {
    let folded = fold(name);
    if RESERVED.contains(&folded.as_str()) {
        return Err(Fault::new("this header cannot carry an identity")
            .help("use a name that means nothing else, such as X-Forwarded-User"));
    }
    if seen.contains(&folded) {
        return Err(Fault::new("this header is named twice")
            .help("case does not count, and `_` counts as `-`"));
    }
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        Fault::new("this is not a header name").help("use letters, digits and `-`, in quotes")
    })
}

fn template(value: &DeValue<'_>) -> Result<Template<About>, Fault> {
    let template = Template::parse(value::text(value)?, About::of);
    template.map_err(|error| template_fault(error, &About::NAMES))
}

/// `names` are those that there are, in braces.
pub(super) fn template_fault(error: TemplateError, names: &[&str]) -> Fault {
    match error {
        TemplateError::Brace => Fault::new("a brace without its partner").help(format!(
            "write a name in braces, as in \"{{{}}}\"",
            names.first().unwrap_or(&"name")
        )),
        TemplateError::NotAscii => Fault::new("a header takes visible ASCII characters only"),
        TemplateError::UnknownName(name) => {
            let fault = Fault::new(format!("there is nothing called `{{{name}}}`"));
            match nearest(&name, names.iter().copied()) {
                Some(near) => fault.help(format!("did you mean `{{{near}}}`?")),
                None => fault.help(format!("the names are {{{}}}", names.join("}, {"))),
            }
        }
    }
}

//! `[app.request_headers]` and `[app.response_headers]`.

use std::path::Path;

use http::{HeaderName, HeaderValue, header};
use toml::de::DeValue;

use super::identity::{fold, template_fault};
use crate::config::file::{credential, credential_name};
use crate::config::section::Section;
use crate::config::value;
use crate::identity::{self, Part, Template, TemplateError};
use crate::proxy::headers::{
    About, Additions, Content, RequestHeaders, ResponseHeaders, SecretHeader,
};
use crate::source_text::Fault;
use crate::upstream::signs_connection_in;

/// Which of the two tables it is, and for which key of it a name is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    /// In a response more can be removed than set.
    Response {
        removes: bool,
    },
}

/// Fields of one connection, and those that say where a message ends (RFC 9110 §7.6.1).
const OF_THE_CONNECTION: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// The names in one table.
#[derive(Default)]
struct Names {
    /// To tell which is there twice.
    folded: Vec<String>,
    written: Vec<Box<str>>,
}

/// `identity` are the headers of `[app.identity]`.
pub(super) fn request(
    mut section: Section<'_>,
    identity: &identity::Headers,
    folder: &Path,
) -> RequestHeaders {
    let mut names = Names::default();
    let name = |names: &mut Names, name: &str| {
        let is_same = |own: &HeaderName| fold(own.as_str()) == fold(name);
        if identity.token().is_some_and(|token| is_same(&token.header)) {
            return Err(Fault::new("this header has the identity token")
                .help("leave it out, or change `header` of identity_token"));
        }
        if identity.names().any(is_same) {
            return Err(Fault::new("this header is in [app.identity]").help("change it there"));
        }
        names.take(name, Kind::Request)
    };
    let name = |names: &mut Names, it: &str| name(names, it).map_err(Fault::secret);
    let set = set(section.table("set"), |it| name(&mut names, it));
    let set_file = set_file(section.table("set_file"), folder, |it| name(&mut names, it));
    let remove = remove(&mut section, |it| name(&mut names, it));
    RequestHeaders {
        set,
        set_file,
        remove,
        written: names.written,
    }
}

pub(super) fn response(mut section: Section<'_>) -> ResponseHeaders {
    let mut names = Names::default();
    let sets = Kind::Response { removes: false };
    let removes = Kind::Response { removes: true };
    let always = set(section.table("set"), |name| names.take(name, sets));
    let written = names.written.clone();
    ResponseHeaders {
        set: always,
        set_missing: set(section.table("set_missing"), |name| names.take(name, sets)),
        remove: remove(&mut section, |name| names.take(name, removes)),
        written,
    }
}

/// A header that programs send an API token in.
pub(super) fn for_tokens(name: &str, identity: &identity::Headers) -> Result<HeaderName, Fault> {
    let folded = fold(name);
    let is_same = |own: &HeaderName| fold(own.as_str()) == folded;
    if identity.token().is_some_and(|token| is_same(&token.header)) {
        return Err(Fault::new("this header has the identity token").help("choose another name"));
    }
    if identity.names().any(is_same) {
        return Err(Fault::new("this header is in [app.identity]")
            .help("choose another name: what clients send in that one is taken out"));
    }
    if folded == "authorization" {
        return Err(
            Fault::new("tokens are taken from Authorization anyway").help("leave the key out")
        );
    }
    Names::default().take(name, Kind::Request)
}

impl Names {
    fn take(&mut self, name: &str, kind: Kind) -> Result<HeaderName, Fault> {
        let folded = fold(name);
        if let Some(fault) = reserved(&folded, kind) {
            return Err(fault);
        }
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            Fault::new("this is not a header name").help("use letters, digits and `-`, in quotes")
        })?;
        if self.folded.contains(&folded) {
            return Err(Fault::new("this header is named twice")
                .help("case does not count, and `_` counts as `-`"));
        }
        self.folded.push(folded);
        self.written.push(name.into());
        Ok(header)
    }
}

/// Why a header is not for these tables, and what is meant for it instead.
fn reserved(folded: &str, kind: Kind) -> Option<Fault> {
    if OF_THE_CONNECTION.contains(&folded) || folded.starts_with("sec-websocket-") {
        let fault = Fault::new("this header belongs to a connection, or says where a message ends");
        return Some(fault.help("leave it out: Vestibule writes it anew for each message"));
    }
    if folded.starts_with("x-session-") {
        let fault = Fault::new("this header is for session data");
        return Some(fault.help("session_data = true lets the app use it"));
    }
    if folded.starts_with("x-vestibule-") {
        let fault = Fault::new("names that begin with X-Vestibule- are Vestibule's own");
        return Some(fault.help("choose another name"));
    }
    let (message, help) = match kind {
        Kind::Request => of_requests(folded)?,
        Kind::Response { removes } => of_responses(folded, removes)?,
    };
    Some(Fault::new(message).help(help))
}

fn of_requests(folded: &str) -> Option<(&'static str, &'static str)> {
    Some(match folded {
        "host" => (
            "Host has keys of its own",
            "set preserve_host or upstream_host of the app",
        ),
        "cookie" => (
            "the app gets the cookies of the browser, without Vestibule's",
            "leave it out",
        ),
        "proxy" => (
            "CGI programs would take it for the proxy to use (httpoxy)",
            "leave it out: it never reaches the app",
        ),
        _ if folded == "forwarded" || folded.starts_with("x-forwarded-") => (
            "Vestibule itself says who asks, and for what",
            "X-Forwarded-For, -Host and -Proto are always sent, and -Prefix with strip_path; \
             others that name the user are set in [app.identity]",
        ),
        _ => return None,
    })
}

fn of_responses(folded: &str, removes: bool) -> Option<(&'static str, &'static str)> {
    Some(match folded {
        "strict-transport-security" => (
            "Vestibule sends this header for the whole host",
            "set `hsts` of the app",
        ),
        "date" => ("the server itself says the date", "leave it out"),
        "location" => (
            "the app says where its redirects lead",
            "rewrite_redirects and strip_path of the app change addresses of the inside",
        ),
        "content-encoding" | "content-range" => (
            "this header says how the body is to be read",
            "leave it out: bodies pass as the app sends them",
        ),
        "set-cookie" if !removes => (
            "it would replace the cookies of the app",
            "leave it out; secure_cookies adds Secure to them, and `remove` drops them all",
        ),
        "www-authenticate" if !removes => (
            "it would ask for a password on every response",
            "leave it out; `remove` drops what the app asks for",
        ),
        "clear-site-data" | "service-worker-allowed" if !removes => (
            "this header reaches beyond the app",
            "allow_response of the app lets the app itself send it",
        ),
        "alt-svc" | "nel" | "report-to" | "reporting-endpoints" if !removes => (
            "this header reaches beyond the app",
            "leave it out: it concerns the login on this host as well",
        ),
        _ => return None,
    })
}

fn set(
    mut section: Section<'_>,
    mut name: impl FnMut(&str) -> Result<HeaderName, Fault>,
) -> Additions {
    let mut headers = Vec::new();
    for (key, value) in section.entries().unwrap_or_default() {
        let written = *key.get_ref();
        match name(written) {
            Ok(header) => match content(&header, value.get_ref()).map_err(Fault::secret) {
                Ok(content) => headers.push((header, content)),
                Err(fault) => section.refuse_at(value.span(), written, fault),
            },
            Err(fault) => section.refuse_at(key.span(), written, fault),
        }
    }
    Additions::new(headers)
}

/// The same for values that are in files, of which a plain name is looked for among systemd's
/// credentials first.
fn set_file(
    mut section: Section<'_>,
    folder: &Path,
    mut name: impl FnMut(&str) -> Result<HeaderName, Fault>,
) -> Vec<SecretHeader> {
    let mut headers = Vec::new();
    for (key, value) in section.entries().unwrap_or_default() {
        let written = *key.get_ref();
        let name = match name(written) {
            Ok(name) => name,
            Err(fault) => {
                section.refuse_at(key.span(), written, fault);
                continue;
            }
        };
        match value::path(value.get_ref()) {
            Ok(path) => headers.push(SecretHeader {
                name,
                may_be_credential: credential_name(&path).is_some() && credential(&path).is_none(),
                file: credential(&path).unwrap_or_else(|| folder.join(&path)),
                line: section.line_of(written).unwrap_or_else(|| section.line()),
            }),
            Err(fault) => section.refuse_at(value.span(), written, fault),
        }
    }
    headers
}

fn remove(
    section: &mut Section<'_>,
    mut name: impl FnMut(&str) -> Result<HeaderName, Fault>,
) -> Vec<HeaderName> {
    let list = section.list("remove", |value| name(value::text(value)?));
    list.unwrap_or_default()
}

fn content(name: &HeaderName, value: &DeValue<'_>) -> Result<Content, Fault> {
    let template = Template::parse(value::text(value)?, About::of);
    let template = template.map_err(|error| match error {
        TemplateError::UnknownName(name) if identity::About::of(&name).is_some() => {
            Fault::new(format!("there is nothing called `{{{name}}}` here"))
                .help("[app.identity] tells an app who the user is")
        }
        error => template_fault(error, &About::NAMES),
    })?;
    let text = match template.parts() {
        [] => "",
        [Part::Text(text)] => text,
        _ => return Ok(Content::Made(template)),
    };
    let mut fixed = HeaderValue::from_str(text)
        .map_err(|_| Fault::new("a header takes visible ASCII characters only"))?;
    if name == header::AUTHORIZATION {
        if signs_connection_in(&fixed) {
            return Err(
                Fault::new("NTLM and Negotiate sign a connection in: no fixed value can")
                    .help("use another scheme, such as Basic"),
            );
        }
        fixed.set_sensitive(true);
    }
    Ok(Content::Fixed(fixed))
}

//! What is sent: names that a proxy in front sets, or may believe, in every spelling, and paths
//! that proxies and apps read in different ways.

use std::borrow::Cow;

use crate::forwarded::names::{OF_APPS, OF_PROXIES, Says};
use crate::request::own_path;

/// Values that nobody else sends: whatever shows one was chosen by the client. The address is for
/// documentation (RFC 5737), the host is reserved (RFC 6761 §6.4).
pub(super) const CLIENT: &str = "192.0.2.66";
pub(super) const HOST: &str = "spoofed.invalid";
pub(super) const PATH: &str = "/spoofed";
pub(super) const METHOD: &str = "DELETE";
pub(super) const REQUEST_ID: &str = "spoofed";

/// One request.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) about: About,
    pub(super) method: &'static str,
    pub(super) target: Vec<u8>,
    pub(super) fields: Vec<(String, String)>,
}

/// What a probe is to show.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum About {
    /// What an honest request looks like.
    Baseline,
    /// Whether our own pages are reached.
    OwnPage,
    /// What a field can do; as it was sent.
    Field(String),
    /// The same on the way to our own pages.
    FieldOfOwnPage(String),
    /// What becomes of a path.
    Path,
}

/// For which a login counts failures by the address of the client.
const OWN_PAGE: &str = own_path!("session");

/// Names, and what a client says by them.
fn fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    let values = |(name, says): (&'static str, Says)| {
        let values: &[_] = match says {
            Says::Client => &[CLIENT],
            Says::Host => &[HOST],
            Says::Method => &[METHOD],
            Says::Path if name == "X-Original-URL" => &[PATH, "https://spoofed.invalid/spoofed"],
            Says::Path => &[PATH],
            Says::Port => &["666"],
            Says::Scheme if name == "X-Forwarded-Ssl" => &["off"],
            Says::Scheme => &["http"],
            Says::Other => match name {
                "Forwarded" => &["for=192.0.2.66;host=spoofed.invalid;proto=http"],
                "X-Request-Id" => &[REQUEST_ID],
                _ => &[],
            },
        };
        values.iter().map(move |value| (name, *value))
    };
    OF_PROXIES.into_iter().chain(OF_APPS).flat_map(values)
}

/// Whether an address is named by it.
fn names_address((_, value): &(&str, &str)) -> bool {
    value.contains(CLIENT)
}

/// Parts of paths, after the folder of the app. `\u{80}`-`\u{ff}` stand for single bytes.
const PATHS: &[&str] = &[
    "a",
    "a/",
    "a/b/../c",
    "a/./b",
    "a/b/..",
    "../a",
    "../../a",
    "a/%2e%2e/b",
    "a/%2E%2E/b",
    "a/.%2e/b",
    "a/%2e/b",
    "a/..%2fb",
    "a%2fb",
    "a%2Fb",
    "a%252fb",
    "a%5cb",
    "a%5c..%5cb",
    "a\\b",
    "a\\..\\b",
    "/a",
    "a//b",
    "a//../b",
    "a///b",
    "a;x=1/b",
    "a/..;/b",
    "a/..;x/b",
    "a%00b",
    "a%0ab",
    "a%0d%0ab",
    "a%",
    "a%zz",
    "a%u002fb",
    "%61",
    "%41",
    "a%20b",
    "a+b",
    "a%23b",
    "a#b",
    "a%3fb",
    "a?b=../c",
    "a?b=%2e%2e%2fc",
    "a%c0%afb",
    "a%c3%a4",
    "a\u{e4}",
    "A",
    "a.",
    "a%2e",
    "a/.",
    "a~b",
    "a%7eb",
    "a:b@c",
    "http://spoofed.invalid/spoofed",
];

/// All of them, the honest one first.
pub(super) fn probes(folder: &str) -> Vec<Probe> {
    let get = |about, target: Vec<u8>, fields| Probe {
        about,
        method: "GET",
        target,
        fields,
    };
    let plain = || format!("{folder}a").into_bytes();
    let mut probes = vec![
        get(About::Baseline, plain(), Vec::new()),
        get(About::OwnPage, OWN_PAGE.into(), Vec::new()),
    ];
    for (name, value) in fields() {
        let mut spellings: Vec<Cow<'_, str>> = vec![name.into()];
        if name.contains('-') {
            spellings.extend(['_', '.'].map(|other| name.replace('-', &other.to_string()).into()));
        }
        spellings.push(name.to_ascii_lowercase().into());
        let once = spellings.iter().map(|name| vec![name.to_string()]);
        let twice = [vec![name.to_owned(); 2]];
        for names in once.chain(twice) {
            let shown = match names.as_slice() {
                [name] => format!("{name}: {value}"),
                _ => format!("{name}: {value}, twice"),
            };
            let fields = names.into_iter().map(|name| (name, value.to_owned()));
            probes.push(get(About::Field(shown), plain(), fields.collect()));
        }
    }
    for (name, value) in fields().filter(names_address) {
        let fields = vec![(name.to_owned(), value.to_owned())];
        let about = About::FieldOfOwnPage(format!("{name}: {value}, at {OWN_PAGE}"));
        probes.push(get(about, OWN_PAGE.into(), fields));
    }
    for path in PATHS {
        // In absolute form, the host in the target counts, and not that of the folder (RFC 9112 §3.2.2).
        let folder = if path.starts_with("http:") {
            ""
        } else {
            folder
        };
        let bytes = path.chars().map(|c| u8::try_from(u32::from(c)));
        let bytes = bytes.collect::<Result<Vec<u8>, _>>();
        let path = bytes.expect("single bytes");
        let target = [folder.as_bytes(), &path].concat();
        probes.push(get(About::Path, target, Vec::new()));
    }
    probes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads it knows two words for it, and takes no other for one.
    #[test]
    fn what_is_said_of_tls_is_what_proxies_say() {
        let values = fields().filter(|(name, _)| *name == "X-Forwarded-Ssl");
        let values: Vec<_> = values.map(|(_, value)| value).collect();
        assert_eq!(values, ["off"]);
        for (name, value) in fields() {
            let is_scheme = ["Proto", "Protocol", "Scheme"]
                .iter()
                .any(|end| name.ends_with(end));
            assert!(!is_scheme || value == "http", "{name}: {value}");
        }
    }
}

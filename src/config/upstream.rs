//! The keys of `[[app]]` that say where its requests go, and how.

use std::path::Path;
use std::time::Duration;

use http::Uri;

use super::section::Section;
use super::value;
use crate::source_text::Fault;
use crate::upstream::{Address, Balance, HealthCheck, Rewriting, Settings, Tolerated};

const BALANCE: [(&str, Balance); 3] = [
    ("round-robin", Balance::RoundRobin),
    ("least", Balance::Least),
    ("sticky", Balance::Sticky),
];

const TOLERATE: [(&str, Tolerated); 2] = [
    ("invalid-header-lines", Tolerated::InvalidHeaderLines),
    ("missing-close-notify", Tolerated::MissingCloseNotify),
];

/// More often, checks would be a load.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// For `buffer_requests`, whose memory is set aside for several bodies.
const MOST_BUFFERED: usize = 1024 * 1024 * 1024;

/// No body is longer than `max_body`.
pub(super) fn read(section: &mut Section<'_>, folder: &Path, max_body: usize) -> Settings {
    let several = section
        .raw("upstream")
        .is_some_and(|value| value.get_ref().is_array());
    let addresses = if several {
        section.filled_list("upstream", "name at least one address", value::upstream)
    } else {
        section
            .require("upstream", value::upstream)
            .map(|one| vec![one])
    };
    let addresses = addresses.unwrap_or_default();
    let ca = section.get("upstream_ca", value::path);
    let pins = if section
        .raw("upstream_pin")
        .is_some_and(|value| value.get_ref().is_array())
    {
        section.filled_list("upstream_pin", "leave the key out", value::fingerprint)
    } else {
        let pin = section.get("upstream_pin", value::fingerprint);
        pin.map(|pin| vec![pin])
    };
    let server_name = section.get("upstream_server_name", value::server_name);
    let keys = [
        ("upstream_ca", ca.is_some()),
        ("upstream_pin", pins.is_some()),
        ("upstream_server_name", server_name.is_some()),
    ];
    let has_https = addresses.is_empty() || addresses.iter().any(Address::is_https);
    for (key, _) in keys.iter().filter(|(_, is_set)| *is_set && !has_https) {
        let fault = Fault::new("no upstream of this app is https");
        section.refuse(key, fault.help("leave the key out, or write https://"));
    }
    if ca.is_some() && pins.is_some() {
        let fault = Fault::new("`upstream_ca` trusts certificates besides this one");
        section.refuse("upstream_pin", fault.help("leave one of the two keys out"));
    }
    let host = section.get("upstream_host", value::host_with_port);
    let preserve_host = section.get("preserve_host", value::boolean);
    if host.is_some() && preserve_host == Some(true) {
        let fault = Fault::new("`preserve_host` says that the browser's Host is sent");
        section.refuse("upstream_host", fault.help("leave one of the two keys out"));
    }
    let buffer_requests = section.get("buffer_requests", |value| {
        let size = value::any_size(value)?;
        if size <= MOST_BUFFERED {
            return Ok(size);
        }
        let fault = Fault::new("the memory for it would be eight times as large");
        Err(fault.help("write \"1GiB\" at most: larger bodies reach the app without a length"))
    });
    let rewriting = Rewriting {
        redirects: section
            .get("rewrite_redirects", value::boolean)
            .unwrap_or(true),
        cookies: section
            .get("secure_cookies", value::boolean)
            .unwrap_or(true),
    };
    let balance = section.get("balance", |value| value::word(value, &BALANCE));
    let is_there = section.raw("health").is_some();
    let health_table = section.table("health");
    let has_empty_health = is_there && health_table.is_empty();
    let health = health(health_table);
    let tolerate = section.list("tolerate", |value| value::word(value, &TOLERATE));
    let mut seconds =
        |key, default| (section.get(key, value::period)).unwrap_or(Duration::from_secs(default));
    Settings {
        addresses,
        balance: balance.unwrap_or_default(),
        buffer_requests: buffer_requests.unwrap_or(0).min(max_body),
        ca: ca.map(|path| folder.join(path)),
        host,
        pins: pins.unwrap_or_default(),
        server_name,
        connect_timeout: seconds("connect_timeout", 5),
        response_timeout: seconds("response_timeout", 60),
        idle_timeout: seconds("upstream_idle_timeout", 60),
        max_age: seconds("upstream_max_age", 5 * 60),
        max_connections: section
            .get("upstream_max_connections", value::count)
            .unwrap_or(256),
        max_tunnels_per_user: section
            .get("max_tunnels_per_user", value::count)
            .unwrap_or(64),
        health,
        has_empty_health,
        tolerate: tolerate.unwrap_or_default(),
        rewriting,
        preserve_header_case: section
            .get("preserve_header_case", value::boolean)
            .unwrap_or(false),
        preserve_host: preserve_host.unwrap_or(true),
    }
}

fn health(mut section: Section<'_>) -> Option<HealthCheck> {
    let is_there = !section.is_empty();
    let path = section.get("path", |value| match value::any_text(value)? {
        "" => Ok(None),
        path => request_target(path).map(Some),
    });
    let interval = section.get("interval", |value| match value::duration(value)? {
        interval if interval < SHORTEST_INTERVAL => {
            Err(Fault::new("that is too often").help("write \"1s\" or more"))
        }
        interval => Ok(interval),
    });
    if is_there && section.raw("path").is_none() {
        let fault = Fault::new("the key `path` is missing");
        let help = "write what to ask the app for, as in path = \"/healthz\"";
        section.refuse_all(fault.help(help));
    }
    Some(HealthCheck {
        path: path??,
        interval: interval.unwrap_or(Duration::from_secs(10)),
    })
}

fn request_target(path: &str) -> Result<Uri, Fault> {
    if !path.starts_with('/') {
        let help = format!("write \"{}\"", meant_path(path));
        return Err(Fault::new("a path begins with /").help(help));
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let uri = path.bytes().all(is_plain).then(|| path.parse().ok());
    uri.flatten().ok_or_else(|| {
        Fault::new("no request can have this path")
            .help("write it as it stands in a request: escape spaces, # and what is not ASCII")
    })
}

/// Of an address, its path; else only the slash was forgotten.
fn meant_path(text: &str) -> String {
    let is_scheme = |scheme: &str| scheme.bytes().all(|byte| byte.is_ascii_alphabetic());
    let after_scheme = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => Some(rest),
        _ => None,
    };
    let rest = after_scheme.unwrap_or(text);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if after_scheme.is_some() || (host.contains(':') && !host.contains('?')) {
        format!("/{path}")
    } else {
        format!("/{text}")
    }
}

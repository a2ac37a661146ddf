//! The keys of `[[app]]` that say where its requests go, and how.

use std::path::Path;
use std::time::Duration;

use super::problem::Fault;
use super::section::Section;
use super::value;
use crate::upstream::{Address, Settings};

pub(super) fn read(section: &mut Section<'_>, folder: &Path) -> Settings {
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
    let https = |address: &Address| matches!(address, Address::Https { .. });
    if ca.is_some() && !addresses.is_empty() && !addresses.iter().any(https) {
        let fault = Fault::new("no upstream of this app is https");
        section.refuse(
            "upstream_ca",
            fault.help("leave the key out, or write https://"),
        );
    }
    let mut seconds =
        |key, default| (section.get(key, value::period)).unwrap_or(Duration::from_secs(default));
    Settings {
        addresses,
        buffer_requests: section.get("buffer_requests", value::any_size).unwrap_or(0),
        ca: ca.map(|path| folder.join(path)),
        connect_timeout: seconds("connect_timeout", 5),
        response_timeout: seconds("response_timeout", 60),
        idle_timeout: seconds("upstream_idle_timeout", 60),
        max_connections: section
            .get("upstream_max_connections", value::count)
            .unwrap_or(256),
        max_tunnels_per_user: section
            .get("max_tunnels_per_user", value::count)
            .unwrap_or(64),
        rewrite_redirects: section
            .get("rewrite_redirects", value::boolean)
            .unwrap_or(true),
        preserve_host: section.get("preserve_host", value::boolean).unwrap_or(true),
    }
}

//! `[[app]] host`: one host name, or a list; a wildcard is all names below one.

use toml::de::DeValue;

use crate::config::section::Section;
use crate::config::value;
use crate::proxy::WildcardLogin;
use crate::request::{HostPattern, Hosts};
use crate::source_text::Fault;

pub(super) fn hosts(section: &mut Section<'_>) -> Hosts {
    let value = section.raw("host");
    let hosts = if value.is_some_and(|value| value.get_ref().is_array()) {
        let fix = "write [\"wiki.example.org\"], or leave the key out of a single app";
        section.filled_list("host", fix, pattern)
    } else {
        section.get("host", pattern).map(|host| vec![host])
    };
    Hosts::new(hosts.unwrap_or_default())
}

/// Whether its wildcards take part in one login for all apps.
pub(super) fn sso_wildcard(section: &mut Section<'_>, hosts: &Hosts) -> WildcardLogin {
    let together = section.get("sso_wildcard", value::boolean).unwrap_or(false);
    let is_single = |host: &HostPattern| host.name().is_some();
    if together && hosts.iter().all(is_single) {
        let fault = Fault::new("`host` has no wildcard");
        section.refuse("sso_wildcard", fault.help("leave this out"));
    }
    if together {
        WildcardLogin::Together
    } else {
        WildcardLogin::Own
    }
}

fn pattern(value: &DeValue<'_>) -> Result<HostPattern, Fault> {
    let written = value::text(value)?;
    match HostPattern::parse(written) {
        Some(pattern) => Ok(pattern),
        None if written.contains('*') => {
            let fault = Fault::new(format!("`{written}` is no wildcard for host names"));
            Err(fault.help("it stands before a whole name, as in \"*.apps.example.org\""))
        }
        None => value::host(value).map(HostPattern::Name),
    }
}

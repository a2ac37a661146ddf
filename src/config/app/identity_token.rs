//! `identity_token` of `[[app]]`.

use http::HeaderName;
use toml::de::DeValue;

use super::identity::{fold, header_name};
use crate::config::section::{Section, kind};
use crate::config::value;
use crate::identity::Headers;
use crate::identity::token::{HEADER, Settings};
use crate::source_text::Fault;

/// `true`, or a table with what differs from the defaults; `identity` are the headers of
/// `[app.identity]`.
pub(super) fn read(section: &mut Section<'_>, identity: &Headers) -> Option<Settings> {
    let settings = match section.raw("identity_token")?.get_ref() {
        DeValue::Boolean(false) => return None,
        DeValue::Boolean(true) => Settings {
            header: HEADER,
            audience: None,
            lifetime: Settings::LIFETIME,
        },
        DeValue::Table(_) => {
            let mut table = section.table("identity_token");
            let header = table.get("header", |value| header(value, identity));
            let audience = table.get("audience", |value| Ok(value::text(value)?.into()));
            let lifetime = table.get("lifetime", lifetime);
            Settings {
                header: header.unwrap_or(HEADER),
                audience,
                lifetime: lifetime.unwrap_or(Settings::LIFETIME),
            }
        }
        other => {
            let fault = Fault::new(format!(
                "expected true, false or a table, not {}",
                kind(other)
            ));
            let help =
                "write true, or { audience = \"wiki\" } with any of header, audience and lifetime";
            section.refuse("identity_token", fault.help(help));
            return None;
        }
    };
    if settings.header == HEADER && is_in(identity, HEADER.as_str()) {
        let fault = Fault::new("the header X-Vestibule-Token is in [app.identity]");
        let help = "leave it out there, or write { header = \"...\" } with another one";
        section.refuse("identity_token", fault.help(help));
    }
    Some(settings)
}

fn header(value: &DeValue<'_>, identity: &Headers) -> Result<HeaderName, Fault> {
    let name = value::text(value)?;
    let folded = fold(name);
    if folded == "authorization" {
        return Err(Fault::new("apps have an Authorization of their own")
            .help("choose another name, or leave the key out for X-Vestibule-Token"));
    }
    if folded.starts_with("x-vestibule-") && !name.eq_ignore_ascii_case(HEADER.as_str()) {
        return Err(
            Fault::new("names that begin with X-Vestibule- are Vestibule's own")
                .help("choose another name, or leave the key out for X-Vestibule-Token"),
        );
    }
    let header = header_name(name, &[])?;
    if header != HEADER && is_in(identity, name) {
        return Err(Fault::new("this header is in [app.identity]").help("choose another name"));
    }
    Ok(header)
}

/// Whether some header of the user has this name, or one that counts as the same.
fn is_in(identity: &Headers, name: &str) -> bool {
    let folded = fold(name);
    identity.names().any(|own| fold(own.as_str()) == folded)
}

fn lifetime(value: &DeValue<'_>) -> Result<std::time::Duration, Fault> {
    let lifetime = value::seconds(value)?;
    if !(Settings::SHORTEST..=Settings::LONGEST).contains(&lifetime) {
        return Err(Fault::new("a token is good for 5 seconds to an hour")
            .help("write \"60s\", or leave the key out"));
    }
    Ok(lifetime)
}

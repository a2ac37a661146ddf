//! Origins of `cross_site_posts` that are not needed, or that others can speak for.

use super::rule::describe;
use super::{BrowsersPort, Finding};
use crate::proxy::AppSettings;

pub(super) fn examine(apps: &[AppSettings], port: BrowsersPort) -> Vec<Finding> {
    let mut findings = Vec::new();
    for app in apps {
        for rule in app.rules.iter() {
            let subject = || format!("app {}, rule {}", app.name, describe(rule));
            for origin in rule.cross_site_posts() {
                let found = of_origin(origin, app, port);
                let finding = found.map(|(message, help)| {
                    let message = format!("`cross_site_posts` names {origin}: {message}");
                    Finding::warning(subject(), message, help).at(rule.line())
                });
                findings.extend(finding);
            }
        }
    }
    findings
}

fn of_origin(
    origin: &str,
    app: &AppSettings,
    port: BrowsersPort,
) -> Option<(&'static str, &'static str)> {
    if is_own(origin, app, port) {
        Some((
            "forms of the app's own pages arrive without it",
            "leave this origin out",
        ))
    } else if is_over_a_network(origin) {
        Some((
            "whoever is on the network between it and its visitors can send forms in its name",
            "write its https:// origin, if the site has one",
        ))
    } else {
        None
    }
}

/// Whether it is of the pages of the app. Where the port is a guess, browsers may use 443 as well.
fn is_own(origin: &str, app: &AppSettings, port: BrowsersPort) -> bool {
    let Some(rest) = origin.strip_prefix("https://") else {
        return false;
    };
    let mut named = app
        .hosts
        .names()
        .filter_map(|host| rest.strip_prefix(host.as_str()));
    named.any(|named| {
        let is_default = named.is_empty() && (port.number == 443 || !port.is_configured);
        is_default || named == format!(":{}", port.number)
    })
}

fn is_over_a_network(origin: &str) -> bool {
    let Some(rest) = origin.strip_prefix("http://") else {
        return false;
    };
    let host = match rest.rsplit_once(':') {
        Some((host, _)) if !rest.ends_with(']') => host,
        _ => rest,
    };
    let is_of_this_machine = host == "localhost" || host == "[::1]" || host.ends_with(".localhost");
    !is_of_this_machine && !host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn found(port: BrowsersPort, origin: &str) -> Vec<String> {
        let text = format!(
            "[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\nname = \"wiki\"\n\
             host = \"wiki.test\"\nupstream = \"http://a:1\"\n[[app.rule]]\npath = \"/a\"\n\
             allow = \"signed-in\"\ncross_site_posts = [\"https://ok.test\", \"{origin}\"]\n"
        );
        let config = Config::parse(&text, "config.toml".as_ref()).unwrap();
        let findings = examine(&config.apps, port);
        let shown = findings
            .into_iter()
            .map(|one| format!("{:?} {}: {}", one.line, one.subject, one.message));
        shown.collect()
    }

    #[test]
    fn own_origins_and_those_that_anybody_can_speak_for_are_warned_of() {
        let port = |number, is_configured| BrowsersPort {
            number,
            is_configured,
        };
        let (listen, public) = (port(8443, false), port(444, true));
        let own = Some("forms of the app's own pages arrive without it");
        let plain = Some("whoever is on the network between");
        for (port, origin, expected) in [
            (listen, "https://idp.test", None),
            (listen, "https://idp.wiki.test", None),
            (listen, "https://wiki.test.evil", None),
            (listen, "https://wiki.test", own),
            (listen, "https://WIKI.test:443", own),
            (listen, "https://wiki.test:8443", own),
            (listen, "https://wiki.test:9443", None),
            (public, "https://wiki.test:444", own),
            (public, "https://wiki.test", None),
            (listen, "http://pay.test", plain),
            (listen, "http://pay.test:8080", plain),
            (listen, "http://wiki.test", plain),
            (listen, "http://[2001:db8::1]:80", plain),
            (listen, "http://localhost:8080", None),
            (listen, "http://idp.localhost", None),
            (listen, "http://127.0.0.1:8080", None),
            (listen, "http://[::1]", None),
        ] {
            let found = found(port, origin);
            assert_eq!(found.len(), expected.iter().len(), "{origin}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                let start = "Some(8) app wiki, rule /a: `cross_site_posts` names http";
                assert!(found.starts_with(start), "{found}");
                assert!(found.contains(expected), "{found}");
            }
        }
    }
}

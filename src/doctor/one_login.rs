//! `[login] host`: what browsers make of it, and what does nothing without it.

use super::Finding;
use super::certificate::{self, Certificate};
use crate::proxy::{AppSettings, WildcardLogin};
use crate::request::{Host, HostPattern};

/// `login` is the host, and its line.
pub(super) fn examine(
    login: Option<&(Host, Option<usize>)>,
    apps: &[AppSettings],
    certificates: &[Certificate],
) -> Vec<Finding> {
    let Some((host, line)) = login else {
        let idle = apps
            .iter()
            .filter(|app| app.sso_wildcard == WildcardLogin::Together);
        return idle.map(no_login).collect();
    };
    let host = HostPattern::Name(host.clone());
    let found = certificate::uncovered(&host, certificates);
    let found =
        found.map(|(message, help)| Finding::warning("[login] host", message, help).at(*line));
    let strangers = apps.iter().filter_map(of_strangers);
    found.into_iter().chain(strangers).collect()
}

/// Names that nobody sells: RFC 2606, RFC 6762, RFC 8375 and what else is usual at home.
const NOT_FOR_SALE: [&str; 9] = [
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "lan",
    "local",
    "localhost",
    "test",
];

/// A wildcard for all of a top-level domain, with the names of other people in it.
fn of_strangers(app: &AppSettings) -> Option<Finding> {
    let of_top = |host: &HostPattern| match host {
        HostPattern::Below(above) => {
            let above = above.as_str();
            !above.contains('.') && !NOT_FOR_SALE.contains(&above)
        }
        HostPattern::Name(_) => false,
    };
    let mut hosts = app.hosts.iter();
    let host = hosts.find(|host| !app.sso_wildcard.is_apart(host) && of_top(host))?;
    let message = format!(
        "{host} takes part in the one login: whoever has a name below it can receive the codes of \
         its visitors"
    );
    let help = "leave out `sso_wildcard`, or write a wildcard whose names are all yours";
    Some(Finding::warning(format!("app {}", app.name), message, help).at(app.line))
}

fn no_login(app: &AppSettings) -> Finding {
    let message = "`sso_wildcard` does nothing: each host has a login of its own";
    let help = "write `host` in [login] for one login for all apps, or leave this out";
    Finding::warning(format!("app {}", app.name), message, help).at(app.line)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_wildcard_has_nothing_to_take_part_in_without_a_login_for_all() {
        let found = |login: &str, app: &str| {
            let text = format!(
                "[login]\n{login}\n[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\n\
                 host = [\"wiki.test\", \"*.wiki.test\"]\n{app}\nupstream = \"http://a:1\"\n"
            );
            let config = Config::parse(&text, Path::new("x.toml")).unwrap();
            let login = config.login_host.clone().map(|host| (host, Some(2)));
            examine(login.as_ref(), &config.apps, &[]).len()
        };
        assert_eq!(found("", "sso_wildcard = true"), 1);
        assert_eq!(found("", "sso_wildcard = false"), 0);
        let uncovered = 1;
        let login = "host = \"login.test\"";
        assert_eq!(found(login, "sso_wildcard = true"), uncovered);
        assert_eq!(found(login, ""), uncovered);
    }

    #[test]
    fn a_wildcard_in_the_one_login_is_for_names_of_ones_own() {
        for (host, app, expected) in [
            ("*.org", "sso_wildcard = true", Some("*.org takes part")),
            ("*.org", "", None),
            ("*.example.org", "sso_wildcard = true", None),
            ("*.lan", "sso_wildcard = true", None),
        ] {
            let text = format!(
                "[login]\nhost = \"login.test\"\n[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\n\
                 host = \"{host}\"\n{app}\nupstream = \"http://a:1\"\n"
            );
            let config = Config::parse(&text, Path::new("x.toml")).unwrap();
            let found = config.apps.iter().find_map(of_strangers);
            let message = found.as_ref().map(|found| &*found.message);
            assert_eq!(message.is_some(), expected.is_some(), "{host} {app}");
            let starts = |expected| message.is_some_and(|it| it.starts_with(expected));
            assert!(expected.is_none_or(starts), "{message:?}");
        }
    }
}

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
    found.into_iter().collect()
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
}

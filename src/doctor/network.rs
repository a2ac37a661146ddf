//! Networks that let in nobody, or more than was meant.

use super::Finding;
use super::rule::describe;
use crate::access::{Allow, Rule};
use crate::forwarded::TrustedSources;
use crate::proxy::AppSettings;
use crate::request::Networks;

pub(super) fn examine(apps: &[AppSettings], trusted: &TrustedSources) -> Vec<Finding> {
    let proxies = Networks::new(trusted.networks().to_vec());
    let mut findings = Vec::new();
    for app in apps {
        let subject = format!("app {}", app.name);
        if are_of_proxies(&app.networks, &proxies) {
            let (message, help) = OF_PROXIES;
            findings.push(Finding::warning(subject, message, help).at(app.line));
        }
        for rule in app.rules.iter() {
            let subject = || format!("app {}, rule {}", app.name, describe(rule));
            let found = of_rule(rule, app, &proxies);
            let findings_of_rule =
                found.map(|(message, help)| Finding::warning(subject(), message, help));
            findings.extend(findings_of_rule.map(|finding| finding.at(rule.line())));
        }
    }
    findings
}

/// Whoever comes from there is taken for a proxy, and who is beyond it counts.
const OF_PROXIES: (&str, &str) = (
    "its `networks` are all in `trusted_proxies` of [server]: it lets nobody in",
    "name only the proxies themselves in `trusted_proxies`",
);

fn are_of_proxies(networks: &Networks, proxies: &Networks) -> bool {
    !networks.are_any() && !proxies.are_any() && networks.are_within(proxies)
}

fn of_rule(
    rule: &Rule,
    app: &AppSettings,
    proxies: &Networks,
) -> Option<(&'static str, &'static str)> {
    let networks = rule.networks();
    if are_of_proxies(networks, proxies) {
        Some(OF_PROXIES)
    } else if !networks.overlap(&app.networks) {
        Some((
            "it lets nobody in: its `networks` and those of the app have no address in common",
            "take one of the two wider, or leave one of them out",
        ))
    } else if *rule.allow() == Allow::Everyone && !networks.are_any() {
        Some((
            "it lets everybody of these networks in without a login, and everybody whose \
             connection comes from there: by NAT, a VPN, or a proxy that is not in \
             `trusted_proxies`",
            "leave `everyone` out, so that it asks for a login, too, if that is more than you mean",
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The findings of an app with these keys and rules.
    fn found(server: &str, keys: &str, allow: &str) -> Vec<String> {
        let text = format!(
            "[server]\n{server}\n[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\nname = \"wiki\"\n\
             upstream = \"http://a:1\"\n{keys}\n[[app.rule]]\npath = \"/a\"\nallow = {allow}\n"
        );
        let config = Config::parse(&text, "config.toml".as_ref()).unwrap();
        let findings = examine(&config.apps, &config.trusted_proxies);
        let shown = findings
            .into_iter()
            .map(|one| format!("{:?} {}: {}", one.line, one.subject, one.message));
        shown.collect()
    }

    #[test]
    fn sec_41_networks_that_let_in_nobody_or_too_many_are_warned_of() {
        let proxies = "trusted_proxies = [\"10.0.0.0/8\"]";
        for (server, keys, allow, expected) in [
            ("", "", "{ networks = [\"10.0.0.0/8\"] }", None),
            ("", "networks = [\"::1\"]", "\"everyone\"", None),
            (
                "",
                "",
                "{ everyone = true, networks = [\"10.0.0.0/8\"] }",
                Some("Some(10) app wiki, rule /a: it lets everybody of these networks in"),
            ),
            (
                proxies,
                "networks = [\"10.1.0.0/16\", \"10.2.0.1\"]",
                "\"signed-in\"",
                Some("Some(6) app wiki: its `networks` are all in `trusted_proxies`"),
            ),
            (
                proxies,
                "networks = [\"10.1.0.0/16\", \"192.0.2.0/24\"]",
                "\"signed-in\"",
                None,
            ),
            (
                proxies,
                "",
                "{ networks = [\"10.0.0.0/8\"] }",
                Some("Some(10) app wiki, rule /a: its `networks` are all in `trusted_proxies`"),
            ),
            (
                "",
                "networks = [\"192.0.2.0/24\"]",
                "{ networks = [\"10.0.0.0/8\"] }",
                Some("Some(10) app wiki, rule /a: it lets nobody in: its `networks` and those"),
            ),
        ] {
            let found = found(server, keys, allow);
            assert_eq!(found.len(), expected.iter().len(), "{found:?}");
            let starts = found.iter().zip(expected);
            assert!(
                starts
                    .into_iter()
                    .all(|(found, start)| found.starts_with(start)),
                "{found:?}"
            );
        }
    }
}

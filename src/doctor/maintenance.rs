//! Whom maintenance is to spare, and does not.

use super::Finding;
use super::named::{Named, Unknown};
use crate::auth::users_file::Users;
use crate::proxy::AppSettings;

/// Without `users`, which cannot be read, nobody knows who is missing.
pub(super) fn examine(apps: &[AppSettings], users: Option<&Users>) -> Vec<Finding> {
    let Some(users) = users else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for app in apps {
        let exempt = &app.maintenance.exempt;
        let named = [Named::Groups(&exempt.groups), Named::Users(&exempt.users)];
        let named = named.into_iter().filter(|named| !named.is_empty());
        let unknown: Vec<_> = named.map(|named| named.unknown(users)).collect();
        let is_all = |unknown: &Option<Unknown>| unknown.as_ref().is_some_and(|it| it.is_all);
        let nobody = if unknown.iter().all(is_all) {
            ": it lets nobody in"
        } else {
            ""
        };
        for unknown in unknown.into_iter().flatten() {
            let finding = Finding::warning(
                format!("app {}, maintenance_allow", app.name),
                format!("{}{nobody}", unknown.message),
                unknown.help("`maintenance_allow`"),
            );
            findings.push(finding.at(app.line));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::doctor::named::testing;

    #[test]
    fn whom_maintenance_spares_in_vain_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let users = testing::users(&folder);
        for (who, expected) in [
            (
                "{ groups = [\"admins\"], users = [\"ada\", \"JÜRGEN\"] }",
                &[][..],
            ),
            (
                "{ groups = [\"admin\"] }",
                &["no user is in the group \"admin\": it lets nobody in; did you mean \"admins\"?"],
            ),
            (
                "{ groups = [\"staff\"], users = [\"ada\"] }",
                &[
                    "no user is in the group \"staff\"; add \"staff\" to the `groups` of somebody in \
                     the users file, or correct `maintenance_allow`",
                ],
            ),
            (
                "{ groups = [\"staff\"], users = [\"zoe\"] }",
                &[
                    "no user is in the group \"staff\": it lets nobody in; add \"staff\" to the \
                     `groups` of somebody in the users file, or correct `maintenance_allow`",
                    "there is no user \"zoe\": it lets nobody in; do `vestibule user add zoe`, or \
                     correct `maintenance_allow`",
                ],
            ),
        ] {
            let text = format!(
                "[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\nname = \"wiki\"\n\
                 upstream = \"http://a:1\"\nmaintenance_allow = {who}\n"
            );
            let config = Config::parse(&text, "config.toml".as_ref()).unwrap();
            assert_eq!(examine(&config.apps, None), [], "{who}");
            let found = examine(&config.apps, Some(&users));
            let shown: Vec<_> = found
                .iter()
                .map(|one| format!("{}; {}", one.message, one.help))
                .collect();
            assert_eq!(shown, expected, "{who}");
            for finding in &found {
                assert_eq!(finding.subject, "app wiki, maintenance_allow");
                assert_eq!(finding.line, Some(4));
            }
        }
    }
}

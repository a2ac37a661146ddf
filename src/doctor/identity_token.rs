//! Identity tokens: the keys that sign them, and whom they name.

use std::collections::HashMap;
use std::io;

use super::Finding;
use super::permission::Perspective;
use crate::identity::token::{KeySource, KeysError};
use crate::proxy::AppSettings;

pub(super) fn examine(
    keys: &KeySource,
    apps: &[AppSettings],
    perspective: Perspective,
) -> Vec<Finding> {
    let with_token = || apps.iter().filter(|app| app.identity.token().is_some());
    if with_token().next().is_none() {
        return Vec::new();
    }
    let unusable = keys.examine().err();
    let unusable = unusable.filter(|error| !is_of_others(error, perspective));
    let unusable = unusable.map(|error| {
        let subject = error.path().display().to_string();
        Finding::error(subject, error.message(), error.fix())
    });
    let found = with_token().filter_map(anybodys);
    unusable
        .into_iter()
        .chain(found)
        .chain(mixed_up(apps))
        .collect()
}

/// The service may read what whoever checks may not.
fn is_of_others(error: &KeysError, perspective: Perspective) -> bool {
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    perspective == Perspective::Person
        && matches!(error, KeysError::Io(_, error) if is_denied(error))
}

/// An audience that the client chooses says nothing.
fn anybodys(app: &AppSettings) -> Option<Finding> {
    let token = app.identity.token()?;
    if !app.hosts.are_any() || token.audience.is_some() {
        return None;
    }
    let message = "its identity tokens are for whatever host a client asks for (`aud`)";
    let help = "write `host`, or identity_token = { audience = \"...\" }";
    Some(Finding::warning(format!("app {}", app.name), message, help).at(app.line))
}

/// Apps of one host have one audience there, and where paths are stripped the rest of a token may be
/// the same, too: what one of them gets would do for the other.
fn mixed_up(apps: &[AppSettings]) -> Vec<Finding> {
    let mut with = HashMap::<_, Vec<&AppSettings>>::new();
    for app in apps {
        let Some(token) = app.identity.token() else {
            continue;
        };
        for host in app.hosts.iter() {
            with.entry((host, &token.audience)).or_default().push(app);
        }
    }
    let mut findings = Vec::new();
    for app in apps.iter().filter(|app| app.part.stripped().is_some()) {
        let Some(token) = app.identity.token() else {
            continue;
        };
        let mut others = app
            .hosts
            .iter()
            .flat_map(|host| &with[&(host, &token.audience)]);
        if let Some(other) = others.find(|other| other.name != app.name) {
            let message = format!(
                "its identity tokens could be shown to the app `{}` of the same host: both have the \
                 same `aud`, and `strip_path` takes off what tells them apart",
                other.name
            );
            let help = "write identity_token = { audience = \"...\" }, another one for each app";
            let finding = Finding::warning(format!("app {}", app.name), message, help);
            findings.push(finding.at(app.line));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn found(keys: &KeySource, apps: &str) -> Vec<String> {
        let text = format!("[tls]\ncert = \"c\"\nkey = \"k\"\n{apps}");
        let config = Config::parse(&text, Path::new("x.toml")).unwrap();
        let findings = examine(keys, &config.apps, Perspective::Service);
        findings
            .into_iter()
            .map(|it| format!("{} {}", it.message, it.help))
            .collect()
    }

    fn app(keys: &str) -> String {
        format!("[[app]]\n{keys}\nupstream = \"http://a:1\"\n")
    }

    #[test]
    fn an_audience_that_the_client_chooses_is_told() {
        let found = |keys: &str| found(&KeySource::Memory, &app(keys)).len();
        assert_eq!(found("identity_token = true"), 1);
        assert_eq!(found("identity_token = false"), 0);
        assert_eq!(found("identity_token = { audience = \"wiki\" }"), 0);
        assert_eq!(found("identity_token = true\nhost = \"wiki.test\""), 0);
    }

    #[test]
    fn apps_whose_tokens_could_be_mixed_up_are_told() {
        let found = |first: &str, second: &str| {
            let app = |path: &str, keys: &str| {
                app(&format!("host = \"a.test\"\npath = \"{path}\"\n{keys}"))
            };
            found(
                &KeySource::Memory,
                &(app("/a/", first) + &app("/b/", second)),
            )
            .len()
        };
        let (on, stripped) = (
            "identity_token = true",
            "identity_token = true\nstrip_path = true",
        );
        let own = "identity_token = { audience = \"b\" }\nstrip_path = true";
        assert_eq!(found(on, on), 0, "the path is another one");
        assert_eq!(found(stripped, on), 1);
        assert_eq!(found(stripped, stripped), 2);
        assert_eq!(found(stripped, own), 0);
        assert_eq!(found(own, own), 2);
        assert_eq!(found(stripped, "strip_path = true"), 0);
    }

    #[test]
    fn sec_79_keys_that_cannot_be_used_are_told_where_somebody_uses_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let keys = KeySource::File(path.clone());
        let on = app("identity_token = true\nhost = \"wiki.test\"");
        assert_eq!(found(&keys, &on), [""; 0], "they are made at the start");
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let damaged = found(&keys, &on);
        assert!(damaged[0].contains("is damaged put a copy"), "{damaged:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(found(&keys, &on)[0].contains("chmod 600"));
        assert_eq!(found(&keys, &app("host = \"wiki.test\"")), [""; 0]);
    }
}

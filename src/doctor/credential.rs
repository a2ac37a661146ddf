//! What programs show in place of a session, and what becomes of it.

use super::Finding;
use crate::proxy::AppSettings;
use crate::session::Backend;

pub(super) fn examine(apps: &[AppSettings], backend: &Backend) -> Vec<Finding> {
    let takes = apps.iter().find(|app| app.credentials.tokens);
    let in_memory = takes.filter(|_| matches!(backend, Backend::Memory));
    let lost = |app: &AppSettings| {
        let message = "`tokens` with `store = \"memory\"` in [session]: all API tokens are gone after \
                       a restart, and each program needs another one";
        let help = "leave `store` out: tokens are then kept in a file, as hashes";
        Finding::warning(format!("app {}", app.name), message, help).at(app.line)
    };
    in_memory.map(lost).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn tokens_that_a_restart_ends_are_warned_of_once() {
        for (session, app, expected) in [
            ("store = \"memory\"", "tokens = true", 1),
            ("store = \"memory\"", "basic = true", 0),
            ("", "tokens = true", 0),
        ] {
            let text = format!(
                "[session]\n{session}\n[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\nhost = \"a.test\"\n\
                 {app}\nupstream = \"http://a:1\"\n[[app]]\nhost = \"b.test\"\n{app}\n\
                 upstream = \"http://b:1\"\n"
            );
            let config = Config::parse(&text, Path::new("x.toml")).unwrap();
            let found = examine(&config.apps, &config.session.backend);
            assert_eq!(found.len(), expected, "{session} {app}: {found:?}");
        }
    }
}

//! `[login] host`: one login for all apps.

use super::section::Section;
use super::value;
use crate::proxy::AppSettings;
use crate::request::Host;
use crate::source_text::Fault;

/// A host that no app has; `""` is none. Everything that a login leads to is on a host of the
/// configuration, so each app has to have one (SEC-62).
pub(super) fn read(login: &mut Section<'_>, apps: &[AppSettings]) -> Option<Host> {
    let host = login.get("host", |value| match value::any_text(value)? {
        "" => Ok(None),
        _ => value::host(value).map(Some),
    });
    let host = host.flatten()?;
    let names = |app: &&AppSettings| app.hosts.names().any(|name| *name == host);
    if let Some(app) = apps.iter().find(names) {
        let fault = Fault::new(format!("the app `{}` has this host", app.name));
        let help = "no app runs where passwords are typed: give the login a host of its own";
        login.refuse("host", fault.help(help));
    }
    if let Some(app) = apps.iter().find(|app| app.hosts.are_any()) {
        let fault = Fault::new(format!("the app `{}` has no `host`", app.name));
        let help = "one login is for hosts that are known: name those of the app";
        login.refuse("host", fault.help(help));
    }
    Some(host)
}

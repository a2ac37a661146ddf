//! `[login] users`: where local users live.

use std::path::Path;

use super::section::Section;
use super::value;
use crate::auth::UsersHome;
use crate::source_text::Fault;

/// Only a store that nodes share has room for users.
pub(super) fn read(login: &mut Section<'_>, session: &mut Section<'_>, folder: &Path) -> UsersHome {
    let file = login.get("users_file", value::path);
    let file = file.map(|path| folder.join(path));
    let is_store = login.get("users", |value| {
        value::word(value, &[("file", false), ("store", true)])
    });
    if is_store != Some(true) {
        return UsersHome::File(file.unwrap_or_else(|| folder.join("users.toml")));
    }
    let store = session.raw("store");
    if store.and_then(|store| store.get_ref().as_str()) != Some("redis") {
        let fault = Fault::new("sessions are not in a store that has room for users");
        let help = "write store = \"redis\" in [session], or users = \"file\"";
        login.refuse("users", fault.help(help));
    }
    UsersHome::Store { first: file }
}

//! `maintenance` and `maintenance_allow`: apps that are closed, and for whom they are not.

use super::rule::{group, user};
use crate::access::UserNames;
use crate::config::section::Section;
use crate::config::value;
use crate::proxy::{Exempt, MaintenanceSettings, Sentence};
use crate::source_text::Fault;

const NOBODY: &str = "leave the key out, or write { groups = [\"admins\"] }";

pub(super) fn read(section: &mut Section<'_>) -> MaintenanceSettings {
    let sentence = section.get("maintenance", |value| {
        let text = value::any_text(value)?;
        if text.is_empty() {
            return Ok(None);
        }
        let sentence = Sentence::parse(text);
        sentence
            .map(Some)
            .map_err(|no| Fault::new(no.to_string()).help("write a sentence or two"))
    });
    let is_table =
        (section.raw("maintenance_allow")).is_some_and(|value| value.get_ref().is_table());
    let mut who = section.table("maintenance_allow");
    let groups = who.filled_list("groups", NOBODY, group);
    let users = who.filled_list("users", NOBODY, user);
    if is_table && who.is_empty() {
        who.refuse_all(Fault::new("nobody is named").help(NOBODY));
    }
    MaintenanceSettings {
        sentence: sentence.flatten(),
        exempt: Exempt {
            groups: groups.unwrap_or_default(),
            users: UserNames::new(users.unwrap_or_default()),
        },
    }
}

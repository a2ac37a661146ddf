//! The users in a TOML document, changed so that its comments and its order stay.

use std::borrow::Cow;

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

use super::{EditError, NewUser, new_id};
use crate::principal::user_name::{canonical, spelling};
use crate::source_text::nearest;

pub(super) fn insert(document: &mut DocumentMut, user: &NewUser<'_>) -> Result<(), EditError> {
    let mut table = Table::new();
    table.insert("password", value(user.password.as_str()));
    if !user.groups.is_empty() {
        table.insert("groups", value(user.groups.iter().collect::<Array>()));
    }
    if let Some(email) = user.email {
        table.insert("email", value(email));
    }
    if user.disabled {
        table.insert("disabled", value(true));
    }
    let id = user.id.map_or_else(new_id, |id| Ok(id.to_owned()))?;
    table.insert("id", value(id));
    let users = document.entry("user").or_insert_with(|| {
        let mut users = Table::new();
        users.set_implicit(true);
        Item::Table(users)
    });
    if let Some(users) = users.as_table_like_mut() {
        let name = spelling(user.name).unwrap_or(Cow::Borrowed(user.name));
        users.insert(&name, Item::Table(table));
    }
    Ok(())
}

/// The name in the file of whoever `name` names.
pub(super) fn find(document: &DocumentMut, name: &str) -> Option<String> {
    let wanted = canonical(name)?;
    let users = document.get("user")?.as_table_like()?;
    users
        .iter()
        .map(|(stored, _)| stored)
        .find(|stored| canonical(stored).as_deref() == Some(&*wanted))
        .map(str::to_owned)
}

pub(super) fn user_mut<'d>(
    document: &'d mut DocumentMut,
    name: &str,
) -> Result<&'d mut dyn TableLike, EditError> {
    let stored = find(document, name);
    let names: Vec<_> = document
        .get("user")
        .and_then(Item::as_table_like)
        .into_iter()
        .flat_map(TableLike::iter)
        .map(|(name, _)| name.to_owned())
        .collect();
    stored
        .and_then(|stored| document.get_mut("user")?.get_mut(stored))
        .and_then(Item::as_table_like_mut)
        .ok_or_else(|| EditError::NoSuchUser {
            name: name.to_owned(),
            nearest: nearest(name, names.iter().map(String::as_str)).map(str::to_owned),
        })
}

/// Sets a value and keeps the comment behind it.
pub(super) fn set(user: &mut dyn TableLike, key: &str, new: impl Into<toml_edit::Value>) {
    let mut new = new.into();
    match user.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            user.insert(key, Item::Value(new));
        }
    }
}

/// Removes a user and the comment right above. What stands further above, behind an empty line,
/// speaks of the file or of others and moves to the next user.
pub(super) fn remove_table(document: &mut DocumentMut, stored: &str) {
    let Some(users) = document.get_mut("user").and_then(Item::as_table_like_mut) else {
        return;
    };
    let names: Vec<_> = users.iter().map(|(name, _)| name.to_owned()).collect();
    let removed = users.remove(stored);
    let kept = removed
        .as_ref()
        .and_then(Item::as_table)
        .and_then(|table| table.decor().prefix()?.as_str())
        .and_then(|comment| Some(comment[..=comment.rfind("\n\n")?].to_owned()))
        .filter(|comment| !comment.trim().is_empty());
    let Some(kept) = kept else { return };
    let next = names.iter().skip_while(|name| *name != stored).nth(1);
    let next = next
        .and_then(|next| users.get_mut(next))
        .and_then(Item::as_table_mut);
    if let Some(next) = next {
        let own = next.decor().prefix().and_then(|own| own.as_str());
        let joined = format!("{kept}{}", own.unwrap_or("\n"));
        next.decor_mut().set_prefix(joined);
    } else {
        let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing(format!("{kept}{trailing}"));
    }
}

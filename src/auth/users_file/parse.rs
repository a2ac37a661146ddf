//! From TOML to users; finds every problem of a file at once.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Cause;
use super::{KEYS, User, Users, is_email, is_group};
use crate::auth::incarnation::UserId;
use crate::auth::password::StoredHash;
use crate::principal::user_name::{canonical, spelling};
use crate::source_text::{Problem, nearest};

pub(crate) fn parse(text: &str) -> Result<Users, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| {
            let cause = Cause::Syntax(error.message().to_owned());
            let offset = error.span().unwrap_or_default().start;
            cause.of(None).at(text, offset)
        };
        return Err(errors.iter().map(problem).collect());
    }
    let mut reader = Reader {
        text,
        problems: Vec::new(),
        users: BTreeMap::new(),
    };
    for (key, value) in document.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("user", DeValue::Table(table)) => reader.users(table),
            ("user", _) => reader.problem(value.span(), None, Cause::NoTable),
            (other, _) => {
                let cause = Cause::UnknownTable(other.to_owned());
                reader.problem(key.span(), None, cause);
            }
        }
    }
    if reader.problems.is_empty() {
        return Ok(Users(reader.users));
    }
    reader.problems.sort_by_key(Problem::position);
    Err(reader.problems)
}

struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
    users: BTreeMap<String, User>,
}

impl Reader<'_> {
    fn problem(&mut self, span: Range<usize>, user: Option<&str>, cause: Cause) {
        self.problems.push(cause.of(user).at(self.text, span.start));
    }

    fn users(&mut self, table: &DeTable<'_>) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            let Some(canonical) = canonical(name) else {
                self.problem(key.span(), Some(name), Cause::Name);
                continue;
            };
            let DeValue::Table(fields) = value.get_ref() else {
                self.problem(value.span(), Some(name), Cause::NoTable);
                continue;
            };
            if let Some(other) = self.users.get(canonical.as_ref()) {
                let cause = Cause::SameName(other.name.clone());
                self.problem(key.span(), Some(name), cause);
            } else if let Some(user) = self.user(name, key.span(), fields) {
                self.users.insert(canonical.into_owned(), user);
            }
        }
    }

    fn user(&mut self, name: &str, place: Range<usize>, fields: &DeTable<'_>) -> Option<User> {
        let (mut password, mut groups, mut email, mut disabled) = (None, Vec::new(), None, false);
        let mut id = UserId::Unset;
        let problems_before = self.problems.len();
        for (key, value) in fields {
            let found = match (key.get_ref().as_ref(), value.get_ref()) {
                ("password", DeValue::String(text)) => match StoredHash::parse(text) {
                    Ok(hash) => {
                        password = Some(hash);
                        Ok(())
                    }
                    Err(error) => Err(Cause::Hash(error)),
                },
                ("groups", DeValue::Array(items)) => {
                    groups = self.groups(name, items.iter());
                    Ok(())
                }
                ("email", DeValue::String(text)) if is_email(text) => {
                    email = Some(text.to_string());
                    Ok(())
                }
                ("email", DeValue::String(_)) => Err(Cause::Email),
                ("disabled", DeValue::Boolean(value)) => {
                    disabled = *value;
                    Ok(())
                }
                ("id", DeValue::String(text)) => match UserId::parse(text) {
                    Some(parsed) => {
                        id = parsed;
                        Ok(())
                    }
                    None => Err(Cause::Id),
                },
                ("password" | "email" | "id", _) => Err(Cause::Type("a string")),
                ("groups", _) => Err(Cause::Type("a list of strings")),
                ("disabled", _) => Err(Cause::Type("true or false")),
                (other, _) => {
                    let cause = Cause::UnknownKey {
                        key: other.to_owned(),
                        nearest: nearest(other, KEYS),
                    };
                    self.problem(key.span(), Some(name), cause);
                    continue;
                }
            };
            if let Err(cause) = found {
                self.problem(value.span(), Some(name), cause);
            }
        }
        let password_is_given = fields.keys().any(|key| key.get_ref() == "password");
        if !password_is_given {
            self.problem(place, Some(name), Cause::NoPassword);
        }
        if self.problems.len() > problems_before {
            return None;
        }
        Some(User {
            name: spelling(name)?.into_owned(),
            password: password?,
            groups,
            email,
            disabled,
            id,
        })
    }

    fn groups<'a, 'i: 'a>(
        &mut self,
        name: &str,
        items: impl Iterator<Item = &'a Spanned<DeValue<'i>>>,
    ) -> Vec<String> {
        let mut groups = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(group) if is_group(group) => groups.push(group.to_string()),
                DeValue::String(_) => self.problem(item.span(), Some(name), Cause::Group),
                _ => self.problem(item.span(), Some(name), Cause::Type("a string")),
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    #[test]
    fn a_users_file_as_the_documentation_shows_it() {
        let users = parse(&format!(
            "[user.alice]\npassword = \"{HASH}\"\ngroups = [\"admins\", \"Büro 3\"]\n\
             email = \"alice@example.org\"\ndisabled = false\nid = \"e-42\"\n\
             [user.\"Bob@example.org\"]\npassword = \"{HASH}\"\ndisabled = true\n"
        ))
        .unwrap();
        let alice = users.get("Alice").unwrap();
        assert_eq!(alice.name(), "alice");
        assert_eq!(alice.groups(), ["admins", "Büro 3"]);
        assert_eq!(alice.email(), Some("alice@example.org"));
        assert_eq!(alice.password().as_str(), HASH);
        assert!(!alice.disabled());
        assert_eq!(alice.id(), &UserId::Is("e-42".into()));
        let bob = users.get("bob@EXAMPLE.org").unwrap();
        assert_eq!((bob.name(), bob.disabled()), ("Bob@example.org", true));
        assert_eq!((bob.groups().len(), bob.email()), (0, None));
        assert_eq!(bob.id(), &UserId::Unset);
        assert_eq!(users.len(), 2);
        assert_eq!(users.get("bob"), None);
        assert_eq!(parse("# nobody yet\n").unwrap().len(), 0);
    }

    #[test]
    fn every_problem_is_reported_with_its_place_and_mend() {
        let with_hash = |rest: &str| format!("[user.al]\npassword = \"{HASH}\"\n{rest}");
        for (text, expected) in [
            (
                "[users.al]".to_owned(),
                &["1:2: unknown key \"users\"; users are written as `[user.NAME]`"][..],
            ),
            (
                "user = 3".to_owned(),
                &["1:8: not a table; users are written as `[user.NAME]`"],
            ),
            (
                "user.al = 3".to_owned(),
                &["1:11: user \"al\": not a table; users are written as `[user.NAME]`"],
            ),
            (
                "[user.al]".to_owned(),
                &["1:7: user \"al\": no `password`; do `vestibule user passwd al`"],
            ),
            (
                with_hash("emial = \"a@b\""),
                &["3:1: user \"al\": unknown key \"emial\"; did you mean `email`?"],
            ),
            (
                with_hash("x = 1"),
                &["3:1: user \"al\": unknown key \"x\"; a user has `password`, `groups`"],
            ),
            (
                with_hash("email = \"nobody\""),
                &["3:9: user \"al\": no e-mail address"],
            ),
            (
                with_hash("disabled = \"no\""),
                &["3:12: user \"al\": has to be true or false"],
            ),
            (
                with_hash("id = \"\""),
                &["3:6: user \"al\": an id has 1 to 64 letters, digits and any of `-._`"],
            ),
            (
                with_hash("id = 42"),
                &["3:6: user \"al\": has to be a string"],
            ),
            (
                with_hash("groups = \"a\""),
                &["3:10: user \"al\": has to be a list of strings"],
            ),
            (
                with_hash("groups = [\"a,b\", 1, \"\", \"ok\", \"a\\nb\", \" a\"]"),
                &[
                    "3:11: user \"al\": a group is text without `,`",
                    "3:18: user \"al\": has to be a string",
                    "3:21: user \"al\": a group",
                    "3:31: user \"al\": a group",
                    "3:39: user \"al\": a group",
                ],
            ),
            (
                "[user.al]\npassword = \"geheim\"\n[user.bo]\npassword = \"$apr1$a$b\"".to_owned(),
                &[
                    "2:12: user \"al\": the password is not hashed; do `vestibule user passwd al`",
                    "4:12: user \"bo\": Apache MD5 (apr1) password hashes are not supported; do `vestibule user passwd bo`",
                ],
            ),
            (
                with_hash(&format!("[user.AL]\npassword = \"{HASH}\"")),
                &["3:7: user \"AL\": the same name as \"al\""],
            ),
            (
                "[user.\"a  b\"]".to_owned(),
                &["1:7: user \"a  b\": no valid name"],
            ),
            ("[user.al".to_owned(), &["1:9: "]),
            (
                with_hash(&format!("password = \"{HASH}\"")),
                &["3:1: duplicate key"],
            ),
        ] {
            let problems = parse(&text).expect_err(&text);
            let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), expected.len(), "{text}: {found:#?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{found}, expected {expected}");
            }
        }
    }
}

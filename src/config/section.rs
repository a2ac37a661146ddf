//! Reads one table of the file, key by key.
//!
//! A derived `Deserialize` stops at the first mistake; this reader goes on, so that an operator
//! sees all of them at once. A key is known because somebody asked for it: there is no second
//! list of keys that could fall behind, and [`Section`] reports at its end what nobody asked for.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problems;
use crate::source_text::Fault;
use crate::source_text::nearest;

/// One table: `[session]`, or one of several `[[app]]`.
pub(super) struct Section<'a> {
    problems: &'a Problems<'a>,
    /// As in `server.timeouts`; empty for the whole file.
    path: String,
    /// Written with two brackets.
    repeated: bool,
    /// `None` when the file does not have it: then everything is default.
    table: Option<&'a DeTable<'a>>,
    at: Option<Range<usize>>,
    asked: Vec<&'static str>,
    missing: Vec<&'static str>,
    /// Any key goes, as in `[app.identity]`.
    open: bool,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a DeTable<'a>, problems: &'a Problems<'a>) -> Self {
        Self {
            problems,
            path: String::new(),
            repeated: false,
            table: Some(table),
            at: None,
            asked: Vec::new(),
            missing: Vec::new(),
            open: false,
        }
    }

    /// The value of a key. `None` when it is absent, and when it is wrong: then the problem is
    /// noted, and any default will do to go on with.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Option<T> {
        let value = self.raw(key)?;
        match parse(value.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(fault) => {
                self.refuse_at(value.span(), key, fault);
                None
            }
        }
    }

    /// As [`get`](Self::get), for a key without a default.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Option<T> {
        if self.raw(key).is_none() {
            self.missing.push(key);
        }
        self.get(key, parse)
    }

    /// A list, each member judged for itself; naming one twice is a mistake.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: &'static str,
        mut parse: impl FnMut(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let value = self.raw(key)?;
        let Some(members) = value.get_ref().as_array() else {
            let fault = Fault::new(format!("expected a list, not {}", kind(value.get_ref())));
            self.refuse_at(value.span(), key, fault.help("put it in [ and ]"));
            return None;
        };
        let mut list = Vec::new();
        for member in members {
            match parse(member.get_ref()) {
                Ok(parsed) if list.contains(&parsed) => {
                    self.refuse_at(member.span(), key, Fault::new("this is named twice"));
                }
                Ok(parsed) => list.push(parsed),
                Err(fault) => self.refuse_at(member.span(), key, fault),
            }
        }
        Some(list)
    }

    /// A list that makes no sense without members.
    pub(super) fn filled_list<T: PartialEq>(
        &mut self,
        key: &'static str,
        fix: &str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let list = self.list(key, parse);
        let value = self.raw(key)?;
        if value
            .get_ref()
            .as_array()
            .is_some_and(|list| list.is_empty())
        {
            self.refuse(key, Fault::new("the list is empty").help(fix));
        }
        list
    }

    /// The value as it stands in the file.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table?.get(key)
    }

    /// A table within this one.
    pub(super) fn table(&mut self, key: &'static str) -> Self {
        let value = self.raw(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        let child = self.child(key, false, table, value.map(Spanned::span));
        if let (Some(value), None) = (value, table) {
            let fault = Fault::new(format!("expected one table, not {}", kind(value.get_ref())));
            let help = format!("begin it with {}", child.title());
            self.refuse_at(value.span(), key, fault.help(help));
        }
        child
    }

    /// The tables of a `[[list]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.raw(key) else {
            return Vec::new();
        };
        let single = std::slice::from_ref(value);
        let members = value.get_ref().as_array().map_or(single, |list| list);
        let mut tables = Vec::new();
        for member in members {
            let table = member.get_ref().as_table();
            let child = self.child(key, true, table, Some(member.span()));
            if table.is_none() || value.get_ref().is_table() {
                let fault = Fault::new(format!(
                    "expected a list of tables, not {}",
                    kind(member.get_ref())
                ));
                let help = format!("begin each with {}, two brackets", child.title());
                self.refuse_at(member.span(), key, fault.help(help));
            }
            tables.push(child);
        }
        tables
    }

    /// Every key and value in the order of the file, for a table whose keys are free.
    pub(super) fn entries(&mut self) -> Option<Vec<(Spanned<&'a str>, &'a Spanned<DeValue<'a>>)>> {
        self.open = true;
        let mut entries: Vec<_> = (self.table?.iter())
            .map(|(key, value)| (Spanned::new(key.span(), key.get_ref().as_ref()), value))
            .collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        Some(entries)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_none_or(toml::map::Map::is_empty)
    }

    /// Notes that the value of `key` does not go with something else.
    pub(super) fn refuse(&self, key: &str, fault: Fault) {
        let value = self.table.and_then(|table| table.get(key));
        match value {
            Some(value) => self.refuse_at(value.span(), key, fault),
            None => self.refuse_all(fault),
        }
    }

    pub(super) fn refuse_at(&self, at: Range<usize>, key: &str, fault: Fault) {
        let name = format!("{} {key}", self.title());
        self.problems.push(Some(at), fault.of(name.trim_start()));
    }

    /// Notes that the section as a whole is wrong.
    pub(super) fn refuse_all(&self, fault: Fault) {
        self.problems.push(self.at.clone(), self.named(fault));
    }

    /// The line on which a key is; `None` when it is left out.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        let value = self.table?.get(key)?;
        Some(self.problems.line(&value.span()))
    }

    /// The line on which the section begins.
    pub(super) fn line(&self) -> usize {
        self.at.as_ref().map_or(1, |at| self.problems.line(at))
    }

    fn child(
        &self,
        key: &str,
        repeated: bool,
        table: Option<&'a DeTable<'a>>,
        at: Option<Range<usize>>,
    ) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self {
            problems: self.problems,
            path: format!("{}{dot}{key}", self.path),
            repeated,
            table,
            at,
            asked: Vec::new(),
            missing: Vec::new(),
            open: false,
        }
    }

    fn named(&self, fault: Fault) -> Fault {
        match self.title() {
            root if root.is_empty() => fault,
            title => fault.of(title),
        }
    }

    /// The section as its header writes it.
    fn title(&self) -> String {
        match (self.path.as_str(), self.repeated) {
            ("", _) => String::new(),
            (path, false) => format!("[{path}]"),
            (path, true) => format!("[[{path}]]"),
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let Some(table) = self.table else {
            if self.at.is_none() && !self.missing.is_empty() {
                let message = format!("the section {} is missing", self.title());
                let help = format!("add it, with {}", quoted(&self.missing));
                self.problems.push(None, Fault::new(message).help(help));
            }
            return;
        };
        let unknown = (table.keys())
            .filter(|key| !self.open && !self.asked.contains(&key.get_ref().as_ref()));
        for key in unknown {
            let name = key.get_ref().as_ref();
            let help = if let Some(near) = nearest(name, self.asked.iter().copied()) {
                // One slip of the pen is one problem.
                self.missing.retain(|missing| *missing != near);
                format!("did you mean `{near}`?")
            } else {
                let mut known = self.asked.clone();
                known.sort_unstable();
                format!("the keys here are {}", quoted(&known))
            };
            let fault = Fault::new(format!("unknown key `{name}`")).help(help);
            self.problems.push(Some(key.span()), self.named(fault));
        }
        for key in &self.missing {
            self.refuse_all(Fault::new(format!("the key `{key}` is missing")));
        }
    }
}

fn quoted(keys: &[&str]) -> String {
    format!("`{}`", keys.join("`, `"))
}

/// What a value is, for people who do not know TOML's words.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

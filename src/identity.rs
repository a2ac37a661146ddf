//! Who a request is for, and the headers that say so to the upstream.

use http::HeaderName;

/// A person as the app is to see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    user: String,
    groups: Vec<String>,
    email: Option<String>,
}

impl Identity {
    pub(crate) fn new(user: String, groups: Vec<String>, email: Option<String>) -> Self {
        Self {
            user,
            groups,
            email,
        }
    }

    /// The stored name, not what was typed (SEC-58).
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    pub(crate) fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    pub(crate) fn is_in_any(&self, groups: &[String]) -> bool {
        self.groups.iter().any(|group| groups.contains(group))
    }
}

/// A part of a header template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Email,
    Groups,
    Session,
    Text(String),
    User,
}

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// A brace that is not closed or not opened.
    Brace,
    /// Something that is not a visible ASCII character.
    NotAscii,
    /// A name in braces that is none of user, groups, email, session.
    UnknownName(String),
}

/// The value of one identity header: text with `{user}` `{groups}` `{email}` `{session}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

impl Template {
    /// Parses `"user={user}"` and the like.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(TemplateError::NotAscii);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let name = rest[at..]
                .strip_prefix('{')
                .and_then(|tail| tail.split_once('}'));
            let (name, tail) = name.ok_or(TemplateError::Brace)?;
            parts.push(match name {
                "email" => Part::Email,
                "groups" => Part::Groups,
                "session" => Part::Session,
                "user" => Part::User,
                unknown => return Err(TemplateError::UnknownName(unknown.to_owned())),
            });
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

/// The `[app.identity]` of one app: header names and what they say.
#[derive(Clone, Debug)]
pub(crate) struct Headers(Vec<(HeaderName, Template)>);

impl Headers {
    pub(crate) fn new(headers: Vec<(HeaderName, Template)>) -> Self {
        Self(headers)
    }
}

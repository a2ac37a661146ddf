//! Texts of the configuration with names in braces, for which each request has its values.

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part<V> {
    Text(String),
    Value(V),
}

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// A brace that is not closed or not opened.
    Brace,
    /// Something that is not a visible ASCII character.
    NotAscii,
    /// A name in braces that is none.
    UnknownName(String),
}

/// The value of one header: text with values in it, as in `user={user}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template<V>(Vec<Part<V>>);

impl<V> Template<V> {
    /// `value` knows the names.
    pub(crate) fn parse(
        text: &str,
        value: impl Fn(&str) -> Option<V>,
    ) -> Result<Self, TemplateError> {
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
            let value = value(name).ok_or_else(|| TemplateError::UnknownName(name.to_owned()))?;
            parts.push(Part::Value(value));
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    pub(crate) fn parts(&self) -> &[Part<V>] {
        &self.0
    }
}

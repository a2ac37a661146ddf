//! The target of a request: what is matched is what is sent.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};

use super::path::{self, push_escape};
use super::{AllowInPath, BadRequest, PathForm, normal_path};

/// The target to judge and to send: path in normal form, query as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target(PathAndQuery);

impl Target {
    /// Normalises the path of `head` (SEC-29 to SEC-31); the query is passed on byte for byte.
    pub(crate) fn parse(head: &Parts, allow: AllowInPath) -> Result<Self, BadRequest> {
        let sent = head.uri.path_and_query().ok_or(BadRequest::Target)?;
        if allow.has(PathForm::AnyBytes) && !sent.as_str().is_ascii() {
            let escaped = escape_raw(sent.as_str(), head.version);
            let escaped = PathAndQuery::from_maybe_shared(escaped);
            return Self::of(&escaped.map_err(|_| BadRequest::Target)?, head, allow);
        }
        Self::of(sent, head, allow)
    }

    fn of(sent: &PathAndQuery, head: &Parts, allow: AllowInPath) -> Result<Self, BadRequest> {
        if !sent
            .query()
            .unwrap_or_default()
            .bytes()
            .all(|b| b.is_ascii_graphic())
        {
            return Err(BadRequest::Query);
        }
        if sent.path() == "*" {
            let options = head.method == Method::OPTIONS && sent.query().is_none();
            return if options {
                Ok(Self(sent.clone()))
            } else {
                Err(BadRequest::Target)
            };
        }
        match normal_path(sent.path(), allow).map_err(BadRequest::Path)? {
            Cow::Borrowed(_) => Ok(Self(sent.clone())),
            Cow::Owned(mut path) => {
                if let Some(query) = sent.query() {
                    path.push('?');
                    path.push_str(query);
                }
                PathAndQuery::from_maybe_shared(path)
                    .map(Self)
                    .map_err(|_| BadRequest::Target)
            }
        }
    }

    /// For what somebody else sends on, and not in its normal form: what else an application may read,
    /// and an error where it could be anything (SEC-95). `head` is that of this target.
    pub(crate) fn as_it_stands(
        head: &Parts,
        allow: AllowInPath,
    ) -> Result<Option<String>, BadRequest> {
        let path = match head.uri.path() {
            plain if plain.is_ascii() => Cow::Borrowed(plain),
            raw => Cow::Owned(escape_raw(raw, head.version)),
        };
        path::as_it_stands(&path, allow).map_err(BadRequest::Path)
    }

    /// The path in normal form: what the rules judge.
    pub(crate) fn path(&self) -> &str {
        self.0.path()
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// The same path with a part of its query, or without; `None` if that is no target.
    pub(crate) fn with_query(&self, query: Option<&str>) -> Option<Self> {
        let text = match query {
            Some(query) => format!("{}?{query}", self.path()),
            None => self.path().to_owned(),
        };
        PathAndQuery::from_maybe_shared(text).ok().map(Self)
    }

    /// The target below the folder `prefix`, as an app gets it that is not told of the folder.
    pub(crate) fn without_prefix(&self, prefix: &str) -> Option<Self> {
        let rest = self.as_str().strip_prefix(prefix)?;
        let text = if rest.starts_with('/') {
            rest.to_owned()
        } else {
            format!("/{rest}")
        };
        PathAndQuery::from_maybe_shared(text).ok().map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Origin form, for the upstream's request line (SEC-10, SEC-14).
    pub(crate) fn into_uri(self) -> Uri {
        Uri::from(self.0)
    }
}

/// Percent-encodes the bytes of a target that are not ASCII, as browsers do (WHATWG URL). Those of
/// HTTP/1.1 need not be UTF-8: each of them is a character here, see [`super::wire`].
pub(crate) fn escape_raw(target: &str, version: Version) -> String {
    let mut escaped = String::with_capacity(target.len() * 2);
    for c in target.chars() {
        match u8::try_from(c) {
            Ok(byte) if byte.is_ascii() => escaped.push(c),
            Ok(byte) if version < Version::HTTP_2 => push_escape(&mut escaped, byte),
            _ => {
                let mut bytes = [0; 4];
                let bytes = c.encode_utf8(&mut bytes).bytes();
                bytes.for_each(|byte| push_escape(&mut escaped, byte));
            }
        }
    }
    escaped
}

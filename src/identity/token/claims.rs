//! What a token says.

use std::fmt::{self, Display};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::principal::{Method, Principal, SourceName};

/// The claims of one token.
pub(super) struct Claims<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    pub(super) user: &'a Principal,
    pub(super) session: Option<&'a dyn Display>,
    /// Seconds since the Unix epoch.
    pub(super) issued: u64,
    pub(super) expires: u64,
    pub(super) method: &'a str,
    pub(super) origin: &'a str,
    pub(super) path: &'a str,
}

impl Claims<'_> {
    pub(super) fn to_json(&self) -> Option<Vec<u8>> {
        let mut json = Vec::with_capacity(512);
        serde_json::to_writer(&mut json, self).ok()?;
        Some(json)
    }
}

impl Serialize for Claims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (identity, context) = (self.user.identity(), self.user.context());
        let mut claims = serializer.serialize_map(None)?;
        claims.serialize_entry("iss", self.issuer)?;
        claims.serialize_entry("aud", self.audience)?;
        claims.serialize_entry("sub", &Text(&Subject(self.user)))?;
        claims.serialize_entry("name", identity.user())?;
        if let Some(email) = identity.email() {
            claims.serialize_entry("email", email)?;
        }
        claims.serialize_entry("groups", identity.groups())?;
        // Nobody has signed in for an API token (SEC-96): an app that asks how or how long ago gets
        // no answer that it could take for one.
        if !context.methods().include(&Method::ApiToken) {
            let methods = context.methods().references();
            if !methods.is_empty() {
                claims.serialize_entry("amr", &methods)?;
            }
            claims.serialize_entry("auth_time", &(context.at().as_millis() / 1000))?;
        }
        if let Some(session) = self.session {
            claims.serialize_entry("sid", &Text(session))?;
        }
        claims.serialize_entry("iat", &self.issued)?;
        claims.serialize_entry("exp", &self.expires)?;
        claims.serialize_entry("htm", self.method)?;
        claims.serialize_entry("htu", &Text(&Target(self.origin, self.path)))?;
        claims.end()
    }
}

/// Written as text.
struct Text<'a, T: Display + ?Sized>(&'a T);

impl<T: Display + ?Sized> Serialize for Text<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// The account, by where it is kept and what it is called there: never by the e-mail, which somebody
/// else may have one day (SEC-82). Without a colon in front, because it is no URI (RFC 7519 §2).
struct Subject<'a>(&'a Principal);

impl Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.0.account();
        let source = match account.source() {
            SourceName::UsersFile => "users-file",
        };
        write!(f, "{source}/{}", account.subject())
    }
}

/// The address without query. `*` is the server as a whole, and has no path (RFC 9112 §3.3).
struct Target<'a>(&'a str, &'a str);

impl Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        f.write_str(if self.1 == "*" { "" } else { self.1 })
    }
}

//! The headers that tell an application who a request is for.

mod template;
pub(crate) mod token;

use std::fmt::{self, Display, Write};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::forwarded;
use crate::principal::{Identity, Principal};

pub(crate) use template::{Part, Template, TemplateError};

/// What a template can say of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Email,
    Groups,
    Session,
    User,
}

impl About {
    pub(crate) const NAMES: [&str; 4] = ["user", "groups", "email", "session"];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "email" => Self::Email,
            "groups" => Self::Groups,
            "session" => Self::Session,
            "user" => Self::User,
            _ => return None,
        })
    }
}

impl Template<About> {
    /// The value for one request; `None` when something that it speaks of is absent (SEC-37).
    fn render(&self, who: &Identity, session: Option<&dyn Display>) -> Option<HeaderValue> {
        if let [Part::Value(About::User)] = self.parts()
            && who.user().bytes().all(is_plain)
        {
            return HeaderValue::from_str(who.user()).ok(); // as nearly all are
        }
        let mut value = String::new();
        for part in self.parts() {
            match part {
                Part::Value(About::Email) => encode(&mut value, who.email()?),
                Part::Value(About::Groups) if who.groups().is_empty() => return None,
                Part::Value(About::Groups) => {
                    for (at, group) in who.groups().iter().enumerate() {
                        if at > 0 {
                            value.push(GROUP_SEPARATOR);
                        }
                        encode(&mut value, group);
                    }
                }
                Part::Value(About::Session) => write!(value, "{}", session?).ok()?,
                Part::Text(text) => value.push_str(text),
                Part::Value(About::User) => encode(&mut value, who.user()),
            }
        }
        HeaderValue::try_from(value).ok()
    }
}

/// Between two groups; no group has it in its name (SEC-40).
pub(crate) const GROUP_SEPARATOR: char = ',';

/// SEC-40: visible ASCII as it is, everything else percent-encoded as UTF-8, and so is the
/// percent sign, so that an upstream can undo it without doubt.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // writing to a String cannot fail
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'%'
}

/// The `[app.identity]` of one app: header names and what they say.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    templates: Vec<(HeaderName, Template<About>)>,
    /// The names as [`fold`] gives them.
    folded: Vec<String>,
    /// Also take out headers by which a client has its method read as another one.
    strip_overrides: bool,
    token: Option<TokenHeader>,
}

/// The identity token beside the headers.
#[derive(Clone)]
enum TokenHeader {
    /// As the configuration has it.
    Configured(token::Settings),
    Issued(Box<token::Issuer>),
}

impl Headers {
    pub(crate) fn new(headers: Vec<(HeaderName, Template<About>)>) -> Self {
        let folded = headers
            .iter()
            .map(|(name, _)| fold(name.as_str()))
            .collect();
        Self {
            templates: headers,
            folded,
            strip_overrides: false,
            token: None,
        }
    }

    /// The same with an identity token, as far as there are settings for one.
    #[must_use]
    pub(crate) fn with_token(mut self, settings: Option<token::Settings>) -> Self {
        if let Some(settings) = settings {
            self.folded.push(fold(settings.header.as_str()));
            self.token = Some(TokenHeader::Configured(settings));
        }
        self
    }

    /// From now on this signer makes the token.
    pub(crate) fn sign_by(&mut self, origins: token::Origins, signer: &Arc<token::Signer>) {
        if let Some(settings) = self.token() {
            let issuer = token::Issuer::new(settings.clone(), origins, Arc::clone(signer));
            self.token = Some(TokenHeader::Issued(Box::new(issuer)));
        }
    }

    pub(crate) fn token(&self) -> Option<&token::Settings> {
        self.token.as_ref().map(|token| match token {
            TokenHeader::Configured(settings) => settings,
            TokenHeader::Issued(issuer) => &issuer.settings,
        })
    }

    /// For an app with rules that name methods: an override would cheat them (SEC-33).
    #[must_use]
    pub(crate) fn strip_overrides(mut self, strip: bool) -> Self {
        self.strip_overrides = strip;
        self
    }

    /// For an app that gets these from us as well, or not at all: the client's go, too.
    #[must_use]
    pub(crate) fn also_strip<'n>(
        mut self,
        names: impl IntoIterator<Item = &'n HeaderName>,
    ) -> Self {
        let folded = names.into_iter().map(|name| fold(name.as_str()));
        self.folded.extend(folded);
        self
    }

    /// Of `[app.identity]`, and that of the token.
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let token = self.token().map(|token| &token.header);
        self.templates.iter().map(|(name, _)| name).chain(token)
    }

    /// Removes every header by which a client could name itself to the upstream (SEC-35).
    ///
    /// Runs on public routes too. `_` and `-` count as equal, and so does everything that is no
    /// letter or digit, because CGI-style servers turn them all into the same variable
    /// (RFC 3875 §4.1.18): `X_Forwarded_User` would pass for `X-Forwarded-User` (SEC-36;
    /// CVE-2026-54763, CVE-2026-88011).
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        let forged = |name: &&HeaderName| self.is_reserved(name.as_str());
        let forged: Vec<_> = headers.keys().filter(forged).cloned().collect();
        for name in forged {
            headers.remove(name);
        }
    }

    /// Says who a request is for: exactly one of each header, or none (SEC-37). `session` is the
    /// key of the session; programs have none. The token is for `request` alone.
    pub(crate) fn inject(
        &self,
        headers: &mut HeaderMap,
        user: &Principal,
        session: Option<&dyn Display>,
        request: token::Request<'_>,
    ) {
        for (name, template) in &self.templates {
            if let Some(value) = template.render(user.identity(), session) {
                headers.insert(name, value);
            }
        }
        if let Some(TokenHeader::Issued(issuer)) = &self.token {
            issuer.set(headers, user, session, request);
        }
    }

    /// Sets the token of a request anew, at whatever time that is asked for; `None` without one.
    pub(crate) fn renewal(
        &self,
        user: &Principal,
        session: Option<&dyn Display>,
        request: token::Request<'_>,
    ) -> Option<impl Fn(&mut HeaderMap) + Send + Sync + use<>> {
        let Some(TokenHeader::Issued(issuer)) = &self.token else {
            return None;
        };
        let (issuer, user) = (issuer.clone(), user.clone());
        let session = session.map(ToString::to_string);
        let (method, path) = (request.method.clone(), request.path.to_owned());
        let authority = request.authority.clone();
        Some(move |headers: &mut HeaderMap| {
            let request = token::Request {
                method: &method,
                authority: &authority,
                path: &path,
            };
            let session = session.as_ref().map(|session| session as &dyn Display);
            issuer.set(headers, &user, session, request);
        })
    }

    /// Whether a client sends what an application may take for one of these headers, although it has
    /// another name, or what has the method read as another one (SEC-33, SEC-36). For whoever replaces
    /// these headers by their names alone.
    pub(crate) fn are_disguised_in(&self, headers: &HeaderMap) -> bool {
        let own = &self.folded[..self.names().count()];
        headers.keys().any(|name| {
            let is_own = || self.names().any(|own| own == name);
            own.iter().any(|own| folds_to(name.as_str(), own)) && !is_own()
        }) || self.strip_overrides && overrides_in(headers).next().is_some()
    }

    fn is_reserved(&self, name: &str) -> bool {
        if self.folded.iter().any(|folded| folds_to(name, folded)) {
            return true;
        }
        // Of the headers that browsers send by themselves, hardly one gets past this line.
        if !matches!(
            name.as_bytes(),
            [b'x' | b'f' | b't', ..] | [b'p', _, _, _, _]
        ) {
            return false;
        }
        let folded = fold(name);
        forwarded::is_reserved(&folded) || (self.strip_overrides && is_override(&folded))
    }
}

/// Removes headers by which a client has its method read as another one (SEC-33).
pub(crate) fn strip_overrides(headers: &mut HeaderMap) {
    let overrides: Vec<_> = overrides_in(headers).cloned().collect();
    for name in overrides {
        headers.remove(name);
    }
}

/// Headers by which a client has its method read as another one.
pub(crate) fn overrides_in(headers: &HeaderMap) -> impl Iterator<Item = &HeaderName> {
    let overrides =
        |name: &&HeaderName| name.as_str().starts_with('x') && is_override(&fold(name.as_str()));
    headers.keys().filter(overrides)
}

fn is_override(folded: &str) -> bool {
    matches!(
        folded,
        "x-http-method-override" | "x-http-method" | "x-method-override"
    )
}

impl fmt::Debug for TokenHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = match self {
            Self::Configured(settings) => settings,
            Self::Issued(issuer) => &issuer.settings,
        };
        settings.fmt(f)
    }
}

/// A header name with everything that is no letter or digit as `-`.
pub(crate) fn fold(name: &str) -> String {
    name.bytes()
        .map(|byte| char::from(fold_byte(byte)))
        .collect()
}

/// Whether that is what [`fold`] gives for a name.
pub(crate) fn folds_to(name: &str, folded: &str) -> bool {
    folded.len() == name.len() && name.bytes().map(fold_byte).eq(folded.bytes())
}

fn fold_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

#[cfg(test)]
mod tests;

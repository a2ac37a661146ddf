//! The identity token: who a request is for, signed, so that an app can tell it from what others
//! send who reach it beside the proxy.
//!
//! A JWT (RFC 7519) by ES256 (RFC 7518 §3.4). It names the one request that it is for, by method
//! and address (`htm` and `htu`, RFC 9449 §4.2): whoever gets hold of it can ask for nothing else
//! with it, and only for a minute.

mod cache;
mod claims;
mod error;
mod key;
mod ring;
mod shared;
mod signer;

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::clock::Clock;
use crate::principal::Principal;
use crate::request::{Authority, Host, Hosts};

use claims::Claims;
pub(crate) use error::KeysError;
pub(crate) use signer::{KeySource, Signer};

/// Where a token is, if the configuration does not say.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-vestibule-token");

/// The name of the file with the keys, in the folder of the sessions.
pub(crate) const FILE: &str = "identity-token-keys.json";

/// The name of the systemd credential that takes its place.
pub(crate) const CREDENTIAL: &str = "identity-token-keys";

/// `identity_token` of an app.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) header: HeaderName,
    /// `aud`; `None` for the origin that a browser asked.
    pub(crate) audience: Option<Box<str>>,
    pub(crate) lifetime: Duration,
}

impl Settings {
    pub(crate) const LIFETIME: Duration = Duration::from_mins(1);
    /// Less is no time for a clock that is a little wrong.
    pub(crate) const SHORTEST: Duration = Duration::from_secs(5);
    /// A key is published for much longer than that after its last signature.
    pub(crate) const LONGEST: Duration = Duration::from_hours(1);
}

/// What a token says of the request that it is for.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    /// Host and port as the browser has them.
    pub(crate) authority: &'a Authority,
    /// As the app gets it: in normal form, and without what `strip_path` takes off.
    pub(crate) path: &'a str,
}

/// Where browsers find us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// Of one login for all apps, and the hosts of this one whose login it is.
    pub(crate) login: Option<(Host, Hosts)>,
    /// Of all hosts, if the configuration has it; else that of `Host`.
    pub(crate) public_port: Option<u16>,
}

/// Makes the tokens of one app.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(super) settings: Settings,
    origins: Origins,
    signer: Arc<Signer>,
}

impl Issuer {
    pub(crate) fn new(settings: Settings, origins: Origins, signer: Arc<Signer>) -> Self {
        Self {
            settings,
            origins,
            signer,
        }
    }

    /// Gives a request its token, and no other.
    pub(super) fn set(
        &self,
        headers: &mut HeaderMap,
        user: &Principal,
        session: Option<&dyn Display>,
        request: Request<'_>,
    ) {
        match self.token(user, session, request) {
            Some(token) => headers.insert(&self.settings.header, token),
            None => headers.remove(&self.settings.header),
        };
    }

    /// The token of one request. `session` is its key; programs have none.
    ///
    /// The times are those of the system's clock, because the app holds them against its own
    /// (REL-08). `None` only where nothing can be signed: an app that insists on a token then
    /// refuses the request.
    fn token(
        &self,
        user: &Principal,
        session: Option<&dyn Display>,
        request: Request<'_>,
    ) -> Option<HeaderValue> {
        let origin = self.origin(request.authority, None);
        let login = self.origins.login.as_ref();
        let login = login.filter(|(_, hosts)| hosts.have(&request.authority.to_host()));
        let login = login.map(|(login, _)| self.origin(request.authority, Some(login)));
        let issued = Clock::wall().as_secs();
        let claims = Claims {
            issuer: login.as_deref().unwrap_or(&origin),
            audience: self.settings.audience.as_deref().unwrap_or(&origin),
            user,
            session,
            issued,
            expires: issued + self.settings.lifetime.as_secs(),
            method: request.method.as_str(),
            origin: &origin,
            path: request.path,
        };
        self.signer.sign(&claims.to_json()?)
    }

    /// Of a host, or of the one that was asked, as browsers write it (RFC 6454 §6.2).
    fn origin(&self, asked: &Authority, host: Option<&Host>) -> String {
        let host = host.map_or_else(|| asked.host(), Host::as_str);
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut origin = String::with_capacity("https://".len() + host.len() + ":65535".len());
        origin.push_str("https://");
        origin.push_str(host);
        origin.make_ascii_lowercase();
        match self.origins.public_port.or(asked.port()) {
            None | Some(443) => {}
            Some(port) => write!(origin, ":{port}").expect("a String takes all"),
        }
        origin
    }
}

#[cfg(test)]
mod tests;

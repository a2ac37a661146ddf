//! What programs show in place of a session, and whose an `Authorization` is: ours goes no further,
//! everything else is the app's (SEC-96).

mod fields;

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use super::Proxy;
use super::app::App;
use crate::auth::api_token::ApiToken;
use crate::auth::callers::Caller;
use crate::auth::credential::{Credential, Refusal};
use crate::auth::throttle::Wait;
use crate::error::RequestError;
use crate::identity;
use crate::portal::{NotSignedIn, RequestContext};
use crate::principal::Principal;
use crate::request::{self, BadRequest, ClientKind};
use crate::session::StoreError;

/// What an app takes from programs, as its configuration says.
#[derive(Clone, Debug, Default)]
pub(crate) struct CredentialSettings {
    /// Whether API tokens open it.
    pub(crate) tokens: bool,
    /// Where they may be besides `Authorization`.
    pub(crate) token_header: Option<HeaderName>,
    /// Whether the passwords of people open it by HTTP Basic.
    pub(crate) basic: bool,
}

impl CredentialSettings {
    pub(crate) fn take_any(&self) -> bool {
        self.tokens || self.basic
    }
}

/// What is looked for in the requests for an app: also for one that takes nothing, because it could
/// use elsewhere what is sent to it by mistake.
pub(crate) struct Credentials {
    settings: CredentialSettings,
    token_headers: Arc<[String]>,
}

/// The `token_header` of all apps, [folded](identity::fold), each name once.
pub(super) fn token_headers<'s>(
    all: impl Iterator<Item = &'s CredentialSettings>,
) -> Arc<[String]> {
    let names = all.filter_map(|settings| settings.token_header.as_ref());
    let folded: BTreeSet<_> = names.map(|name| identity::fold(name.as_str())).collect();
    folded.into_iter().collect()
}

/// What a request shows; it is in none of its fields any more.
pub(crate) enum Shown {
    /// The password of a person, by HTTP Basic. It is the app's if there is a session.
    Password(BasicPassword),
    Token {
        token: ApiToken,
        /// Who sent it, where it came as the password of HTTP Basic.
        user: Option<String>,
    },
}

impl Shown {
    pub(super) fn is_token(&self) -> bool {
        matches!(self, Self::Token { .. })
    }
}

pub(crate) struct BasicPassword {
    /// `None` for what is no such pair.
    pair: Option<NameAndPassword>,
    field: HeaderValue,
}

/// As one text, `name:password`.
struct NameAndPassword {
    text: Zeroizing<Vec<u8>>,
    /// The length of the name, which is UTF-8.
    name: usize,
}

impl NameAndPassword {
    fn new(text: Zeroizing<Vec<u8>>) -> Option<Self> {
        let name = memchr::memchr(b':', &text)?;
        std::str::from_utf8(&text[..name]).ok()?;
        Some(Self { text, name })
    }

    fn name(&self) -> &str {
        std::str::from_utf8(&self.text[..self.name]).unwrap_or_default() // `new` has seen that it is
    }

    fn password(&self) -> &[u8] {
        &self.text[self.name + 1..]
    }
}

/// By what a request is judged.
pub(super) enum By {
    Credential(Credential, Principal),
    /// By its session, if it has one; with an `Authorization` that is the app's then.
    Session(Option<Box<HeaderValue>>),
}

impl Credentials {
    pub(crate) fn new(settings: CredentialSettings, token_headers: Arc<[String]>) -> Self {
        Self {
            settings,
            token_headers,
        }
    }

    /// Takes out of a request what is ours. An error is a request that shows something of ours in a
    /// way that is not taken: it could reach the app in some other reading.
    pub(crate) fn take(&self, headers: &mut HeaderMap) -> Result<Option<Shown>, BadRequest> {
        let takes_passwords = self.settings.basic;
        let authorization = |field: &HeaderValue| fields::authorization(field, takes_passwords);
        let in_authorization = fields::only(headers, &header::AUTHORIZATION, authorization)?;
        let name = self.settings.token_header.as_ref();
        let in_own_header = match name {
            Some(name) => fields::only(headers, name, fields::own_header)?,
            None => None,
        };
        self.check_other_names(headers)?;
        let (shown, name) = match (in_authorization, in_own_header, name) {
            (None, None, _) => return Ok(None),
            (Some(_), Some(_), _) => return Err(BadRequest::Credentials),
            (None, Some(shown), Some(name)) => (shown, name),
            (Some(shown), _, _) | (_, Some(shown), None) => (shown, &header::AUTHORIZATION),
        };
        headers.remove(name);
        Ok(Some(shown))
    }

    /// Refuses a token in the header of another app, and in one that CGI has for the same as the
    /// header of some app: `X_Api_Key` (SEC-36).
    fn check_other_names(&self, headers: &HeaderMap) -> Result<(), BadRequest> {
        if self.token_headers.is_empty() {
            return Ok(());
        }
        let own = self.settings.token_header.as_ref();
        let is_one = |name: &HeaderName| {
            let mut all = self.token_headers.iter();
            own != Some(name) && all.any(|folded| identity::folds_to(name.as_str(), folded))
        };
        let mut others = headers.iter().filter(|(name, _)| is_one(name));
        if others.any(|(_, value)| fields::holds_token(value.as_bytes())) {
            return Err(BadRequest::Credentials);
        }
        Ok(())
    }

    pub(super) fn settings(&self) -> &CredentialSettings {
        &self.settings
    }
}

impl Proxy {
    /// Who sends a request that shows this.
    pub(super) async fn identify_by(
        &self,
        shown: Shown,
        app: &App,
        context: &RequestContext<'_>,
    ) -> Result<By, RequestError> {
        match shown {
            Shown::Token { token, user } => {
                self.identify_by_token(&token, user.as_deref(), app, context)
            }
            Shown::Password(password) => self.identify_by_password(password, context).await,
        }
    }

    fn identify_by_token(
        &self,
        token: &ApiToken,
        user: Option<&str>,
        app: &App,
        context: &RequestContext<'_>,
    ) -> Result<By, RequestError> {
        if !app.credentials().tokens || user.is_some() && is_ambient(context) {
            return Ok(By::Session(None));
        }
        let client = context.client;
        let token = context.last_token.of(token);
        by(self.callers.identify_by_token(token, user, client), context)
    }

    async fn identify_by_password(
        &self,
        password: BasicPassword,
        context: &RequestContext<'_>,
    ) -> Result<By, RequestError> {
        let BasicPassword { pair, field } = password;
        if let Some(shown) = context.shown() {
            // Boxed, as all that is rare: the common way stays small.
            let session = Box::pin(self.callers.peek(Some(shown))).await;
            let session = session.map_err(RequestError::Session)?.into_session();
            if session.is_some() {
                return Ok(By::Session(Some(Box::new(field))));
            }
        }
        if is_ambient(context) {
            return Ok(By::Session(None));
        }
        let pair = pair.ok_or(BadRequest::Credentials)?;
        let basic = self.portal.basic();
        match basic.sign_in(context, pair.name(), pair.password()).await {
            Ok((proven, identity)) => {
                let (account, signed_in) = (proven.account.clone(), Arc::clone(&proven.context));
                let principal = Principal::new(account, identity, signed_in);
                Ok(By::Credential(Credential::Password(proven), principal))
            }
            Err(NotSignedIn::Busy) => Err(RequestError::LoginBusy),
            Err(NotSignedIn::Refused) => by(Err(Refusal::Password), context),
            Err(NotSignedIn::Throttled(Wait(wait))) => Err(RequestError::LoginThrottled(wait)),
            Err(NotSignedIn::Unavailable) => by(Err(Refusal::Unavailable), context),
        }
    }
}

fn by(
    identified: Result<Caller, Refusal>,
    context: &RequestContext<'_>,
) -> Result<By, RequestError> {
    match identified {
        Ok(Caller::Credential(credential, principal)) => Ok(By::Credential(credential, principal)),
        Ok(Caller::Anonymous | Caller::Session(..)) => Ok(By::Session(None)),
        Err(Refusal::Unavailable) => Err(RequestError::Session(StoreError::Unavailable)),
        Err(refusal) => {
            let kind = ClientKind::of(&context.head.headers);
            Err(RequestError::CredentialRefused(refusal, kind))
        }
    }
}

/// Whether a browser may have sent the request: those send what they know for HTTP Basic along with
/// requests of any page.
fn is_ambient(context: &RequestContext<'_>) -> bool {
    let headers = &context.head.headers;
    request::has_fetch_metadata(headers) || has_foreign_origin(headers, context)
}

fn has_foreign_origin(headers: &HeaderMap, context: &RequestContext<'_>) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    origins.any(|origin| !context.authority.is_origin(origin.as_bytes()))
}

#[cfg(test)]
mod tests;

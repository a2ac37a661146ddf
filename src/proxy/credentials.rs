//! What programs show in place of a session, and whose an `Authorization` is: ours goes no further,
//! everything else is the app's (SEC-96).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use super::Proxy;
use super::app::App;
use crate::auth::api_token::{self, ApiToken};
use crate::auth::callers::Caller;
use crate::auth::credential::{Credential, Refusal};
use crate::auth::throttle::Wait;
use crate::error::RequestError;
use crate::portal::{NotSignedIn, RequestContext};
use crate::principal::Principal;
use crate::request::{self, BadRequest, ClientKind};
use crate::secret::Secret;

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

/// What is looked for in the requests for an app.
pub(super) struct Credentials {
    settings: CredentialSettings,
}

/// What a request shows; it is in none of its fields any more.
pub(super) enum Shown {
    /// The password of a person, by HTTP Basic. It is the app's if there is a session.
    Password(Box<BasicPassword>),
    Token {
        token: ApiToken,
        /// Who sent it, where it came as the password of HTTP Basic.
        user: Option<String>,
    },
}

pub(super) struct BasicPassword {
    /// Name and password; `None` for what is no such pair.
    pair: Option<(String, Secret<Vec<u8>>)>,
    field: HeaderValue,
}

/// By what a request is judged.
pub(super) enum By {
    Credential(Credential, Principal),
    /// By its session, if it has one; with an `Authorization` that is the app's then.
    Session(Option<Box<HeaderValue>>),
}

impl Credentials {
    /// `None` where no request can hold anything of ours. Once some app takes tokens, the others
    /// are not to see those that are sent to them by mistake: they could use them there.
    pub(super) fn new(settings: CredentialSettings, some_app_takes_any: bool) -> Option<Box<Self>> {
        some_app_takes_any.then(|| Box::new(Self { settings }))
    }

    /// Takes out of a request what is ours. An error is a request that shows something of ours in a
    /// way that is not taken: it could reach the app in some other reading.
    pub(super) fn take(&self, headers: &mut HeaderMap) -> Result<Option<Shown>, BadRequest> {
        let takes_passwords = self.settings.basic;
        let authorization = |field: &HeaderValue| authorization(field, takes_passwords);
        let in_authorization = only(headers, &header::AUTHORIZATION, authorization)?;
        let name = self.settings.token_header.as_ref();
        let in_own_header = match name {
            Some(name) => only(headers, name, own_header)?,
            None => None,
        };
        let (shown, name) = match (in_authorization, in_own_header, name) {
            (None, None, _) => return Ok(None),
            (Some(_), Some(_), _) => return Err(BadRequest::Credentials),
            (None, Some(shown), Some(name)) => (shown, name),
            (Some(shown), _, _) | (_, Some(shown), None) => (shown, &header::AUTHORIZATION),
        };
        headers.remove(name);
        Ok(Some(shown))
    }

    pub(super) fn settings(&self) -> &CredentialSettings {
        &self.settings
    }
}

/// What is ours in the fields of a name; an error if there is more than one field, and ours among
/// them.
fn only(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&HeaderValue) -> Result<Option<Shown>, BadRequest>,
) -> Result<Option<Shown>, BadRequest> {
    let mut fields = headers.get_all(name).iter();
    let Some(first) = fields.next() else {
        return Ok(None);
    };
    let shown = read(first)?;
    let mut alone = shown.is_none();
    let mut several = false;
    for field in fields {
        several = true;
        alone &= read(field)?.is_none();
    }
    if several && !alone {
        return Err(BadRequest::Credentials);
    }
    Ok(shown)
}

/// `Bearer vst_…`, or `Basic` with a token as the password.
fn authorization(value: &HeaderValue, takes_passwords: bool) -> Result<Option<Shown>, BadRequest> {
    let field = value.as_bytes();
    let (scheme, rest) = match field.iter().position(|&byte| byte == b' ') {
        Some(at) => field.split_at(at),
        None => (field, &b""[..]),
    };
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"Bearer")
        && let Some(token) = ApiToken::parse(rest)
    {
        return Ok(Some(Shown::Token { token, user: None }));
    }
    if scheme.eq_ignore_ascii_case(b"Basic") {
        return Ok(match basic(rest)? {
            Basic::Token(token, user) => Some(Shown::Token {
                token,
                user: Some(user),
            }),
            Basic::Other(pair) if takes_passwords => {
                Some(Shown::Password(Box::new(BasicPassword {
                    pair,
                    field: value.clone(),
                })))
            }
            Basic::Other(_) => None,
        });
    }
    if api_token::find_in(field) {
        return Err(BadRequest::Credentials);
    }
    Ok(None)
}

/// What HTTP Basic carries.
enum Basic {
    Token(ApiToken, String),
    /// A name and a password, or nothing that can be read as such.
    Other(Option<(String, Secret<Vec<u8>>)>),
}

/// RFC 7617.
fn basic(encoded: &[u8]) -> Result<Basic, BadRequest> {
    let Ok(pair) = STANDARD.decode(encoded).map(Zeroizing::new) else {
        return Ok(Basic::Other(None));
    };
    let colon = pair.iter().position(|&byte| byte == b':');
    let pair_of_texts = colon.and_then(|at| {
        let user = std::str::from_utf8(&pair[..at]).ok()?.to_owned();
        Some((user, &pair[at + 1..]))
    });
    if let Some((user, password)) = &pair_of_texts
        && let Some(token) = ApiToken::parse(password)
    {
        return Ok(Basic::Token(token, user.clone()));
    }
    if api_token::find_in(&pair) {
        return Err(BadRequest::Credentials);
    }
    let pair = pair_of_texts.map(|(user, password)| (user, Secret::new(password.to_vec())));
    Ok(Basic::Other(pair))
}

/// A token, and nothing but it.
fn own_header(field: &HeaderValue) -> Result<Option<Shown>, BadRequest> {
    let field = field.as_bytes();
    if let Some(token) = ApiToken::parse(field) {
        return Ok(Some(Shown::Token { token, user: None }));
    }
    if api_token::find_in(field) {
        return Err(BadRequest::Credentials);
    }
    Ok(None)
}

impl Proxy {
    /// Who sends a request that shows this.
    pub(super) async fn identify_by(
        &self,
        shown: Shown,
        app: &App,
        context: &RequestContext<'_>,
    ) -> Result<By, RequestError> {
        let headers = &context.head.headers;
        // Browsers send what they know for HTTP Basic along with requests of any page.
        let is_ambient =
            || request::has_fetch_metadata(headers) || has_foreign_origin(headers, context);
        let identified = match shown {
            Shown::Token { token, user } => {
                let takes_tokens = app.credentials().is_some_and(|settings| settings.tokens);
                if !takes_tokens || user.is_some() && is_ambient() {
                    return Ok(By::Session(None));
                }
                self.callers.identify_by_token(&token, user.as_deref())
            }
            Shown::Password(password) => {
                let BasicPassword { pair, field } = *password;
                let session = self.callers.peek(context.shown()).await;
                if session
                    .map_err(RequestError::Session)?
                    .into_session()
                    .is_some()
                {
                    return Ok(By::Session(Some(Box::new(field))));
                }
                if is_ambient() {
                    return Ok(By::Session(None));
                }
                let (user, password) = pair.ok_or(BadRequest::Credentials)?;
                let basic = self.portal.basic();
                let signed_in = basic.sign_in(context, &user, &password).await;
                match signed_in {
                    Ok(credential) => {
                        let principal = self.callers.principal_of(&credential);
                        principal.map(|principal| Caller::Credential(credential, principal))
                    }
                    Err(NotSignedIn::Busy) => return Err(RequestError::LoginBusy),
                    Err(NotSignedIn::Refused) => Err(Refusal::Password),
                    Err(NotSignedIn::Throttled(Wait(wait))) => {
                        return Err(RequestError::LoginThrottled(wait));
                    }
                }
            }
        };
        let refused = |refusal| RequestError::CredentialRefused(refusal, ClientKind::of(headers));
        match identified.map_err(refused)? {
            Caller::Credential(credential, principal) => Ok(By::Credential(credential, principal)),
            Caller::Anonymous | Caller::Session(..) => Ok(By::Session(None)),
        }
    }
}

fn has_foreign_origin(headers: &HeaderMap, context: &RequestContext<'_>) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    origins.any(|origin| !context.authority.is_origin(origin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(token_header: Option<&'static str>) -> Credentials {
        let settings = CredentialSettings {
            tokens: true,
            basic: false,
            token_header: token_header.map(HeaderName::from_static),
        };
        *Credentials::new(settings, true).unwrap()
    }

    /// The token that was shown, and the user whose name came with it.
    fn token_of(shown: &Shown) -> (&ApiToken, Option<&str>) {
        match shown {
            Shown::Token { token, user } => (token, user.as_deref()),
            Shown::Password(_) => panic!("a password"),
        }
    }

    fn headers(fields: &[(&'static str, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn encoded(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn sec_96_a_token_is_taken_out_and_everything_else_is_the_apps() {
        let token = ApiToken::generate().unwrap();
        let text = token.expose();
        let wrong = format!("{}0", &text[..52]);
        assert!(ApiToken::parse(wrong.as_bytes()).is_none() || text.ends_with('0'));
        for (value, user) in [
            (format!("Bearer {text}"), None),
            (format!("bearer   {text} "), None),
            (encoded(&format!("ada:{text}")), Some("ada")),
            (encoded(&format!(":{text}")), Some("")),
        ] {
            let mut headers = headers(&[("authorization", value)]);
            let shown = credentials(None).take(&mut headers).unwrap().unwrap();
            let (shown, name) = token_of(&shown);
            assert_eq!((shown.key(), name), (token.key(), user));
            assert!(headers.is_empty());
        }
        for value in [
            "Bearer of.the.app".to_owned(),
            "Bearer".to_owned(),
            "Bearer vst_".to_owned(),
            format!("Bearer {}", text.to_lowercase().replace("vst_", "vst-")),
            "Basic".to_owned(),
            "Basic !!!!".to_owned(),
            encoded("ada:correct horse"),
            encoded("no colon"),
            "Negotiate YII".to_owned(),
        ] {
            let mut headers = headers(&[("authorization", value.clone())]);
            assert!(credentials(None).take(&mut headers).unwrap().is_none());
            assert_eq!(headers["authorization"], *value);
        }
    }

    #[test]
    fn sec_96_a_token_in_a_form_that_is_not_taken_reaches_no_app() {
        let token = ApiToken::generate().unwrap();
        let text = token.expose();
        let bearer = format!("Bearer {text}");
        for fields in [
            vec![("authorization", text.to_owned())],
            vec![("authorization", format!("Token {text}"))],
            vec![("authorization", format!("Bearer {text}, Bearer x"))],
            vec![("authorization", format!("Bearer x{text}"))],
            vec![("authorization", encoded(&format!("{text}:x-oauth-basic")))],
            vec![("authorization", encoded(&format!("ada:{text}\n")))],
            vec![("authorization", bearer.clone()); 2],
            vec![
                ("authorization", "Basic eDp5".to_owned()),
                ("authorization", bearer.clone()),
            ],
            vec![
                ("authorization", bearer.clone()),
                ("authorization", "Bearer x".to_owned()),
            ],
            vec![("authorization", bearer), ("x-api-key", text.to_owned())],
            vec![("x-api-key", format!("Bearer {text}"))],
            vec![("x-api-key", text.to_owned()); 2],
        ] {
            let mut headers = headers(&fields);
            let result = credentials(Some("x-api-key")).take(&mut headers);
            assert_eq!(result.err(), Some(BadRequest::Credentials), "{fields:?}");
        }
    }

    #[test]
    fn a_header_of_the_apps_choice_is_looked_into() {
        let token = ApiToken::generate().unwrap();
        let in_header = || headers(&[("x-api-key", token.expose().to_owned())]);
        let mut ours = in_header();
        let shown = credentials(Some("x-api-key")).take(&mut ours).unwrap();
        assert_eq!(token_of(&shown.unwrap()).0.key(), token.key());
        assert!(ours.is_empty());
        let mut of_the_app = in_header();
        assert!(credentials(None).take(&mut of_the_app).unwrap().is_none());
        let mut other = headers(&[("x-api-key", "of the app".to_owned())]);
        let result = credentials(Some("x-api-key")).take(&mut other);
        assert!(result.unwrap().is_none());
        assert_eq!(other.len(), 1);
    }

    #[test]
    fn a_password_is_looked_at_only_where_an_app_takes_passwords() {
        for (value, pair) in [
            (
                encoded("ada:correct: horse"),
                Some(("ada", "correct: horse")),
            ),
            (encoded(":"), Some(("", ""))),
            (encoded("no colon"), None),
            ("Basic !!!!".to_owned(), None),
            ("Basic".to_owned(), None),
        ] {
            let mut headers = headers(&[("authorization", value.clone())]);
            assert!(credentials(None).take(&mut headers).unwrap().is_none());
            let settings = CredentialSettings {
                basic: true,
                ..CredentialSettings::default()
            };
            let taking = Credentials::new(settings, true).unwrap();
            let Some(Shown::Password(shown)) = taking.take(&mut headers).unwrap() else {
                panic!("no password in {value}");
            };
            assert!(headers.is_empty());
            assert_eq!(shown.field, *value);
            let found = shown.pair.as_ref();
            let found = found.map(|(user, password)| (user.as_str(), &**password.expose()));
            assert_eq!(
                found,
                pair.map(|(user, password)| (user, password.as_bytes()))
            );
        }
    }
}

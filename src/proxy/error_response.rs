//! The response to a request that went wrong: a page for people, JSON for programs.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::Proxy;
use super::body::ResponseBody;
use super::credentials::CredentialSettings;
use super::exchange::{Exchange, Subject, Untaken};
use super::maintenance::Sentence;
use crate::auth::credential::Refusal;
use crate::error::RequestError;
use crate::pages::messages::{self, Message, texts};
use crate::pages::{self, ErrorView};
use crate::portal;
use crate::request::{BadRequest, ClientKind, methods};
use crate::session::cookie;

/// When a client may ask again, in seconds.
pub(super) const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The same while an app is closed: nobody closes one for seconds.
const RETRY_AFTER_MAINTENANCE: HeaderValue = HeaderValue::from_static("60");

const BASIC: &str = "Basic realm=\"Vestibule\", charset=\"UTF-8\"";
const BEARER: &str = "Bearer realm=\"Vestibule\"";

/// RFC 6750 §3.1.
const INVALID_TOKEN: &str = "Bearer realm=\"Vestibule\", error=\"invalid_token\"";
const OUT_OF_SCOPE: &str = "Bearer realm=\"Vestibule\", error=\"insufficient_scope\"";

impl Proxy {
    pub(super) fn error_response(
        &self,
        error: &RequestError,
        exchange: &Exchange,
    ) -> Response<ResponseBody> {
        let id = &exchange.id;
        let message = error.message();
        let advice = &*advice(error, message, exchange);
        let notice = match error {
            RequestError::Maintenance => self.notice(exchange),
            _ => None,
        };
        let is_the_clients = matches!(
            error,
            RequestError::BadRequest(_)
                | RequestError::Maintenance
                | RequestError::Overloaded(_)
                | RequestError::TooManyTunnels(_)
        );
        if message.status.is_server_error() && !is_the_clients {
            tracing::error!(request = %id, %error, "a request failed");
        } else {
            tracing::debug!(request = %id, %error, "a request was refused");
        }
        let request_id = &id.to_string();
        let mut response = if exchange.is_page_load && !error.is_for_programs() {
            let title = exchange
                .app
                .as_ref()
                .filter(|_| exchange.subject == Subject::App);
            let start = title.map_or_else(String::new, |app| app.part.path());
            let title = title.map(|app| &app.title);
            let view = ErrorView {
                message,
                advice,
                notice: notice.as_ref().map(Sentence::as_str),
                names_app: title.is_some(),
                start: start.trim_start_matches('/'),
                login: exchange.login(portal::LOGIN, portal::SSO),
                request_id,
            };
            self.pages.titled(title).error(&view).into_response()
        } else if let RequestError::LoginRequired {
            client: ClientKind::Git,
            ..
        } = error
        {
            pages::plain(message.status, sign_in_of_program(exchange))
        } else if let RequestError::CredentialRefused(refusal, ClientKind::Git) = error {
            let text = match refusal {
                Refusal::Password => texts::PROGRAM_WRONG_PASSWORD,
                _ => texts::PROGRAM_INVALID_TOKEN,
            };
            pages::plain(message.status, text)
        } else {
            let notice = notice.as_ref().map_or("", Sentence::as_str);
            json_of(error, message, exchange, (notice, advice))
        };
        let headers = response.headers_mut();
        if let RequestError::MethodNotAllowed(allow) = error {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let RequestError::BadRequest(BadRequest::Method) = error {
            let app = exchange.app.as_ref().map(|app| &app.methods);
            let methods = app.unwrap_or(&self.settings.limits.methods);
            headers.insert(header::ALLOW, methods::allow(methods));
        }
        if let RequestError::LogoutNotKept(_) = error {
            cookie::expire_session(headers);
        }
        if message.status == StatusCode::UNAUTHORIZED {
            add_challenges(headers, error, exchange);
        }
        if matches!(error, RequestError::OutOfScope) {
            let challenge = HeaderValue::from_static(OUT_OF_SCOPE);
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let RequestError::LoginThrottled(wait) = error {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if message.status == StatusCode::SERVICE_UNAVAILABLE {
            let after = match error {
                RequestError::Maintenance => RETRY_AFTER_MAINTENANCE,
                _ => RETRY_AFTER,
            };
            headers.insert(header::RETRY_AFTER, after);
        }
        if exchange.is_http1() && error.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(ResponseBody::ours)
    }

    /// What the operator says of an app that is closed. A request may have begun while another
    /// configuration held.
    fn notice(&self, exchange: &Exchange) -> Option<Sentence> {
        let app = exchange.app.as_ref()?;
        let latest = self.shared.latest();
        let latest = latest
            .as_ref()
            .and_then(|proxy| proxy.apps.named(&app.name));
        latest.unwrap_or(app).maintenance.closed()?.sentence
    }
}

/// What scripts and programs read.
fn json_of(
    error: &RequestError,
    message: &Message,
    exchange: &Exchange,
    (notice, advice): (&str, &str),
) -> Response<Bytes> {
    let space = if notice.is_empty() { "" } else { " " };
    let text = match error {
        RequestError::LoginRequired { .. } if exchange.untaken == Untaken::Token => {
            texts::PROGRAM_TOKEN_NOT_TAKEN.to_owned()
        }
        RequestError::LoginRequired {
            client: ClientKind::Program,
            ..
        } if takes_any(exchange) => sign_in_of_program(exchange).to_owned(),
        _ => format!("{}. {notice}{space}{advice}", message.title),
    };
    let mut body = serde_json::json!({
        "error": message.code,
        "message": text,
        "request_id": exchange.id.to_string(),
    });
    if let RequestError::LoginRequired { client, .. } = error {
        // A script leads people there, while its page stays open.
        body["login_url"] = login_url(*client, exchange).into();
    }
    pages::json(message.status, &body)
}

/// Whether the app of a request takes anything from programs.
fn takes_any(exchange: &Exchange) -> bool {
    let taken = exchange.app.as_ref().map(|app| app.credentials());
    taken.is_some_and(CredentialSettings::take_any)
}

/// What a program is told that shows nothing.
fn sign_in_of_program(exchange: &Exchange) -> &'static str {
    let taken = exchange.app.as_ref().map(|app| app.credentials());
    match taken {
        _ if exchange.untaken == Untaken::Token => texts::PROGRAM_TOKEN_NOT_TAKEN,
        Some(taken) if taken.tokens => texts::PROGRAM_SIGN_IN_BY_TOKEN,
        Some(taken) if taken.basic => texts::PROGRAM_SIGN_IN_BY_PASSWORD,
        _ => texts::PROGRAM_SIGN_IN,
    }
}

fn add_challenges(headers: &mut HeaderMap, error: &RequestError, exchange: &Exchange) {
    let kind = match error {
        RequestError::CredentialRefused(_, kind) => *kind,
        RequestError::LoginRequired { client, .. } => *client,
        _ => ClientKind::Browser,
    };
    let has_authorization = match error {
        RequestError::LoginRequired {
            has_authorization, ..
        } => *has_authorization || exchange.untaken == Untaken::Token,
        _ => false,
    };
    let taken = exchange.app.as_ref().map(|app| app.credentials());
    for challenge in challenges(kind, taken, error, has_authorization) {
        headers.append(header::WWW_AUTHENTICATE, challenge);
    }
}

/// How a client can sign in (RFC 9110 §11.6.1). Browsers are never asked for HTTP Basic: they would
/// show a dialog in front of a page. Programs always are, if only by words of which they show people the
/// realm; where nothing is taken from programs, those that have sent something hear of `Bearer` as well.
fn challenges(
    kind: ClientKind,
    taken: Option<&CredentialSettings>,
    error: &RequestError,
    has_authorization: bool,
) -> impl Iterator<Item = HeaderValue> {
    let taken = taken.filter(|taken| kind != ClientKind::Browser && taken.take_any());
    let basic = taken.map(|_| HeaderValue::from_static(BASIC));
    let bearer = match (error, taken) {
        (RequestError::CredentialRefused(refusal, _), _) if *refusal != Refusal::Password => {
            Some(INVALID_TOKEN)
        }
        (_, Some(taken)) if taken.tokens => Some(BEARER),
        (_, None) if has_authorization && kind != ClientKind::Browser => Some(BEARER),
        _ => None,
    };
    let is_usual = basic.is_none() && bearer.is_none_or(|bearer| bearer == BEARER);
    let usual = is_usual.then(|| portal::challenge(kind));
    let bearer = bearer.map(HeaderValue::from_static);
    [usual, basic, bearer].into_iter().flatten()
}

/// Where a script leads people, or what a program tells them.
fn login_url(kind: ClientKind, exchange: &Exchange) -> &'static str {
    match kind {
        ClientKind::Browser => {
            exchange.login(portal::LOGIN_IN_BACKGROUND, portal::SSO_IN_BACKGROUND)
        }
        ClientKind::Git | ClientKind::Program => exchange.login(portal::LOGIN, portal::SSO),
    }
}

/// What the visitor can do, as far as it depends on the app and on the error.
fn advice(
    error: &RequestError,
    message: &'static Message,
    exchange: &Exchange,
) -> Cow<'static, str> {
    if let Some(time) = error.goes_on_elsewhere_for() {
        return pages::with_time(message.advice, time).into();
    }
    match &exchange.app {
        Some(app) if message.code == messages::UPLOAD_TOO_LARGE.code => {
            pages::with_limit(message.advice, app.max_body).into()
        }
        _ => message.advice.into(),
    }
}

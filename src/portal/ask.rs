//! What is said to somebody who needs a session and has none.

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;

use super::login_cookie::LoginCookie;
use super::return_to::{MAX_IN_LINK, ReturnTo};
use super::{LOGIN, Portal, RequestContext, is_page_load};
use crate::error::RequestError;
use crate::pages;
use crate::request::Target;

/// Parameters of the login page, and fields of its form: where the login leads, or the name of what
/// is kept until the login.
pub(super) const RETURN_TO: &str = "return_to";
pub(super) const KEPT: &str = "kept";

impl Portal {
    /// The answer to a request for an app that needs a session and has none (SEC-69). Where the
    /// login leads is kept if it is too long for a link (SEC-63); `longest` is what a target may be.
    pub(crate) fn ask_to_sign_in(
        &self,
        context: &RequestContext<'_>,
        target: &Target,
        longest: usize,
    ) -> Result<Response<Bytes>, RequestError> {
        let return_to = ReturnTo::parse(target.as_str(), longest);
        if !return_to.is_long() || !leads_to_login(context.head) {
            return Ok(ask_to_sign_in(context.head, target));
        }
        let cookie = LoginCookie::of(context)?;
        let targets = &self.shared.long_targets;
        let name = targets.keep(cookie.as_bytes(), context.client, &return_to);
        let name = name.map_err(RequestError::NoRandomness)?;
        let mut response = to_login(name.as_deref().map(|name| (KEPT, name)));
        cookie.set(response.headers_mut());
        Ok(response)
    }
}

/// The same for a page of ours.
pub(super) fn ask_to_sign_in(head: &Parts, target: &Target) -> Response<Bytes> {
    if !leads_to_login(head) {
        return login_required();
    }
    let return_to = ReturnTo::parse(target.as_str(), MAX_IN_LINK);
    to_login(Some((RETURN_TO, return_to.as_str())))
}

/// A page load goes to the login and comes back, anything else is told so.
fn leads_to_login(head: &Parts) -> bool {
    matches!(head.method, Method::GET | Method::HEAD) && is_page_load(&head.headers)
}

/// To the login page, with this parameter.
fn to_login(parameter: Option<(&str, &str)>) -> Response<Bytes> {
    let location = parameter.map(|(name, value)| {
        let mut query = Serializer::new(String::new());
        format!("{LOGIN}?{}", query.append_pair(name, value).finish())
    });
    let location = location.and_then(|location| HeaderValue::try_from(location).ok());
    let location = location.unwrap_or(HeaderValue::from_static(LOGIN));
    pages::redirect(StatusCode::SEE_OTHER, location)
}

/// The answer to a button of a page of ours whose session has ended meanwhile. A POST is not led
/// to the login (SEC-69).
pub(crate) fn session_ended(head: &Parts) -> Result<Response<Bytes>, RequestError> {
    if is_page_load(&head.headers) {
        Err(RequestError::SessionEnded) // a page, for whoever pressed the button
    } else {
        Ok(login_required())
    }
}

fn login_required() -> Response<Bytes> {
    let body = json!({ "error": "login_required", "login_url": LOGIN });
    let mut response = pages::json(StatusCode::UNAUTHORIZED, &body);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge());
    response
}

/// RFC 9110 §11.6.1 asks for one with each 401; browsers ignore this one and show no dialog.
pub(crate) fn challenge() -> HeaderValue {
    HeaderValue::from_static("Cookie cookie-name=\"__Host-Http-vestibule\"")
}

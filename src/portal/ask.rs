//! What is said to somebody who needs a session and has none.

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::login_cookie::LoginCookie;
use super::return_to::{MAX_IN_LINK, ReturnTo};
use super::{
    Beginning, HostRole, LOGIN, Portal, RequestContext, SSO, csrf, is_page_load, navigation,
};
use crate::error::RequestError;
use crate::pages::messages::texts;
use crate::pages::{self, Framed, FramedView, Page, Pages};
use crate::request::{Authority, ClientKind, Target};

/// Parameters of the login page, and fields of its form: where the login leads, or the name of what
/// is kept until the login.
pub(super) const RETURN_TO: &str = "return_to";
pub(super) const KEPT: &str = "kept";

impl Portal {
    /// The answer to a request for an app that needs a session and has none (SEC-69). Where the
    /// login leads is kept if it is too long for a link (SEC-63); `longest` is what a target may be.
    pub(crate) async fn ask_to_sign_in(
        &self,
        context: &RequestContext<'_>,
        target: &Target,
        longest: usize,
    ) -> Result<Response<Bytes>, RequestError> {
        let head = context.head;
        let is_framed = navigation::is_framed(&head.headers);
        if is_framed && navigation::is_in_another_site(&head.headers) {
            return Ok(self.framed(context, "", Framed::CrossSite).into_response());
        }
        if !leads_to_login(head) {
            if is_framed {
                let page = self.framed(context, login_of(context), Framed::NotDelivered);
                return Ok(page.into_response());
            }
            return ask_to_sign_in(context, target);
        }
        let return_to = ReturnTo::parse(target.as_str(), longest);
        if let Some(sso) = &self.sso
            && context.role == HostRole::App
            && !is_framed
        {
            let beginning = Beginning::default();
            return sso.begin(context, &return_to, longest, beginning).await;
        }
        let (cookie, name);
        let parameter = if return_to.is_long() {
            cookie = Some(LoginCookie::of(context)?);
            let value = cookie.as_ref().map_or(&b""[..], LoginCookie::as_bytes);
            let targets = &self.shared.long_targets;
            let kept = targets.keep(value, context.client, &return_to).await;
            name = kept.map_err(RequestError::NoRandomness)?;
            name.as_deref().map(|name| (KEPT, name))
        } else {
            cookie = None;
            Some((RETURN_TO, return_to.as_str()))
        };
        let login = login_address(context, parameter);
        let mut response = if is_framed {
            self.framed(context, &login, Framed::SignIn).into_response()
        } else {
            to_login(&login)
        };
        if let Some(cookie) = cookie {
            cookie.set(response.headers_mut());
        }
        Ok(response)
    }

    /// Our own pages are not shown in frames; a link that opens them in a tab is.
    pub(super) fn own_page_in_frame(&self, context: &RequestContext<'_>) -> Response<Bytes> {
        self.framed(context, "", Framed::OwnPage).into_response()
    }

    fn framed(&self, context: &RequestContext<'_>, link: &str, why: Framed) -> Page {
        framed(&self.pages, context, link, why)
    }
}

/// The page that may be shown in a frame.
pub(super) fn framed(pages: &Pages, context: &RequestContext<'_>, link: &str, why: Framed) -> Page {
    let host = context.authority.as_str();
    let page = pages
        .titled(context.title)
        .framed(&FramedView { host, link, why });
    match why {
        // A 403: it says nothing of a login.
        Framed::OwnPage => page,
        Framed::SignIn | Framed::Saved(_) | Framed::NotDelivered | Framed::CrossSite => {
            page.header(header::WWW_AUTHENTICATE, challenge(ClientKind::Browser))
        }
    }
}

/// The same for our own pages.
pub(super) fn ask_to_sign_in(
    context: &RequestContext<'_>,
    target: &Target,
) -> Result<Response<Bytes>, RequestError> {
    let head = context.head;
    if leads_to_login(head) {
        let return_to = ReturnTo::parse(target.as_str(), MAX_IN_LINK);
        let parameter = Some((RETURN_TO, return_to.as_str()));
        Ok(to_login(&login_address(context, parameter)))
    } else if head.method == Method::POST && is_page_load(&head.headers) {
        Err(not_delivered(head, context.authority))
    } else {
        Err(login_required(head))
    }
}

/// A page load goes to the login and comes back. A form that is not kept was not delivered, and a
/// page says so. Anything else is told so in JSON.
fn leads_to_login(head: &Parts) -> bool {
    matches!(head.method, Method::GET | Method::HEAD) && is_page_load(&head.headers)
}

/// The address of the login page with this parameter: visible ASCII, and nothing that HTML escapes.
fn login_address(context: &RequestContext<'_>, parameter: Option<(&str, &str)>) -> String {
    let login = login_of(context);
    let Some((name, value)) = parameter else {
        return login.to_owned();
    };
    let mut query = Serializer::new(String::new());
    format!("{login}?{}", query.append_pair(name, value).finish())
}

/// Where a login begins on this host.
pub(super) fn login_of(context: &RequestContext<'_>) -> &'static str {
    match context.role {
        HostRole::Own | HostRole::Login => LOGIN,
        HostRole::App => SSO,
    }
}

fn to_login(address: &str) -> Response<Bytes> {
    let location = HeaderValue::try_from(address);
    let location = location.unwrap_or(HeaderValue::from_static(LOGIN));
    pages::redirect(StatusCode::SEE_OTHER, location)
}

/// The answer where one of our own pages, or a button on it, is asked for after the session has
/// ended. A POST is not led to the login (SEC-69).
pub(crate) fn session_ended(head: &Parts) -> RequestError {
    if is_page_load(&head.headers) {
        RequestError::SessionEnded // a page, for whoever pressed the button
    } else {
        login_required(head)
    }
}

pub(super) fn login_required(head: &Parts) -> RequestError {
    RequestError::LoginRequired {
        client: ClientKind::of(&head.headers),
        has_authorization: head.headers.contains_key(header::AUTHORIZATION),
    }
}

/// What a form gets that has no session and is not kept: a page that says so, for whoever sent it.
fn not_delivered(head: &Parts, authority: &Authority) -> RequestError {
    if csrf::is_from_another_site(&head.headers, authority) {
        RequestError::CrossSitePost
    } else {
        RequestError::FormNotKept
    }
}

/// RFC 9110 §11.6.1 asks for one with each 401.
///
/// In small letters, because npm takes `Basic` for a password that was mistyped, and shows any other
/// challenge as it is.
///
/// Browsers ignore a scheme that they do not know, and show no dialog. Programs do not: Python's
/// `urllib`, and Mercurial with it, end with an error of their own unless the scheme is Basic.
pub(crate) fn challenge(kind: ClientKind) -> HeaderValue {
    HeaderValue::from_static(match kind {
        ClientKind::Browser => "Cookie cookie-name=\"__Host-Http-vestibule\"",
        ClientKind::Git | ClientKind::Program => texts::PROGRAM_SIGN_IN_CHALLENGE,
    })
}

//! Our addresses: what each of them does, and for whom.

use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Response, header};

use super::navigation::Loads;
use super::{Destinations, HostRole, Portal, RequestContext, jwks};
use crate::error::RequestError;
use crate::request::own_path;
use crate::upstream::ClientBody;

/// Looked up in each request: as text it would be parsed each time.
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// A request to one of our addresses, as the handlers get it.
pub(super) struct Call<'a> {
    context: RequestContext<'a>,
    destinations: Destinations<'a>,
    body: ClientBody,
    /// What follows the path of a route that stands for all below it.
    rest: &'a str,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, RequestError>> + Send + 'a>>;
type Handler = for<'a> fn(&'a Portal, Call<'a>) -> Answer<'a>;

/// One of our addresses.
pub(crate) struct Route {
    /// Below `/.vestibule/`; with a slash at its end, everything below it.
    path: &'static str,
    pub(super) loads: Loads,
    /// The hosts that have it.
    on: &'static [HostRole],
    /// For HEAD, too.
    get: Handler,
    post: Option<Handler>,
}

const EVERYWHERE: &[HostRole] = &[HostRole::Own, HostRole::App, HostRole::Login];

/// Where passwords are: no script of an app runs at the origin of a login for all apps.
const WITH_LOGIN: &[HostRole] = &[HostRole::Own, HostRole::Login];

const WITH_APPS: &[HostRole] = &[HostRole::Own, HostRole::App];

static ROUTES: [Route; 8] = [
    Route::page(
        "account",
        WITH_LOGIN,
        |portal, call| Box::pin(portal.account.show(call.context, call.destinations)),
        |portal, call| {
            let account = &portal.account;
            Box::pin(account.change(call.context, call.destinations, call.body))
        },
    ),
    Route::resource("assets/", |portal, call| {
        Box::pin(async move { portal.pages.asset(call.rest).ok_or(RequestError::NotFound) })
    }),
    Route::page(
        "form",
        WITH_APPS,
        |portal, call| Box::pin(portal.saved_posts.show(call.context)),
        |portal, call| Box::pin(portal.saved_posts.discard(call.context, call.body)),
    ),
    Route {
        on: WITH_LOGIN, // below the issuer of tokens
        ..Route::resource("jwks.json", |portal, _| {
            Box::pin(async { jwks::show(portal.signer()) })
        })
    },
    Route {
        loads: Loads::DocumentsAndLogins,
        ..Route::page(
            "login",
            WITH_LOGIN,
            |portal, call| Box::pin(portal.sign_in.show(call.context, call.destinations)),
            |portal, call| {
                let sign_in = &portal.sign_in;
                Box::pin(sign_in.sign_in(call.context, call.destinations, call.body))
            },
        )
    },
    Route::page(
        "logout",
        EVERYWHERE,
        |portal, call| Box::pin(portal.sign_out.show(call.context)),
        |portal, call| Box::pin(portal.sign_out.sign_out(call.context, call.body)),
    ),
    Route::resource("session", |portal, call| {
        Box::pin(portal.session_status.show(call.context))
    }),
    Route {
        path: "sso",
        loads: Loads::Documents,
        on: &[HostRole::App],
        get: |portal, call| {
            Box::pin(async move {
                let sso = portal.sso.as_ref().ok_or(RequestError::NotFound)?;
                sso.show(call.context, call.destinations).await
            })
        },
        post: None,
    },
];

impl Route {
    /// A page with a form.
    const fn page(
        path: &'static str,
        on: &'static [HostRole],
        get: Handler,
        post: Handler,
    ) -> Self {
        Self {
            path,
            loads: Loads::Documents,
            on,
            get,
            post: Some(post),
        }
    }

    /// Something that scripts may have, too.
    const fn resource(path: &'static str, get: Handler) -> Self {
        Self {
            path,
            loads: Loads::Anything,
            on: EVERYWHERE,
            get,
            post: None,
        }
    }

    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.path)?;
        (rest.is_empty() || self.path.ends_with('/')).then_some(rest)
    }

    fn handler(&self, method: &Method) -> Result<Handler, RequestError> {
        let handler = match *method {
            Method::GET | Method::HEAD => Some(self.get),
            Method::POST => self.post,
            _ => None,
        };
        handler.ok_or(RequestError::MethodNotAllowed(self.allow()))
    }

    /// The methods that it has, as `Allow` lists them (RFC 9110 §10.2.1).
    fn allow(&self) -> &'static str {
        match self.post {
            Some(_) => "GET, HEAD, POST",
            None => "GET, HEAD",
        }
    }
}

/// Which of our own addresses a path names.
#[derive(Clone, Copy)]
pub(crate) enum Endpoint<'p> {
    Known(&'static Route, &'p str),
    Unknown,
}

impl<'p> Endpoint<'p> {
    /// The endpoint of a path in normal form; `None` for the apps' paths.
    pub(crate) fn of(path: &'p str) -> Option<Self> {
        let rest = path.strip_prefix(own_path!())?;
        let path = match rest.as_bytes().first() {
            None => "",
            Some(b'/') => &rest[1..],
            // `/.vestibule;x/` is ours, too, for whoever reads parameters.
            Some(b';') => return Some(Self::Unknown),
            Some(_) => return None,
        };
        let known = ROUTES
            .iter()
            .find_map(|route| Some(Self::Known(route, route.rest(path)?)));
        Some(known.unwrap_or(Self::Unknown))
    }

    /// Whether a sign-in begins there, without a session.
    pub(crate) fn signs_in(self) -> bool {
        matches!(self, Self::Known(route, _) if matches!(route.path, "login" | "sso"))
    }

    /// Whether it shows nothing without a session.
    pub(crate) fn is_for_users(self) -> bool {
        matches!(self, Self::Known(route, _) if route.path == "account")
    }

    /// The methods that it has, as `Allow` lists them; `None` if there is no such page.
    pub(crate) fn methods(self) -> Option<&'static str> {
        match self {
            Self::Known(route, _) => Some(route.allow()),
            Self::Unknown => None,
        }
    }

    /// The same on a host that has it; elsewhere it is as unknown as any other.
    pub(crate) fn on(self, role: HostRole) -> Self {
        match self {
            Self::Known(route, _) if !route.on.contains(&role) => Self::Unknown,
            endpoint => endpoint,
        }
    }

    pub(super) async fn serve(
        self,
        portal: &Portal,
        context: RequestContext<'_>,
        destinations: Destinations<'_>,
        body: ClientBody,
    ) -> Result<Response<Bytes>, RequestError> {
        let Self::Known(route, rest) = self else {
            return Err(RequestError::NotFound);
        };
        let handler = route.handler(&context.head.method)?;
        handler(
            portal,
            Call {
                context,
                destinations,
                body,
                rest,
            },
        )
        .await
    }
}

/// Whether somebody looks at the answer: a navigation, or for browsers that do not say so, one
/// that asks for HTML.
pub(crate) fn is_page_load(headers: &HeaderMap) -> bool {
    if let Some(mode) = headers.get(&SEC_FETCH_MODE) {
        return mode.as_bytes() == b"navigate";
    }
    let fetch = ["sec-fetch-dest", "sec-fetch-site", "sec-fetch-user"];
    if fetch.iter().any(|name| headers.contains_key(*name)) {
        return false;
    }
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|accept| {
            accept.split(',').any(|range| {
                range
                    .split(';')
                    .next()
                    .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
            })
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn sec_73_our_addresses_are_known_by_their_normal_path() {
        for (path, expected) in [
            ("/.vestibule/login", Some(Some(("login", "")))),
            (
                "/.vestibule/assets/style.css",
                Some(Some(("assets/", "style.css"))),
            ),
            ("/.vestibule/form", Some(Some(("form", "")))),
            ("/.vestibule", Some(None)),
            ("/.vestibule/", Some(None)),
            ("/.vestibule/login/", Some(None)),
            ("/.vestibule/x", Some(None)),
            ("/.vestibule;x/login", Some(None)),
            ("/.vestibulex", None),
            ("/a/.vestibule/login", None),
            ("/", None),
        ] {
            let found = Endpoint::of(path).map(|endpoint| match endpoint {
                Endpoint::Known(route, rest) => Some((route.path, rest)),
                Endpoint::Unknown => None,
            });
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn each_address_has_its_methods_and_says_so() {
        for route in &ROUTES {
            let allowed: Vec<_> = route.allow().split(", ").collect();
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
                let handler = route.handler(&method.parse().unwrap());
                let path = route.path;
                assert_eq!(
                    handler.is_ok(),
                    allowed.contains(&method),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn sec_69_page_loads_are_told_from_background_requests() {
        for (fields, expected) in [
            (&[("sec-fetch-mode", "navigate")][..], true),
            (
                &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
                false,
            ),
            (
                &[("sec-fetch-dest", "empty"), ("accept", "text/html")],
                false,
            ),
            (
                &[("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")],
                true,
            ),
            (&[("accept", "application/json, Text/HTML;q=0.5")], true),
            (&[("accept", "application/json")], false),
            (&[("accept", "*/*")], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_page_load(&headers), expected, "{fields:?}");
        }
    }
}

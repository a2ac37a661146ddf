//! Forward auth: a proxy asks whether its client may send a request, and sends it on by itself
//! (SEC-95). The answer goes the way of any other request up to its permit.
//!
//! What is judged here is not what is sent: the proxy sends what its client sent. So whatever an
//! application might read in another way than it was judged is refused, where a request that is sent
//! on from here would be put right.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;

use super::Proxy;
use super::app::App;
use super::apps::{Found, Site};
use super::body::ResponseBody;
use super::client_conn::{ClientConn, Purpose};
use super::exchange::{Exchange, Subject};
use super::identify::Proof;
use super::in_flight::InFlight;
use super::judge::{Judged, permit_of};
use super::websocket::Origin;
use crate::access::Permit;
use crate::error::RequestError;
use crate::identity::{overrides_in, token};
use crate::portal::{Endpoint, RequestContext};
use crate::request::{
    self, AuthRequest, BadAuthRequest, BadRequest, ProxyKind, Target, webdav, wire,
};
use crate::session::cookie::RequestCookies;
use crate::telemetry::REQUEST_ID;

/// What is left of a client's own fields once ours are taken out, for proxies that can give a field
/// another name on its way to the application.
const COOKIE: HeaderName = HeaderName::from_static("x-vestibule-cookie");
const AUTHORIZATION: HeaderName = HeaderName::from_static("x-vestibule-authorization");

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What Envoy takes out of a request, besides what it replaces.
const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

impl Proxy {
    /// One auth request, whatever becomes of it. `body` is `None` where its head has said so.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        connection: &Arc<ClientConn>,
        in_flight: InFlight,
        (mut head, body): (Parts, Option<Incoming>),
    ) -> Result<Response<ResponseBody>, h2::Error> {
        let is_head = head.method == Method::HEAD;
        let auth_request = if self.may_ask(connection) {
            AuthRequest::read(&mut head, self.settings.public_port)
        } else {
            Err(BadAuthRequest::NotNamed)
        };
        let mut exchange = Exchange::begin(self, connection, in_flight, &head);
        exchange.is_head = is_head;
        exchange.asked_by = auth_request
            .as_ref()
            .ok()
            .map(|auth_request| auth_request.kind);
        if let Some(line) = &mut exchange.line {
            line.asked_by = exchange.asked_by;
        }
        let response = {
            let request = (head, body);
            let response = pin!(self.verdict(connection, &mut exchange, request, auth_request));
            AssertUnwindSafe(response).catch_unwind().await
        };
        let response = response.unwrap_or(Err(RequestError::Panicked));
        self.finish(connection, exchange, response)
    }

    /// The configuration may have changed since the connection was opened.
    fn may_ask(&self, connection: &ClientConn) -> bool {
        connection.purpose == Purpose::AuthRequestsByFile
            || self.settings.auth_from.contain(connection.peer)
    }

    async fn verdict(
        self: &Arc<Self>,
        connection: &Arc<ClientConn>,
        exchange: &mut Exchange,
        (mut head, body): (Parts, Option<Incoming>),
        auth_request: Result<AuthRequest, BadAuthRequest>,
    ) -> Result<Response<ResponseBody>, RequestError> {
        // Nobody reads it: one that is there ends the connection.
        let stop = self.shared.shutdown.token();
        let body = body.map(|body| connection.body(&head, body, stop));
        if let Some(body) = &body {
            exchange.note_body(body);
        }
        if self.note_auth_request(connection, &head, &auth_request) {
            return Err(RequestError::ForwardAuth(BadAuthRequest::Probe));
        }
        let auth_request = auth_request.map_err(RequestError::ForwardAuth)?;
        let client = self
            .settings
            .trusted_proxies
            .client_told(&auth_request.client);
        let client = client.ok_or(RequestError::ForwardAuth(auth_request.unreadable_client()))?;
        exchange.note_client(client.address, connection);
        request::check(&head, &self.settings.limits)?;
        let authority = &auth_request.host;
        let Found::Apps(site) = self.apps.find(authority, connection)? else {
            return Err(RequestError::ForwardAuth(BadAuthRequest::OwnPage));
        };
        exchange.enter(site, authority, self.settings.public_port);
        let app = exchange.find_app(site, &head)?;
        let target = Target::parse(&head, app.allow_in_path)?;
        if Endpoint::of(target.path()).is_some() {
            return Err(RequestError::ForwardAuth(BadAuthRequest::OwnPage));
        }
        request::check_cookies(&head.headers, &self.settings.limits)?;
        let as_it_stands = unforwardable(site, app, &head)?;
        let title = site.title_of(app, false);
        exchange.subject = Subject::of(title);
        let cookies = RequestCookies::take(&mut head.headers);
        let shown = app.take_credentials(&mut head.headers, false)?;
        let context = RequestContext {
            head: &head,
            authority,
            role: site.role(),
            app: &app.name,
            title,
            client: client.address,
            is_client_known: client.known_address().is_some(),
            cookies,
            cache: &connection.cache,
            last_token: &connection.last_token,
        };
        let known = client.known_address();
        app.check(known, &head.method)?;
        let (asked, for_app) = ((&target, shown), (site, app));
        let judged = self.judge(connection, exchange, &context, for_app, asked);
        let Judged {
            proof,
            principal,
            admitted,
            mut decision,
            revision: _,
        } = judged.await?;
        // The id is the same under both names, so nothing is lost: our own pages give the new one.
        exchange.renewed.clear();
        if let Some(path) = as_it_stands {
            let principal = principal.clone();
            decision = decision.and(app.judge(&path, &head.method, principal, known)?);
        }
        let permit = permit_of(decision, principal.as_ref(), known)?;
        admitted?;
        let Some(permit) = permit else {
            let longest = self.settings.limits.target;
            let asked = self.portal.ask_to_sign_in(&context, &target, longest).await;
            return Ok(asked?.map(ResponseBody::ours));
        };
        if permit.is_for_some_methods() && overrides_in(&head.headers).next().is_some() {
            return Err(BadRequest::Disguise.into());
        }
        if is_websocket(&head.headers) {
            if permit.is_for_some_methods() {
                return Err(RequestError::OutOfScope);
            }
            let (has_session, has_cookie) = (proof.session.is_some(), context.cookies.any);
            let origin = Origin::of(&head.headers, has_session, has_cookie, connection.peer);
            let origins = &app.websocket_origins;
            let checked = origin.and_then(|origin| origins.check(&origin, authority, |_| true));
            checked.map_err(RequestError::WebSocketOrigin)?;
        }
        let token = token::Request {
            method: &head.method,
            authority,
            path: head.uri.path(), // as the proxy sends it on
        };
        let sent = (head.headers, token);
        let mut granted = granted(auth_request.kind, app, &permit, proof, sent)?;
        let id = exchange.id.to_header();
        granted.headers_mut().insert(REQUEST_ID, id);
        Ok(granted.map(ResponseBody::ours))
    }
}

/// Refuses what would have to be put right on its way to the application. Gives what else it may read
/// in the path.
pub(super) fn unforwardable(
    site: &Site,
    app: &Arc<App>,
    head: &Parts,
) -> Result<Option<String>, RequestError> {
    if app.identity.are_disguised_in(&head.headers) {
        return Err(BadRequest::Disguise.into());
    }
    if upgrades_elsewhere(&head.headers) {
        return Err(BadRequest::Field.into());
    }
    if !webdav::are_as_judged(head, app.allow_in_path) {
        return Err(BadRequest::Field.into());
    }
    let path = Target::as_it_stands(head, app.allow_in_path)?;
    if let Some(path) = &path
        && !matches!(site.app_of(path)?, Some(other) if Arc::ptr_eq(other, app))
    {
        return Err(BadRequest::SeveralApps.into());
    }
    Ok(path)
}

/// Whether it wants to go on by another protocol than that of WebSockets: a proxy that lets it would
/// ask nobody about what comes then (SEC-76).
fn upgrades_elsewhere(headers: &HeaderMap) -> bool {
    let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    headers.contains_key(HTTP2_SETTINGS) || protocols.any(|value| !is_websocket(value))
}

/// Proxies do not pass on `Upgrade` with their auth request, but these fields, which every browser sends
/// and no script can set (RFC 6455 §4.1, RFC 8441 §5).
fn is_websocket(headers: &HeaderMap) -> bool {
    let is_of_handshake = |name: &HeaderName| name.as_str().starts_with("sec-websocket-");
    wire::is_left_unread(headers) || headers.keys().any(is_of_handshake)
}

/// The answer that permits a request: the identity headers, and the client's fields without
/// Vestibule's credentials. Its fields take the memory of those that were sent, and hyper reads the next
/// head into it again.
fn granted(
    kind: ProxyKind,
    app: &App,
    permit: &Permit,
    proof: Proof,
    (mut headers, request): (HeaderMap, token::Request<'_>),
) -> Result<Response<Bytes>, RequestError> {
    let cookie = only(&headers, &header::COOKIE)?.cloned();
    let authorization = match proof.authorization {
        Some(authorization) => Some(*authorization),
        None => only(&headers, &header::AUTHORIZATION)?.cloned(),
    };
    let token_header = app.credentials().token_header.as_ref();
    let in_token_header = match token_header {
        Some(name) => only(&headers, name)?.cloned(),
        None => None,
    };
    headers.clear();
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    let is_identity = |name: HeaderName| app.identity.names().any(|own| *own == name);
    let authorization = authorization.filter(|_| !is_identity(header::AUTHORIZATION));
    let by_name = matches!(kind, ProxyKind::Envoy | ProxyKind::Traefik);
    for (name, renamed, value) in [
        (header::COOKIE, COOKIE, cookie),
        (header::AUTHORIZATION, AUTHORIZATION, authorization),
    ] {
        let Some(value) = value else { continue };
        if by_name {
            headers.insert(name, value.clone());
        }
        headers.insert(renamed, value);
    }
    if let (Some(name), Some(value)) = (token_header, in_token_header) {
        headers.insert(name, value);
    }
    if let Some(user) = permit.principal() {
        let session = proof.session.as_ref().map(|session| session.key());
        let session = session.as_ref().map(|key| key as &dyn Display);
        app.identity.inject(&mut headers, user, session, request);
    }
    if is_identity(header::AUTHORIZATION)
        && let Some(ours) = headers.get(header::AUTHORIZATION).cloned()
    {
        headers.insert(AUTHORIZATION, ours);
    }
    if kind == ProxyKind::Envoy {
        let ours = [&header::COOKIE, &header::AUTHORIZATION];
        let ours = ours.into_iter().chain(token_header);
        let names = app.identity.names().chain(ours);
        let absent = names.filter(|name| !headers.contains_key(*name));
        let absent: Vec<_> = absent.map(HeaderName::as_str).collect();
        let absent = HeaderValue::try_from(absent.join(", "));
        headers.extend(absent.ok().map(|absent| (TO_REMOVE, absent)));
    }
    let mut response = Response::new(Bytes::new());
    *response.headers_mut() = headers;
    Ok(response)
}

/// The one value of a field: no proxy puts two of them into the place of what its client sent.
fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, BadRequest> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(BadRequest::Field),
        (value, None) => Ok(value),
    }
}

/// Puts an answer into one of the few statuses that proxies understand.
pub(super) fn put_for(kind: ProxyKind, response: &mut Response<ResponseBody>) {
    let status = match response.status() {
        StatusCode::SEE_OTHER if !kind.passes_answers_on() => {
            response.body_mut().leave_out();
            StatusCode::UNAUTHORIZED
        }
        told @ (StatusCode::OK | StatusCode::SEE_OTHER | StatusCode::UNAUTHORIZED) => told,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::FORBIDDEN,
    };
    *response.status_mut() = status;
    // What is wrong with the request of a client is not wrong with the connection of its proxy.
    response.headers_mut().remove(header::CONNECTION);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_95_every_answer_has_a_status_that_the_proxy_understands() {
        for (status, passed_on, otherwise) in [
            (200, 200, 200),
            (303, 303, 401),
            (308, 403, 403),
            (400, 403, 403),
            (401, 401, 401),
            (403, 403, 403),
            (404, 403, 403),
            (405, 403, 403),
            (414, 403, 403),
            (421, 403, 403),
            (429, 403, 403),
            (431, 403, 403),
            (500, 503, 503),
            (502, 403, 403), // a `Destination` that is elsewhere
            (503, 503, 503),
        ] {
            for (kind, expected) in [
                (ProxyKind::Caddy, passed_on),
                (ProxyKind::Envoy, passed_on),
                (ProxyKind::Traefik, passed_on),
                (ProxyKind::Haproxy, passed_on),
                (ProxyKind::Nginx, otherwise),
            ] {
                let mut response = Response::new(ResponseBody::ours(Bytes::new()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                put_for(kind, &mut response);
                assert_eq!(response.status(), expected, "{status} for {kind:?}");
            }
        }
    }
}

//! One request and its response: what is noted at the beginning, and what is done at the end,
//! whatever becomes of it in between.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};

use super::Proxy;
use super::app::App;
use super::apps::Site;
use super::body::ResponseBody;
use super::client_conn::ClientConn;
use super::early::Early;
use super::error_response::RETRY_AFTER;
use super::forward_auth;
use super::in_flight::InFlight;
use super::response::hsts::Hsts;
use crate::auth::credential::Credential;
use crate::clock::Clock;
use crate::error::RequestError;
use crate::metrics::CallerKind;
use crate::portal::{HostRole, is_page_load};
use crate::principal::Principal;
use crate::request::{Authority, ProxyKind, wire};
use crate::session::Session;
use crate::telemetry::{AccessLine, RequestId};
use crate::upstream::{ClientBody, UpstreamError};

/// What is known of a request besides its head, and belongs to it until its response is gone.
pub(super) struct Exchange {
    pub(super) id: RequestId,
    pub(super) in_flight: InFlight,
    /// Once it is found.
    pub(super) app: Option<Arc<App>>,
    pub(super) subject: Subject,
    /// What its host is for, once that is found.
    role: HostRole,
    /// Of the proxy that asks whether its client may, and gets the request by itself.
    pub(super) asked_by: Option<ProxyKind>,
    /// What it shows besides a session, and its app does not take.
    pub(super) untaken: Untaken,
    /// `None` without an access log.
    pub(super) line: Option<Box<AccessLine>>,
    /// `Set-Cookie` fields for whatever response.
    pub(super) renewed: Vec<HeaderValue>,
    /// `Strict-Transport-Security` for whatever response, once the host is found to be ours.
    hsts: Option<HeaderValue>,
    version: Version,
    /// Whether a person reads the response, and not a program.
    pub(super) is_page_load: bool,
    pub(super) is_head: bool,
    /// Whether there is no telling where the next request of the connection begins.
    is_left_unread: bool,
    /// Whether the body has been read to its end, where the next request comes after it.
    body_is_whole: Option<Arc<AtomicBool>>,
    started: Instant,
}

/// What a request shows that its app does not take, so that nobody looks at it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Untaken {
    Nothing,
    /// An API token, good or not.
    Token,
}

/// What an error page is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The app of the request.
    App,
    /// One of our own pages that serves all apps of the host; metrics count it for one of them.
    SeveralApps,
}

impl Subject {
    /// By its title.
    pub(super) fn of(title: Option<&Arc<str>>) -> Self {
        title.map_or(Self::SeveralApps, |_| Self::App)
    }
}

impl Exchange {
    pub(super) fn begin(
        proxy: &Proxy,
        connection: &ClientConn,
        in_flight: InFlight,
        head: &Parts,
    ) -> Self {
        let trusted = proxy.settings.trusted_proxies.contain(connection.peer);
        let told = trusted.then(|| RequestId::of_proxy(&head.headers));
        let id = told.flatten();
        let id = id.unwrap_or_else(|| proxy.shared.request_ids.next());
        let line = proxy.settings.access_log.then(|| {
            let peer = Arc::clone(&connection.peer_text);
            Box::new(AccessLine::begin(id.clone(), peer, head))
        });
        let is_left_unread = head.version < Version::HTTP_2 && wire::is_left_unread(&head.headers);
        Self {
            id,
            in_flight,
            app: None,
            subject: Subject::App,
            role: HostRole::Own,
            asked_by: None,
            untaken: Untaken::Nothing,
            renewed: Vec::new(),
            hsts: None,
            version: head.version,
            is_page_load: is_of_people(&head.method) && is_page_load(&head.headers),
            is_head: head.method == Method::HEAD,
            is_left_unread,
            body_is_whole: None,
            started: line
                .as_ref()
                .map_or_else(Clock::stopwatch, |line| line.started),
            line,
        }
    }
}

impl Proxy {
    /// The response as it goes out: an error becomes one, and what holds for every response is
    /// done. `Err` resets a stream whose request is for HTTP/1.1.
    pub(super) fn finish(
        &self,
        connection: &ClientConn,
        mut exchange: Exchange,
        response: Result<Response<ResponseBody>, RequestError>,
    ) -> Result<Response<ResponseBody>, h2::Error> {
        let (mut http1_required, mut overloaded) = (false, false);
        let mut response = response.unwrap_or_else(|error| {
            http1_required = matches!(error, RequestError::Upstream(UpstreamError::Http1Required));
            overloaded = matches!(error, RequestError::Overloaded(_));
            if error.closes_under_pressure() {
                connection.state.end();
            }
            exchange.count_error(&error);
            exchange.note_refusal(&error);
            self.error_response(&error, &exchange)
        });
        if let Some(kind) = exchange.asked_by {
            forward_auth::put_for(kind, &mut response);
        }
        if response.body().is_ours()
            && (!exchange
                .in_flight
                .hold_response(connection.network_of_peer())
                || overloaded && connection.state.has_many_requests())
        {
            leave_out(&mut response);
        }
        // After an early response hyper reads no further, and closes the connection: a client that is
        // not told would send its next request into the void (RFC 9112 §9.6, SEC-99).
        let closes = exchange.is_left_unread
            || exchange.is_early()
            || self.shared.shutdown.has_begun()
            || connection.state.ends();
        if exchange.is_http1() && closes && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if exchange.version < Version::HTTP_11 {
            connection.state.note_unframed();
            if response.headers().contains_key(header::CONNECTION) {
                // Of a later version, hyper would add that it keeps the connection open.
                *response.version_mut() = Version::HTTP_10;
            }
        }
        if exchange.is_head
            && let Some(length) = response.body_mut().leave_out()
        {
            let length = HeaderValue::from(length);
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
        }
        for cookie in exchange.renewed.drain(..) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        // Replaces the application's, whose `max-age=0` would switch off HSTS for our own pages on
        // this host (SEC-90).
        let headers = response.headers_mut();
        match exchange.hsts.take() {
            Some(hsts) => headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts),
            None => headers.remove(header::STRICT_TRANSPORT_SECURITY),
        };
        let (status, took) = (response.status(), exchange.started.elapsed());
        if exchange.is_refused_early(status) {
            Early::begin(&connection.state);
        }
        if let Some(line) = &mut exchange.line {
            line.app = exchange.app.as_ref().map(|app| Arc::clone(&app.name));
            line.status = status;
            line.head = Some(took);
        }
        let counts = exchange.app.as_ref().map(|app| &app.counts.answers);
        let counts = counts.unwrap_or(&self.shared.no_app);
        counts.note(status, took);
        let body = response.body_mut();
        body.carry(exchange.line, exchange.in_flight, exchange.app);
        if http1_required {
            return Err(h2::Reason::HTTP_1_1_REQUIRED.into());
        }
        Ok(response)
    }
}

impl Exchange {
    /// Notes what is known of a host, once its apps are found.
    pub(super) fn enter(&mut self, site: &Site, host: &Authority, public_port: Option<u16>) {
        self.role = site.role();
        self.hsts = site.hsts(host, public_port);
    }

    /// The same of the host that has the login of all apps.
    pub(super) fn enter_login(&mut self, host: &Authority, public_port: Option<u16>) {
        self.role = HostRole::Login;
        self.subject = Subject::SeveralApps;
        self.hsts = Hsts::Default.field(host, public_port);
    }

    /// Where a login begins: here, or on the way to the host that has it.
    pub(super) fn login(&self, here: &'static str, elsewhere: &'static str) -> &'static str {
        match self.role {
            HostRole::Own | HostRole::Login => here,
            HostRole::App => elsewhere,
        }
    }

    pub(super) fn is_http1(&self) -> bool {
        self.version < Version::HTTP_2
    }

    /// Notes what tells whether the body of the request has come to its end.
    pub(super) fn note_body(&mut self, body: &ClientBody) {
        self.body_is_whole = body.whole();
    }

    /// Whether the response comes before the end of its request.
    fn is_early(&self) -> bool {
        let whole = self.body_is_whole.as_ref();
        whole.is_some_and(|whole| !whole.load(Ordering::Acquire))
    }

    /// Whether clients may stop their upload at the head of this response, over HTTP/2.
    pub(super) fn is_refused_early(&self, status: StatusCode) -> bool {
        !self.is_http1()
            && self.is_early()
            && (status.is_client_error() || status.is_server_error())
    }

    /// The app that the request is for. Where that cannot be told, it is still named in the log.
    pub(super) fn find_app<'s>(
        &mut self,
        site: &'s Site,
        head: &Parts,
    ) -> Result<&'s Arc<App>, RequestError> {
        let found = site.app(head);
        let named = match &found {
            Ok(app) => Some(*app),
            Err(_) => site.app_in_name(head),
        };
        self.app = named.map(Arc::clone);
        found
    }

    /// For the access line, where there is one: whom a trusted proxy names.
    pub(super) fn note_client(&mut self, client: IpAddr, connection: &ClientConn) {
        if let Some(line) = &mut self.line
            && client != connection.peer
        {
            line.client = client.to_string().into();
        }
    }

    /// The same.
    pub(super) fn note_user(&mut self, session: &Session, principal: &Principal) {
        if let Some(line) = &mut self.line {
            line.user = Some(principal.to_identity());
            line.session = Some(session.key().beginning());
        }
    }

    /// The same of a program.
    pub(super) fn note_credential(&mut self, credential: &Credential, principal: &Principal) {
        if let Some(line) = &mut self.line {
            line.user = Some(principal.to_identity());
            line.token = credential.token().map(|token| token.beginning());
        }
    }

    /// For the access line, where there is one: the code that programs get, and what the page does
    /// not say to visitors.
    fn note_refusal(&mut self, error: &RequestError) {
        let text = match error {
            RequestError::BadRequest(bad) => Some(bad.text()),
            RequestError::CredentialRefused(refusal, _) => Some(refusal.text()),
            RequestError::ForwardAuth(bad) => Some(bad.text()),
            RequestError::WebSocketOrigin(refusal) => Some(refusal.text()),
            RequestError::Maintenance => Some("the app is closed for maintenance"),
            RequestError::UploadTooLarge
            | RequestError::Upstream(UpstreamError::ClientTooLarge) => {
                Some("the body is larger than `max_body`")
            }
            RequestError::WrongNetwork(outside) => Some(outside.text()),
            _ => None,
        };
        if let Some(line) = &mut self.line {
            line.reason = Some(error.message().code);
            line.error = text;
        }
    }

    fn count_error(&self, error: &RequestError) {
        if let (RequestError::Upstream(error), Some(app)) = (error, &self.app)
            && let Some(counter) = error.of(&app.counts.upstream_errors)
        {
            counter.inc();
        }
        let is_of_caller = matches!(
            error,
            RequestError::CredentialRefused(..)
                | RequestError::LoginBusy
                | RequestError::LoginThrottled(_)
        );
        if let (true, Some(app)) = (is_of_caller, &self.app) {
            app.counts.callers.note(CallerKind::Refused);
        }
    }
}

/// Whether links and forms send requests of this method: nobody navigates by another.
fn is_of_people(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::POST)
}

/// Nobody reads so many pages at a time; they would only take memory.
fn leave_out(response: &mut Response<ResponseBody>) {
    response.body_mut().leave_out();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, RETRY_AFTER);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
}

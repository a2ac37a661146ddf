//! The way of a request: accept, TLS, parse, decide, session, identity, upstream, response.

mod activity;
mod app;
mod body;
mod connection;
mod private;
mod probe;
mod redirect;
mod stall;
mod transport;
mod tunnel;

use std::collections::HashMap;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::{Body, Incoming};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Decision;
use crate::clock::Clock;
use crate::error::RequestError;
use crate::forwarded::TrustedProxies;
use crate::identity::Identity;
use crate::listener::{self, Admission};
use crate::login::{Endpoint, Login, Visit, is_page_load};
use crate::pages::{self, ErrorView, Pages};
use crate::request::{self, Authority, BadRequest, Limits, Target};
use crate::session::cookie::{self, Presented};
use crate::session::data::{self, DataChange};
use crate::session::{ChangeError, NoRandomness, Session, Sessions};
use crate::telemetry::{AccessLine, RequestId, RequestIds};
use crate::upstream::{self, RequestBody, hop_by_hop, upgrade};

use app::App;
pub(crate) use app::AppSettings;
use body::AnswerBody;
use connection::Connection;
pub(crate) use probe::Probe;
pub(crate) use redirect::redirect_to_https;

/// `[server.timeouts]`; each is a whole, not per byte, unless it says idle.
#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    /// TLS handshake.
    pub(crate) handshake: Duration,
    /// From the first byte of a head to its end.
    pub(crate) headers: Duration,
    /// Between two reads of a request body.
    pub(crate) body_idle: Duration,
    /// A connection without a request.
    pub(crate) keep_alive: Duration,
    /// A client that takes nothing.
    pub(crate) write: Duration,
}

/// What holds for all apps.
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) access_log: bool,
}

/// The gate.
pub(crate) struct Proxy {
    apps: HashMap<String, Arc<App>>,
    /// The only app, when it serves every host.
    only_app: Option<Arc<App>>,
    login: Login,
    sessions: Arc<Sessions>,
    pages: Arc<Pages>,
    limits: Limits,
    timeouts: Timeouts,
    trusted_proxies: TrustedProxies,
    access_log: bool,
    request_ids: RequestIds,
    stopping: AtomicBool,
    stop: CancellationToken,
    connections: TaskTracker,
    tunnels: TaskTracker,
}

/// Why there can be no gate.
#[derive(Debug)]
pub(crate) enum OpenError {
    NoRandomness,
    /// The app of this name could never be reached.
    Upstream(String, upstream::OpenError),
}

/// Browsers are to come back by TLS only, for a year (RFC 6797, SEC-77).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

impl Proxy {
    pub(crate) fn new(
        settings: Settings,
        apps: Vec<AppSettings>,
        login: Login,
        pages: Arc<Pages>,
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        let mut by_host = HashMap::new();
        let mut only_app = None;
        for app in apps {
            let host = app.host.clone();
            let name = app.name.clone();
            let app = App::open(app, clock).map_err(|error| OpenError::Upstream(name, error))?;
            let app = Arc::new(app);
            match host {
                Some(host) => drop(by_host.insert(host.as_str().to_owned(), app)),
                None => only_app = Some(app),
            }
        }
        Ok(Self {
            apps: by_host,
            only_app,
            sessions: Arc::clone(&login.sessions),
            login,
            pages,
            limits: settings.limits,
            timeouts: settings.timeouts,
            trusted_proxies: settings.trusted_proxies,
            access_log: settings.access_log,
            request_ids: RequestIds::new().map_err(|NoRandomness| OpenError::NoRandomness)?,
            stopping: AtomicBool::new(false),
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
            tunnels: TaskTracker::new(),
        })
    }

    /// Takes connections until the service stops.
    pub(crate) async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        acceptor: TlsAcceptor,
        admission: Arc<Admission>,
    ) {
        let stop = self.stop.clone();
        while let Some((stream, peer, admitted)) = stop
            .run_until_cancelled(listener::accept(&listener, &admission))
            .await
        {
            let (proxy, acceptor) = (Arc::clone(&self), acceptor.clone());
            self.connections
                .spawn(connection::serve(proxy, acceptor, stream, peer, admitted));
        }
    }

    /// One request, whatever becomes of it: an answer, and its access line when that has gone.
    async fn handle(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        let active = connection.activity.begin();
        let id = self.request_ids.next();
        let mut line = (self.access_log && connection.is_of_client())
            .then(|| Box::new(AccessLine::begin(id, connection.peer, &request)));
        let page = is_page_load(request.headers());
        let http1 = request.version() < Version::HTTP_2;
        let only_head = request.method() == Method::HEAD;
        // A panic ends this request and no other (REL-11); what it held is unwound.
        let answer = AssertUnwindSafe(self.answer(connection, request, line.as_deref_mut()));
        let answer = answer
            .catch_unwind()
            .await
            .unwrap_or(Err(RequestError::Panicked));
        let mut response = answer.unwrap_or_else(|error| self.refuse(&error, id, page, http1));
        if http1 && self.is_stopping() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if only_head && let Some(length) = response.body_mut().leave_out() {
            let length = HeaderValue::from(length);
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
        }
        if let Some(line) = &mut line {
            line.status = response.status();
            line.head_ms = Some(line.elapsed_ms());
        }
        response.body_mut().carry(line, active);
        response
    }

    async fn answer(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        mut request: Request<Incoming>,
        mut line: Option<&mut AccessLine>,
    ) -> Result<Response<AnswerBody>, RequestError> {
        let upgrade = upgrade::client_side(&mut request);
        let (mut head, body) = request.into_parts();
        let authority = request::parse(&head, &self.limits).map_err(RequestError::BadRequest)?;
        let app = self.find_app(&authority, connection)?;
        let target = Target::parse(&head, app.encoded_slash).map_err(RequestError::BadRequest)?;
        let client = self.trusted_proxies.client(connection.peer, &head.headers);
        let cookies = Presented::take(&mut head.headers);
        if let Some(line) = &mut line {
            line.app = Some(Arc::clone(&app.name));
            line.client = client.address;
        }

        if let Some(endpoint) = Endpoint::of(target.path()) {
            let visit = Visit {
                head: &head,
                authority: &authority,
                client: client.address,
                cookies,
                memo: &connection.memo,
            };
            let answer = Box::pin(self.login.serve(endpoint, visit, body)).await?;
            return Ok(answer.map(AnswerBody::ours)); // never forwarded (SEC-73)
        }

        let (session, identity) = self
            .login
            .signed_in(&cookies, &connection.memo)
            .await?
            .unzip();
        if let Some(line) = &mut line {
            line.user = identity
                .as_deref()
                .map(|who: &Identity| who.user().to_owned());
            line.session = session.as_deref().map(Session::key);
        }
        let permit = match app.decide(&target, &head, identity)? {
            Decision::Allow(permit) => permit,
            Decision::Forbid => return Err(RequestError::Forbidden),
            Decision::Login => return Ok(Login::ask(&head, &target).map(AnswerBody::ours)),
        };

        let websocket = hop_by_hop::opens_websocket(&head, !body.is_end_stream());
        if websocket && !app.may_open_websocket(&head, &authority) {
            return Err(RequestError::WebSocketOrigin);
        }
        app.prepare(
            &mut head,
            target,
            &authority,
            &client,
            &permit,
            session.as_deref(),
        );
        let public = permit.is_public() && permit.identity().is_none();
        if websocket {
            let request = Request::from_parts(head, RequestBody::empty());
            let opened = self.open_tunnel(&app, permit, request, upgrade, connection, session);
            return Box::pin(opened).await; // boxed, as all that is rare: the common way stays small
        }
        let body = RequestBody::new(body, self.timeouts.body_idle);
        let upload = body.upload();
        let request = Request::from_parts(head, body);
        let forwarded = if let (Some(_), Some(session)) = (&upload, &session) {
            // A request without a body is soon answered; an upload can outlive its session.
            let forwarded = app.upstreams.forward(permit, request);
            Box::pin(self.while_good(session, forwarded)).await?
        } else {
            app.upstreams.forward(permit, request).await
        };
        if let (Some(line), Some(upload)) = (line, upload) {
            line.received = upload.bytes();
        }
        let mut response = forwarded.map_err(RequestError::Upstream)?;
        self.clean(&app, response.headers_mut(), public, session.as_deref())
            .await;
        let session = session.map(|session| (Arc::clone(&self.sessions), session));
        Ok(response.map(|body| AnswerBody::forwarded(body, session)))
    }

    /// Waits for an answer as long as the session is good (SEC-75).
    async fn while_good<T>(
        &self,
        session: &Arc<Session>,
        answer: impl Future<Output = T>,
    ) -> Result<T, RequestError> {
        let watch = self.sessions.watch(session);
        tokio::select! {
            answer = answer => Ok(answer),
            () = watch.ended().cancelled() => Err(RequestError::SessionEnded),
        }
    }

    /// The app of a host name. An unknown one is not served by whichever app comes first, and
    /// neither is one that TLS was not asked for (SEC-09, SEC-78).
    fn find_app(
        &self,
        authority: &Authority,
        connection: &Connection,
    ) -> Result<Arc<App>, RequestError> {
        let host = authority
            .host()
            .strip_suffix('.')
            .unwrap_or(authority.host());
        if let Some(server_name) = &connection.server_name
            && !server_name.trim_end_matches('.').eq_ignore_ascii_case(host)
        {
            return Err(RequestError::Misdirected);
        }
        if let Some(app) = &self.only_app {
            return Ok(Arc::clone(app));
        }
        let app = self
            .apps
            .get(host)
            .or_else(|| self.apps.get(&host.to_ascii_lowercase()));
        app.cloned().ok_or(RequestError::Misdirected)
    }

    /// Takes out of an application's answer what is not for the browser, and puts in what is.
    async fn clean(
        &self,
        app: &App,
        headers: &mut HeaderMap,
        public: bool,
        session: Option<&Session>,
    ) {
        let dropped = cookie::drop_ours(headers);
        if dropped > 0 {
            tracing::warn!(
                app = &*app.name,
                dropped,
                "the application tried to set our cookie"
            );
        }
        let change = DataChange::take(headers);
        headers.remove(data::DATA);
        if let (true, Some(change), Some(session)) = (app.session_data, change, session) {
            let kept = match change {
                Ok(change) => self.sessions.change_data(session, change).await,
                Err(error) => Err(ChangeError::Data(error)),
            };
            if let Err(error) = kept {
                tracing::warn!(
                    app = &*app.name,
                    ?error,
                    "session data of an answer was not kept"
                );
            }
        }
        if !headers.contains_key(header::STRICT_TRANSPORT_SECURITY) {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
        }
        if !public {
            private::keep_private(headers);
        }
    }

    /// The answer to a request that went wrong: a page for people, JSON for programs.
    fn refuse(
        &self,
        error: &RequestError,
        id: RequestId,
        page: bool,
        http1: bool,
    ) -> Response<AnswerBody> {
        let public = error.public();
        if public.status.is_server_error() {
            tracing::error!(request = %id, %error, "a request failed");
        } else {
            tracing::debug!(request = %id, %error, "a request was refused");
        }
        let request_id = &id.to_string();
        let mut response = if page {
            let view = ErrorView {
                status: public.status,
                title: public.title,
                advice: public.advice,
                request_id,
                user: None,
            };
            self.pages.error(&view).into_response()
        } else {
            let body = serde_json::json!({ "error": public.title, "request_id": request_id });
            pages::json(public.status, &body)
        };
        let headers = response.headers_mut();
        if let RequestError::MethodNotAllowed(allow) = error {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let RequestError::BadRequest(BadRequest::Method) = error {
            headers.insert(header::ALLOW, self.limits.allow());
        }
        if let RequestError::LogoutNotKept(_) = error {
            headers.append(header::SET_COOKIE, cookie::expire_session());
        }
        if public.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if http1 && error.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(AnswerBody::ours)
    }

    /// Looks after what no request does: ends the streams of ended sessions, closes unused
    /// connections to applications. Called about once a second.
    pub(crate) async fn tick(&self) {
        self.login.accounts.refresh();
        self.sessions
            .sweep(|session| self.login.identify(session).is_some())
            .await;
        for app in self.apps.values().chain(&self.only_app) {
            app.upstreams.reap();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Stops taking connections, lets requests finish for `drain`, then ends what is left
    /// (REL-02). Gives how many connections did not finish.
    pub(crate) async fn stop(&self, drain: Duration) -> usize {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop.cancel();
        self.connections.close();
        self.tunnels.close();
        let finished = async {
            self.connections.wait().await;
            self.tunnels.wait().await;
        };
        let _ = tokio::time::timeout(drain, finished).await;
        self.connections.len()
    }

    /// Whom a listener counts by the total alone.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.contain(address)
    }
}

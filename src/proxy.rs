//! The way of a request: accept, TLS, parse, decide, session, identity, upstream, response.

mod activity;
mod admission;
mod app;
mod apps;
mod body;
mod connection;
mod forward;
mod introduction;
mod kept_form;
mod linger;
mod live;
mod private;
mod redirect;
mod response;
mod service;
mod settings;
mod stall;
mod tunnel;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::{Body, Incoming};

use crate::access::Decision;
use crate::auth::callers::Callers;
use crate::clock::Clock;
use crate::error::RequestError;
use crate::login::{self, Endpoint, Login, Visit, is_page_load, kept_forms};
use crate::pages::{self, ErrorView, Pages};
use crate::request::{self, BadRequest, Target, wire};
use crate::session::cookie::{self, Presented};
use crate::session::{Session, Sessions};
use crate::telemetry::{AccessLine, RequestId};
use crate::upstream::{self, ConnectionAuth, RequestBody, UpstreamError, hop_by_hop, upgrade};

use activity::ActiveRequest;
use app::App;
pub(crate) use app::AppSettings;
use apps::Apps;
use body::AnswerBody;
use connection::Connection;
use live::Permitted;
pub(crate) use response::far_reaching::FarReaching;
use service::Life;
pub(crate) use service::Service;
pub(crate) use settings::{Settings, Timeouts};

/// The gate, as one configuration has it.
pub(crate) struct Proxy {
    apps: Apps,
    callers: Arc<Callers>,
    login: Login,
    sessions: Arc<Sessions>,
    pages: Arc<Pages>,
    settings: Arc<Settings>,
    /// What it shares with the gates before and after it.
    life: Arc<Life>,
    /// Its place among them.
    number: u64,
}

/// Why there can be no gate.
#[derive(Debug)]
pub(crate) enum OpenError {
    NoRandomness,
    /// The app of this name could never be reached.
    Upstream(String, upstream::OpenError),
}

impl Proxy {
    fn new(
        settings: Settings,
        apps: Vec<AppSettings>,
        login: Login,
        pages: Arc<Pages>,
        clock: &Clock,
        life: Arc<Life>,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            apps: Apps::open(apps, clock, &life)?,
            callers: Arc::clone(&login.callers),
            sessions: Arc::clone(&login.sessions),
            login,
            pages,
            settings: Arc::new(settings),
            number: life.count_configuration(),
            life,
        })
    }

    /// One request, whatever becomes of it: an answer, and its access line when that has gone. The
    /// error resets a stream whose request is for HTTP/1.1.
    async fn handle(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, h2::Error> {
        let mut active = connection.activity.begin(!request.body().is_end_stream());
        let id = self.life.request_ids.next();
        let mut line = self
            .settings
            .access_log
            .then(|| Box::new(AccessLine::begin(id, connection.peer, &request)));
        let started = line
            .as_ref()
            .map_or_else(Clock::stopwatch, |line| line.started);
        let page = is_page_load(request.headers());
        let http1 = request.version() < Version::HTTP_2;
        let left_unread = http1 && wire::is_left_unread(request.headers());
        let only_head = request.method() == Method::HEAD;
        // A panic ends this request and no other (REL-11); what it held is unwound.
        let (mut app, mut renewed) = (None, Vec::new());
        let answer = self.answer(
            connection,
            &active,
            request,
            line.as_deref_mut(),
            &mut app,
            &mut renewed,
        );
        let answer = AssertUnwindSafe(answer);
        let answer = answer
            .catch_unwind()
            .await
            .unwrap_or(Err(RequestError::Panicked));
        let http1_required = matches!(
            answer,
            Err(RequestError::Upstream(UpstreamError::Http1Required))
        );
        let overloaded = matches!(answer, Err(RequestError::Overloaded(_)));
        if answer.as_ref().is_err_and(RequestError::makes_room) {
            connection.activity.end();
        }
        if let (Err(RequestError::Upstream(error)), Some(app)) = (&answer, &app)
            && let Some(counter) = error.of(&app.counts.upstream_errors)
        {
            counter.inc();
        }
        let mut response = answer.unwrap_or_else(|error| self.refuse(&error, id, page, http1));
        if response.body().is_ours()
            && (!active.hold_answer(connection.network_of_peer())
                || overloaded && connection.activity.has_many_requests())
        {
            // Nobody reads so many pages at a time; they would only take memory.
            response.body_mut().leave_out();
            let retry = HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, retry);
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let ends = left_unread || self.life.is_stopping() || connection.activity.ends();
        if http1 && ends && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if only_head && let Some(length) = response.body_mut().leave_out() {
            let length = HeaderValue::from(length);
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
        }
        for cookie in renewed {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        if let Some(line) = &mut line {
            line.status = response.status();
            line.head_ms = Some(line.elapsed_ms());
        }
        let counts = app.as_ref().map(|app| &app.counts.answers);
        let counts = counts.unwrap_or(&self.life.no_app);
        counts.note(response.status(), started.elapsed());
        response.body_mut().carry(line, active, app);
        if http1_required {
            return Err(h2::Reason::HTTP_1_1_REQUIRED.into());
        }
        Ok(response)
    }

    async fn answer(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        active: &ActiveRequest,
        mut request: Request<Incoming>,
        mut line: Option<&mut AccessLine>,
        found: &mut Option<Arc<App>>,
        renewed: &mut Vec<HeaderValue>,
    ) -> Result<Response<AnswerBody>, RequestError> {
        let upgrade = upgrade::client_side(&mut request);
        let (mut head, body) = request.into_parts();
        let authority =
            request::parse(&head, &self.settings.limits).map_err(RequestError::BadRequest)?;
        let server_name = connection.server_name.as_deref();
        let app = &*found.insert(self.apps.find(&authority, server_name)?);
        let target = Target::parse(&head, app.encoded_slash).map_err(RequestError::BadRequest)?;
        let (target, sends) = kept_forms::split(&head, target);
        let client = self
            .settings
            .trusted_proxies
            .client(connection.peer, &head.headers);
        let endpoint = self.endpoint(&target, &head.headers)?;
        let cookies = Presented::take(&mut head.headers);
        if let Some(line) = &mut line {
            line.app = Some(Arc::clone(&app.name));
            line.client = client.address;
        }

        let visit = Visit {
            head: &head,
            authority: &authority,
            app: &app.name,
            client: client.address,
            cookies,
            memo: &connection.memo,
        };
        if let Some(endpoint) = endpoint {
            self.admit_to_ours(connection, active, &visit).await?;
            let answer = Box::pin(self.login.serve(endpoint, visit, body)).await?;
            return Ok(answer.map(AnswerBody::ours)); // never forwarded (SEC-73)
        }

        let revision = self.revision();
        let caller = self.callers.identify(visit.shown(), &connection.memo);
        let caller = caller.await.map_err(RequestError::Session)?;
        let (session, principal) = caller.into_session().unzip();
        self.renew(&visit, session.as_deref(), renewed);
        let user = principal.as_ref().map(|who| who.identity().user());
        let admitted = self.admit(connection, active, client.address, user);
        if let Some(line) = &mut line {
            line.user = user.map(str::to_owned);
            line.session = session.as_deref().map(Session::key);
        }
        let permit = match app.decide(&target, &authority, &head, principal)? {
            Decision::Allow(permit) => permit,
            Decision::Forbid => return Err(RequestError::Forbidden),
            Decision::Login => {
                self.admit_to_login(app, &visit, admitted)?;
                return Box::pin(self.ask(visit, app, &target, sends, body, line)).await;
            }
        };
        admitted?;
        let mut permitted = Permitted {
            method: head.method.clone(),
            target: target.clone(),
            authority: authority.clone(),
            origin: None,
            session,
            revision,
        };
        if let Some(id) = sends {
            let sending = kept_form::Sending {
                id,
                app: Arc::clone(app),
                permit,
                head,
                target,
                authority,
                client,
                permitted,
                connection: Arc::clone(connection),
            };
            return Box::pin(self.send_kept_form(sending, body)).await;
        }

        let websocket = hop_by_hop::opens_websocket(&head, !body.is_end_stream());
        if websocket {
            let origin = app.origin_of_websocket(&head, &authority);
            let origin = origin.ok_or(RequestError::WebSocketOrigin)?;
            permitted.origin = Some(origin.clone());
        }
        app.prepare(
            &mut head,
            target,
            &authority,
            (&client, &connection.peer_header),
            &permit,
            permitted.session.as_deref(),
        );
        if websocket {
            let handshake = (Request::from_parts(head, RequestBody::empty()), upgrade);
            let opened = self.open_tunnel(app, permit, handshake, &client, connection, permitted);
            return Box::pin(opened).await; // boxed, as all that is rare: the common way stays small
        }
        let idle_timeout = self.settings.timeouts.body_idle;
        let body = connection.request_body(body, idle_timeout, &app.counts.received);
        let request = Request::from_parts(head, body);
        let from = (client.address, &**connection);
        self.forward(app, permit, permitted, request, from, line)
            .await
    }

    /// What NTLM and Negotiate can sign in here: with a session, and on a connection that is
    /// nobody else's (SEC-92).
    fn connection_auth<'a>(
        &'a self,
        connection: &'a Connection,
        session: Option<&'a Arc<Session>>,
        version: Version,
    ) -> ConnectionAuth<'a> {
        match session {
            Some(_) if self.settings.trusted_proxies.contain(connection.peer) => {
                ConnectionAuth::Dropped
            }
            Some(session) if version < Version::HTTP_2 => ConnectionAuth::Own {
                own: &connection.own,
                session,
                sessions: &self.sessions,
            },
            Some(_) => ConnectionAuth::NeedsHttp1,
            None => ConnectionAuth::Dropped,
        }
    }

    /// Which of our addresses a request is for. An application gets no more cookies than it may.
    fn endpoint<'t>(
        &self,
        target: &'t Target,
        headers: &HeaderMap,
    ) -> Result<Option<Endpoint<'t>>, RequestError> {
        let endpoint = Endpoint::of(target.path());
        if endpoint.is_none() {
            let checked = request::check_cookies(headers, &self.settings.limits);
            checked.map_err(RequestError::BadRequest)?;
        }
        Ok(endpoint)
    }

    /// Gives the browser the id of an old session under the name that no script can set. The same
    /// id: requests of the old name may be on their way, and all of them are good.
    fn renew(&self, visit: &Visit<'_>, session: Option<&Session>, cookies: &mut Vec<HeaderValue>) {
        if let (true, Some(session)) = (visit.cookies.by_old_name, session)
            && let Some(id) = &visit.cookies.session
        {
            let kept_for = self.sessions.kept_for(session);
            cookies.push(cookie::set_session(id, kept_for));
            cookies.extend(visit.cookies.expire_old());
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
        let many = matches!(
            error,
            RequestError::Overloaded(_) | RequestError::TooManyTunnels(_)
        );
        if public.status.is_server_error() && !many {
            tracing::error!(request = %id, %error, "a request failed");
        } else {
            tracing::debug!(request = %id, %error, "a request was refused");
        }
        let request_id = &id.to_string();
        let mut response = if let Some(code) = error.code() {
            let body = serde_json::json!({
                "error": code,
                "message": format!("{}. {}", public.title, public.advice),
                "request_id": request_id,
            });
            pages::json(public.status, &body)
        } else if page {
            let view = ErrorView {
                status: public.status,
                title: public.title,
                advice: public.advice,
                request_id,
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
            headers.insert(header::ALLOW, self.settings.limits.allow());
        }
        if let RequestError::LogoutNotKept(_) = error {
            cookie::expire_session(headers);
        }
        if public.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, login::challenge());
        }
        if public.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if http1 && error.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(AnswerBody::ours)
    }

    /// Looks after what no request does: sessions, and unused connections to applications. Called
    /// about twice a second.
    async fn tick(&self) {
        self.callers.refresh();
        self.judge_streams(); // before what may have to wait for a disk
        self.login.tick().await;
        for app in self.apps.iter() {
            app.upstreams.reap();
        }
    }
}

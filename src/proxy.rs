//! The way of a request: accept, TLS, parse, decide, session, identity, upstream, response.

mod activity;
mod admission;
mod app;
mod apps;
mod body;
mod connection;
mod error_response;
mod exchange;
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
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use hyper::body::{Body, Incoming};

use crate::access::Decision;
use crate::auth::callers::Callers;
use crate::clock::Clock;
use crate::error::RequestError;
use crate::login::{Endpoint, Login, Visit, kept_forms};
use crate::pages::Pages;
use crate::request::{self, Target};
use crate::session::cookie::{self, Presented};
use crate::session::{Session, Sessions};
use crate::upstream::{self, ConnectionAuth, RequestBody, hop_by_hop, upgrade};

pub(crate) use app::AppSettings;
use apps::Apps;
use body::AnswerBody;
use connection::Connection;
use exchange::Exchange;
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

    /// One request, whatever becomes of it. The error resets a stream whose request is for HTTP/1.1.
    async fn handle(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, h2::Error> {
        let mut exchange = Exchange::begin(self, connection, &request);
        let response = self.respond(connection, &mut exchange, request);
        // A panic ends this request and no other (REL-11); what it held is unwound.
        let response = AssertUnwindSafe(response).catch_unwind().await;
        let response = response.unwrap_or(Err(RequestError::Panicked));
        self.finish(connection, exchange, response)
    }

    async fn respond(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        exchange: &mut Exchange,
        mut request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, RequestError> {
        let upgrade = upgrade::client_side(&mut request);
        let (mut head, body) = request.into_parts();
        let authority =
            request::parse(&head, &self.settings.limits).map_err(RequestError::BadRequest)?;
        let server_name = connection.server_name.as_deref();
        let app = &*exchange
            .app
            .insert(self.apps.find(&authority, server_name)?);
        let target = Target::parse(&head, app.encoded_slash).map_err(RequestError::BadRequest)?;
        let (target, sends) = kept_forms::split(&head, target);
        let client = self
            .settings
            .trusted_proxies
            .client(connection.peer, &head.headers);
        let endpoint = self.endpoint(&target, &head.headers)?;
        let cookies = Presented::take(&mut head.headers);
        if let Some(line) = &mut exchange.line {
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
            self.admit_to_ours(connection, &exchange.active, &visit)
                .await?;
            let answer = Box::pin(self.login.serve(endpoint, visit, body)).await?;
            return Ok(answer.map(AnswerBody::ours)); // never forwarded (SEC-73)
        }

        let revision = self.revision();
        let caller = self.callers.identify(visit.shown(), &connection.memo);
        let caller = caller.await.map_err(RequestError::Session)?;
        let (session, principal) = caller.into_session().unzip();
        self.renew(&visit, session.as_deref(), &mut exchange.renewed);
        let user = principal.as_ref().map(|who| who.identity().user());
        let admitted = self.admit(connection, &exchange.active, client.address, user);
        if let Some(line) = &mut exchange.line {
            line.user = user.map(str::to_owned);
            line.session = session.as_deref().map(Session::key);
        }
        let permit = match app.decide(&target, &authority, &head, principal)? {
            Decision::Allow(permit) => permit,
            Decision::Forbid => return Err(RequestError::Forbidden),
            Decision::Login => {
                self.admit_to_login(app, &visit, admitted)?;
                return Box::pin(self.ask(
                    visit,
                    app,
                    &target,
                    sends,
                    body,
                    exchange.line.as_deref_mut(),
                ))
                .await;
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
        self.forward(
            app,
            permit,
            permitted,
            request,
            from,
            exchange.line.as_deref_mut(),
        )
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

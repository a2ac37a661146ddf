//! The way of a request: parse, own page?, who, decide, prepare, forward, finish. Read
//! [`Proxy::handle`] first.

mod app;
mod apps;
mod body;
mod client_conn;
mod connection_state;
mod credentials;
pub(crate) mod early;
mod error_response;
mod exchange;
mod forward;
mod forward_auth;
pub(crate) mod headers;
mod identify;
mod in_flight;
mod judge;
mod live;
mod login_host;
mod maintenance;
mod malformed_head;
mod own_page;
pub(crate) mod part;
mod private;
mod probe;
mod response;
mod saved_post;
mod service;
mod settings;
mod shared;
mod shutdown;
pub(crate) mod stall;
mod websocket;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures_util::FutureExt;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;

use crate::access::Decision;
use crate::auth::callers::Callers;
use crate::error::RequestError;
use crate::pages::Pages;
use crate::portal::saved_posts::store;
use crate::portal::{Portal, RequestContext};
use crate::request::{self, Target};
use crate::session::Sessions;
use crate::session::cookie::RequestCookies;
use crate::upstream::{hop_by_hop, upgrade};

use app::Allowed;
pub(crate) use app::{AppSettings, WildcardLogin};
use apps::{Apps, Found};
pub(crate) use body::ResponseBody;
pub(crate) use client_conn::{ClientConn, Purpose};
pub(crate) use connection_state::ConnectionState;
pub(crate) use credentials::CredentialSettings;
#[cfg(fuzzing)]
pub(crate) use credentials::Credentials;
use exchange::{Exchange, Subject};
use in_flight::InFlight;
use judge::{Judged, permit_of};
use live::Permitted;
pub(crate) use maintenance::{Exempt, MaintenanceSettings, NoSentence, Sentence};
pub(crate) use part::Part;
pub(crate) use response::far_reaching::FarReaching;
pub(crate) use response::rewrite::Rewriter;
pub(crate) use service::{NotResumed, OpenError, Service, UnknownApp};
pub(crate) use settings::{Settings, Timeouts};
use shared::Shared;
pub(crate) use websocket::WebSocketOrigins;

/// The proxy, as one configuration has it.
pub(crate) struct Proxy {
    apps: Apps,
    callers: Arc<Callers>,
    portal: Portal,
    sessions: Arc<Sessions>,
    pages: Arc<Pages>,
    settings: Arc<Settings>,
    /// What it shares with the proxies of other configurations.
    shared: Arc<Shared>,
    /// Its place among them.
    number: AtomicU64,
}

impl Proxy {
    /// One request, whatever becomes of it. The error resets a stream whose request is for HTTP/1.1.
    pub(crate) async fn handle(
        self: &Arc<Self>,
        connection: &Arc<ClientConn>,
        in_flight: InFlight,
        mut request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, h2::Error> {
        let upgrade = upgrade::client_side(&mut request);
        let (head, body) = request.into_parts();
        let mut exchange = Exchange::begin(self, connection, in_flight, &head);
        if let Some(noted) = self.answer_probe(connection, &exchange, &head) {
            return self.finish(connection, exchange, Ok(noted));
        }
        let response = {
            let request = (head, body, upgrade);
            let response = pin!(self.respond(connection, &mut exchange, request));
            // A panic ends this request and no other (REL-11); what it held is unwound.
            AssertUnwindSafe(response).catch_unwind().await
        };
        let response = response.unwrap_or(Err(RequestError::Panicked));
        if let Some(network) = connection.paced(&response) {
            exchange.in_flight.take_turn(network).await;
        }
        self.finish(connection, exchange, response)
    }

    /// The way of a request.
    async fn respond(
        self: &Arc<Self>,
        connection: &Arc<ClientConn>,
        exchange: &mut Exchange,
        (mut head, body, upgrade): (Parts, Incoming, OnUpgrade),
    ) -> Result<Response<ResponseBody>, RequestError> {
        // Parse: what can be read in two ways goes no further.
        let body = connection.body(&head, body, self.shared.shutdown.token());
        exchange.note_body(&body);
        let authority = request::parse(&head, &self.settings.limits)?;
        let site = match self.apps.find(&authority, connection) {
            Ok(Found::Apps(site)) => site,
            other => {
                let request = (head, body, authority);
                return Box::pin(self.serve_login(other, connection, exchange, request)).await;
            }
        };
        exchange.enter(site, &authority, self.settings.public_port);
        let client = (self.settings.trusted_proxies).client(connection.peer, &head.headers);
        exchange.note_client(client.address, connection);
        let app = exchange.find_app(site, &head)?;
        let target = Target::parse(&head, app.allow_in_path)?;
        let (target, saved_post) = store::split(&head, target);
        let own_page = self.own_page(&target, &head.headers)?;
        let title = site.title_of(app, own_page.is_some());
        exchange.subject = Subject::of(title);
        let cookies = RequestCookies::take(&mut head.headers);
        let shown = app.take_credentials(&mut head.headers, own_page.is_some())?;
        if let Some(unreadable) = &client.unreadable {
            self.shared.report_unreadable(connection.peer, unreadable);
        }

        // A page of our own?
        let context = RequestContext {
            head: &head,
            authority: &authority,
            role: site.role(),
            app: &app.name,
            title,
            client: client.address,
            is_client_known: client.known_address().is_some(),
            cookies,
            cache: &connection.cache,
            last_token: &connection.last_token,
        };
        if let Some(page) = own_page {
            let served = self.serve(connection, &exchange.in_flight, page, context, body);
            return Box::pin(served).await; // boxed, as all that is rare: the common way stays small
        }

        let known = client.known_address();
        app.check(known, &head.method)?;
        app.check_length(&body)?;
        if let Some(folder) = app.folder(&target, &head, !body.is_end_stream()) {
            return Ok(app::to_folder(folder));
        }

        // Who sends it, and may they?
        let (asked, for_app) = ((&target, shown), (site, app));
        let judged = self.judge(connection, exchange, &context, for_app, asked);
        let Judged {
            proof,
            principal,
            admitted,
            decision,
            revision,
        } = judged.await?;
        // Under overload, too, as a late form: what is kept has bounds of its own.
        if app.rules.take_cross_site_posts()
            && matches!(decision, Decision::Allow(_) | Decision::Login)
            && let Some(sender) = self.sender(app, &context, &target)
        {
            let from = (&sender, principal.as_ref());
            let asked = self.ask_for_click(from, &context, app, &target, body, exchange);
            return Box::pin(asked).await;
        }
        let Some(permit) = permit_of(decision, principal.as_ref(), known)? else {
            self.admit_to_login(app, &context, admitted)?;
            let asked = self.ask(context, app, &target, saved_post, body, exchange);
            return Box::pin(asked).await;
        };
        admitted?;

        // Prepare its head for the application, and forward it.
        let has_cookie = context.cookies.any;
        let permitted = Permitted::new(&head, &target, authority, proof, known, revision);
        let allowed = Allowed {
            id: exchange.id.clone(),
            permit,
            permitted,
            head,
            target,
            client,
        };
        if let Some(id) = saved_post {
            return Box::pin(self.replay(app, allowed, id, body, connection)).await;
        }
        if hop_by_hop::opens_websocket(&allowed.head, !body.is_end_stream()) {
            return Box::pin(self.open_websocket(app, allowed, upgrade, connection, has_cookie))
                .await;
        }
        let body = self.request_body(app, body, &exchange.in_flight);
        let prepared = app.prepare(allowed, &connection.peer_header, body);
        self.forward(app, prepared, connection, exchange).await
    }
}

//! WebSockets: the handshake goes through the proxy like any request, the bytes after it do not.

mod origin;

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use hyper::upgrade::OnUpgrade;

use super::Proxy;
use super::app::{Allowed, App, Prepared};
use super::body::ResponseBody;
use super::client_conn::ClientConn;
use crate::error::RequestError;
use crate::metrics::Open;
use crate::upstream::upgrade::{self, Handshake};
use crate::upstream::{Caller, RequestBody, Requester, UpstreamError};

pub(super) use origin::Origin;
pub(crate) use origin::WebSocketOrigins;

impl Proxy {
    /// Joins the client and the application once the application has agreed (SEC-12).
    pub(super) async fn open_websocket(
        &self,
        app: &Arc<App>,
        mut allowed: Allowed,
        side: OnUpgrade,
        connection: &Arc<ClientConn>,
        has_cookie: bool,
    ) -> Result<Response<ResponseBody>, RequestError> {
        if allowed.permit.is_for_some_methods() {
            // GET opens it, and it carries whatever the program sends.
            return Err(RequestError::OutOfScope);
        }
        let permitted = &allowed.permitted;
        let headers = &allowed.head.headers;
        let has_session = permitted.session.is_some();
        let origin = Origin::of(headers, has_session, has_cookie, connection.peer);
        let origin = origin.and_then(|origin| {
            let is_proxy = |peer| self.settings.trusted_proxies.contain(peer);
            let origins = &app.websocket_origins;
            origins.check(&origin, &permitted.authority, is_proxy)?;
            Ok(origin)
        });
        allowed.permitted.origin = Some(origin.map_err(RequestError::WebSocketOrigin)?);
        let prepared = app.prepare(allowed, &connection.peer_header, RequestBody::empty());
        let Prepared {
            permit,
            permitted,
            request,
            client,
        } = prepared;
        let session = permitted.session.clone();
        let public = app.is_public(&permit);
        let caller = Caller::of(&permit, client);
        let tunnel = app.tunnels.open(caller, app.tunnel_limits);
        let tunnel = tunnel.map_err(|full| {
            app.tunnels.report(&app.name, caller, full);
            RequestError::TooManyTunnels(full)
        })?;
        let auth = self.connection_auth(connection, session.as_ref(), request.version());
        let ends = self.sessions.ends();
        let guard = || self.until_withdrawn(app, &permitted);
        let requester = Requester {
            client,
            session: session.as_deref(),
        };
        let upgraded = app
            .upstreams
            .upgrade(permit, request, requester, auth, &guard);
        let upgraded = upgraded.await;
        if self.has_changed(ends, &permitted) || matches!(upgraded, Err(UpstreamError::Withdrawn)) {
            self.permit_still(app, &permitted).await?;
        }
        let mut switched = match upgraded.map_err(RequestError::Upstream)? {
            Handshake::Switched(switched) => switched,
            Handshake::Refused(mut response) => {
                self.clean(app, response.headers_mut(), public, &permitted)
                    .await;
                let live = &self.shared.live;
                return Ok(response.map(|body| ResponseBody::forwarded(body, live, permitted)));
            }
        };
        self.clean(app, switched.response.headers_mut(), true, &permitted)
            .await;
        connection.state.upgrade();
        let watch = self
            .shared
            .live
            .watch(app, Some(switched.address), permitted);
        let ends = upgrade::Ends {
            stream: watch.ended().clone(),
            service: self.shared.shutdown.token().clone(),
            write: self.settings.timeouts.write,
        };
        let push_is_use = app.push_is_use;
        let open = Open::count(&app.counts.websockets);
        let connection = Arc::clone(connection);
        self.shared.shutdown.tunnels().spawn(async move {
            let _counted = (open, tunnel, switched.in_flight);
            let connection = connection; // counts as open, though hyper is done with it
            tokio::select! {
                () = async {
                    let (sent, pushed) = (|| watch.touch(), || if push_is_use { watch.touch() });
                    upgrade::tunnel(side, switched.application, ends, sent, pushed).await;
                } => {}
                () = connection.state.evicted() => {}
            }
        });
        let response = switched.response;
        Ok(response.map(|()| ResponseBody::ours(Bytes::new())))
    }
}

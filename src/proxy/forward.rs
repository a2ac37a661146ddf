//! A permitted request on its way, and its response.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Response, Version};

use super::Proxy;
use super::app::{App, Prepared};
use super::body::ResponseBody;
use super::client_conn::ClientConn;
use super::early;
use super::exchange::Exchange;
use super::in_flight::InFlight;
use super::live::Permitted;
use crate::error::RequestError;
use crate::session::Session;
use crate::upstream::{
    ClientBody, ConnectionAuth, Guard, RequestBody, Requester, Upload, UpstreamError,
};

/// An upload that has ended before is not judged again.
const SHORT_UPLOAD: Duration = Duration::from_millis(250);

/// How often an upload is asked whether it moves.
const LOOK_AT_UPLOAD: Duration = Duration::from_secs(1);

impl Proxy {
    /// The body of a request on its way to the application.
    pub(super) fn request_body(
        &self,
        app: &App,
        body: ClientBody,
        in_flight: &InFlight,
    ) -> RequestBody {
        let idle_timeout = self.settings.timeouts.body_idle;
        let begin = || in_flight.begin_upload();
        let body = RequestBody::new(body, idle_timeout, &app.counts.received, begin);
        let body = match app.max_body {
            0 => body,
            most => body.at_most(most),
        };
        match app.upstreams.buffer_requests() {
            0 => body,
            most => body.read_whole_up_to(most, || in_flight.hold_body()),
        }
    }

    /// Sends a request whose head is prepared, and gives the response as it streams.
    pub(super) async fn forward(
        &self,
        app: &Arc<App>,
        prepared: Prepared,
        connection: &ClientConn,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let Prepared {
            permit,
            permitted,
            request,
            client,
        } = prepared;
        let public = app.is_public(&permit);
        let upload = request.body().upload();
        let session = permitted.session.as_ref();
        let requester = Requester {
            client,
            session: session.map(Arc::as_ref),
        };
        let auth = self.connection_auth(connection, session, request.version());
        let ends = self.sessions.ends();
        let guard = || self.until_withdrawn(app, &permitted);
        let forwarded = if let Some(upload) = &upload {
            // It can outlive its permission. Boxed, so that the common way stays small.
            Box::pin(async {
                let forwarded = app
                    .upstreams
                    .forward(permit, request, requester, auth, None);
                self.while_permitted(app, &permitted, Some(upload), forwarded)
                    .await
            })
            .await?
        } else {
            let guard = Some(&guard as Guard<'_>);
            let forwarded = app
                .upstreams
                .forward(permit, request, requester, auth, guard);
            forwarded.await
        };
        if self.has_changed(ends, &permitted) || matches!(forwarded, Err(UpstreamError::Withdrawn))
        {
            Box::pin(self.permit_still(app, &permitted)).await?;
        }
        if let (Some(line), Some(upload)) = (&mut exchange.line, upload) {
            line.received = upload.bytes();
        }
        let mut response = forwarded.map_err(RequestError::Upstream)?;
        if exchange.is_refused_early(response.status()) {
            Box::pin(early::read_ahead(&mut response)).await;
        }
        self.clean(app, response.headers_mut(), public, &permitted)
            .await;
        if let Some(letters) = &app.letters {
            response.extensions_mut().insert(letters.clone());
        }
        let streams = &self.shared.live;
        Ok(response.map(|body| ResponseBody::forwarded(body, streams, permitted)))
    }

    /// What NTLM and Negotiate can sign in here: with a session, and on a connection that is
    /// nobody else's (SEC-92).
    pub(super) fn connection_auth<'a>(
        &'a self,
        connection: &'a ClientConn,
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

    /// Whether sessions have ended, users have changed or another configuration holds since a
    /// request was permitted; `ends` is the count of sessions that had ended by then.
    pub(super) fn has_changed(&self, ends: u64, permitted: &Permitted) -> bool {
        self.sessions.ends() != ends || self.latest_revision() != permitted.revision
    }

    /// Whether a response that the application took its time for may still be seen: the session may
    /// have ended meanwhile (SEC-75), its user have left a group, or the rules have changed
    /// (SEC-89).
    pub(super) async fn permit_still(
        &self,
        app: &Arc<App>,
        permitted: &Permitted,
    ) -> Result<(), RequestError> {
        if let Some(session) = &permitted.session {
            let is_good = self.sessions.is_good(&session.key()).await;
            if !is_good.map_err(RequestError::Session)? {
                return Err(RequestError::SessionEnded);
            }
        }
        let latest = self.shared.latest();
        let latest = latest.as_deref().unwrap_or(self);
        if !latest.permits(app, None, permitted) {
            return Err(latest.refusal(permitted));
        }
        Ok(())
    }

    /// Resolves when a request that waits for its response is not permitted any more (SEC-89), or its
    /// session has ended (SEC-75).
    pub(super) fn until_withdrawn<'a>(
        &'a self,
        app: &'a Arc<App>,
        permitted: &'a Permitted,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {
            let watch = self.shared.live.watch(app, None, permitted.clone());
            watch.ended().cancelled().await;
        })
    }

    /// Waits for a response as long as the session is good (SEC-75) and the request would be
    /// permitted (SEC-89). A client that sends is using its session: an upload may take longer than
    /// the idle timeout.
    pub(super) async fn while_permitted<T>(
        &self,
        app: &Arc<App>,
        permitted: &Permitted,
        upload: Option<&Upload>,
        response: impl Future<Output = T>,
    ) -> Result<T, RequestError> {
        let mut response = pin!(response);
        if let Ok(response) = tokio::time::timeout(SHORT_UPLOAD, response.as_mut()).await {
            return Ok(response);
        }
        let watch = self.shared.live.watch(app, None, permitted.clone());
        let mut look = tokio::time::interval(LOOK_AT_UPLOAD);
        let mut seen = 0;
        let mut room = pin!(async {
            match upload {
                Some(upload) => upload.ended().await,
                None => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                response = &mut response => return Ok(response),
                () = &mut room => return Err(RequestError::Upstream(UpstreamError::Busy)),
                () = watch.ended().cancelled() => {
                    return Err(if watch.session_has_ended() {
                        RequestError::SessionEnded
                    } else {
                        let latest = self.shared.latest();
                        latest.as_deref().unwrap_or(self).refusal(permitted)
                    });
                }
                _ = look.tick() => {
                    let bytes = upload.map_or(0, Upload::bytes);
                    if bytes > seen {
                        seen = bytes;
                        watch.touch();
                    }
                }
            }
        }
    }
}

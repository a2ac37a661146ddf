//! The connection of an app whose header names keep their letters. hyper drives it, because only
//! hyper knows the letters that a client has written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::super::connect::{MAX_HEAD, Stream};
use super::super::http1::{FramingFields, ResponseError};
use super::super::{RequestBody, UpstreamError};
use super::observed::Observed;
use super::{Corrected, NextIsHead, OwnNames};
use crate::upstream::sender::BytesReceived;

/// As many fields as elsewhere.
const MAX_FIELDS: usize = 256;

/// How long a connection that came back may take until it can serve again.
const SETTLE: Duration = Duration::from_millis(500);

pub(in super::super) struct Client {
    requests: http1::SendRequest<RequestBody>,
    next_is_head: NextIsHead,
    body: Option<Incoming>,
    is_framed: bool,
    upgrade: Option<OnUpgrade>,
    /// `None` where the connection is to outlive this as a tunnel.
    _driver: Option<Driver>,
}

/// Closes the connection together with its client. hyper by itself goes on with a request body
/// whose answer is there already, for as long as the client keeps it coming (SEC-05).
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// `upgradable` is for a WebSocket.
    pub(in super::super) async fn new(
        stream: Box<dyn Stream>,
        own_names: &Arc<OwnNames>,
        received: BytesReceived,
        upgradable: bool,
    ) -> Result<Self, UpstreamError> {
        let next_is_head = NextIsHead::default();
        let stream = Corrected::new(stream, Arc::clone(own_names), next_is_head.clone());
        let handshake = http1::Builder::new()
            .title_case_headers(true)
            .preserve_header_case(true)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_FIELDS)
            .max_header_size(MAX_HEAD)
            .handshake(TokioIo::new(Observed::new(stream, received)))
            .await;
        let (requests, connection) =
            handshake.map_err(|error| UpstreamError::Send(ResponseError::Hyper(error)))?;
        // Whatever ends the connection reaches whoever waits at the sender.
        let driver = if upgradable {
            tokio::spawn(async move { drop(connection.with_upgrades().await) });
            None
        } else {
            let task = tokio::spawn(async move { drop(connection.await) });
            Some(Driver(task.abort_handle()))
        };
        Ok(Self {
            requests,
            next_is_head,
            body: None,
            is_framed: true,
            upgrade: None,
            _driver: driver,
        })
    }

    pub(in super::super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Waits until it can serve one more request. It came back when its answer had ended; the task
    /// that drives it may still have to notice. `false` says that it closed meanwhile.
    pub(in super::super) async fn settles(&mut self) -> bool {
        self.requests.is_ready()
            || matches!(timeout(SETTLE, self.requests.ready()).await, Ok(Ok(())))
    }

    /// The request comes back with the error when nothing of it was written.
    pub(in super::super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<()>, (ResponseError, Option<Request<RequestBody>>)> {
        self.next_is_head.note();
        let sent = self.requests.try_send_request(request).await;
        let mut response = sent.map_err(|mut error| {
            let unsent = error.take_message();
            (ResponseError::Hyper(error.into_error()), unsent)
        })?;
        let mut framing = FramingFields::default();
        for (name, value) in response.headers() {
            framing.note(name, value).map_err(|error| (error, None))?;
        }
        let content = framing.content(response.version());
        self.is_framed = content.map_err(|error| (error, None))?.is_framed();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.upgrade = Some(hyper::upgrade::on(&mut response));
        }
        let (head, body) = response.into_parts();
        self.body = Some(body);
        Ok(Response::from_parts(head, ()))
    }

    pub(in super::super) fn is_framed(&self) -> bool {
        self.is_framed
    }

    pub(in super::super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ResponseError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        loop {
            match std::task::ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(ResponseError::Hyper(error)))),
                // Trailers end here (SEC-39).
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }

    pub(in super::super) fn is_at_end(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(in super::super) fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Body::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }

    /// What there is instead of it after a 101.
    pub(in super::super) fn take_upgrade(&mut self) -> Option<OnUpgrade> {
        self.upgrade.take()
    }
}

//! One health check: a request of our own, on a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::upstream::UpstreamError;
use crate::upstream::connect::Connector;
use crate::upstream::sender::BytesReceived;

const USER_AGENT: HeaderValue = HeaderValue::from_static("vestibule-health");

/// So much of the body is read, and for so long: an application may make an error of a connection
/// that is closed while it writes.
const MOST_OF_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_millis(500);

const MOST_OF_HEAD: usize = 64 * 1024;

/// The status that the application answers. Whoever asks sets the time limit.
pub(super) async fn ask(
    connector: &Connector,
    path: &Uri,
    host: &HeaderValue,
) -> Result<StatusCode, UpstreamError> {
    let stream = connector.open().await.map_err(UpstreamError::Connect)?;
    let stream = connector.forgive(stream, &BytesReceived::default());
    let mut builder = http1::Builder::new();
    builder
        .title_case_headers(true)
        .max_buf_size(MOST_OF_HEAD)
        .max_header_size(MOST_OF_HEAD);
    let (mut sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(UpstreamError::Send)?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.clone();
    let headers = request.headers_mut();
    headers.insert(header::HOST, host.clone());
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let answer = async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(UpstreamError::of_connection)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_OF_BODY).collect();
        let _ = timeout(BODY_TIMEOUT, body).await; // whatever comes of it
        Ok(status)
    };
    // It is driven here, so that nothing of it outlives the check.
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

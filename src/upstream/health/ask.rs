//! One health check: a request of our own, on a connection of its own.

use std::future::poll_fn;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, Uri, header};
use tokio::time::timeout;

use crate::upstream::connect::Connector;
use crate::upstream::http1::Message;
use crate::upstream::{RequestBody, UpstreamError};

const USER_AGENT: HeaderValue = HeaderValue::from_static("vestibule-health");

/// So much of the body is read, and for so long: an application may make an error of a connection
/// that is closed while it writes.
const MOST_OF_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_millis(500);

/// The status that the application answers. Whoever asks sets the time limit.
pub(super) async fn ask(
    connector: &Connector,
    path: &Uri,
    host: &HeaderValue,
) -> Result<StatusCode, UpstreamError> {
    let mut sender = connector.connect(false).await?;
    let mut request = Request::new(RequestBody::empty());
    *request.uri_mut() = path.clone();
    let headers = request.headers_mut();
    headers.insert(header::HOST, host.clone());
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let answer = sender.send(Message::Request(request)).await;
    let answer = answer.map_err(|(error, _)| UpstreamError::of_connection(error))?;
    let body = async {
        let mut read = 0;
        while read < MOST_OF_BODY
            && let Some(Ok(data)) = poll_fn(|cx| sender.poll_content(cx)).await
        {
            read += data.len();
        }
    };
    let _ = timeout(BODY_TIMEOUT, body).await; // whatever comes of it
    Ok(answer.status())
}

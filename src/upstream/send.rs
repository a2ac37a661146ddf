//! Sends one request, and waits for its answer.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    Version, header,
};
use http_body::Body;

use super::body::{RequestBody, Upload};
use super::http1::Message;
use super::pool::Lease;
use super::{Guard, UpstreamError};

/// After this the wait for an answer is guarded; see [`Guard`].
const SOON: Duration = Duration::from_millis(250);

/// What went wrong, and the request if it may go over another connection.
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    pub(super) again: Option<Message>,
}

impl From<UpstreamError> for Failed {
    fn from(error: UpstreamError) -> Self {
        Self { error, again: None }
    }
}

/// Says of a request without a body that it has none, where its method means something by one
/// (RFC 9110 §8.6): many an application answers 411 otherwise.
pub(super) fn say_that_it_is_empty(request: &mut Request<RequestBody>) {
    if matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    ) {
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// Sets headers anew that say something of the moment when a request is sent: reading its body ahead
/// may take minutes. An extension of such a request.
#[derive(Clone)]
pub(crate) struct Renewal(Arc<dyn Fn(&mut HeaderMap) + Send + Sync>);

impl Renewal {
    pub(crate) fn new(renew: impl Fn(&mut HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(renew))
    }
}

/// Frames a body whose client has not said its length; whether the application gets it in chunks.
pub(super) async fn frame(request: &mut Request<RequestBody>) -> Result<bool, UpstreamError> {
    request.body_mut().read_ahead().await?;
    if let Some(Renewal(renew)) = request.extensions_mut().remove() {
        renew(request.headers_mut());
    }
    let length = request.body().size_hint().exact();
    let headers = request.headers_mut();
    match length {
        Some(length) => headers.insert(header::CONTENT_LENGTH, length.into()),
        None => headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        ),
    };
    Ok(length.is_none())
}

/// Sends on one connection. A request of which nothing was written comes back.
pub(super) async fn send(
    lease: &mut Lease,
    wait: Wait<'_, '_>,
    message: Message,
) -> Result<Response<()>, Failed> {
    let answer = pin!(lease.sender().send(message));
    let mut response = wait.until(answer).await?.map_err(|(error, unsent)| {
        let error = match wait.upload {
            Some(upload) if upload.was_too_slow() => UpstreamError::ClientTooSlow,
            Some(upload) if upload.was_too_large() => UpstreamError::ClientTooLarge,
            _ if error.is_of_request() => UpstreamError::ClientBody,
            _ => UpstreamError::of_connection(error),
        };
        let again = unsent.map(Message::Request);
        Failed { error, again }
    })?;
    // The version is of a hop (RFC 9110 §2.5): that of an old application would close each
    // connection of its clients, and hide from them that a body was cut.
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

/// Sends on a connection that has served before, and may have died unnoticed. Where nothing was
/// written, the request goes out again on a fresh connection; where something was, only if it has no
/// body, its method is idempotent (RFC 9110 §9.2.2) and no byte of an answer came (REL-03). It comes back
/// where its address gives no other connection: as a request with `copies`, so that its fields can be put
/// right for another address, and otherwise as it was written.
pub(super) async fn send_or_repeat(
    lease: &mut Lease,
    wait: Wait<'_, '_>,
    request: Request<RequestBody>,
    copies: bool,
) -> Result<Response<()>, Failed> {
    let may_repeat = wait.upload.is_none() && request.method().is_idempotent();
    let copy = may_repeat && (copies || lease.sender().needs_copy());
    let copy = copy.then(|| Copy::of(&request));
    let Failed { error, again } = match send(lease, wait, Message::Request(request)).await {
        Ok(response) => return Ok(response),
        Err(failed) => failed,
    };
    // After an answer, however bad, it has been acted upon.
    if !matches!(error, UpstreamError::Send(_)) || (again.is_none() && lease.has_heard()) {
        return Err(error.into());
    }
    let copy = || copy.map(|copy| Message::Request(copy.into_request()));
    let again = match again.or_else(copy) {
        None if may_repeat => lease.sender().take_written().map(Message::Written),
        again => again,
    };
    let Some(again) = again else {
        return Err(error.into());
    };
    if let Err(error) = lease.reconnect().await {
        let again = Some(again);
        return Err(Failed { error, again });
    }
    let sent = Box::pin(send(lease, wait, again)).await;
    sent.map_err(|failed| failed.error.into())
}

/// How long the head of an answer is waited for.
#[derive(Clone, Copy)]
pub(super) struct Wait<'u, 'g> {
    /// From the last byte of the upload.
    pub(super) timeout: Duration,
    pub(super) upload: Option<&'u Upload>,
    pub(super) guard: Option<Guard<'g>>,
}

impl Wait<'_, '_> {
    pub(super) async fn until<F: Future>(
        self,
        mut answer: Pin<&mut F>,
    ) -> Result<F::Output, UpstreamError> {
        // Most answers come soon, and need neither a guard nor a second timer.
        let soon = match self.guard {
            Some(_) => self.timeout.min(SOON),
            None => self.timeout,
        };
        let begun = self.upload.map(Upload::bytes);
        if let Ok(answer) = tokio::time::timeout(soon, answer.as_mut()).await {
            return Ok(answer);
        }
        Box::pin(self.longer(answer, begun, self.timeout.saturating_sub(soon))).await
    }

    /// Goes on waiting while something happens. `sent` was the upload's length before, and `left` is
    /// what is left of the timeout since.
    async fn longer<F: Future>(
        self,
        mut answer: Pin<&mut F>,
        mut sent: Option<u64>,
        mut left: Duration,
    ) -> Result<F::Output, UpstreamError> {
        let mut withdrawn = self.guard.map(|guard| guard());
        loop {
            let withdrawn = async {
                match &mut withdrawn {
                    Some(withdrawn) => withdrawn.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = answer.as_mut() => return Ok(answer),
                () = withdrawn => return Err(UpstreamError::Withdrawn),
                () = tokio::time::sleep(left) => {}
            }
            let now = self.upload.map(Upload::bytes);
            if now == sent {
                return Err(UpstreamError::ResponseTimeout);
            }
            (sent, left) = (now, self.timeout);
        }
    }
}

/// Whether content may follow the head of a response to HEAD, which should have none (RFC 9110 §9.3.2):
/// what a careless application sends a little late would be taken for the next answer.
pub(super) fn may_be_followed(response: &Response<()>) -> bool {
    let headers = response.headers();
    let length = headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length != "0") || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Removes the length from an answer that has no content by its status: one with a 204 is forbidden
/// (RFC 9110 §8.6), and with either there are clients of HTTP/2 that wait for so many bytes.
/// Whether content may follow all the same, which would be taken for the next answer.
pub(super) fn drop_length(response: &mut Response<()>) -> bool {
    let is_204 = match response.status() {
        StatusCode::NO_CONTENT => true,
        StatusCode::NOT_MODIFIED => false,
        _ => return false,
    };
    let headers = response.headers_mut();
    let length = headers.remove(header::CONTENT_LENGTH);
    is_204
        && (length.is_some_and(|length| length != "0")
            || headers.contains_key(header::TRANSFER_ENCODING))
}

/// A request without a body, to send once more. It seldom comes to that: a list of its headers is
/// made in half the time of a second map.
struct Copy {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions, // letters of header names
}

impl Copy {
    fn of(request: &Request<RequestBody>) -> Self {
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.clone()));
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: headers.collect(),
            extensions: request.extensions().clone(),
        }
    }

    fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::empty());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        let headers = request.headers_mut();
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        *request.extensions_mut() = self.extensions;
        request
    }
}

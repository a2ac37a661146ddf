//! Sends one request, and waits for its answer.

use std::pin::Pin;
use std::time::Duration;

use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;

use super::body::{RequestBody, Upload};
use super::pool::Lease;
use super::{Guard, UpstreamError};

/// After this the wait for an answer is guarded; see [`Guard`].
const SOON: Duration = Duration::from_millis(250);

/// An answer; or what went wrong, and the request when nothing of it was written.
pub(super) type Answer = Result<Response<Incoming>, (UpstreamError, Option<Request<RequestBody>>)>;

/// Sends on one connection. The error has the request when nothing of it was written.
pub(super) async fn send(
    lease: &mut Lease,
    wait: Wait<'_, '_>,
    request: Request<RequestBody>,
) -> Answer {
    let answer = lease.sender().send(request);
    let answer = wait.until(answer).await.map_err(|error| (error, None))?;
    answer.map_err(|mut error| {
        let unsent = error.take_message();
        let error = match wait.upload {
            Some(upload) if upload.was_too_slow() => UpstreamError::ClientTooSlow,
            _ if error.error().is_user() => UpstreamError::ClientBody,
            _ => UpstreamError::Send(error.into_error()),
        };
        (error, unsent)
    })
}

/// How long the head of an answer is waited for.
#[derive(Clone, Copy)]
pub(super) struct Wait<'u, 'g> {
    /// From the last byte of the upload.
    pub(super) patience: Duration,
    pub(super) upload: Option<&'u Upload>,
    pub(super) guard: Option<Guard<'g>>,
}

impl Wait<'_, '_> {
    pub(super) async fn until<F: Future>(self, answer: F) -> Result<F::Output, UpstreamError> {
        let mut answer = std::pin::pin!(answer);
        // Most answers come soon, and need neither a guard nor a second timer.
        let soon = match self.guard {
            Some(_) => self.patience.min(SOON),
            None => self.patience,
        };
        let begun = self.upload.map(Upload::bytes);
        if let Ok(answer) = tokio::time::timeout(soon, answer.as_mut()).await {
            return Ok(answer);
        }
        Box::pin(self.longer(answer, begun, self.patience.saturating_sub(soon))).await
    }

    /// Goes on waiting while something happens. `sent` was the upload's length before, and `left` is
    /// what is left of the patience since.
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
            (sent, left) = (now, self.patience);
        }
    }
}

/// What hyper forgives in an answer and we do not (SEC-15); the rest is an answer of our version.
pub(super) fn accept(response: &mut Response<Incoming>) -> Result<(), UpstreamError> {
    let headers = response.headers_mut();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 {
        return Err(UpstreamError::BadResponse("more than one Content-Length"));
    }
    let digits = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_digit);
    if !headers.get(header::CONTENT_LENGTH).is_none_or(digits) {
        return Err(UpstreamError::BadResponse(
            "a Content-Length that is no number",
        ));
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        if lengths > 0 {
            return Err(UpstreamError::BadResponse(
                "Content-Length and Transfer-Encoding",
            ));
        }
        if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(UpstreamError::BadResponse(
                "a Transfer-Encoding other than chunked",
            ));
        }
    }
    // The version is of a hop (RFC 9110 §2.5): that of an old application would close each
    // connection of its clients, and hide from them that a body was cut.
    *response.version_mut() = Version::HTTP_11;
    Ok(())
}

/// A request without a body, to send once more.
pub(super) fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

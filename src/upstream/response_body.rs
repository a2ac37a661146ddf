//! The body of an application's answer, on its way back.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::pool::Lease;
use super::{Address, ResponseError};

/// The body of an application's answer, as its connection gives it. The connection goes back to the
/// pool when it has come to its end, and is closed when it has not (SEC-05).
pub(crate) struct ResponseBody {
    /// There until all of it has come, or no more will.
    lease: Option<Lease>,
    is_cut: bool,
    /// To be told at the next poll.
    error: Option<ResponseError>,
}

impl ResponseBody {
    /// Of the response whose head the connection has brought.
    pub(super) fn new(lease: Lease) -> Self {
        let mut body = Self {
            lease: Some(lease),
            is_cut: false,
            error: None,
        };
        body.return_lease_at_end();
        body
    }

    /// Where it comes from, as long as there is more to come.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.lease.as_ref().map(Lease::address)
    }

    fn return_lease_at_end(&mut self) {
        if self.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(None);
        };
        match ready!(lease.sender().poll_content(cx)) {
            Some(Ok(data)) => {
                self.return_lease_at_end();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => {
                lease.report_cut(&error);
                self.lease = None;
                self.is_cut = true;
                self.error = Some(error);
                // hyper sends what has come so far, the head above all, before it hears of the error:
                // many clients repeat a request that got no byte of an answer.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.lease {
            Some(lease) => lease.content_is_at_end(),
            None => !self.is_cut,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.lease {
            Some(lease) => lease.size_hint(),
            None if self.is_cut => SizeHint::new(),
            None => SizeHint::with_exact(0),
        }
    }
}

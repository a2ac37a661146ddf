//! The body of an application's answer, on its way back.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Address;
use super::pool::Lease;

/// The body of an application's answer. Its connection goes back to the pool when it has come to
/// its end, and is closed when it has not (SEC-05).
pub(crate) struct ResponseBody {
    body: Incoming,
    lease: Option<Lease>,
}

impl ResponseBody {
    pub(super) fn new(body: Incoming, lease: Lease) -> Self {
        let mut body = Self {
            body,
            lease: Some(lease),
        };
        body.return_lease_at_end();
        body
    }

    /// Where it comes from, as long as there is more to come.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.lease.as_ref().map(Lease::address)
    }

    fn return_lease_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame {
                Some(Ok(frame)) if frame.is_data() => {
                    self.return_lease_at_end();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Ok(_)) => {} // trailers end here (SEC-39)
                Some(Err(error)) => {
                    if let Some(lease) = self.lease.take() {
                        lease.report_cut(&error);
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    if let Some(lease) = self.lease.take() {
                        lease.give_back();
                    }
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

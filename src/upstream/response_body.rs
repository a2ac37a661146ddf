//! The body of an application's answer, on its way back.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
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
    /// What has been read of it and not yet been given.
    ahead: Option<BytesMut>,
}

impl ResponseBody {
    /// Of the response whose head the connection has brought.
    pub(super) fn new(lease: Lease) -> Self {
        let mut body = Self {
            lease: Some(lease),
            is_cut: false,
            error: None,
            ahead: None,
        };
        body.return_lease_at_end();
        body
    }

    /// Where it comes from, as long as there is more to come.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.lease.as_ref().map(Lease::address)
    }

    /// Reads on until all of it is here, or about `most` bytes are. What was read is given first,
    /// whenever this is given up.
    pub(crate) async fn read_ahead(&mut self, most: usize) {
        loop {
            match poll_fn(|cx| self.poll_content(cx)).await {
                None => return,
                Some(Err(error)) => {
                    self.error = Some(error);
                    return;
                }
                Some(Ok(content)) => {
                    let ahead = self.ahead.get_or_insert_default();
                    ahead.extend_from_slice(&content);
                    if ahead.len() >= most {
                        return;
                    }
                }
            }
        }
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ResponseError>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(None);
        };
        match ready!(lease.sender().poll_content(cx)) {
            Some(Ok(content)) => {
                self.return_lease_at_end();
                Poll::Ready(Some(Ok(content)))
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

    fn return_lease_at_end(&mut self) {
        if let Some(lease) = self.lease.take_if(|lease| lease.content_is_at_end()) {
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
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(ahead.freeze()))));
        }
        let content = ready!(self.poll_content(cx));
        Poll::Ready(content.map(|content| content.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        if self.ahead.is_some() {
            return false;
        }
        match &self.lease {
            Some(lease) => lease.content_is_at_end(),
            None => !self.is_cut,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.lease {
            Some(lease) => lease.size_hint(),
            None if self.is_cut => SizeHint::new(),
            None => SizeHint::with_exact(0),
        };
        match (&self.ahead, rest.exact()) {
            (None, _) => rest,
            (Some(ahead), Some(bytes)) => SizeHint::with_exact(bytes + ahead.len() as u64),
            (Some(_), None) => SizeHint::new(),
        }
    }
}

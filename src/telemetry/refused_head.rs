//! The access line of a head that never became a request.

use std::net::IpAddr;

use http::StatusCode;

use super::RequestId;

/// What is logged of it: nothing that it says, because nothing in it can be trusted.
pub(crate) struct RefusedHead {
    pub(crate) request: RequestId,
    pub(crate) client: IpAddr,
    pub(crate) status: StatusCode,
    /// The error code.
    pub(crate) reason: &'static str,
    pub(crate) error: &'static str,
}

impl RefusedHead {
    /// With so many bytes of the answer's body; `complete` where all of them went out.
    pub(crate) fn write(&self, sent: usize, complete: bool) {
        tracing::info!(
            target: "access",
            request = %self.request,
            client = %self.client,
            status = self.status.as_u16(),
            sent,
            complete,
            reason = self.reason,
            error = self.error,
        );
    }
}

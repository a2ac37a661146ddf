//! What the log says of an application now and then: often which key lets it work.

use http::StatusCode;

use super::Upstreams;

impl Upstreams {
    pub(super) fn report_dropped_auth(&self) {
        if self.dropped_auth.is_due() {
            tracing::warn!(
                app = &*self.name,
                "NTLM or Negotiate was taken out: it signs a connection in, and this one is \
                 nobody's, or that of a trusted proxy"
            );
        }
    }

    /// Says in the log, now and then, what lets an application take a body without a length.
    pub(super) fn report_refused_chunks(&self, status: StatusCode) {
        if self.refused_chunks.is_due() {
            tracing::warn!(
                app = &*self.name,
                status = status.as_u16(),
                buffer_requests = self.buffer_requests,
                "the application refused a request body that came without a length: set \
                 buffer_requests to more than its size"
            );
        }
    }

    /// The same for an application that expects addresses as the browser has them.
    pub(super) fn report_refused_destination(&self) {
        if self.refused_destination.is_due() {
            tracing::warn!(
                app = &*self.name,
                "the application answered 502 to a Destination with the scheme and Host that it \
                 sees: set rewrite_redirects = false if it reads X-Forwarded-Proto instead"
            );
        }
    }

    /// The same for an application that compares `Host` with the name in TLS.
    pub(super) fn report_misdirected(&self) {
        if self.misdirected.is_due() {
            tracing::warn!(
                app = &*self.name,
                "the application answered 421: set upstream_server_name to the name that it has \
                 in Host, or upstream_host to the one in TLS"
            );
        }
    }
}

//! What the log says of an application now and then: often which key lets it work.

use std::sync::Arc;

use http::StatusCode;

use super::{ResponseError, Settings, UpstreamError};
use crate::clock::Clock;
use crate::telemetry::Seldom;

/// What has been said of one app, and when.
#[derive(Debug)]
pub(super) struct Reports {
    app: Arc<str>,
    buffer_requests: usize,
    cut: Seldom,
    dropped_auth: Seldom,
    dropped_line: Seldom,
    invalid_line: Seldom,
    misdirected: Seldom,
    refused_chunks: Seldom,
    refused_destination: Seldom,
}

impl Reports {
    pub(super) fn new(app: &Arc<str>, settings: &Settings, clock: &Clock) -> Self {
        let seldom = || Seldom::new(clock.clone());
        Self {
            app: Arc::clone(app),
            buffer_requests: settings.buffer_requests,
            cut: seldom(),
            dropped_auth: seldom(),
            dropped_line: seldom(),
            invalid_line: seldom(),
            misdirected: seldom(),
            refused_chunks: seldom(),
            refused_destination: seldom(),
        }
    }

    pub(super) fn dropped_auth(&self) {
        if self.dropped_auth.is_due() {
            tracing::warn!(
                app = &*self.app,
                "NTLM or Negotiate was taken out: it signs a connection in, and this one is \
                 nobody's, or that of a trusted proxy"
            );
        }
    }

    /// Says in the log, now and then, what lets an application take a body without a length.
    pub(super) fn refused_chunks(&self, status: StatusCode) {
        if self.refused_chunks.is_due() {
            tracing::warn!(
                app = &*self.app,
                status = status.as_u16(),
                buffer_requests = self.buffer_requests,
                "the application refused a request body that came without a length: set \
                 buffer_requests to more than its size"
            );
        }
    }

    /// The same for an application that expects addresses as the browser has them.
    pub(super) fn refused_destination(&self) {
        if self.refused_destination.is_due() {
            tracing::warn!(
                app = &*self.app,
                "the application answered 502 to a Destination with the scheme and Host that it \
                 sees: set rewrite_redirects = false if it reads X-Forwarded-Proto instead"
            );
        }
    }

    /// The same for an application that compares `Host` with the name in TLS.
    pub(super) fn misdirected(&self) {
        if self.misdirected.is_due() {
            tracing::warn!(
                app = &*self.app,
                "the application answered 421: set upstream_server_name to the name that it has \
                 in Host, or upstream_host to the one in TLS"
            );
        }
    }

    /// The same for an answer that was refused, where `tolerate` may let it pass.
    pub(super) fn refused(&self, error: &UpstreamError) {
        if matches!(error, UpstreamError::Send(error) if error.is_of_line())
            && self.invalid_line.is_due()
        {
            tracing::warn!(
                app = &*self.app,
                "an answer was refused: its head has a line that is no header field; \
                 invalid-header-lines in tolerate drops such lines"
            );
        }
    }

    /// Says that lines were dropped as the configuration has it.
    pub(super) fn dropped_line(&self) {
        if self.dropped_line.is_due() {
            tracing::warn!(
                app = &*self.app,
                "lines that are no header fields were dropped from the head of an answer"
            );
        }
    }

    /// The same for an answer over TLS whose end is that of its connection.
    pub(super) fn cut(&self, error: &ResponseError) {
        if error.is_end_without_notice() && self.cut.is_due() {
            tracing::warn!(
                app = &*self.app,
                "an answer without a length was cut: the application ended TLS without \
                 close_notify; missing-close-notify in tolerate takes that for its end"
            );
        }
    }
}

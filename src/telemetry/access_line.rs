//! The line of the access log that each request has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, StatusCode, Version};

use super::access_log::AccessLog;
use super::{RequestId, printable};
use crate::clock::Clock;
use crate::principal::Identity;
use crate::request::{ProxyKind, escape_raw};

/// One request on its way to its access line, which is written when its last byte is gone.
pub(crate) struct AccessLine {
    pub(crate) request: RequestId,
    pub(crate) started: Instant,
    /// Its address.
    pub(crate) client: Arc<str>,
    pub(crate) method: Method,
    /// Without query.
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) app: Option<Arc<str>>,
    /// Of the proxy that asked, by forward auth, and got the request by itself.
    pub(crate) asked_by: Option<ProxyKind>,
    pub(crate) user: Option<Arc<Identity>>,
    /// The beginning of the key of its session: 8 hex digits for people.
    pub(crate) session: Option<u32>,
    /// The same of an API token.
    pub(crate) token: Option<u32>,
    pub(crate) status: StatusCode,
    /// Of the request's body.
    pub(crate) received: u64,
    /// Of the answer's body.
    pub(crate) sent: u64,
    /// How long the head of the answer took.
    pub(crate) head: Option<Duration>,
    /// Whether the answer came to its end.
    pub(crate) complete: bool,
    /// The error code of a response of our own.
    pub(crate) reason: Option<&'static str>,
    /// Why the request was refused before anybody asked who sent it.
    pub(crate) error: Option<&'static str>,
}

impl AccessLine {
    pub(crate) fn begin(request: RequestId, client: Arc<str>, of: &Parts) -> Self {
        Self {
            request,
            started: Clock::stopwatch(),
            client,
            method: of.method.clone(),
            path: match of.uri.path() {
                plain if plain.is_ascii() => plain.to_owned(),
                raw => escape_raw(raw, of.version),
            },
            version: of.version,
            app: None,
            asked_by: None,
            user: None,
            session: None,
            token: None,
            status: StatusCode::OK,
            received: 0,
            sent: 0,
            head: None,
            complete: false,
            reason: None,
            error: None,
        }
    }

    pub(crate) fn write(&self) {
        let total = self.started.elapsed();
        match AccessLog::of_process() {
            Some(log) => log.write(self, total),
            None => self.tell(total),
        }
    }

    /// As an event, which is for texts: [`AccessLog`] writes the same fields as JSON.
    pub(super) fn tell(&self, total: Duration) {
        let session = self.session.map(hex);
        let token = self.token.map(hex);
        tracing::info!(
            target: "access",
            request = %self.request,
            client = %self.client,
            user = self.user.as_deref().map(Identity::user),
            session = session.as_ref().and_then(|digits| str::from_utf8(digits).ok()),
            token = token.as_ref().and_then(|digits| str::from_utf8(digits).ok()),
            app = self.app.as_deref(),
            asked_by = self.asked_by.map(ProxyKind::name),
            method = %self.method,
            path = %printable(&self.path),
            version = %name_of(self.version),
            status = self.status.as_u16(),
            received = self.received,
            sent = self.sent,
            head_ms = self.head.map(milliseconds),
            total_ms = milliseconds(total),
            complete = self.complete,
            reason = self.reason,
            error = self.error,
        );
    }
}

/// As its `Debug` has it.
pub(super) fn name_of(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "unknown",
    }
}

/// Digits as `{:08x}` gives them, without a place of their own in memory.
pub(super) fn hex(number: u32) -> [u8; 8] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (28 - 4 * at)) as usize & 0xf])
}

/// With three digits behind the point.
#[expect(clippy::cast_precision_loss, reason = "no request takes centuries")]
fn milliseconds(time: Duration) -> f64 {
    microseconds(time) as f64 / 1000.0
}

/// Rounded.
pub(super) fn microseconds(time: Duration) -> u64 {
    let rounded = (time + Duration::from_nanos(500)).as_micros();
    u64::try_from(rounded).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_shown_by_eight_digits() {
        for number in [0, 1, 0x0123_4567, 0x89ab_cdef, u32::MAX] {
            assert_eq!(hex(number), format!("{number:08x}").as_bytes());
        }
    }
}

//! What is counted for each app.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::latency::Latency;

/// The handles of one app.
#[derive(Clone, Debug)]
pub(crate) struct AppCounts {
    pub(crate) answers: AnswerCounts,
    /// Bytes of request bodies.
    pub(crate) received: Counter,
    /// Bytes of the bodies of answers.
    pub(crate) sent: Counter,
    pub(crate) websockets: Gauge,
    pub(crate) upstream_errors: UpstreamErrorCounts,
}

/// Answers, of applications and of ours.
#[derive(Clone, Debug)]
pub(crate) struct AnswerCounts {
    /// From 1xx to 5xx.
    pub(super) by_class: [Counter; 5],
    pub(super) latency: Latency,
}

/// One for each kind of `UpstreamError`.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamErrorCounts {
    pub(crate) bad_response: Counter,
    pub(crate) busy: Counter,
    pub(crate) client_body: Counter,
    pub(crate) client_too_slow: Counter,
    pub(crate) connect: Counter,
    pub(crate) connect_timeout: Counter,
    pub(crate) no_response: Counter,
    pub(crate) response_timeout: Counter,
}

impl AnswerCounts {
    /// Counts one answer whose head came after so long. A status of six hundred and more, which no
    /// application should have, counts as one of five hundred.
    pub(crate) fn note(&self, status: StatusCode, after: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, self.by_class.len());
        self.by_class[class - 1].inc();
        self.latency.note(after);
    }
}

/// Something that is open, and counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Open {
    pub(crate) fn count(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn each_status_has_its_class() {
        let counts = Metrics::new().no_app();
        for (status, class) in [
            (101, 0),
            (200, 1),
            (299, 1),
            (304, 2),
            (499, 3),
            (500, 4),
            (799, 4),
        ] {
            let before = counts.by_class[class].get();
            counts.note(StatusCode::from_u16(status).unwrap(), Duration::ZERO);
            assert_eq!(counts.by_class[class].get(), before + 1, "{status}");
        }
    }

    #[test]
    fn what_is_open_counts_until_it_is_dropped() {
        let gauge = Gauge::default();
        let open = [Open::count(&gauge), Open::count(&gauge)];
        assert_eq!(gauge.get(), 2);
        drop(open);
        assert_eq!(gauge.get(), 0);
    }
}

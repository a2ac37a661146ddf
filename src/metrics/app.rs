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
    pub(crate) callers: CallerCounts,
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

/// Who sent a request that got as far as the rules of its app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallerKind {
    Anonymous,
    /// A person's password by HTTP Basic.
    Basic,
    /// A token or a password that is not good, or not any more, or that nobody has looked at because
    /// too many were wrong before, or too many come at once.
    Refused,
    Session,
    Token,
}

/// Requests by who sent them.
#[derive(Clone, Debug)]
pub(crate) struct CallerCounts {
    by_kind: [Counter; CallerKind::ALL.len()],
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

impl CallerKind {
    const ALL: [Self; 5] = [
        Self::Anonymous,
        Self::Basic,
        Self::Refused,
        Self::Session,
        Self::Token,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Basic => "basic",
            Self::Refused => "refused",
            Self::Session => "session",
            Self::Token => "token",
        }
    }
}

impl CallerCounts {
    pub(super) fn new(counter: impl Fn(&'static str) -> Counter) -> Self {
        let by_kind = CallerKind::ALL.map(|kind| counter(kind.name()));
        Self { by_kind }
    }

    pub(crate) fn note(&self, kind: CallerKind) {
        self.by_kind[kind as usize].inc();
    }

    /// What was counted so far, by the name of the kind.
    pub(crate) fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CallerKind::ALL
            .into_iter()
            .map(|kind| (kind.name(), self.by_kind[kind as usize].get()))
    }
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
    fn each_caller_counts_as_what_it_is() {
        let counts = Metrics::new().app("wiki").callers;
        for (n, kind) in CallerKind::ALL.into_iter().enumerate() {
            for _ in 0..=n {
                counts.note(kind);
            }
        }
        let totals: Vec<_> = counts.totals().collect();
        let expected = [
            ("anonymous", 1),
            ("basic", 2),
            ("refused", 3),
            ("session", 4),
            ("token", 5),
        ];
        assert_eq!(totals, expected);
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

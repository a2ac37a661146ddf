//! Why a session has ended, for the metrics.

use prometheus_client::metrics::counter::Counter;

use crate::metrics::SessionCounts;

/// One for each counter of ended sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The user is gone, disabled or has another password.
    Account,
    Expired,
    /// The user had more than `max_per_user`.
    Limit,
    Logout,
    /// The same browser signed in again.
    Replaced,
    /// Somebody ended it from elsewhere.
    Revoked,
}

impl EndReason {
    pub(super) fn of(self, counts: &SessionCounts) -> &Counter {
        match self {
            Self::Account => &counts.account,
            Self::Expired => &counts.expired,
            Self::Limit => &counts.limit,
            Self::Logout => &counts.logout,
            Self::Replaced => &counts.replaced,
            Self::Revoked => &counts.revoked,
        }
    }
}

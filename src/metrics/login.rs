//! What is counted of logins and sessions.

use prometheus_client::metrics::counter::Counter;

use super::latency::Latency;

/// What came of a login form. Defaults count for nobody.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoginCounts {
    /// Too many logins wait to be verified.
    pub(crate) busy: Counter,
    /// It was not sent from our page.
    pub(crate) forged: Counter,
    /// The password was right, and the session could not be kept; or the users could not be read.
    pub(crate) not_kept: Counter,
    /// The password was wrong, or there is no such user.
    pub(crate) refused: Counter,
    /// The password was right, and there are `max_sessions`.
    pub(crate) sessions_full: Counter,
    pub(crate) signed_in: Counter,
    /// There were too many failures before; the password was not looked at.
    pub(crate) throttled: Counter,
}

/// Sessions that were started, and why others have ended. Defaults count for nobody.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionCounts {
    pub(crate) started: Counter,
    /// The user is gone, disabled or has another password.
    pub(crate) account: Counter,
    pub(crate) expired: Counter,
    /// The user had more than `max_per_user`.
    pub(crate) limit: Counter,
    pub(crate) logout: Counter,
    /// The same browser signed in again.
    pub(crate) replaced: Counter,
    /// Somebody ended it from elsewhere.
    pub(crate) revoked: Counter,
    /// From an end on another node to its effect here.
    pub(crate) end_delay: Latency,
}

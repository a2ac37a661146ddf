//! Sessions: started by a login, found by a cookie, ended by logout, expiry or an operator.

use std::time::Duration;

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// In this process; a restart ends them.
    Memory,
}

/// `[session]`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) backend: Backend,
    /// Ends a session that sends no request for so long.
    pub(crate) idle_timeout: Duration,
    /// Ends a session this long after its login, whatever it does.
    pub(crate) lifetime: Duration,
    /// Sessions of one user; the oldest ends when there is one more.
    pub(crate) max_per_user: usize,
    /// Sessions in all; logins are refused above it.
    pub(crate) max_sessions: usize,
}

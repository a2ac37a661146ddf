//! Counts failed logins by account and by address, and makes an attacker wait.

use std::time::Duration;

/// `[login.throttle]`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Failures of one account from one address within the window.
    pub(crate) account_failures: u32,
    /// Failures of one address, whatever the account, within the window.
    pub(crate) address_failures: u32,
    pub(crate) window: Duration,
}

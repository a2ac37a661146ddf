//! Our own addresses under `/.vestibule/`.

pub(crate) mod throttle;

/// The prefix of every address of ours; never forwarded, never shadowed (SEC-73).
pub(crate) const PREFIX: &str = "/.vestibule/";

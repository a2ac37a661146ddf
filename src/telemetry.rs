//! Logs: the access line of each request, the audit trail, everything else.

/// `[log] format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text on a terminal, else JSON.
    Auto,
    Json,
    Text,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) format: Format,
    /// A level, or a list as in `info,vestibule=debug`.
    pub(crate) level: String,
    /// One line for each request.
    pub(crate) access: bool,
}

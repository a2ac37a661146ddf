//! TLS towards the browser. All of rustls lives here and in `upstream::connect`.

use std::path::PathBuf;

/// One certificate chain and its key, both PEM.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// `[tls]`: the first pair serves clients that name no host or an unknown one.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) certificates: Vec<CertificateFiles>,
}

//! The configuration file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::login::throttle;
use crate::{forwarded, listener, pages, proxy, request, session, telemetry, tls};

/// The settings of every module, read from one TOML file.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) apps: Vec<proxy::AppSettings>,
    pub(crate) branding: pages::Branding,
    pub(crate) drain_timeout: Duration,
    pub(crate) limits: request::Limits,
    pub(crate) listener: listener::Settings,
    pub(crate) log: telemetry::Settings,
    pub(crate) session: session::Settings,
    pub(crate) throttle: throttle::Settings,
    pub(crate) timeouts: proxy::Timeouts,
    pub(crate) tls: tls::Settings,
    pub(crate) trusted_proxies: forwarded::TrustedProxies,
    pub(crate) users_file: PathBuf,
}

/// Everything that is wrong with a configuration, each with its place.
#[derive(Debug)]
pub struct ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(_path: &Path) -> Result<Self, ConfigError> {
        Err(ConfigError {})
    }
}

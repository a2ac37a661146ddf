//! Another configuration while the service runs: checked first, then swapped at once (REL-01).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Log, Running, StartError, pages, proxy_settings};
use crate::auth::users_file;
use crate::cli::Failure;
use crate::config::Config;
use crate::session;
use crate::telemetry;
use crate::tls::Certificates;

/// What stays as it was at the start, whatever a new configuration says.
pub(super) struct Fixed {
    listen: Vec<SocketAddr>,
    redirect_http: Vec<SocketAddr>,
    backend: session::Backend,
    users_file: PathBuf,
    log_format: telemetry::Format,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: config.listener.listen.clone(),
            redirect_http: config.listener.redirect_http.clone(),
            backend: config.session.backend.clone(),
            users_file: config.users_file.clone(),
            log_format: config.log.format,
        }
    }

    /// The keys whose new values need a restart.
    fn differences(&self, config: &Config) -> Vec<&'static str> {
        let other = Self::of(config);
        [
            ("server.listen", self.listen != other.listen),
            (
                "server.redirect_http",
                self.redirect_http != other.redirect_http,
            ),
            (
                "session.store and session.path",
                self.backend != other.backend,
            ),
            ("login.users_file", self.users_file != other.users_file),
            ("log.format", self.log_format != other.log_format),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

impl Running {
    /// Reads the file again and takes it over; the log says what came of it.
    pub(super) fn reload_from(&mut self, path: &Path, log: &Log) {
        let reloaded = Config::load(path)
            .map_err(Failure::Config)
            .and_then(|config| {
                let settings = config.log.clone();
                let fixed = self.reload(config).map_err(StartError::into_failure)?;
                log.set_level(&settings);
                Ok(fixed)
            });
        match reloaded {
            Ok(fixed) if fixed.is_empty() => tracing::info!("the configuration was read again"),
            Ok(fixed) => tracing::warn!(
                need_restart = fixed.join(", "),
                "the configuration was read again, but some keys need a restart"
            ),
            Err(failure) => {
                // One line an event, however many problems the file has (SEC-71).
                let error = failure.to_string().replace('\n', "; ");
                tracing::error!(
                    error,
                    "the configuration was not read again; the old one stays"
                );
            }
        }
    }

    /// Takes another configuration over: rules, apps, certificates, pages, limits, timeouts, at
    /// once and whole, or nothing of it on any error. Connections and sessions go on. Gives the
    /// keys that need a restart.
    pub fn reload(&mut self, config: Config) -> Result<Vec<&'static str>, StartError> {
        let fixed = self.fixed.differences(&config);
        let certificates = Certificates::prepare(&config.tls).map_err(StartError::Tls)?;
        users_file::read(&config.users_file).map_err(StartError::Users)?;
        let pages = pages(&config)?;
        let settings = proxy_settings(&config);
        let proxy =
            self.service
                .prepare(settings, config.apps, config.throttle, pages, &self.clock)?;
        // Nothing can fail from here on.
        self.certificates.replace(certificates);
        self.admission.set(&config.listener);
        self.sessions.set(config.session);
        self.drain = config.drain_timeout;
        self.service.replace(proxy);
        Ok(fixed)
    }
}

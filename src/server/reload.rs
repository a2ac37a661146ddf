//! Another configuration while the service runs: checked first, then swapped at once (REL-01).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use super::build::{pages, proxy_settings};
use super::systemd::Manager;
use super::{Logs, Running, Signal, Signals, StartError};
use crate::admin::{self, Outcome};
use crate::auth::{self, users_file};
use crate::config::Config;
use crate::doctor::permission::Asker;
use crate::request::Host;
use crate::session;
use crate::telemetry;
use crate::tls::Certificates;

/// What stays as it was at the start, whatever a new configuration says.
pub(super) struct Fixed {
    listen: Vec<SocketAddr>,
    redirect_http: Vec<SocketAddr>,
    backend: session::Backend,
    users_file: PathBuf,
    admin: admin::Place,
    metrics: Option<SocketAddr>,
    metrics_hosts: Vec<Host>,
    log_format: telemetry::Format,
    audit_file: Option<PathBuf>,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: config.listener.listen.clone(),
            redirect_http: config.listener.redirect_http.clone(),
            backend: config.session.backend.clone(),
            users_file: config.users_file.clone(),
            admin: config.admin.clone(),
            metrics: config.metrics,
            metrics_hosts: config.metrics_hosts.clone(),
            log_format: config.log.format,
            audit_file: config.log.audit_file.clone(),
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
            ("admin.socket", self.admin != other.admin),
            ("admin.metrics", self.metrics != other.metrics),
            (
                "admin.metrics_hosts",
                self.metrics_hosts != other.metrics_hosts,
            ),
            ("log.audit_file", self.audit_file != other.audit_file),
            ("log.format", self.log_format != other.log_format),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

impl Running {
    /// Reads the configuration again whenever somebody wants it, until the service is to stop.
    pub(super) async fn reload_until_stopped(
        &mut self,
        signals: &mut Signals,
        path: &Path,
        logs: &Logs,
        manager: &Manager,
    ) {
        while let Some(asked) = self.reload_request(signals).await {
            manager.reloading();
            let outcome = self.reload_from(path, logs);
            manager.ready();
            if let Some(asked) = asked {
                let _gone_away = asked.send(outcome);
            }
        }
    }

    /// Waits until the configuration is to be read again, and gives whom to tell how it went;
    /// `None` when the service is to stop.
    async fn reload_request(
        &mut self,
        signals: &mut Signals,
    ) -> Option<Option<oneshot::Sender<Outcome>>> {
        tokio::select! {
            biased;
            signal = signals.next() => (signal == Signal::Reload).then_some(None),
            Some(asked) = self.reload_requests.recv() => Some(Some(asked)),
        }
    }

    /// Reads the file again and takes it over; the log and `status` say what came of it.
    ///
    /// Opens the audit file anew in any case: logrotate sends SIGHUP when it has moved it.
    fn reload_from(&mut self, path: &Path, logs: &Logs) -> Outcome {
        logs.reopen();
        let outcome = Config::load(path)
            .map_err(|error| error.to_string())
            .and_then(|config| {
                let settings = config.log.clone();
                let reloaded = self.reload(config);
                let need_restart = reloaded.map_err(|error| error.to_string())?;
                logs.set_level(&settings);
                Ok(need_restart)
            });
        match &outcome {
            Ok(keys) if keys.is_empty() => tracing::info!("the configuration was read again"),
            Ok(keys) => tracing::warn!(
                need_restart = keys.join(", "),
                "the configuration was read again, but some keys need a restart"
            ),
            Err(error) => {
                // One line an event, however many problems the file has (SEC-71).
                let error = error.replace('\n', "; ");
                tracing::error!(
                    error,
                    "the configuration was not read again; the old one stays"
                );
            }
        }
        self.reloads.note(self.clock.now(), outcome.clone());
        outcome
    }

    /// Takes another configuration over: rules, apps, certificates, pages, limits, timeouts, at
    /// once and whole, or nothing of it on any error. Connections and sessions go on. Gives the
    /// keys that need a restart.
    pub fn reload(&mut self, config: Config) -> Result<Vec<&'static str>, StartError> {
        let fixed = self.fixed.differences(&config);
        let certificates = Certificates::prepare(&config.tls).map_err(StartError::Tls)?;
        let users = users_file::read_trusted(&config.users_file).map_err(StartError::Users)?;
        let ceiling = config.memory_ceiling(auth::hashing_memory(&users));
        let pages = pages(&config)?;
        let examined = config.examined(Asker::Service);
        let settings = proxy_settings(&config);
        let proxy = self.vitals.service.prepare(
            settings,
            config.apps,
            config.throttle,
            pages,
            &self.clock,
        )?;
        // Nothing can fail from here on.
        self.doctor.replace(examined);
        self.certificates.replace(certificates);
        self.admission.set(&config.listener);
        let load = self.vitals.service.load();
        load.set(config.listener.max_connections, ceiling);
        self.vitals.sessions.set(&config.session);
        self.drain = config.drain_timeout;
        self.vitals.service.replace(proxy);
        Ok(fixed)
    }
}

//! Another configuration while the service runs: checked first, then swapped at once (REL-01).

use std::path::Path;

use tokio::sync::oneshot;

use super::build::{Built, build, open_keys};
use super::systemd::Manager;
use super::{Logs, Running, Signal, Signals, StartError};
use crate::admin::Outcome;
use crate::config::Config;

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
        let Built {
            apps,
            ceiling,
            certificates,
            connections,
            drain,
            examined,
            portal,
            proxy,
            restart_only,
            session,
            throttle,
        } = build(config)?;
        open_keys(&self.handles.signer, &apps)?;
        let service = &self.handles.service;
        let proxy = service.prepare(proxy, apps, throttle, portal, &self.clock)?;
        // Nothing can fail from here on.
        self.doctor.replace(examined);
        self.certificates.replace(certificates);
        service.load().set(connections.max, ceiling);
        self.admission.set(connections);
        self.handles.sessions.set(&session);
        self.drain = drain;
        service.replace(proxy);
        Ok(self.restart_only.differences(&restart_only))
    }
}

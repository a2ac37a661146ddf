//! What the service manager hears of the service while it runs and while it stops.

use std::convert::Infallible;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{StartError, Vitals};
use crate::proxy::Probe;
use crate::systemd::Manager;

/// How often a status that has changed is told.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// How often it is told while the last connections end.
const DRAIN_EVERY: Duration = Duration::from_millis(500);

/// Tells the status and, where somebody waits for it, that requests are answered; never ends.
pub(super) async fn while_running(
    manager: &Manager,
    vitals: &Vitals,
) -> Result<Infallible, StartError> {
    let status = tell_status(manager, STATUS_EVERY, || {
        let (connections, sessions) = (vitals.admission.open(), vitals.sessions.count());
        let connections = counted(connections, "connection");
        format!("{connections}, {}", counted(sessions, "session"))
    });
    let Some(limit) = manager.watchdog() else {
        return Ok(status.await);
    };
    let probe = Probe::new(vitals.service.clone(), vitals.handshakes.clone());
    let probe = probe.map_err(StartError::Tls)?;
    tokio::select! {
        never = status => match never {},
        never = watch(manager, vitals, &probe, limit) => match never {},
    }
}

/// Tells how many connections are left, until the last one has ended.
pub(super) async fn while_stopping(manager: &Manager, vitals: &Vitals) -> Infallible {
    tell_status(manager, DRAIN_EVERY, || {
        let left = counted(vitals.admission.open(), "connection");
        format!("stopping: {left} left")
    })
    .await
}

async fn tell_status(
    manager: &Manager,
    every: Duration,
    status: impl Fn() -> String,
) -> Infallible {
    if !manager.is_listening() {
        std::future::pending::<()>().await;
    }
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        ticks.tick().await;
        let now = status();
        if now != told {
            manager.status(&now);
            told = now;
        }
    }
}

/// Says that the service is alive when that was seen, and not because a timer still runs. A
/// request that is not answered is asked once more within the limit.
async fn watch(manager: &Manager, vitals: &Vitals, probe: &Probe, limit: Duration) -> Infallible {
    let patience = limit / 4;
    loop {
        match timeout(patience, probe.ask()).await {
            _ if vitals.tasks.iter().any(AbortHandle::is_finished) => {
                tracing::error!("a part of the service has ended: the watchdog will restart it");
                sleep(patience).await;
            }
            Ok(Ok(())) => {
                manager.alive();
                sleep(limit / 2).await;
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "a request of the watchdog went wrong");
                sleep(patience / 4).await;
            }
            Err(_) => tracing::error!(?patience, "a request of the watchdog was not answered"),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::Arc;

    use rcgen::CertifiedKey;
    use tokio::net::UnixDatagram;

    use super::super::start;
    use std::net::IpAddr;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::tls::{self, Certificates, Handshakes};

    const LIMIT: Duration = Duration::from_secs(1);

    fn config(folder: &Path) -> Config {
        let text = "[server]\nlisten = [\"127.0.0.1:0\"]\n[tls]\ncert = \"cert.pem\"\n\
                    key = \"key.pem\"\n[[app]]\nupstream = \"http://127.0.0.1:1\"\n";
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let CertifiedKey { cert, signing_key } = made.unwrap();
        let files = [
            ("cert.pem", cert.pem()),
            ("key.pem", signing_key.serialize_pem()),
            ("users.toml", String::new()),
        ];
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Config::parse(text, &folder.join("config.toml")).unwrap()
    }

    /// How often the watchdog is fed within three times its limit.
    async fn fed(vitals: &Vitals) -> usize {
        let (manager, service) = UnixDatagram::pair().unwrap();
        let service = Manager::at(service.into_std().unwrap(), LIMIT);
        let reported = timeout(LIMIT * 3, while_running(&service, vitals)).await;
        assert!(reported.is_err(), "it never ends");
        let mut buffer = [0; 100];
        let messages = std::iter::from_fn(|| {
            let read = manager.try_recv(&mut buffer).ok()?;
            Some(buffer[..read].to_vec())
        });
        messages.filter(|message| message == b"WATCHDOG=1").count()
    }

    #[tokio::test]
    async fn rel_12_the_watchdog_is_fed_by_answers_and_by_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let certificates = Certificates::open(&config.tls).unwrap();
        let running = start(config, Clock::system()).await.unwrap();
        let vitals = running.vitals.clone();
        assert!(fed(&vitals).await >= 3, "while all is well");

        // A server that no client comes to terms with: nobody gets an answer.
        let mut tls = tls::server_config(Arc::new(certificates)).unwrap();
        tls.alpn_protocols = vec![b"none".to_vec()];
        let deaf = Vitals {
            handshakes: Handshakes::new(tls),
            ..vitals.clone()
        };
        assert_eq!(fed(&deaf).await, 0, "when no request is answered");

        let load = vitals.service.load();
        let somebody = load.usages().of_address(IpAddr::from([192, 0, 2, 1]));
        while load.begin(&somebody, || true).is_ok() {}
        assert!(fed(&vitals).await >= 3, "when visitors are turned away");

        let accepting = vitals.tasks.first().unwrap();
        accepting.abort();
        while !accepting.is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(fed(&vitals).await, 0, "when nobody is accepted any more");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(0, "session"), "0 sessions");
        assert_eq!(counted(1, "session"), "1 session");
        assert_eq!(counted(2, "session"), "2 sessions");
    }
}

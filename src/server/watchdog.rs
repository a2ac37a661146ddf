//! What the service manager hears of the service while it runs and while it stops.

use std::convert::Infallible;
use std::io;
use std::iter;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Handles;
use super::systemd::Manager;

/// How often a status that has changed is told.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// How often it is told while the last connections end.
const DRAIN_EVERY: Duration = Duration::from_millis(500);

/// Tells the status and, where somebody waits for it, that the event loop is alive; never ends.
pub(super) async fn while_running(manager: &Manager, handles: &Handles) -> Infallible {
    let status = tell_status(manager, STATUS_EVERY, async || {
        let connections = counted(handles.admission.open(), "connection");
        match handles.sessions.count().await {
            Ok(sessions) => format!("{connections}, {}", counted(sessions, "session")),
            Err(error) => format!("{connections}; {error}"),
        }
    });
    let Some(limit) = manager.watchdog() else {
        return status.await;
    };
    let mut pulses = handles.pulses.lock().await;
    tokio::select! {
        never = status => match never {},
        never = watch(manager, &handles.tasks, &mut pulses, limit) => match never {},
    }
}

/// Tells how many connections are left, until the last one has ended.
pub(super) async fn while_stopping(manager: &Manager, handles: &Handles) -> Infallible {
    tell_status(manager, DRAIN_EVERY, async || {
        let left = counted(handles.admission.open(), "connection");
        format!("stopping: {left} left")
    })
    .await
}

async fn tell_status(
    manager: &Manager,
    every: Duration,
    status: impl AsyncFn() -> String,
) -> Infallible {
    if !manager.is_listening() {
        std::future::pending::<()>().await;
    }
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        ticks.tick().await;
        let now = status().await;
        if now != told {
            manager.status(&now);
            told = now;
        }
    }
}

/// Says that the service is alive when that was seen, and not because a timer still runs. What
/// takes too long is tried once more within the limit. None of `tasks` may have ended.
async fn watch(
    manager: &Manager,
    tasks: &[AbortHandle],
    pulses: &mut [Pulse],
    limit: Duration,
) -> Infallible {
    let interval = limit / 4;
    loop {
        match timeout(interval, all_beat(pulses)).await {
            _ if tasks.iter().any(AbortHandle::is_finished) => {
                tracing::error!("a part of the service has ended: the watchdog will restart it");
                sleep(interval).await;
            }
            Ok(Ok(())) => {
                manager.alive();
                sleep(limit / 2).await;
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the watchdog cannot see whether the service is alive");
                sleep(interval / 4).await;
            }
            Err(_) => {
                tracing::error!(patience = ?interval, "the watchdog sees no life in the event loop");
            }
        }
    }
}

/// One for this event loop, and one for each of the `others`. To be made before anybody is accepted.
pub(super) fn pulses<'a>(others: impl Iterator<Item = &'a Handle>) -> io::Result<Vec<Pulse>> {
    let own = Handle::current();
    iter::once(own)
        .chain(others.cloned())
        .map(|runtime| Pulse::start(&runtime))
        .collect()
}

/// Whoever waits for it has to set the limit.
async fn all_beat(pulses: &mut [Pulse]) -> io::Result<()> {
    for pulse in pulses {
        pulse.beat().await?;
    }
    Ok(())
}

/// Shows that an event loop is alive: bytes go through the system to a task, and come back.
///
/// Its sockets are there before the first connection: out of descriptors, or with as many connections as are
/// allowed, the service is overloaded and recovers by itself (REL-05). To be ended for it would
/// lose what it still does.
pub(super) struct Pulse {
    near: UnixStream,
    beats: u8,
    /// A task, as for any client: the threads of the runtime are part of what is looked at.
    _echo: JoinSet<io::Result<u64>>,
}

impl Pulse {
    /// Of the threads of this runtime.
    fn start(runtime: &Handle) -> io::Result<Self> {
        let (near, far) = std::os::unix::net::UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let mut echo = JoinSet::new();
        let echoing = async move {
            let (mut from, mut to) = tokio::io::split(UnixStream::from_std(far)?);
            tokio::io::copy(&mut from, &mut to).await
        };
        echo.spawn_on(echoing, runtime);
        Ok(Self {
            near: UnixStream::from_std(near)?,
            beats: 0,
            _echo: echo,
        })
    }

    async fn beat(&mut self) -> io::Result<()> {
        self.beats = self.beats.wrapping_add(1);
        self.near.write_u8(self.beats).await?;
        // One that was given up may still come back.
        while self.near.read_u8().await? != self.beats {}
        Ok(())
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

    use rcgen::CertifiedKey;
    use tokio::net::UnixDatagram;

    use super::super::auth_threads::AuthThreads;
    use super::super::start;
    use std::net::IpAddr;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;

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
    async fn fed(handles: &Handles) -> usize {
        let (manager, service) = UnixDatagram::pair().unwrap();
        let service = Manager::at(service.into_std().unwrap(), LIMIT);
        let reported = timeout(LIMIT * 3, while_running(&service, handles)).await;
        assert!(reported.is_err(), "it never ends");
        let mut buffer = [0; 100];
        let messages = std::iter::from_fn(|| {
            let read = manager.try_recv(&mut buffer).ok()?;
            Some(buffer[..read].to_vec())
        });
        messages.filter(|message| message == b"WATCHDOG=1").count()
    }

    #[tokio::test]
    async fn rel_12_the_watchdog_is_fed_as_long_as_every_part_of_the_service_runs() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let running = start(config, Clock::system()).await.unwrap();
        let handles = running.handles.clone();
        assert!(fed(&handles).await >= 3, "while all is well");

        let load = handles.service.load();
        let somebody = load.usages().of_address(IpAddr::from([192, 0, 2, 1]));
        while load.begin(&somebody, || true).is_ok() {}
        assert!(fed(&handles).await >= 3, "when visitors are turned away");

        let accepting = handles.tasks.first().unwrap();
        accepting.abort();
        while !accepting.is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(fed(&handles).await, 0, "when nobody is accepted any more");
    }

    #[test]
    fn rel_12_an_event_loop_that_hangs_does_not_feed_the_watchdog() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let (manager, service) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let service = Manager::at(service, LIMIT);
        let threads = AuthThreads::start(1).unwrap();
        let of_thread = threads.next().unwrap().clone();
        let looked_at = of_thread.clone();
        runtime.spawn(async move {
            let all = [Handle::current(), looked_at];
            let mut pulses = all.map(|runtime| Pulse::start(&runtime).unwrap());
            watch(&service, &[], &mut pulses, LIMIT).await
        });
        let mut buffer = [0; 100];
        manager.recv(&mut buffer).unwrap();

        for hanging_one in [runtime.handle(), &of_thread] {
            let (hangs, hanging) = std::sync::mpsc::channel();
            let (release, released) = std::sync::mpsc::channel::<()>();
            hanging_one.spawn(async move {
                hangs.send(()).unwrap();
                let _ = released.recv();
            });
            hanging.recv().unwrap();
            manager.set_nonblocking(true).unwrap();
            while manager.recv(&mut buffer).is_ok() {}
            manager.set_nonblocking(false).unwrap();
            manager.set_read_timeout(Some(LIMIT)).unwrap();
            // One may have been on its way.
            let hears = |_: &i32| manager.recv(&mut [0; 100]).is_ok();
            assert!((0..2).filter(hears).count() < 2, "while it hangs");

            drop(release);
            let bound = Some(std::time::Duration::from_secs(30));
            manager.set_read_timeout(bound).unwrap();
            manager.recv(&mut buffer).unwrap();
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(0, "session"), "0 sessions");
        assert_eq!(counted(1, "session"), "1 session");
        assert_eq!(counted(2, "session"), "2 sessions");
    }
}

//! What systemd hands to the service, and what it is told of it.

mod sockets;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub(crate) use sockets::{AuthSocket, Sockets};

/// The end of the protocol of `sd_notify(3)` that speaks. Silent where nobody listens.
///
/// The socket is opened once: out of descriptors, which is overload and passes (REL-05), the
/// watchdog must still hear of us.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The manager that has started this process.
    pub(crate) fn of_environment() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = address.and_then(|address| {
            let connected = connect(&address).inspect_err(|error| {
                tracing::warn!(%error, ?address, "the service manager cannot be told anything");
            });
            connected.ok()
        });
        Self {
            socket,
            watchdog: watchdog(
                std::env::var_os("WATCHDOG_USEC"),
                std::env::var_os("WATCHDOG_PID"),
                std::process::id(),
            ),
        }
    }

    /// A manager at the other end of `socket`.
    #[cfg(test)]
    pub(crate) fn at(socket: UnixDatagram, watchdog: Duration) -> Self {
        Self {
            socket: Some(socket),
            watchdog: Some(watchdog),
        }
    }

    /// Within what time `alive` has to be called, again and again; `None` if nobody waits for it.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_listening())
    }

    pub(crate) fn is_listening(&self) -> bool {
        self.socket.is_some()
    }

    /// The service answers requests from now on.
    pub(crate) fn ready(&self) {
        self.say("READY=1");
    }

    /// The configuration is read again; `ready` says when that is over.
    pub(crate) fn reloading(&self) {
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// The service answers; to be said only when that was seen.
    pub(crate) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// The service ends within `timeout`, whatever `TimeoutStopSec=` says.
    pub(crate) fn stopping(&self, timeout: Duration) {
        self.say(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={}",
            timeout.as_micros()
        ));
    }

    /// One line for people, as `systemctl status` shows it.
    pub(crate) fn status(&self, line: &str) {
        self.say(&format!("STATUS={line}"));
    }

    /// Waits for nobody: a manager that does not read is no reason to stop answering.
    fn say(&self, message: &str) {
        let sent = self.socket.as_ref().map(|to| to.send(message.as_bytes()));
        if let Some(Err(error)) = sent {
            tracing::debug!(%error, message, "the service manager could not be told");
        }
    }
}

/// A path, or with `@` a name in the abstract namespace (unix(7)).
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// As `sd_watchdog_enabled(3)` has it: what is meant for another process is not for us.
fn watchdog(usec: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let usec = usec?.into_string().ok()?.parse().ok()?;
    let ours = pid.is_none_or(|pid| pid.to_str().and_then(|pid| pid.parse().ok()) == Some(own));
    (ours && usec > 0).then_some(Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_for_the_process_it_names() {
        let asked = |usec: &str, pid: Option<&str>| {
            let pid = pid.map(OsString::from);
            watchdog(Some(usec.into()), pid, 42).map(|every| every.as_millis())
        };
        assert_eq!(asked("30000000", None), Some(30_000));
        assert_eq!(asked("30000000", Some("42")), Some(30_000));
        for (usec, pid) in [
            ("30000000", Some("43")),
            ("30000000", Some("")),
            ("0", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(asked(usec, pid), None, "{usec:?} {pid:?}");
        }
        assert_eq!(watchdog(None, None, 42), None);
    }

    #[test]
    fn the_manager_is_found_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("vestibule-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let name = OsString::from(format!("@{name}"));
        for (receiver, address) in [(by_path, path.as_os_str()), (by_name, &name)] {
            let manager = Manager {
                socket: Some(connect(address).unwrap()),
                watchdog: None,
            };
            manager.stopping(Duration::from_secs(2));
            let mut buffer = [0; 100];
            let read = receiver.recv(&mut buffer).unwrap();
            let message = "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000";
            assert_eq!(&buffer[..read], message.as_bytes());
        }
        assert!(connect(path.with_file_name("none").as_os_str()).is_err());
    }

    #[test]
    fn a_manager_that_does_not_read_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let manager = Manager {
            socket: Some(connect(path.as_os_str()).unwrap()),
            watchdog: None,
        };
        for _ in 0..10_000 {
            manager.alive(); // far more than the queue of a socket holds
        }
        drop(receiver);
    }
}

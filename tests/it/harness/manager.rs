//! What stands in for systemd where a test needs no more of it: hears what a service says.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tokio::net::UnixDatagram;

use super::within;

/// The other end of `sd_notify(3)`.
pub(crate) struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(Self::path(&folder)).unwrap();
        Self { socket, folder }
    }

    /// Has a service know of it, and of a watchdog if it is above 0.
    pub(crate) fn manage(&self, command: &mut Command, watchdog_usec: u64) {
        command.env("NOTIFY_SOCKET", Self::path(&self.folder));
        if watchdog_usec > 0 {
            command.env("WATCHDOG_USEC", watchdog_usec.to_string());
        }
    }

    /// Reads on until a message says this; gives the message.
    pub(crate) async fn hears(&self, expected: &str) -> String {
        let what = format!("the service to say {expected:?}");
        within(&what, async {
            loop {
                let message = self.next().await;
                if message.contains(expected) {
                    return message;
                }
            }
        })
        .await
    }

    async fn next(&self) -> String {
        let mut buffer = vec![0; 4096];
        let read = self.socket.recv(&mut buffer).await.unwrap();
        buffer.truncate(read);
        String::from_utf8(buffer).unwrap()
    }

    /// Forgets what was said so far.
    pub(crate) fn forget(&self) {
        let mut buffer = [0; 4096];
        while self.socket.try_recv(&mut buffer).is_ok() {}
    }

    fn path(folder: &TempDir) -> PathBuf {
        folder.path().join("notify")
    }
}

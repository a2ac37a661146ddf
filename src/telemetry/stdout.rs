//! Standard output as the target of log lines.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::fs::fstat;

use super::queue::Target;

/// Not `io::stdout()`, whose lock whoever prints a result would wait for.
pub(super) struct Stdout(File);

impl Stdout {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }

    /// Whether systemd's journal reads it: `$JOURNAL_STREAM` names device and inode of what the
    /// service was started with, which may have been redirected since (systemd.exec(5)).
    pub(super) fn is_journal(&self) -> bool {
        let named = env::var("JOURNAL_STREAM").ok();
        let named = named.as_deref().and_then(parse_stream);
        let ours = fstat(&self.0).map(|file| (file.st_dev, file.st_ino)).ok();
        named.is_some() && named == ours
    }
}

/// `8:12345`
fn parse_stream(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

impl Target for Stdout {
    fn prepare(&mut self, _: bool) -> bool {
        false
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// There is nowhere to say it but in the count of lost lines.
    fn failed(&mut self, _: &io::Error, _: u64) {}
}

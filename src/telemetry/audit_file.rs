//! The audit trail in a file of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::queue::Target;
use super::seldom::Seldom;
use crate::clock::Clock;

/// Is appended to, and opened anew when somebody has moved it away.
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    /// Errors that are spoken of.
    said: Seldom,
}

impl AuditFile {
    /// Opens the file, and makes it for its owner alone when there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: append_to(path)?,
            said: Seldom::new(Clock::system()),
        })
    }

    /// Whether the path still leads to the file that is open.
    fn is_in_place(&self) -> bool {
        match (self.file.metadata(), fs::metadata(&self.path)) {
            (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    fn say(&self, error: &io::Error, lost: u64) {
        if !self.said.is_due() {
            return;
        }
        let file = self.path.display();
        tracing::error!(%error, %file, lost, "cannot write to the audit file");
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        // A FIFO without a reader is an error, and keeps nobody waiting.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "this is no regular file",
    ))
}

impl Target for AuditFile {
    /// Goes on with the old file as long as no new one can be made: that loses nothing.
    fn prepare(&mut self, reopen: bool) -> bool {
        if !reopen && self.is_in_place() {
            return false;
        }
        match append_to(&self.path) {
            Ok(file) => {
                self.file = file;
                true
            }
            Err(error) => {
                self.say(&error, 0);
                false
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn failed(&mut self, error: &io::Error, lines: u64) {
        self.say(error, lines);
    }
}

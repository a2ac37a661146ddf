//! One file, edited by one program at a time, and always whole for those who read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{UsersFileError, cannot_read};
use crate::clock::Clock;
use crate::regular_file;

/// How long an editor waits for another one; edits take milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// The file, locked. The lock is on the file itself, which only its owner can open, and not on
/// the folder or on a file beside it, which others could lock to keep us waiting.
pub(super) fn lock(path: &Path) -> Result<File, UsersFileError> {
    let started = Clock::stopwatch();
    loop {
        let file = regular_file::open(path).map_err(cannot_read(path))?;
        match file.try_lock() {
            // Whoever held the lock before us has put a new file in its place.
            Ok(()) if is_at(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(fs::TryLockError::Error(error)) => return Err(cannot_read(path)(error)),
            Err(fs::TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
        }
        if started.elapsed() > LOCK_WAIT {
            return Err(UsersFileError::Locked {
                path: path.to_owned(),
            });
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Writes beside the file and renames: a crash or a full disk leaves the old file whole (REL-09).
pub(super) fn replace(old: &File, path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::Builder::new()
        .prefix(".users-")
        .suffix(".tmp")
        .tempfile_in(folder)?;
    let (before, now) = (old.metadata()?, new.as_file().metadata()?);
    if (before.uid(), before.gid()) != (now.uid(), now.gid()) {
        fchown(new.as_file(), Some(before.uid()), Some(before.gid()))?;
    }
    new.as_file().set_permissions(before.permissions())?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    File::open(folder)?.sync_all()
}

/// Made by root in a folder of the server's user, the file belongs to that user: else the server
/// could not read what root added.
pub(super) fn create_if_missing(path: &Path) -> Result<(), UsersFileError> {
    let cannot_write = |source| UsersFileError::Write {
        path: path.to_owned(),
        source,
    };
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let file = match made {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(cannot_write(error)),
    };
    let folder = fs::metadata(parent(path)).map_err(cannot_write)?;
    let made = file.metadata().map_err(cannot_write)?;
    if made.uid() == 0 && folder.uid() != 0 {
        fchown(&file, Some(folder.uid()), Some(folder.gid())).map_err(cannot_write)?;
    }
    Ok(())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

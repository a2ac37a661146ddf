//! Notices that a file changed, without inotify: one `stat`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// How long an empty file counts as one that is being written: most editors cut a file to
/// nothing before they write it, and reading it then would sign everybody out.
const EMPTY_FOR: Duration = Duration::from_secs(1);

pub(super) struct Watch {
    clock: Clock,
    path: PathBuf,
    /// As the file was when it was read last; held while it is read, so that an older reading
    /// never replaces a newer one.
    seen: Mutex<Option<State>>,
}

/// Everything that a change of content, mode or owner changes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    changed: (i64, i64),
    inode: (u64, u64),
    modified: (i64, i64),
    size: u64,
}

impl Watch {
    /// Takes the file as read from here on: made before it is read, so that a change in between
    /// is noticed.
    pub(super) fn new(path: &Path, clock: Clock) -> Self {
        Self {
            clock,
            path: path.to_owned(),
            seen: Mutex::new(State::of(path)),
        }
    }

    /// Runs `read` if the file is another than last time; once for each change, whatever comes
    /// of it.
    pub(super) fn refresh(&self, read: impl FnOnce()) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.compare(&mut seen, read);
    }

    /// As [`refresh`](Self::refresh), for callers that must not wait: does nothing while somebody else reads.
    pub(super) fn try_refresh(&self, read: impl FnOnce()) {
        match self.seen.try_lock() {
            Ok(mut seen) => self.compare(&mut seen, read),
            Err(TryLockError::Poisoned(seen)) => self.compare(&mut seen.into_inner(), read),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    fn compare(&self, seen: &mut Option<State>, read: impl FnOnce()) {
        let state = State::of(&self.path);
        let being_written = state.is_some_and(|state| state.is_being_written(self.clock.now()));
        if state == *seen || being_written {
            return;
        }
        *seen = state;
        read();
    }
}

impl State {
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            changed: (file.ctime(), file.ctime_nsec()),
            inode: (file.dev(), file.ino()),
            modified: (file.mtime(), file.mtime_nsec()),
            size: file.size(),
        })
    }

    fn is_being_written(&self, now: Timestamp) -> bool {
        let modified = Duration::new(
            u64::try_from(self.modified.0).unwrap_or(0),
            u32::try_from(self.modified.1).unwrap_or(0),
        );
        self.size == 0 && now.since(Timestamp::default().plus(modified)) < EMPTY_FOR
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_change_is_read_once_and_an_empty_file_only_when_it_stays_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        fs::write(&path, "one").unwrap();
        let clock = Clock::system();
        let watch = Watch::new(&path, clock.clone());
        let reads = Cell::new(0);
        let reads_after_look = || {
            watch.refresh(|| reads.set(reads.get() + 1));
            reads.take()
        };
        assert_eq!(reads_after_look(), 0, "unchanged");
        fs::write(&path, "longer").unwrap();
        assert_eq!(reads_after_look(), 1, "written in place");
        assert_eq!(reads_after_look(), 0, "read already");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(reads_after_look(), 1, "mode");
        let other = folder.path().join("other");
        fs::write(&other, "rename").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(reads_after_look(), 1, "replaced by one of the same size");
        fs::write(&path, "").unwrap();
        assert_eq!(reads_after_look(), 0, "being written");
        clock.advance(Duration::from_secs(2));
        assert_eq!(reads_after_look(), 1, "meant to be empty");
        fs::remove_file(&path).unwrap();
        assert_eq!(reads_after_look(), 1, "gone");
        assert_eq!(reads_after_look(), 0, "gone still");
    }
}

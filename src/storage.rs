//! What stores on disk have in common: databases (redb) in files that are ours alone, and rows that
//! say which version can read them.

pub(crate) mod row;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageError};

use crate::regular_file::{self, Distrust, Owners};

/// Why the database in a file cannot be used.
pub(crate) enum Fault {
    /// The file does not hold what was written into it.
    Damaged(String),
    /// Another process has it open.
    InUse,
    Io(io::Error),
    /// Another user owns the file, and so could have written anything into it.
    Owner(u32),
    /// Others than its owner may read or write it (SEC-79).
    TooOpen(u32),
    /// Another user could put another file in its place (SEC-98).
    Untrusted(Distrust),
}

/// Opens a file that only we can read and nobody else has open, or makes it; keeps `cache` bytes of
/// its pages in memory. `examine` reads what it holds, or makes its tables: what goes wrong there is
/// damage.
pub(crate) fn open<T>(
    path: &Path,
    cache: usize,
    examine: impl FnOnce(&Database) -> Result<T, redb::Error>,
) -> Result<(Database, T), Fault> {
    regular_file::trust_folders(path, &Owners::own()).map_err(Fault::Untrusted)?;
    if !path.exists() {
        make(path, cache)?;
    }
    let file = options().open(path)?;
    let metadata = file.metadata()?;
    if metadata.mode() & 0o077 != 0 {
        return Err(Fault::TooOpen(metadata.mode() & 0o7777));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Fault::Owner(metadata.uid()));
    }
    open_database(file, cache, examine)
}

/// Makes an empty one, under another name until it is whole: a crash or a full disk leaves none that
/// looks damaged.
fn make(path: &Path, cache: usize) -> Result<(), Fault> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let file = options().create(true).truncate(true).open(&unfinished)?;
    open_database(file, cache, |_| Ok(()))?;
    std::fs::rename(&unfinished, path)?;
    Ok(sync_folder(path)?)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn open_database<T>(
    file: File,
    cache: usize,
    examine: impl FnOnce(&Database) -> Result<T, redb::Error>,
) -> Result<(Database, T), Fault> {
    let open = || {
        let database = Database::builder()
            .set_cache_size(cache)
            // Reads the whole file once, so that damage shows here and not in the middle of a
            // request.
            .set_check_integrity_on_open(true)
            .create_with_backend(FileBackend::new(file)?)?;
        let examined = examine(&database).map_err(|error| match error {
            redb::Error::Io(error) => Fault::Io(error),
            other => Fault::Damaged(other.to_string()),
        })?;
        Ok((database, examined))
    };
    // What damage does to a reader is not always an error.
    let opened = catch_unwind(AssertUnwindSafe(open));
    opened.unwrap_or_else(|_| Err(Fault::Damaged("reading it panicked".into())))
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::InUse,
            DatabaseError::Storage(StorageError::Io(error))
                if !matches!(error.kind(), InvalidData | UnexpectedEof) =>
            {
                Self::Io(error)
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Makes the name of a new file survive a power cut, too.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

//! Opens the file: ours alone, locked, checked.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageError};

use super::tables::Tables;
use crate::clock::Timestamp;
use crate::regular_file::{self, Owners};
use crate::session::store::OpenError;

/// Pages kept in memory. Sessions in use are in the cache of sessions already.
pub(in crate::session) const CACHE: usize = 8 * 1024 * 1024;

/// What was found in the file.
pub(super) struct Contents {
    pub(super) count: usize,
    pub(super) latest: Timestamp,
}

/// Why the database in a file cannot be used.
enum Fault {
    InUse,
    Io(io::Error),
    Damaged(String),
}

/// Opens a file that only we can read and nobody else has open, or makes it. A damaged one is
/// moved aside: whoever was in it has to sign in again, which is better than nobody being able to.
pub(super) fn open(path: &Path) -> Result<(Database, Contents), OpenError> {
    let damage = match try_open(path)? {
        Ok(opened) => return Ok(opened),
        Err(damage) => damage,
    };
    let aside = free_name(path);
    std::fs::rename(path, &aside).map_err(|error| OpenError::Io(path.to_owned(), error))?;
    tracing::error!(
        damage, file = %path.display(), moved_to = %aside.display(),
        "the sessions file is damaged and was moved aside: everybody has to sign in again"
    );
    try_open(path)?.map_err(|damage| OpenError::Io(path.to_owned(), io::Error::other(damage)))
}

/// The inner error says what is damaged.
fn try_open(path: &Path) -> Result<Result<(Database, Contents), String>, OpenError> {
    regular_file::trust_folders(path, &Owners::own()).map_err(OpenError::Untrusted)?;
    let cannot = |error| OpenError::Io(path.to_owned(), error);
    let is_new = !path.exists();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(OpenError::TooOpen(
            path.to_owned(),
            metadata.mode() & 0o7777,
        ));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(OpenError::Owner(path.to_owned(), metadata.uid()));
    }
    if is_new {
        sync_folder(path).map_err(cannot)?;
    }
    // What damage does to a reader is not always an error.
    let opened = catch_unwind(AssertUnwindSafe(|| read(file)));
    match opened.unwrap_or_else(|_| Err(Fault::Damaged("reading it panicked".into()))) {
        Ok(opened) => Ok(Ok(opened)),
        Err(Fault::InUse) => Err(OpenError::InUse(path.to_owned())),
        Err(Fault::Io(error)) => Err(cannot(error)),
        Err(Fault::Damaged(damage)) => Ok(Err(damage)),
    }
}

fn read(file: File) -> Result<(Database, Contents), Fault> {
    let database = Database::builder()
        .set_cache_size(CACHE)
        // Reads the whole file once, so that damage shows here and not in the middle of a request.
        .set_check_integrity_on_open(true)
        .create_with_backend(FileBackend::new(file)?)?;
    let contents = contents(&database).map_err(|error| match error {
        redb::Error::Io(error) => Fault::Io(error),
        other => Fault::Damaged(other.to_string()),
    })?;
    Ok((database, contents))
}

fn contents(database: &Database) -> Result<Contents, redb::Error> {
    let transaction = database.begin_write()?;
    let tables = Tables::of(&transaction)?;
    let count = tables.count()?;
    let contents = Contents {
        count,
        // Of sessions that are there; with none, a clock that was wrong once is forgotten.
        latest: if count == 0 {
            Timestamp::default()
        } else {
            tables.latest()?
        },
    };
    drop(tables);
    transaction.commit()?;
    Ok(contents)
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

fn free_name(path: &Path) -> PathBuf {
    let mut number = 1;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        let name = PathBuf::from(name);
        if !name.exists() {
            return name;
        }
        number += 1;
    }
}

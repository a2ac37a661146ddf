//! Opens the file: ours alone, locked, checked.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageError};

use super::{TOKENS, USED};
use crate::auth::authenticators::OpenError;
use crate::regular_file::{self, Owners};

/// Pages kept in memory: what is in use is in memory already.
const CACHE: usize = 256 * 1024;

/// Why the database in a file cannot be used.
enum Fault {
    InUse,
    Io(io::Error),
    Damaged(String),
}

/// Opens a file that only we can read and nobody else has open, or makes it.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    regular_file::trust_folders(path, &Owners::own()).map_err(OpenError::Untrusted)?;
    let cannot = |error| OpenError::Io(path.to_owned(), error);
    if !path.exists() {
        make(path)?;
    }
    let file = options().open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(OpenError::TooOpen(path.to_owned(), mode));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(OpenError::Owner(path.to_owned(), metadata.uid()));
    }
    if metadata.len() == 0 {
        // redb would make a new one of it, without the tokens that were there.
        return Err(OpenError::Damaged(path.to_owned(), "it is empty".into()));
    }
    open_database(path, file)
}

/// Makes an empty one, under another name until it is whole: a crash or a full disk leaves none that
/// looks damaged.
fn make(path: &Path) -> Result<(), OpenError> {
    let cannot = |error| OpenError::Io(path.to_owned(), error);
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let file = options().create(true).truncate(true).open(&unfinished);
    drop(open_database(path, file.map_err(cannot)?)?);
    std::fs::rename(&unfinished, path).map_err(cannot)?;
    sync_folder(path).map_err(cannot)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn open_database(path: &Path, file: File) -> Result<Database, OpenError> {
    // What damage does to a reader is not always an error.
    let opened = catch_unwind(AssertUnwindSafe(|| read(file)));
    match opened.unwrap_or_else(|_| Err(Fault::Damaged("reading it panicked".into()))) {
        Ok(database) => Ok(database),
        Err(Fault::InUse) => Err(OpenError::InUse(path.to_owned())),
        Err(Fault::Io(error)) => Err(OpenError::Io(path.to_owned(), error)),
        Err(Fault::Damaged(damage)) => Err(OpenError::Damaged(path.to_owned(), damage)),
    }
}

fn read(file: File) -> Result<Database, Fault> {
    let database = Database::builder()
        .set_cache_size(CACHE)
        // Reads the whole file once, so that damage shows here and not in the middle of a request.
        .set_check_integrity_on_open(true)
        .create_with_backend(FileBackend::new(file)?)?;
    make_tables(&database).map_err(|error| match error {
        redb::Error::Io(error) => Fault::Io(error),
        other => Fault::Damaged(other.to_string()),
    })?;
    Ok(database)
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(TOKENS)?;
    transaction.open_table(USED)?;
    Ok(transaction.commit()?)
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

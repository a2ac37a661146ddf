//! Opens the file.

use std::path::{Path, PathBuf};

use redb::Database;

use super::tables::Tables;
use crate::clock::Timestamp;
use crate::session::store::OpenError;
use crate::storage::{self, Fault};

/// Pages kept in memory. Sessions in use are in the cache of sessions already.
pub(in crate::session) const CACHE: usize = 8 * 1024 * 1024;

/// What was found in the file.
pub(super) struct Contents {
    pub(super) count: usize,
    pub(super) latest: Timestamp,
}

/// Opens the file, or makes it. A damaged one is moved aside: whoever was in it has to sign in again,
/// which is better than nobody being able to.
pub(super) fn open(path: &Path) -> Result<(Database, Contents), OpenError> {
    let open = || storage::open(path, CACHE, contents);
    let damage = match open() {
        Err(Fault::Damaged(damage)) => damage,
        opened => return opened.map_err(|fault| OpenError::of(path, fault)),
    };
    let aside = free_name(path);
    std::fs::rename(path, &aside).map_err(|error| OpenError::Io(path.to_owned(), error))?;
    tracing::error!(
        damage, file = %path.display(), moved_to = %aside.display(),
        "the sessions file is damaged and was moved aside: everybody has to sign in again"
    );
    open().map_err(|fault| OpenError::of(path, fault))
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

//! Opens the file.

use std::path::Path;

use redb::Database;

use super::{TOKENS, USED};
use crate::auth::authenticators::OpenError;
use crate::storage::{self, Fault};

/// Pages kept in memory: what is in use is in memory already.
const CACHE: usize = 256 * 1024;

/// Opens it, or makes it.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    let is_empty = std::fs::metadata(path).is_ok_and(|file| file.len() == 0);
    let opened = if is_empty {
        // redb would make a new one of it, without the tokens that were there.
        Err(Fault::Damaged("it is empty".into()))
    } else {
        storage::open(path, CACHE, make_tables)
    };
    let (database, ()) = opened.map_err(|fault| OpenError::of(path, fault))?;
    Ok(database)
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(TOKENS)?;
    transaction.open_table(USED)?;
    Ok(transaction.commit()?)
}

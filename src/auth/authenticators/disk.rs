//! Authenticators in one file: they outlive a restart, a crash and `kill -9`.
//!
//! Written seldom, each time for good. A damaged file stops the start: it is not moved aside as that
//! of the sessions is, because nobody could prove anything by what was in it.

mod file;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::{Answer, AuthenticatorStore, OpenError, StoreError, codec};
use crate::auth::api_token::{TokenKey, TokenRecord};
use crate::auth::incarnation::UserId;
use crate::clock::Timestamp;

type Key = &'static [u8; 32];

// The number is the version of the tables; what changes in a row is the business of `codec`.
const TOKENS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("tokens-1");
/// Apart from the tokens, so that a use writes eight bytes; milliseconds.
const USED: TableDefinition<'_, Key, u64> = TableDefinition::new("tokens-used-1");

pub(super) struct Disk {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    database: Mutex<State>,
}

/// Of the file.
enum State {
    Open(Database),
    /// Something went wrong with it; it is opened anew when somebody asks.
    Failed,
    Closed,
}

impl Disk {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let database = file::open(path)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                database: Mutex::new(State::Open(database)),
            }),
        })
    }

    /// A disk may take its time; the threads that serve requests do not wait for it.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Answer<'static, T> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || shared.run(work));
        Box::pin(async move { done.await.unwrap_or(Err(StoreError::Unavailable)) })
    }

    /// One transaction; on an error none of it has happened.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Answer<'static, T> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }
}

impl Shared {
    fn run<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut state = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Failed) {
            // After an error redb refuses everything until the file is opened anew.
            match file::open(&self.path) {
                Ok(database) => *state = State::Open(database),
                Err(error) => {
                    tracing::error!(%error, "the file of the API tokens stays closed");
                    return Err(StoreError::Unavailable);
                }
            }
        }
        let State::Open(database) = &*state else {
            return Err(StoreError::Unavailable);
        };
        // What damage does to a reader is not always an error.
        let done = catch_unwind(AssertUnwindSafe(|| work(database)));
        let done = done.unwrap_or_else(|_| Err(redb::Error::Corrupted("it panicked".into())));
        done.map_err(|error| {
            let file = self.path.display();
            tracing::error!(%error, %file, "cannot read or write the file of the API tokens");
            *state = State::Failed;
            StoreError::Unavailable
        })
    }
}

impl AuthenticatorStore for Disk {
    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.shared.run(|database| {
            let transaction = database.begin_read()?;
            let used = transaction.open_table(USED)?;
            let mut tokens = Vec::new();
            for row in transaction.open_table(TOKENS)?.iter()? {
                let (key, row) = row?;
                let key = TokenKey::from_bytes(*key.value());
                match codec::decode(key, row.value()) {
                    Ok(mut token) => {
                        let at = used.get(key.as_bytes())?.map(|at| at.value());
                        token.last_used = at.map(Timestamp::from_millis);
                        tokens.push(token);
                    }
                    Err(error) => tracing::warn!(
                        token = %key.short(), %error,
                        "an API token in the file cannot be read: it opens nothing, and is left alone"
                    ),
                }
            }
            Ok(tokens)
        })
    }

    fn insert_token(&self, token: Arc<TokenRecord>) -> Answer<'_, ()> {
        self.write(move |transaction| {
            let row = codec::encode(&token);
            let mut tokens = transaction.open_table(TOKENS)?;
            tokens.insert(token.key.as_bytes(), row.as_slice())?;
            Ok(())
        })
    }

    fn remove_tokens(&self, keys: Vec<TokenKey>) -> Answer<'_, usize> {
        self.write(move |transaction| {
            let mut tokens = transaction.open_table(TOKENS)?;
            let mut used = transaction.open_table(USED)?;
            let mut removed = 0;
            for key in &keys {
                removed += usize::from(tokens.remove(key.as_bytes())?.is_some());
                used.remove(key.as_bytes())?;
            }
            Ok(removed)
        })
    }

    fn touch_tokens(&self, uses: Vec<(TokenKey, Timestamp)>) -> Answer<'_, ()> {
        self.write(move |transaction| {
            let tokens = transaction.open_table(TOKENS)?;
            let mut last = transaction.open_table(USED)?;
            for (key, at) in &uses {
                let before = last.get(key.as_bytes())?.map_or(0, |at| at.value());
                if before < at.as_millis() && tokens.get(key.as_bytes())?.is_some() {
                    last.insert(key.as_bytes(), at.as_millis())?;
                }
            }
            Ok(())
        })
    }

    fn set_users(&self, users: Vec<(TokenKey, UserId)>) -> Answer<'_, ()> {
        self.write(move |transaction| {
            let mut tokens = transaction.open_table(TOKENS)?;
            for (key, user_id) in &users {
                let row = tokens.get(key.as_bytes())?;
                let token = row.and_then(|row| codec::decode(*key, row.value()).ok());
                if let Some(token) = token
                    && token.user_id == UserId::Unknown
                {
                    let row = codec::encode(&TokenRecord {
                        user_id: user_id.clone(),
                        ..token
                    });
                    tokens.insert(key.as_bytes(), row.as_slice())?;
                }
            }
            Ok(())
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        let mut state = self
            .shared
            .database
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *state = State::Closed;
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests;

//! Sessions in this process: fast, and gone with it.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::data::{DataChange, DataError};
use super::id::SessionKey;
use super::store::{Answer, Record, SessionStore};
use crate::clock::Timestamp;

#[derive(Default)]
pub(super) struct Memory(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    records: HashMap<SessionKey, Arc<Record>>,
    of_user: HashMap<String, HashSet<SessionKey>>,
}

impl Memory {
    /// No code that holds the lock can leave the tables half changed, so a panic elsewhere is no
    /// reason to refuse (REL-11).
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for Memory {
    fn insert(&self, record: Arc<Record>) -> Answer<'_, ()> {
        let mut tables = self.tables();
        tables
            .of_user
            .entry(record.user.clone())
            .or_default()
            .insert(record.key);
        tables.records.insert(record.key, record);
        Box::pin(ready(Ok(())))
    }

    fn load<'a>(&'a self, key: &'a SessionKey) -> Answer<'a, Option<Arc<Record>>> {
        Box::pin(ready(Ok(self.tables().records.get(key).cloned())))
    }

    fn remove<'a>(&'a self, key: &'a SessionKey) -> Answer<'a, bool> {
        let mut tables = self.tables();
        let removed = tables.records.remove(key);
        if let Some(record) = &removed
            && let Some(keys) = tables.of_user.get_mut(&record.user)
        {
            keys.remove(key);
            if keys.is_empty() {
                tables.of_user.remove(&record.user);
            }
        }
        Box::pin(ready(Ok(removed.is_some())))
    }

    fn touch(&self, key: &SessionKey, at: Timestamp) {
        if let Some(record) = self.tables().records.get_mut(key) {
            let record = Arc::make_mut(record);
            record.last_accessed = record.last_accessed.max(at);
        }
    }

    fn change_data<'a>(
        &'a self,
        key: &'a SessionKey,
        change: &'a DataChange,
    ) -> Answer<'a, Option<Result<Arc<Record>, DataError>>> {
        let mut tables = self.tables();
        let changed = tables.records.get_mut(key).map(|record| {
            let data = record.data.apply(change)?;
            let kept = Arc::make_mut(record);
            kept.data = data;
            kept.revision += 1;
            Ok(Arc::clone(record))
        });
        Box::pin(ready(Ok(changed)))
    }

    fn of_user<'a>(&'a self, user: &'a str) -> Answer<'a, Vec<Arc<Record>>> {
        let tables = self.tables();
        let keys = tables.of_user.get(user).into_iter().flatten();
        let records = keys
            .filter_map(|key| tables.records.get(key).cloned())
            .collect();
        Box::pin(ready(Ok(records)))
    }

    fn all(&self) -> Answer<'_, Vec<Arc<Record>>> {
        Box::pin(ready(Ok(self.tables().records.values().cloned().collect())))
    }

    fn count(&self) -> usize {
        self.tables().records.len()
    }
}

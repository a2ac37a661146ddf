//! Sessions in this process: fast, and gone with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::ready;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::data::{DataChange, DataError};
use super::id::SessionKey;
use super::record::Record;
use super::store::{Answer, SessionStore};
use crate::clock::Timestamp;
use crate::request::Host;

#[derive(Default)]
pub(super) struct Memory(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    records: BTreeMap<SessionKey, Arc<Record>>,
    of_user: HashMap<String, HashSet<SessionKey>>,
}

impl Memory {
    /// No code that holds the lock can leave the tables half changed, so a panic elsewhere is no
    /// reason to refuse (REL-11).
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn remove(&mut self, key: &SessionKey) -> bool {
        let removed = self.records.remove(key);
        if let Some(record) = &removed
            && let Some(keys) = self.of_user.get_mut(&record.user().to_ascii_lowercase())
        {
            keys.remove(key);
            if keys.is_empty() {
                self.of_user.remove(&record.user().to_ascii_lowercase());
            }
        }
        removed.is_some()
    }
}

impl SessionStore for Memory {
    fn insert(&self, record: Arc<Record>) -> Answer<'_, ()> {
        let mut tables = self.tables();
        tables
            .of_user
            .entry(record.user().to_ascii_lowercase())
            .or_default()
            .insert(record.key);
        tables.records.insert(record.key, record);
        Box::pin(ready(Ok(())))
    }

    fn load(&self, key: SessionKey) -> Answer<'_, Option<Arc<Record>>> {
        Box::pin(ready(Ok(self.tables().records.get(&key).cloned())))
    }

    fn remove(&self, keys: Vec<SessionKey>) -> Answer<'_, usize> {
        let mut tables = self.tables();
        let removed = keys.iter().filter(|key| tables.remove(key)).count();
        Box::pin(ready(Ok(removed)))
    }

    fn clear(&self) -> Answer<'_, usize> {
        let tables = std::mem::take(&mut *self.tables());
        Box::pin(ready(Ok(tables.records.len())))
    }

    fn touch(&self, key: SessionKey, at: Timestamp) {
        if let Some(record) = self.tables().records.get_mut(&key) {
            let record = Arc::make_mut(record);
            record.last_accessed = record.last_accessed.max(at);
        }
    }

    fn bind(&self, key: SessionKey, host: Host, app: Arc<str>) -> Answer<'_, Option<Arc<Record>>> {
        let mut tables = self.tables();
        let bound = tables.records.get_mut(&key).map(|record| {
            Arc::make_mut(record).bind(&host, &app);
            Arc::clone(record)
        });
        Box::pin(ready(Ok(bound)))
    }

    fn change_data(
        &self,
        key: SessionKey,
        app: Arc<str>,
        change: DataChange,
    ) -> Answer<'_, Option<Result<Arc<Record>, DataError>>> {
        let mut tables = self.tables();
        let changed = tables.records.get_mut(&key).map(|record| {
            let data = record.data.apply(&app, &change)?;
            let kept = Arc::make_mut(record);
            kept.data = data;
            kept.revision += 1;
            Ok(Arc::clone(record))
        });
        Box::pin(ready(Ok(changed)))
    }

    fn of_user(&self, user: String) -> Answer<'_, Vec<Arc<Record>>> {
        let tables = self.tables();
        let keys = tables
            .of_user
            .get(&user.to_ascii_lowercase())
            .into_iter()
            .flatten();
        let records = keys
            .filter_map(|key| tables.records.get(key).cloned())
            .collect();
        Box::pin(ready(Ok(records)))
    }

    fn range(
        &self,
        first: Bound<SessionKey>,
        last: SessionKey,
        count: usize,
    ) -> Answer<'_, Vec<Arc<Record>>> {
        let empty = match first {
            Bound::Included(first) => first > last,
            Bound::Excluded(first) => first >= last,
            Bound::Unbounded => false,
        };
        let records = if empty {
            Vec::new() // a range that ends before it begins panics
        } else {
            let tables = self.tables();
            let range = tables.records.range((first, Bound::Included(last)));
            range
                .take(count)
                .map(|(_, record)| Arc::clone(record))
                .collect()
        };
        Box::pin(ready(Ok(records)))
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(ready(Ok(self.tables().records.len())))
    }

    /// What is gone with the process knows of no time before it.
    fn latest(&self) -> Timestamp {
        Timestamp::default()
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::conformance::conformance_tests;
    use super::*;

    conformance_tests!(((), Arc::new(Memory::default())));
}

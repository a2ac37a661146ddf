//! Sessions in this process: fast, and gone with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::ready;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::data::{DataChange, DataError};
use super::id::SessionKey;
use super::record::{HostId, Record};
use super::store::ends::EndSender;
use super::store::{Answer, End, Removed, SessionStore};
use crate::clock::Timestamp;
use crate::principal::user_name;
use crate::request::Host;

/// A handle of a store; a clone is another one of the same store.
#[derive(Default)]
pub(super) struct Memory {
    shared: Arc<Mutex<Shared>>,
    /// Tells the handles apart.
    number: u64,
}

#[derive(Default)]
struct Shared {
    tables: Tables,
    /// With the number of its handle.
    followers: Vec<(u64, EndSender)>,
    /// The greatest number of a handle.
    last_handle: u64,
}

#[derive(Default)]
struct Tables {
    records: BTreeMap<SessionKey, Arc<Record>>,
    /// The session of each id that does not name it.
    other_ids: HashMap<SessionKey, SessionKey>,
    of_user: HashMap<String, HashSet<SessionKey>>,
}

impl Memory {
    /// No code that holds the lock can leave the tables half changed, so a panic elsewhere is no
    /// reason to refuse (REL-11).
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Memory {
    /// Nobody is answered as long as this is kept.
    pub(super) fn hold(&self) -> impl Sized {
        self.lock()
    }

    /// Does some work, which needs the store, while a request comes that does not. One thread has both, and
    /// nobody is answered by the store before that request is.
    pub(super) async fn answers_nobody_before_a_request<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (request, requests) = std::sync::mpsc::channel();
        let (stall, is_stalled) = std::sync::mpsc::channel();
        let memory = self.clone();
        let stalled = std::thread::spawn(move || {
            let _nobody_is_answered = memory.hold();
            stall.send(()).unwrap();
            requests.recv_timeout(std::time::Duration::from_secs(10))
        });
        is_stalled.recv().unwrap();
        let working = tokio::spawn(work);
        tokio::task::yield_now().await; // it is in the middle
        let _is_waited_for = request.send("a page");
        assert_eq!(stalled.join().unwrap(), Ok("a page"));
        working.await.unwrap()
    }
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        let mut shared = self.lock();
        shared.last_handle += 1;
        Self {
            shared: Arc::clone(&self.shared),
            number: shared.last_handle,
        }
    }
}

impl Shared {
    /// Tells every other handle.
    fn tell(&self, from: u64, end: End) {
        let others = self.followers.iter().filter(|(handle, _)| *handle != from);
        others.for_each(|(_, follower)| follower.send(end));
    }
}

impl Tables {
    fn remove(&mut self, key: &SessionKey) -> bool {
        let removed = self.records.remove(key);
        for id in removed.iter().flat_map(|record| record.other_ids()) {
            self.other_ids.remove(&id.key);
        }
        if let Some(record) = &removed
            && let Some(keys) = self.of_user.get_mut(&user_name::key(record.user()))
        {
            keys.remove(key);
            if keys.is_empty() {
                self.of_user.remove(&user_name::key(record.user()));
            }
        }
        removed.is_some()
    }
}

impl SessionStore for Memory {
    fn insert_below(&self, record: Arc<Record>, most: usize) -> Answer<'_, bool> {
        let tables = &mut self.lock().tables;
        if tables.records.len() >= most {
            return Box::pin(ready(Ok(false)));
        }
        tables
            .of_user
            .entry(user_name::key(record.user()))
            .or_default()
            .insert(record.key);
        let ids = record.other_ids().map(|id| (id.key, record.key));
        tables.other_ids.extend(ids);
        tables.records.insert(record.key, record);
        Box::pin(ready(Ok(true)))
    }

    fn load(&self, key: SessionKey) -> Answer<'_, Option<Arc<Record>>> {
        let tables = &self.lock().tables;
        let record = tables.records.get(&key).or_else(|| {
            let of = tables.other_ids.get(&key)?;
            tables.records.get(of)
        });
        Box::pin(ready(Ok(record.cloned())))
    }

    fn remove(&self, keys: Vec<SessionKey>) -> Answer<'static, usize> {
        let mut shared = self.lock();
        let mut removed = 0;
        for key in &keys {
            if shared.tables.remove(key) {
                shared.tell(self.number, End::One(*key));
                removed += 1;
            }
        }
        Box::pin(ready(Ok(removed)))
    }

    fn remove_of_user(
        &self,
        user: String,
        keep: Option<SessionKey>,
    ) -> Answer<'static, Option<Removed>> {
        let mut shared = self.lock();
        let keys = shared.tables.of_user.get(&user_name::key(&user));
        let mut keys = keys.cloned().unwrap_or_default();
        if keep.is_some_and(|keep| !keys.remove(&keep)) {
            return Box::pin(ready(Ok(None)));
        }
        for key in &keys {
            shared.tables.remove(key);
            shared.tell(self.number, End::One(*key));
        }
        Box::pin(ready(Ok(Some(Removed::all(keys.len())))))
    }

    fn clear(&self) -> Answer<'static, Removed> {
        let mut shared = self.lock();
        let tables = std::mem::take(&mut shared.tables);
        shared.tell(self.number, End::All);
        Box::pin(ready(Ok(Removed::all(tables.records.len()))))
    }

    fn touch(&self, key: SessionKey, at: Timestamp) {
        if let Some(record) = self.lock().tables.records.get_mut(&key) {
            let record = Arc::make_mut(record);
            record.last_accessed = record.last_accessed.max(at);
        }
    }

    fn bind(&self, key: SessionKey, host: Host, app: Arc<str>) -> Answer<'_, Option<Arc<Record>>> {
        let tables = &mut self.lock().tables;
        let bound = tables.records.get_mut(&key).map(|record| {
            Arc::make_mut(record).bind(&host, &app);
            Arc::clone(record)
        });
        Box::pin(ready(Ok(bound)))
    }

    fn add_id(&self, key: SessionKey, id: HostId) -> Answer<'_, Option<Arc<Record>>> {
        let tables = &mut self.lock().tables;
        let added = tables.records.get_mut(&key).map(|record| {
            if let Some(dropped) = Arc::make_mut(record).add_id(&id) {
                for other in dropped {
                    tables.other_ids.remove(&other);
                }
                tables.other_ids.insert(id.key, key);
            }
            Arc::clone(record)
        });
        Box::pin(ready(Ok(added)))
    }

    fn change_data(
        &self,
        key: SessionKey,
        app: Arc<str>,
        change: DataChange,
    ) -> Answer<'_, Option<Result<Arc<Record>, DataError>>> {
        let tables = &mut self.lock().tables;
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
        let tables = &self.lock().tables;
        let keys = tables
            .of_user
            .get(&user_name::key(&user))
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
            let tables = &self.lock().tables;
            let range = tables.records.range((first, Bound::Included(last)));
            range
                .take(count)
                .map(|(_, record)| Arc::clone(record))
                .collect()
        };
        Box::pin(ready(Ok(records)))
    }

    fn ends(&self) -> mpsc::Receiver<End> {
        let (sender, receiver) = EndSender::new();
        let followers = &mut self.lock().followers;
        followers.retain(|(_, follower)| !follower.is_closed());
        followers.push((self.number, sender));
        receiver
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(ready(Ok(self.lock().tables.records.len())))
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
    use super::super::store::conformance::shared::shared_store_tests;
    use super::*;

    conformance_tests!(((), Arc::new(Memory::default())));
    shared_store_tests!({
        let memory = Memory::default();
        ((), Arc::new(memory.clone()), Arc::new(memory))
    });
}

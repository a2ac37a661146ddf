//! Forms that wait in the store that several nodes share.
//!
//! Each node counts the forms that it has put there, as it counts those in its memory: in the store
//! there is room for as much as all nodes may keep.

mod handing_over;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::codec::{Described, Times};
use super::{
    Clock, Discarded, MAX_BODY, Name, Nodes, Owner, PostHead, PostId, Put, SAVED_FOR, SavedPost,
    Slot, StoreError, Take, Timestamp, Waiting, random,
};
use crate::portal::pending::{NewItem, PendingStore, Token};

/// How long before the store is asked once more.
const AGAIN: Duration = Duration::from_millis(500);

/// So many forms and logins wait at most for a store that is away.
const LATER: usize = 64;

type Answer<T> = Result<T, StoreError>;

/// Why a form was not kept in the store, as far as anybody knows.
pub(super) struct NotKept {
    pub(super) error: StoreError,
    /// The store may have it.
    pub(super) was_sent: bool,
}

impl NotKept {
    fn unsent(error: StoreError) -> Self {
        Self {
            error,
            was_sent: false,
        }
    }

    fn sent(error: StoreError) -> Self {
        Self {
            error,
            was_sent: error == StoreError::Unavailable, // the others are answers
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct SharedPosts {
    inner: Arc<Inner>,
}

struct Inner {
    store: PendingStore,
    clock: Clock,
    /// Of the forms that this node has put there.
    slots: Mutex<HashMap<PostId, Counted>>,
    /// Forms that this node is taking out.
    trying: Mutex<HashSet<PostId>>,
    later: Arc<Semaphore>,
}

impl Inner {
    fn trying(&self) -> MutexGuard<'_, HashSet<PostId>> {
        self.trying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A try to take a form out.
pub(super) struct Trying {
    id: PostId,
    inner: Arc<Inner>,
}

impl Drop for Trying {
    fn drop(&mut self) {
        self.inner.trying().remove(&self.id);
    }
}

/// The room that a form in the store takes, and when it was saved.
struct Counted {
    slot: Slot,
    saved: Timestamp,
}

impl SharedPosts {
    /// `None` where this node is alone.
    pub(super) fn of(nodes: &Nodes, clock: &Clock) -> Option<Self> {
        let store = PendingStore::of(nodes, "posts", SAVED_FOR)?;
        let clock = clock.clone();
        let inner = Arc::new(Inner {
            store,
            clock,
            slots: Mutex::default(),
            trying: Mutex::default(),
            later: Arc::new(Semaphore::new(LATER)),
        });
        Some(Self { inner })
    }

    fn store(&self) -> &PendingStore {
        &self.inner.store
    }

    pub(super) fn is_connected(&self) -> bool {
        self.store().is_connected()
    }

    /// What waits for an owner and can be read, with the times of this node.
    async fn list(&self, owner: Owner) -> Answer<(Times, Vec<Described>)> {
        let listed = self.store().list(owner.name()).await?;
        let times = Times {
            here: self.inner.clock.now(),
            there: listed.now,
        };
        let forms = listed.items.into_iter().filter_map(|item| {
            let form = Described::decode(&item.text, &times)?;
            let is_it = form.head.id.name() == item.name;
            (is_it && form.head.is_fresh(times.here)).then_some(form)
        });
        let forms = forms.collect();
        Ok((times, forms))
    }

    /// Keeps a form. The same one of this owner goes for it.
    pub(super) async fn save(&self, owner: Owner, form: &SavedPost) -> Result<Put, NotKept> {
        let (times, others) = self.list(owner).await.map_err(NotKept::unsent)?;
        let described = Described::of(form);
        let same = others.iter().filter(|other| other.is_the_same(&described));
        let same: Vec<_> = same.map(|other| other.head.id).collect();
        let form = (&described, form);
        let put = self.put_new(owner, form, &times, &same).await?;
        if put == Put::Kept {
            for id in same {
                self.uncount(id);
            }
        }
        Ok(put)
    }

    /// Keeps a form, or lets it wait again.
    pub(super) async fn put(&self, owner: Owner, form: &SavedPost) -> Result<Put, NotKept> {
        let (times, _) = self.list(owner).await.map_err(NotKept::unsent)?;
        let form = (&Described::of(form), form);
        self.put_new(owner, form, &times, &[]).await
    }

    async fn put_new(
        &self,
        owner: Owner,
        (form, saved): (&Described, &SavedPost),
        times: &Times,
        replaced: &[PostId],
    ) -> Result<Put, NotKept> {
        let Some(text) = form.encode(times) else {
            return Ok(Put::NoRoom); // no head of a request is as large
        };
        let replaced: Vec<_> = replaced.iter().map(PostId::name).collect();
        let item = NewItem {
            name: form.head.id.name(),
            text: &text,
            body: Some(&saved.body),
            replaced: &replaced,
        };
        let left = form.head.left(times.here);
        let put = self.store().put(owner.name(), &item, &saved.token, left);
        put.await.map_err(NotKept::sent)
    }

    pub(super) async fn waiting(&self, owner: Owner, host: &str) -> Answer<Vec<Waiting>> {
        let (times, forms) = self.list(owner).await?;
        let here = forms.iter().filter(|form| form.head.is_for(host));
        Ok(here
            .map(|form| form.head.describe(form.size, times.here))
            .collect())
    }

    /// A form of an owner, whole. It is there still.
    pub(super) async fn find(
        &self,
        owner: Owner,
        is_it: impl Fn(&PostHead) -> bool,
    ) -> Answer<Option<SavedPost>> {
        let (_, forms) = self.list(owner).await?;
        let Some(form) = forms.into_iter().find(|form| is_it(&form.head)) else {
            return Ok(None);
        };
        let Some(mut body) = self.store().body(form.head.id.name()).await? else {
            return Ok(None);
        };
        let is_whole = body.len() == form.size && body.len() <= MAX_BODY;
        let is_its = is_whole && Sha256::digest(&*body).as_slice() == form.hash;
        Ok(is_its.then_some(SavedPost {
            head: form.head,
            body: Bytes::from(std::mem::take(&mut *body)),
            token: token()?,
            may_be_shared: false,
            slot: None,
        }))
    }

    /// Takes a form out of the store; see [`PendingStore::take`].
    pub(super) async fn take(
        &self,
        owner: Owner,
        id: PostId,
        token: &Token,
        had: Option<&Token>,
    ) -> Answer<Take> {
        let (owner, name) = (owner.name(), id.name());
        self.store().take(owner, name, token, had).await
    }

    pub(super) fn patience(&self) -> Duration {
        self.store().patience()
    }

    /// To be held while a form is taken out, and until it is known what became of it; `None` while
    /// somebody else on this node does.
    pub(super) fn begin_try(&self, id: PostId) -> Option<Trying> {
        self.inner.trying().insert(id).then(|| Trying {
            id,
            inner: Arc::clone(&self.inner),
        })
    }

    /// To be held by what waits for the store; `None` where too much does.
    pub(super) fn later(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.later).try_acquire_owned().ok()
    }

    /// What became of a try whose answer was lost; `None` where the form is over before anybody knows.
    pub(super) async fn ask_again(&self, owner: Owner, form: &SavedPost) -> Option<Take> {
        while form.head.is_fresh(self.inner.clock.now()) {
            tokio::time::sleep(AGAIN).await;
            match self.take(owner, form.head.id, &form.token, None).await {
                Ok(taken) => return Some(taken),
                Err(StoreError::Unavailable) => {}
                Err(_) => return None, // a refusal: nobody is to wait with the form in memory
            }
        }
        None
    }

    /// Takes a form out to forget it.
    pub(super) async fn discard(
        &self,
        owner: Owner,
        is_it: impl Fn(&PostHead) -> bool,
    ) -> Answer<Option<Discarded>> {
        let (_, forms) = self.list(owner).await?;
        for form in forms.iter().filter(|form| is_it(&form.head)) {
            if self.take(owner, form.head.id, &token()?, None).await? == Take::Taken {
                self.uncount(form.head.id);
                return Ok(Some(Discarded::of(&form.head, form.size)));
            }
        }
        Ok(None)
    }

    /// Takes out all that an owner has, to forget it.
    pub(super) async fn discard_all(
        &self,
        owner: Owner,
        discarded: &mut Vec<Discarded>,
    ) -> Answer<()> {
        let (_, forms) = self.list(owner).await?;
        for form in forms {
            if self.take(owner, form.head.id, &token()?, None).await? == Take::Taken {
                self.uncount(form.head.id);
                discarded.push(Discarded::of(&form.head, form.size));
            }
        }
        Ok(())
    }

    /// Counts what this node has put into the store.
    pub(super) fn count(&self, form: SavedPost) {
        if let Some(slot) = form.slot {
            let saved = form.head.saved;
            self.slots().insert(form.head.id, Counted { slot, saved });
        }
    }

    /// What was taken out takes its room with it, if it is this node's.
    pub(super) fn counted(&self, mut form: SavedPost) -> SavedPost {
        form.slot = self.uncount(form.head.id);
        form
    }

    fn uncount(&self, id: PostId) -> Option<Slot> {
        self.slots().remove(&id).map(|counted| counted.slot)
    }

    /// No longer counts what is over.
    pub(super) fn sweep(&self) {
        let now = self.inner.clock.now();
        self.slots()
            .retain(|_, counted| now.since(counted.saved) < SAVED_FOR);
    }

    /// No longer counts what other nodes have taken out.
    pub(super) async fn recount(&self) {
        let ids: Vec<_> = self.slots().keys().copied().collect();
        let names: Vec<Name> = ids.iter().map(PostId::name).collect();
        if let Ok(are_there) = self.store().are_there(&names).await {
            for (id, is_there) in ids.into_iter().zip(are_there) {
                if !is_there {
                    self.uncount(id);
                }
            }
        }
    }

    /// Bytes that are counted.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.slots()
            .values()
            .map(|counted| counted.slot.bytes())
            .sum()
    }

    /// No code that holds the lock can leave the slots half changed (REL-11).
    fn slots(&self) -> MutexGuard<'_, HashMap<PostId, Counted>> {
        self.inner
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn token() -> Answer<Token> {
    random().map_err(|_| StoreError::Unavailable)
}

//! What the cache keeps of a session: as much as requests need, because there may be a million.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use super::SessionKey;
use super::data::AppData;
use super::record::{self, HostId, Record};
use super::user_key::UserKey;
use crate::clock::Timestamp;
use crate::principal::{AccountRef, AuthContext, CredentialFingerprint, IdentityCache};
use crate::request::Host;

/// A session in use.
#[derive(Debug)]
pub(crate) struct Session {
    key: SessionKey,
    /// The only one that the id of this key opens; empty until the first use of an old session.
    host: OnceLock<Host>,
    /// What opens it elsewhere; `None` where there is nothing.
    other_ids: ArcSwapOption<Vec<HostId>>,
    is_old: bool,
    account: AccountRef,
    user_key: UserKey,
    context: Arc<AuthContext>,
    fingerprint: CredentialFingerprint,
    expires: Timestamp,
    remembered: bool,
    last_accessed: AtomicU64,
    /// The last access that went to the store, or was found there since.
    flushed: AtomicU64,
    /// When the store was last asked for it, and had it.
    confirmed: AtomicU64,
    /// Another node has changed it since.
    has_changed: AtomicBool,
    /// With the number of its revision; `None` before the first change.
    data: ArcSwapOption<(u64, AppData)>,
    pub(crate) identity: IdentityCache,
}

impl Session {
    pub(super) fn new(record: &Record) -> Self {
        let data = (record.revision > 0).then(|| Arc::new((record.revision, record.data.clone())));
        Self {
            key: record.key,
            host: record
                .host_of(&record.key)
                .cloned()
                .map_or_else(OnceLock::new, OnceLock::from),
            other_ids: ArcSwapOption::new(other_ids(record)),
            is_old: record.is_old,
            account: record.account.clone(),
            user_key: UserKey::of(record.user()),
            context: Arc::clone(&record.context),
            fingerprint: record.fingerprint,
            expires: record.expires,
            remembered: record.remembered,
            last_accessed: AtomicU64::new(record.last_accessed.as_millis()),
            flushed: AtomicU64::new(record.last_accessed.as_millis()),
            confirmed: AtomicU64::new(0),
            has_changed: AtomicBool::new(false),
            data: ArcSwapOption::new(data),
            identity: IdentityCache::default(),
        }
    }

    pub(crate) fn key(&self) -> SessionKey {
        self.key
    }

    /// The only host that its id opens; `None` until the first use of an old session.
    pub(crate) fn host(&self) -> Option<&Host> {
        self.host.get()
    }

    /// Whether another id, of this hash, opens it at this host.
    pub(super) fn has_other_id(&self, id: &SessionKey, host: &str) -> bool {
        let ids = self.other_ids.load();
        let mut ids = ids.as_deref().into_iter().flatten();
        ids.any(|other| other.key == *id && other.host.is(host))
    }

    /// All that opens it: each id by its hash, and its host.
    pub(crate) fn ids(&self) -> Vec<HostId> {
        let own = self.host.get().map(|host| HostId {
            key: self.key,
            host: host.clone(),
        });
        let others = self.other_ids.load();
        let others = others.as_deref().into_iter().flatten();
        own.into_iter().chain(others.cloned()).collect()
    }

    /// Takes over the ids that a record has. Of two that have changed, the older may come last.
    pub(super) fn take_ids(&self, record: &Record) {
        let Some(new) = other_ids(record) else {
            return;
        };
        self.other_ids.rcu(|current| {
            let Some(current) = current.as_deref() else {
                return Some(Arc::clone(&new));
            };
            let missing = current.iter().filter(|id| !new.contains(id));
            let all: Vec<_> = missing.chain(new.iter()).cloned().collect();
            let is_too_many = all.len() >= record::MAX_IDS; // its own is one, too
            Some(if is_too_many {
                Arc::clone(&new)
            } else {
                Arc::new(all)
            })
        });
    }

    /// Begun by a version that bound no id to a host.
    pub(super) fn is_old(&self) -> bool {
        self.is_old
    }

    pub(crate) fn user(&self) -> &str {
        self.account.subject()
    }

    /// Of its user.
    pub(super) fn user_key(&self) -> UserKey {
        self.user_key
    }

    pub(crate) fn account(&self) -> &AccountRef {
        &self.account
    }

    /// How they signed in.
    pub(crate) fn context(&self) -> &Arc<AuthContext> {
        &self.context
    }

    /// Of the password they signed in with.
    pub(crate) fn fingerprint(&self) -> CredentialFingerprint {
        self.fingerprint
    }

    /// The end of the lifetime, whatever the session does.
    pub(crate) fn expires(&self) -> Timestamp {
        self.expires
    }

    /// They asked to stay signed in.
    pub(crate) fn remembered(&self) -> bool {
        self.remembered
    }

    pub(crate) fn last_accessed(&self) -> Timestamp {
        Timestamp::from_millis(self.last_accessed.load(Ordering::Relaxed))
    }

    /// The value of `X-Session-Data` for an app; `None` when there is nothing.
    pub(crate) fn data(&self, app: &str) -> Option<HeaderValue> {
        let data = self.data.load();
        data.as_deref()?.1.header(app).cloned()
    }

    /// When the store was last asked for it, and had it.
    pub(super) fn confirmed(&self) -> Timestamp {
        Timestamp::from_millis(self.confirmed.load(Ordering::Acquire))
    }

    /// The store had it, and was asked at this time or later.
    pub(super) fn confirm(&self, at: Timestamp) {
        self.confirmed.fetch_max(at.as_millis(), Ordering::Release);
    }

    /// Whether another node has changed it since it was read.
    pub(super) fn has_changed(&self) -> bool {
        self.has_changed.load(Ordering::Acquire)
    }

    /// Gives what it was before.
    pub(super) fn set_changed(&self, has_changed: bool) -> bool {
        self.has_changed.swap(has_changed, Ordering::AcqRel)
    }

    /// Takes over what its record has by now, and which access the store knows of: a later one is to go
    /// there, though it has gone there before. The store may have lost it.
    pub(super) fn refresh(&self, record: &Record) {
        self.bind(record);
        self.take_ids(record);
        let there = record.last_accessed.as_millis();
        self.last_accessed.fetch_max(there, Ordering::Relaxed);
        self.flushed.store(there, Ordering::Relaxed);
    }

    /// Takes over the host that a record is bound to by now, and what it gave to the app there.
    pub(super) fn bind(&self, record: &Record) {
        self.update_data(record);
        if let Some(host) = record.host_of(&self.key) {
            self.bind_to(host.clone());
        }
    }

    pub(super) fn bind_to(&self, host: Host) {
        let _first = self.host.set(host);
    }

    /// Notes that the session is in use; keeps it from its idle timeout. Gives whether the access
    /// is to go to the store now, where the last one that did is so old.
    pub(super) fn touch(&self, now: Timestamp, flush_every: Duration) -> bool {
        self.last_accessed.store(now.as_millis(), Ordering::Relaxed);
        let flushed = self.flushed.load(Ordering::Relaxed);
        let due = now.since(Timestamp::from_millis(flushed)) >= flush_every;
        // Of the requests that come at this moment one tells the store.
        due && self
            .flushed
            .compare_exchange(
                flushed,
                now.as_millis(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// The last access, if the store has not heard of it: it is to go there now.
    pub(super) fn take_dirty(&self) -> Option<Timestamp> {
        let last = self.last_accessed();
        (self.flushed.swap(last.as_millis(), Ordering::Relaxed) < last.as_millis()).then_some(last)
    }

    /// Takes over the data of a record, unless it is older than what is here.
    pub(super) fn update_data(&self, record: &Record) {
        let changed = Some(Arc::new((record.revision, record.data.clone())));
        self.data.rcu(|current| match current.as_deref() {
            Some((revision, _)) if *revision >= record.revision => current.clone(),
            _ => changed.clone(),
        });
    }
}

fn other_ids(record: &Record) -> Option<Arc<Vec<HostId>>> {
    let ids: Vec<_> = record.other_ids().cloned().collect();
    (!ids.is_empty()).then(|| Arc::new(ids))
}

/// What the cache knows of a key.
#[derive(Clone)]
pub(super) enum Cached {
    /// Ended: keeps a lookup that was under way meanwhile from bringing the session back.
    Ended,
    Live(Arc<Session>),
    /// Of another id: the session has this key. Whatever becomes of it is found there.
    OtherId(SessionKey),
}

#[cfg(test)]
mod tests {
    use super::super::SessionId;
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn sec_88_one_host_too_many_takes_the_place_of_the_oldest_at_once() {
        let id = |n: usize| HostId {
            key: SessionId::generate().unwrap().key(),
            host: Host::parse(&format!("h{n}.test")).unwrap(),
        };
        let ids: Vec<_> = (0..record::MAX_IDS).map(id).collect();
        let (last, others) = ids.split_last().unwrap();
        let mut ada = Arc::unwrap_or_clone(record("ada"));
        for other in others {
            ada.add_id(other);
        }
        let session = Session::new(&ada);
        let opens = |id: &HostId| session.has_other_id(&id.key, id.host.as_str());
        assert!(others.iter().all(opens) && !opens(last));
        ada.add_id(last);
        session.take_ids(&ada);
        assert!(opens(last) && opens(&ids[1]) && !opens(&ids[0]));
    }

    #[test]
    fn sec_50_what_the_store_knows_of_is_not_told_again_and_what_it_has_lost_is() {
        let ada = Arc::unwrap_or_clone(record("ada"));
        let began = ada.last_accessed;
        let at = |seconds| began.plus(Duration::from_secs(seconds));
        let found = |seconds| Record {
            last_accessed: at(seconds),
            ..ada.clone()
        };
        let session = Session::new(&ada);
        // Used on another node.
        session.refresh(&found(60));
        assert_eq!(session.last_accessed(), at(60));
        assert_eq!(session.take_dirty(), None);
        let flush_every = Duration::from_secs(15);
        assert!(!session.touch(at(70), flush_every), "it may wait");
        // Of the two, this one is later, and the store does not know of it.
        session.refresh(&found(65));
        assert_eq!(session.take_dirty(), Some(at(70)));
        assert_eq!(session.take_dirty(), None);
        // A server that took over has an older one.
        session.refresh(&found(60));
        assert_eq!(session.last_accessed(), at(70));
        assert_eq!(session.take_dirty(), Some(at(70)));
    }
}

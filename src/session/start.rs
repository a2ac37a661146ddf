//! Starts sessions.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::cached::Cached;
use super::data::AppData;
use super::store::carry_through;
use super::{
    EndReason, HostId, Record, Session, SessionId, SessionKey, Sessions, Shown, StoreError,
};
use crate::auth::SignedIn;
use crate::principal::{AccountRef, AuthContext};
use crate::random::NoRandomness;
use crate::request::Host;

/// Where a login came from; kept so that people recognise their sessions.
#[derive(Clone, Debug)]
pub(crate) struct ClientInfo {
    /// The only one that the session's id opens (SEC-88).
    pub(crate) host: Host,
    pub(crate) client: IpAddr,
    pub(crate) user_agent: String,
}

/// Why no session was started.
#[derive(Debug)]
pub(crate) enum StartError {
    /// `max_sessions` are open; none of them is ended for a new one (SEC-52).
    Full,
    NoRandomness,
    Store(StoreError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there are max_sessions sessions"),
            Self::NoRandomness => f.write_str("the system gives no random bytes"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Sessions {
    /// Starts a session for a finished login, under a new id (SEC-45). Ends the one that the
    /// browser showed before, `in_place_of`, as soon as there is a new one in its place, and the
    /// oldest ones of the user above `max_per_user`. A store that is slow is waited for no longer
    /// than its [patience](super::SessionStore::patience), in all.
    pub(crate) async fn start(
        &self,
        signed_in: &SignedIn,
        client: ClientInfo,
        remember: bool,
        in_place_of: Option<Shown<'_>>,
    ) -> Result<SessionId, StartError> {
        let id = SessionId::generate().map_err(|NoRandomness| StartError::NoRandomness)?;
        let _starting = self.starting.read().await;
        let deadline = self.store.patience().map(|it| Instant::now() + it);
        let beginning = self.begin(id.key(), signed_in, client, remember, in_place_of);
        let Some(begun) = within(deadline, beginning).await else {
            // Tried again until it is done: what its user was told has failed is not to be there.
            drop(carry_through(self.store.remove(vec![id.key()])));
            return Err(StartError::Store(StoreError::Unavailable));
        };
        let (record, replaced) = begun?;
        let ends = async {
            // Over in any case; what cannot be written down now is tried again.
            if let Some(replaced) = replaced
                && let Err(error) = self.end_because(&replaced, EndReason::Replaced).await
            {
                tracing::error!(%error, "the end of a session was not written down");
            }
            self.end_oldest_of(record.user()).await
        };
        let ends = within(deadline, ends).await;
        if let Err(error) = ends.unwrap_or(Err(StoreError::Unavailable)) {
            tracing::error!(%error, user = record.user(), "the oldest sessions were not ended");
        }
        self.counts.started.inc();
        Ok(id)
    }

    /// Writes the session, and has this process know it; gives its record, and the key of the one that
    /// it takes the place of.
    async fn begin(
        &self,
        key: SessionKey,
        signed_in: &SignedIn,
        client: ClientInfo,
        remember: bool,
        in_place_of: Option<Shown<'_>>,
    ) -> Result<(Arc<Record>, Option<SessionKey>), StartError> {
        let settings = self.settings.load_full();
        let replaced = match &in_place_of {
            Some(shown) => self.known(shown).await.map_err(StartError::Store)?,
            None => None,
        };
        let now = self.clock.now();
        let remember_for = self.remember_for(remember);
        let identity = signed_in.account().identity();
        let record = Arc::new(Record {
            key,
            ids: vec![HostId {
                key,
                host: client.host,
            }],
            is_old: false,
            account: AccountRef::of_users_file(identity.user()),
            groups: identity.groups().to_vec(),
            email: identity.email().map(str::to_owned),
            context: Arc::new(AuthContext::new(signed_in.methods().clone(), now)),
            fingerprint: signed_in.account().fingerprint(),
            created: now,
            last_accessed: now,
            expires: now.plus(remember_for.unwrap_or(settings.lifetime)),
            remembered: remember_for.is_some(),
            client: client.client,
            user_agent: client.user_agent,
            data: AppData::default(),
            revision: 0,
        });
        self.keep(&record, replaced.is_some()).await?;
        Ok((record, replaced.map(|replaced| replaced.key())))
    }

    /// Begins a session of which nobody has shown a proof: for benchmarks.
    pub(crate) async fn start_unproven(&self, record: &Arc<Record>) -> Result<(), StartError> {
        self.keep(record, false).await?;
        let ended = self.end_oldest_of(record.user()).await;
        ended.map_err(StartError::Store)
    }

    /// Writes a session, and has this process know it.
    async fn keep(&self, record: &Arc<Record>, replaces: bool) -> Result<(), StartError> {
        let ended = self.ended.load(Ordering::Acquire);
        let most = self.settings.load().max_sessions;
        let most = most.saturating_add(usize::from(replaces));
        let kept = self.store.insert_below(Arc::clone(record), most).await;
        if !kept.map_err(StartError::Store)? {
            return Err(StartError::Full);
        }
        let session = Session::new(record);
        session.confirm(record.created);
        let session = Cached::Live(Arc::new(session));
        // Not over the tombstone of whoever ended it meanwhile.
        self.cache.entry(record.key).or_insert(session);
        // Whoever has ended all sessions elsewhere leaves no tombstone: the store knows.
        if self.ended.load(Ordering::Acquire) != ended {
            self.cache.invalidate(&record.key);
        }
        Ok(())
    }

    /// How long a session lasts whose user asks to stay signed in, where that is offered.
    pub(crate) fn remember_for(&self, remember: bool) -> Option<Duration> {
        let remember_for = self.settings.load().remember_for;
        (remember && !remember_for.is_zero()).then_some(remember_for)
    }
}

/// `None` where it takes longer.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

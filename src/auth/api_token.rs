//! API tokens: secrets by which programs act for a user, for a while and within a scope (SEC-96).
//!
//! All of them are in memory, so that a request asks no disk. A store of this process alone is read
//! once, at start; one that nodes share is followed.

mod buried;
mod follow;
mod last_key;
mod new;
mod text;
mod token;
mod told;
mod upkeep;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

use self::buried::Buried;
use self::follow::Freshness;
use super::authenticators::{AuthenticatorStore, Shared, StoreError};
use super::incarnation::Incarnation;
use crate::clock::{Clock, Timestamp};
use crate::principal::{AccountRef, user_name};
use crate::random::NoRandomness;

pub(crate) use last_key::LastKey;
pub(crate) use new::{DEFAULT_LIFETIME, NewToken, NotAToken, TokenLimits};
pub(crate) use text::{ApiToken, TokenKey, TokenKeyPrefix, find_in};
pub(crate) use token::{Token, TokenRecord};

/// Tokens of one user; more are refused.
pub(super) const MAX_PER_USER: usize = 50;

/// Tokens in all; each takes about half a KiB of memory.
pub(super) const MAX_TOKENS: usize = 20_000;

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Expired,
    Revoked,
    /// The store could not be read for too long: another node may have revoked it.
    Unsure,
}

/// Why no token was made.
#[derive(Debug)]
pub(crate) enum MakeError {
    /// The user has [`MAX_PER_USER`], or there are [`MAX_TOKENS`].
    TooMany,
    NoRandomness(NoRandomness),
    Store(StoreError),
}

/// All tokens.
pub(crate) struct ApiTokens {
    clock: Clock,
    store: Arc<dyn AuthenticatorStore>,
    index: RwLock<Index>,
    /// Serializes the creation of tokens, so that the limits hold, and with it the look at what other
    /// nodes have made and revoked.
    making: tokio::sync::Mutex<()>,
    freshness: Freshness,
    buried: Mutex<Buried>,
    /// This node has changed something in the store and not looked at it since: a server that takes
    /// over may have lost that, and then has the version that was seen before.
    has_changed: AtomicBool,
    /// Streams of tokens may have to end.
    ended: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct Index {
    tokens: HashMap<TokenKey, Arc<Token>>,
    /// By names as they are compared.
    of_user: HashMap<String, Vec<TokenKey>>,
}

#[derive(Default)]
struct State {
    /// When expired tokens were last looked for.
    looked: Timestamp,
    flushed: Timestamp,
    /// Of the accounts, when they were last looked at.
    generation: Option<u64>,
    /// Revoked here, and maybe still in the store: removing them is tried again.
    unremoved: Vec<TokenKey>,
}

impl ApiTokens {
    /// Reads all of them.
    pub(crate) fn open(
        store: Arc<dyn AuthenticatorStore>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let mut index = Index::default();
        for record in store.tokens()? {
            index.insert(record);
        }
        let state = State {
            looked: clock.now(),
            flushed: clock.now(),
            ..State::default()
        };
        let stale_for = store.shared().map(Shared::stale_for);
        Ok(Self {
            clock,
            store,
            index: RwLock::new(index),
            making: tokio::sync::Mutex::default(),
            freshness: Freshness::new(stale_for),
            buried: Mutex::default(),
            has_changed: AtomicBool::default(),
            ended: Notify::new(),
            state: Mutex::new(state),
        })
    }

    /// Makes a token for this user of the account; if that is somebody else's by now, it opens nothing,
    /// and the next look ends it. Its text is given out here, once, and kept nowhere.
    pub(crate) async fn make(
        &self,
        account: AccountRef,
        user: &Incarnation,
        new: NewToken,
    ) -> Result<(ApiToken, Arc<Token>), MakeError> {
        let _making = self.making.lock().await;
        let now = self.clock.now();
        let is_expired = |token: &Arc<Token>| now >= token.expires();
        let own = self.of_user(account.subject());
        let unexpired = own.iter().filter(|token| !is_expired(token)).count();
        if unexpired >= MAX_PER_USER || self.read().tokens.len() >= MAX_TOKENS {
            return Err(MakeError::TooMany);
        }
        if own.len() >= MAX_PER_USER {
            // Nobody needs to see those any more.
            let expired = own.iter().filter(|token| is_expired(token));
            let expired = expired.map(|token| token.key()).collect();
            self.revoke(expired).await.map_err(MakeError::Store)?;
        }
        let text = ApiToken::generate().map_err(MakeError::NoRandomness)?;
        let record = TokenRecord {
            key: text.key(),
            account,
            user_id: user.id.clone(),
            name: new.name.into(),
            scope: Arc::new(new.scope),
            created: now,
            expires: now.plus(new.lifetime),
            last_used: None,
        };
        let inserted = self.store.insert_token(Arc::new(record.clone())).await;
        self.has_changed.store(true, Ordering::Relaxed); // before the lock is given back
        match inserted {
            Ok(()) => {
                let token = self.write().insert(record);
                let _is_seen = token.is_of(user);
                // The user may have gone meanwhile, and the last look at the accounts came before it.
                self.look_again();
                Ok((text, token))
            }
            Err(StoreError::TooMany) => Err(MakeError::TooMany),
            Err(error) => {
                // It may be there all the same, and nobody has its text.
                self.bury(&[record.key]);
                self.state().unremoved.push(record.key);
                Err(MakeError::Store(error))
            }
        }
    }

    /// The token of this text, expired or not.
    pub(crate) fn find(&self, text: impl Into<TokenKey>) -> Option<Arc<Token>> {
        // By its hash: how long that takes says nothing of the tokens that there are.
        self.read().tokens.get(&text.into()).cloned()
    }

    /// Whether a token opens anything now.
    pub(crate) fn check(&self, token: &Token) -> Result<(), Ended> {
        if token.is_revoked() {
            return Err(Ended::Revoked);
        }
        if self.clock.now() >= token.expires() {
            return Err(Ended::Expired);
        }
        if !self.freshness.is_known(self.clock.now()) {
            return Err(Ended::Unsure);
        }
        Ok(())
    }

    /// Whether what is not found is not there: whatever other nodes have made is known. Ask before
    /// looking for a token.
    pub(crate) fn is_current(&self) -> bool {
        self.freshness.is_current(self.clock.now())
    }

    /// An error where nobody can say by now which tokens there are.
    pub(crate) fn check_known(&self) -> Result<(), StoreError> {
        let is_known = self.freshness.is_known(self.clock.now());
        is_known.then_some(()).ok_or(StoreError::Away)
    }

    /// How many there are, expired ones included.
    pub(crate) fn count(&self) -> usize {
        self.read().tokens.len()
    }

    /// The time that tokens go by.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Notes a use; whether the audit log is to have it.
    pub(crate) fn note_use(&self, token: &Token, client: IpAddr) -> bool {
        token.note_use(client, self.clock.now())
    }

    /// Those of one user, the newest first.
    pub(crate) fn of_user(&self, user: &str) -> Vec<Arc<Token>> {
        let index = self.read();
        let keys = index.of_user.get(&user_name::key(user));
        let tokens = keys.into_iter().flatten();
        let tokens = tokens.filter_map(|key| index.tokens.get(key).cloned());
        newest_first(tokens.collect())
    }

    /// All of them, by user, the newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Token>> {
        let mut tokens = newest_first(self.read().tokens.values().cloned().collect());
        tokens.sort_by_cached_key(|token| user_name::key(token.user()));
        tokens
    }

    /// Those whose key begins so.
    pub(crate) fn beginning_with(&self, prefix: &TokenKeyPrefix) -> Vec<Arc<Token>> {
        let index = self.read();
        let tokens = index.tokens.values();
        let tokens = tokens.filter(|token| prefix.is_of(&token.key()));
        newest_first(tokens.cloned().collect())
    }

    /// Ends tokens at once, with their streams. An error says that a restart might bring some back, or
    /// other nodes go on with them; removing them is tried again.
    pub(crate) async fn revoke(&self, keys: Vec<TokenKey>) -> Result<usize, StoreError> {
        if keys.is_empty() {
            return Ok(0);
        }
        self.bury(&keys);
        let revoked = self.forget(&keys);
        if revoked == 0 {
            return Ok(0);
        }
        if let Err(error) = self.remove(keys.clone()).await {
            self.state().unremoved.extend(keys);
            return Err(error);
        }
        Ok(revoked)
    }

    /// Takes them out of the store.
    async fn remove(&self, keys: Vec<TokenKey>) -> Result<usize, StoreError> {
        let removed = self.store.remove_tokens(keys).await;
        self.has_changed.store(true, Ordering::Relaxed); // a look meanwhile was at what was before
        removed
    }

    /// They open nothing in this process any more, and their streams end; gives how many there were.
    fn forget(&self, keys: &[TokenKey]) -> usize {
        let mut index = self.write();
        let forgotten = keys.iter().filter(|key| index.remove(key)).count();
        if forgotten > 0 {
            self.ended.notify_one();
        }
        forgotten
    }

    /// Resolves when streams of tokens may have to end.
    pub(crate) async fn have_ended(&self) {
        self.ended.notified().await;
    }

    /// Flushes, and gives the store back.
    pub(crate) async fn close(&self) {
        self.flush().await;
        let _closed = self.store.close().await; // whatever it says, it is over
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Gives the token of this key, which may have been there before.
    fn insert(&mut self, record: TokenRecord) -> Arc<Token> {
        if let Some(token) = self.tokens.get(&record.key) {
            return Arc::clone(token);
        }
        let token = Arc::new(Token::new(record));
        let of_user = self.of_user.entry(user_name::key(token.user()));
        of_user.or_default().push(token.key());
        self.tokens.insert(token.key(), Arc::clone(&token));
        token
    }

    fn remove(&mut self, key: &TokenKey) -> bool {
        let Some(token) = self.tokens.remove(key) else {
            return false;
        };
        token.revoke();
        let user = user_name::key(token.user());
        if let Some(keys) = self.of_user.get_mut(&user) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.of_user.remove(&user);
            }
        }
        true
    }
}

fn newest_first(mut tokens: Vec<Arc<Token>>) -> Vec<Arc<Token>> {
    tokens.sort_by_key(|token| (std::cmp::Reverse(token.created()), token.key()));
    tokens
}

#[cfg(test)]
mod tests;

//! One API token.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::text::TokenKey;
use super::told::LastTold;
use crate::auth::incarnation::{Incarnation, UserId};
use crate::clock::Timestamp;
use crate::principal::{AccountRef, AuthContext, IdentityCache, Method, Scope};

/// A token as stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenRecord {
    pub(crate) key: TokenKey,
    pub(crate) account: AccountRef,
    /// Of those who have had the name, the one whose it is.
    pub(crate) user_id: UserId,
    /// What its user calls it.
    pub(crate) name: Box<str>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) last_used: Option<Timestamp>,
}

/// In [`Token::since`], of a token whose user nobody has looked at yet.
const UNSEEN: u64 = u64::MAX;

/// A token in use.
#[derive(Debug)]
pub(crate) struct Token {
    record: TokenRecord,
    context: Arc<AuthContext>,
    /// Empty where the record does not say whose it is, and its user was not seen yet.
    user_id: OnceLock<UserId>,
    is_user_unwritten: AtomicBool,
    /// Of its user, by the accounts of this process.
    since: AtomicU64,
    /// Milliseconds; zero is never.
    last_used: AtomicU64,
    flushed: AtomicU64,
    pub(crate) identity: IdentityCache,
    told: LastTold,
    revoked: AtomicBool,
}

impl Token {
    pub(super) fn new(record: TokenRecord) -> Self {
        let last_used = record.last_used.map_or(0, Timestamp::as_millis);
        let context = AuthContext::new(Method::ApiToken.into(), record.created);
        let user_id = match &record.user_id {
            UserId::Unknown => OnceLock::new(),
            known => known.clone().into(),
        };
        Self {
            context: Arc::new(context),
            user_id,
            is_user_unwritten: AtomicBool::new(false),
            since: UNSEEN.into(),
            last_used: last_used.into(),
            flushed: last_used.into(),
            identity: IdentityCache::default(),
            told: LastTold::default(),
            revoked: AtomicBool::new(false),
            record,
        }
    }

    pub(crate) fn key(&self) -> TokenKey {
        self.record.key
    }

    pub(crate) fn account(&self) -> &AccountRef {
        &self.record.account
    }

    pub(crate) fn user(&self) -> &str {
        self.record.account.subject()
    }

    /// Whether it is this user's, who has its name now, and not one's before (SEC-96). Of one that does not
    /// say whose it is, because an earlier version has made it, whoever is asked about first.
    pub(crate) fn is_of(&self, user: &Incarnation) -> bool {
        if let Some(id) = self.user_id.get()
            && id.differs_from(&user.id)
        {
            return false;
        }
        let order = Ordering::Relaxed;
        let before = (self.since).compare_exchange(UNSEEN, user.since, order, order);
        let is_same = before.is_ok() || before == Err(user.since);
        if is_same && user.id != UserId::Unknown && self.user_id.set(user.id.clone()).is_ok() {
            self.is_user_unwritten.store(true, order);
        }
        is_same
    }

    /// Whether its user was looked at.
    pub(super) fn has_seen_user(&self) -> bool {
        self.since.load(Ordering::Relaxed) != UNSEEN
    }

    /// Whose it is, if the store does not know that: it is to go there now.
    pub(super) fn take_unwritten_user(&self) -> Option<UserId> {
        let is_unwritten = self.is_user_unwritten.swap(false, Ordering::Relaxed);
        is_unwritten.then(|| self.user_id.get().cloned()).flatten()
    }

    pub(super) fn put_back_unwritten_user(&self) {
        self.is_user_unwritten.store(true, Ordering::Relaxed);
    }

    pub(crate) fn name(&self) -> &str {
        &self.record.name
    }

    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.record.scope
    }

    pub(crate) fn context(&self) -> &Arc<AuthContext> {
        &self.context
    }

    pub(crate) fn created(&self) -> Timestamp {
        self.record.created
    }

    pub(crate) fn expires(&self) -> Timestamp {
        self.record.expires
    }

    pub(crate) fn last_used(&self) -> Option<Timestamp> {
        let at = self.last_used.load(Ordering::Relaxed);
        (at > 0).then(|| Timestamp::from_millis(at))
    }

    /// Whether the audit log is to have this use.
    pub(super) fn note_use(&self, client: IpAddr, now: Timestamp) -> bool {
        self.last_used.fetch_max(now.as_millis(), Ordering::Relaxed);
        self.told.is_due(client, now)
    }

    /// The last use, if the store has not heard of it: it is to go there now.
    pub(super) fn take_unflushed(&self) -> Option<Timestamp> {
        let at = self.last_used.load(Ordering::Relaxed);
        let before = self.flushed.swap(at, Ordering::Relaxed);
        (at > before).then(|| Timestamp::from_millis(at))
    }

    /// The last use is to go to the store again: it could not be written.
    pub(super) fn put_back_unflushed(&self) {
        self.flushed.store(0, Ordering::Relaxed);
    }

    /// Of another node, which has written it down.
    pub(super) fn learn_use(&self, at: Timestamp) {
        let before = self.last_used.fetch_max(at.as_millis(), Ordering::Relaxed);
        if before <= at.as_millis() {
            self.flushed.fetch_max(at.as_millis(), Ordering::Relaxed);
        }
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }
}

//! One API token.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::text::TokenKey;
use super::told::LastTold;
use crate::clock::Timestamp;
use crate::principal::{AccountRef, AuthContext, IdentityCache, Method, Scope};

/// A token as stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenRecord {
    pub(crate) key: TokenKey,
    pub(crate) account: AccountRef,
    /// What its user calls it.
    pub(crate) name: Box<str>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) last_used: Option<Timestamp>,
}

/// A token in use.
#[derive(Debug)]
pub(crate) struct Token {
    record: TokenRecord,
    context: Arc<AuthContext>,
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
        Self {
            context: Arc::new(context),
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

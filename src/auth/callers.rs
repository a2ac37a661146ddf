//! Who sends a request: what it shows of a login, and what became of the account since.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::api_token::{ApiTokens, Ended, Token, TokenKey};
use super::credential::{Credential, Refusal};
use super::{Accounts, Revoked, Standing};
use crate::principal::{AccountRef, CredentialFingerprint, Principal, user_name};
use crate::session::{
    ConnectionCache, EndReason, FormerUsers, Record, Session, SessionKey, Sessions, Shown,
    StoreError,
};

/// Who sends a request.
#[derive(Debug)]
pub(crate) enum Caller {
    Anonymous,
    /// A program, by what it shows with each request.
    Credential(Credential, Principal),
    Session(Arc<Session>, Principal),
}

impl Caller {
    pub(crate) fn into_session(self) -> Option<(Arc<Session>, Principal)> {
        match self {
            Self::Anonymous | Self::Credential(..) => None,
            Self::Session(session, principal) => Some((session, principal)),
        }
    }
}

/// Finds out who sends a request. Joins sessions and accounts.
pub(crate) struct Callers {
    accounts: Arc<Accounts>,
    sessions: Arc<Sessions>,
    former_users: Arc<FormerUsers>,
    tokens: Arc<ApiTokens>,
}

impl Callers {
    pub(crate) fn new(
        accounts: Arc<Accounts>,
        sessions: Arc<Sessions>,
        former_users: Arc<FormerUsers>,
        tokens: Arc<ApiTokens>,
    ) -> Self {
        Self {
            accounts,
            sessions,
            former_users,
            tokens,
        }
    }

    /// Who sends a request that shows this; counts as an access. Ends a session whose account is
    /// no longer active.
    pub(crate) async fn identify(
        &self,
        shown: Option<Shown<'_>>,
        cache: &ConnectionCache,
    ) -> Result<Caller, StoreError> {
        let Some(shown) = shown else {
            return Ok(Caller::Anonymous);
        };
        let Some(session) = self.sessions.find(&shown, cache).await? else {
            return Ok(Caller::Anonymous);
        };
        self.accounts.refresh();
        if let Some(principal) = self.principal_now(&session).await? {
            return Ok(Caller::Session(session, principal));
        }
        let key = session.key();
        self.sessions.end_because(&key, EndReason::Account).await?;
        log_revoked(session.user(), &key);
        Ok(Caller::Anonymous)
    }

    /// Who sends a request that shows this, without a trace: looking does not prolong a session.
    pub(crate) async fn peek(&self, shown: Option<Shown<'_>>) -> Result<Caller, StoreError> {
        let Some(shown) = shown else {
            return Ok(Caller::Anonymous);
        };
        let session = self.sessions.peek(&shown).await;
        self.accounts.refresh();
        let Some(session) = session? else {
            return Ok(Caller::Anonymous);
        };
        let principal = self.principal_now(&session).await?;
        Ok(principal.map_or(Caller::Anonymous, |principal| {
            Caller::Session(session, principal)
        }))
    }

    /// Who sends a request that shows this token, perhaps together with the name of a user; counts
    /// as a use.
    pub(crate) fn identify_by_token(
        &self,
        token: impl Into<TokenKey>,
        user: Option<&str>,
        client: IpAddr,
    ) -> Result<Caller, Refusal> {
        // Before the look: one that another node makes meanwhile is no unknown one.
        let is_current = self.tokens.is_current();
        let token = self.tokens.find(token).ok_or(if is_current {
            Refusal::Unknown
        } else {
            Refusal::Unavailable
        })?;
        if user.is_some_and(|user| !user_name::is_same(user, token.user())) {
            return Err(Refusal::OtherUser);
        }
        self.accounts.refresh();
        let credential = Credential::Token(Arc::clone(&token));
        let principal = self.principal_of(&credential)?;
        if self.tokens.note_use(&token, client) {
            tracing::info!(
                target: "audit", %client, user = token.user(), token = %token.key().short(),
                name = token.name(), "API token used"
            );
        }
        Ok(Caller::Credential(credential, principal))
    }

    /// The user of a credential as the accounts are now, for no more than it is good for.
    pub(crate) fn principal_of(&self, credential: &Credential) -> Result<Principal, Refusal> {
        let token = match credential {
            Credential::Password(proven) => {
                let are_known = self.accounts.are_known();
                let identity = are_known.then(|| proven.identity(&self.accounts)).flatten();
                let identity =
                    identity.ok_or_else(|| match self.accounts.standing(&proven.account) {
                        Standing::Unknown => Refusal::Unavailable,
                        Standing::Active(_) | Standing::Gone => Refusal::Password,
                    })?;
                let (account, context) = (proven.account.clone(), Arc::clone(&proven.context));
                return Ok(Principal::new(account, identity, context));
            }
            Credential::Token(token) => token,
        };
        self.tokens.check(token).map_err(|ended| match ended {
            Ended::Expired => Refusal::Expired,
            Ended::Revoked => Refusal::Unknown,
            Ended::Unsure => Refusal::Unavailable,
        })?;
        if !self.accounts.are_known() {
            return Err(Refusal::Unavailable);
        }
        let generation = self.accounts.generation();
        let identity = if let Some(identity) = token.identity.get(generation) {
            identity
        } else {
            let account = match self.accounts.standing(token.account()) {
                Standing::Active(account) => account,
                Standing::Gone => return Err(Refusal::User),
                Standing::Unknown => return Err(Refusal::Unavailable),
            };
            if !token.is_of(account.incarnation()) {
                return Err(Refusal::User);
            }
            let identity = Arc::clone(account.identity());
            token.identity.set(generation, Arc::clone(&identity));
            identity
        };
        let (account, context) = (token.account().clone(), Arc::clone(token.context()));
        let principal = Principal::new(account, identity, context);
        Ok(principal.within(Arc::clone(token.scope())))
    }

    /// The user of a session as the accounts are now; `None` when the user is gone or disabled, is another
    /// one or has another password (SEC-51), or nobody can say.
    pub(crate) fn principal(&self, session: &Session) -> Option<Principal> {
        if !self.accounts.are_known() {
            return None;
        }
        let generation = self.accounts.generation();
        let identity = if let Some(identity) = session.identity.get(generation) {
            identity
        } else {
            let account = self.accounts.active(session.account())?;
            if account.fingerprint() != session.fingerprint() {
                return None;
            }
            let identity = Arc::clone(account.identity());
            session.identity.set(generation, Arc::clone(&identity));
            for id in session.ids() {
                self.former_users.note(id, session.key(), identity.user());
            }
            identity
        };
        let (account, context) = (session.account().clone(), Arc::clone(session.context()));
        Some(Principal::new(account, identity, context))
    }

    /// The same, where another node may have changed the account a moment ago and begun this session.
    /// While nobody can say whether the account is active, the session is neither good nor over.
    pub(crate) async fn principal_now(
        &self,
        session: &Session,
    ) -> Result<Option<Principal>, StoreError> {
        let principal = self.principal(session);
        if principal.is_some() || self.accounts.shared().is_none() {
            return Ok(principal);
        }
        // Boxed, as all that is rare.
        let caught_up = Box::pin(self.accounts.catch_up()).await;
        caught_up.map_err(|_| StoreError::Unavailable)?;
        if let Some(principal) = self.principal(session) {
            return Ok(Some(principal));
        }
        let is_revoked = self.is_revoked(session.account(), session.fingerprint());
        is_revoked.then_some(None).ok_or(StoreError::Unavailable)
    }

    /// Whether the account is gone, is another user's or has another password, for certain.
    fn is_revoked(&self, account: &AccountRef, fingerprint: CredentialFingerprint) -> bool {
        match self.accounts.standing(account) {
            Standing::Active(account) => account.fingerprint() != fingerprint,
            Standing::Gone => true,
            Standing::Unknown => false,
        }
    }

    /// Another number than before says that some account may have changed.
    pub(crate) fn generation(&self) -> u64 {
        self.accounts.generation()
    }

    /// Reads the accounts again if they have changed.
    pub(crate) fn refresh(&self) {
        self.accounts.refresh();
    }

    /// Looks after what no request does: ends the sessions of accounts that are no longer active,
    /// used or not (SEC-51), those with streams that have expired, and drops what has expired.
    /// Called about twice a second.
    pub(crate) async fn tick(&self) {
        self.accounts.refresh();
        let revoked = self.accounts.take_revoked();
        let is_good =
            |session: &Session| !self.is_revoked(session.account(), session.fingerprint());
        if self.accounts.shared().is_some() {
            self.end_revoked_of_store(revoked).await;
            return self.sessions.sweep(is_good).await;
        }
        // Where several nodes begin sessions, each by its own clock and by its own look at the users file,
        // the time at which this one saw somebody go says nothing.
        let are_own = !self.sessions.are_shared();
        for revoked in revoked {
            let user = &revoked.user;
            // A user without an id may be back by now with the same password: the sessions from before
            // end all the same.
            let gone = revoked.gone.filter(|_| are_own);
            let is_since = |record: &Record| gone.is_none_or(|gone| record.context.at() > gone);
            let ended = self
                .sessions
                .end_of_user(user, |record| is_since(record) && self.may_stay(record));
            match ended.await {
                Ok(keys) => keys.iter().for_each(|key| log_revoked(user, key)),
                Err(error) => {
                    tracing::error!(user, %error, "sessions of a user were not ended");
                    self.accounts.give_again(revoked);
                }
            }
        }
        self.sessions.sweep(is_good).await;
        self.sessions
            .collect_garbage(|record| self.may_stay(record))
            .await;
    }

    /// Where nodes share the users: another one may have given a user another password a moment ago, and
    /// begun a session with it. So a record that may not stay is judged again by what is known after it
    /// was read; and while nobody can say, none ends.
    ///
    /// When this node saw somebody go says nothing here: they may have been back for a while, and signed
    /// in elsewhere. Their id is another one.
    async fn end_revoked_of_store(&self, revoked: Vec<Revoked>) {
        let suspects = Mutex::new(Vec::new());
        let note = |record: &Record| {
            if !self.may_stay(record) {
                let mut suspects = suspects.lock().unwrap_or_else(PoisonError::into_inner);
                suspects.push((record.key, record.account.clone(), record.fingerprint));
            }
            true
        };
        for Revoked { user, .. } in revoked {
            if let Err(error) = self.sessions.end_of_user(&user, note).await {
                tracing::error!(user, %error, "sessions of a user were not ended");
            }
        }
        self.sessions.collect_garbage(note).await;
        let suspects = suspects
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if suspects.is_empty() || self.accounts.catch_up().await.is_err() {
            return; // they are found again
        }
        for (key, account, fingerprint) in suspects {
            if !self.is_revoked(&account, fingerprint) {
                continue;
            }
            match self.sessions.end_because(&key, EndReason::Account).await {
                Ok(true) => log_revoked(account.subject(), &key),
                Ok(false) => {} // another node was quicker
                Err(error) => {
                    let user = account.subject();
                    tracing::error!(user, %error, "sessions of a user were not ended");
                }
            }
        }
    }

    /// The same for API tokens. Apart, so that neither waits for the store of the other.
    pub(crate) async fn tick_tokens(&self) {
        self.accounts.refresh();
        let is_over = |token: &Token| self.is_over(token);
        let mut over = self.tokens.over(self.accounts.generation(), is_over);
        if !over.is_empty() && self.accounts.shared().is_some() {
            // Another node may have added the user a moment ago, and made the token.
            if self.accounts.catch_up().await.is_ok() {
                over.retain(|token| self.is_over(token));
            } else {
                self.tokens.look_again();
                over.clear();
            }
        }
        self.tokens.tick(over).await;
    }

    /// Whether the user of a token was removed or disabled, for certain; somebody else may have the name.
    fn is_over(&self, token: &Token) -> bool {
        match self.accounts.standing(token.account()) {
            Standing::Active(account) => !token.is_of(account.incarnation()),
            Standing::Gone => true,
            Standing::Unknown => false,
        }
    }

    fn may_stay(&self, record: &Record) -> bool {
        !self.is_revoked(&record.account, record.fingerprint)
    }
}

fn log_revoked(user: &str, session: &SessionKey) {
    tracing::info!(
        target: "audit", user, session = %session.short(),
        "session ended: the user is gone, disabled or has another password"
    );
}

#[cfg(test)]
mod in_file;
#[cfg(test)]
mod opened;
#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;

//! The passwords of people by HTTP Basic, for programs: verified and counted as at the login page.

use std::sync::Arc;

use super::RequestContext;
use crate::auth::known_passwords::{Known, KnownPasswords, ProvenPassword, Tag};
use crate::auth::throttle::{Throttle, Wait};
use crate::auth::{Accounts, Standing, Verdict, VerifyError};
use crate::clock::Clock;
use crate::metrics::LoginCounts;
use crate::network::Network;
use crate::principal::{AccountRef, AuthContext, CredentialFingerprint, Identity, user_name};
use crate::secret::Secret;
use crate::telemetry::printable;

/// Verifies them.
pub(crate) struct BasicLogin {
    pub(super) accounts: Arc<Accounts>,
    pub(super) clock: Clock,
    pub(super) counts: LoginCounts,
    pub(super) known: Arc<KnownPasswords>,
    pub(super) throttle: Arc<Throttle>,
}

/// Why nobody is signed in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotSignedIn {
    /// Too many logins wait to be verified.
    Busy,
    Refused,
    Throttled(Wait),
    /// The store that the users are in cannot be read.
    Unavailable,
}

/// By which password, and who.
type SignedInBy = (Arc<ProvenPassword>, Arc<Identity>);

impl BasicLogin {
    /// Each password is hashed and counted once in a while, whether right or wrong. Gives whose it is,
    /// as the accounts are now.
    pub(crate) async fn sign_in(
        &self,
        context: &RequestContext<'_>,
        name: &str,
        password: &[u8],
    ) -> Result<SignedInBy, NotSignedIn> {
        self.accounts.refresh();
        let account = user_name::borrowed_key(name);
        let tag = self.known.tag(&account, password);
        if let Some(known) = self.known(&tag, name) {
            return known;
        }
        // Boxed, so that what nearly always returns here stays small.
        Box::pin(self.verify(context, (name, &account), password, tag)).await
    }

    async fn verify(
        &self,
        context: &RequestContext<'_>,
        (name, account): (&str, &str),
        password: &[u8],
        tag: Tag,
    ) -> Result<SignedInBy, NotSignedIn> {
        let _turn = self.known.turn(tag).await;
        if let Some(known) = self.known(&tag, name) {
            return known;
        }
        let (client, user) = (context.client, printable(name));
        let attempt = context.begin_login(&self.throttle, account).await;
        let attempt = attempt.map_err(|wait| {
            self.counts.throttled.inc();
            tracing::warn!(target: "audit", %client, %user, "login throttled");
            NotSignedIn::Throttled(wait)
        })?;
        // From before, so that a verdict is of no password that is set meanwhile.
        let stored = self.stored(name);
        let network = Network::of(client);
        let password = Secret::new(password.to_vec());
        let verified = self.accounts.verify(network, name, password).await;
        match verified {
            Ok(Verdict::SignedIn(signed_in)) => {
                attempt.succeeded().await;
                self.counts.signed_in.inc();
                let (account, methods) = (signed_in.account(), signed_in.methods());
                let user = account.identity().user();
                tracing::info!(target: "audit", %client, user, "login by HTTP Basic");
                let context = AuthContext::new(methods.clone(), self.clock.now());
                let user = AccountRef::of_users_file(user);
                let proven = ProvenPassword::new(user, account.fingerprint(), context);
                let proven = Arc::new(proven);
                self.known.note_right(tag, Arc::clone(&proven));
                let identity = proven.identity(&self.accounts);
                let identity =
                    identity.ok_or_else(|| match self.accounts.standing(&proven.account) {
                        Standing::Unknown => NotSignedIn::Unavailable,
                        Standing::Active(_) | Standing::Gone => NotSignedIn::Refused,
                    })?;
                Ok((proven, identity))
            }
            Ok(Verdict::Refused) => {
                self.counts.refused.inc();
                tracing::warn!(target: "audit", %client, %user, "login failed");
                self.known.note_wrong(tag, stored);
                let wait = attempt.failed();
                Err(wait.map_or(NotSignedIn::Refused, NotSignedIn::Throttled))
            }
            Err(VerifyError::Busy | VerifyError::Gone) => {
                attempt.withdraw().await;
                self.counts.busy.inc();
                Err(NotSignedIn::Busy)
            }
            Err(VerifyError::Unavailable) => {
                attempt.withdraw().await;
                self.counts.not_kept.inc();
                Err(NotSignedIn::Unavailable)
            }
            Err(VerifyError::Unreadable) => {
                self.counts.not_kept.inc();
                let wait = attempt.failed();
                Err(wait.map_or(NotSignedIn::Unavailable, NotSignedIn::Throttled))
            }
        }
    }

    /// What is known of a password already.
    fn known(&self, tag: &Tag, name: &str) -> Option<Result<SignedInBy, NotSignedIn>> {
        if !self.accounts.are_known() {
            return None;
        }
        match self.known.look(tag)? {
            Known::Right(proven) => {
                let identity = proven.identity(&self.accounts)?;
                Some(Ok((proven, identity)))
            }
            Known::Wrong(stored) => {
                (stored == self.stored(name)).then_some(Err(NotSignedIn::Refused))
            }
        }
    }

    /// Of the password that the account has now.
    fn stored(&self, name: &str) -> Option<CredentialFingerprint> {
        let account = self.accounts.active(&AccountRef::of_users_file(name));
        account.map(|account| account.fingerprint())
    }
}

//! A new password, set by its user on the account page.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use super::{Visitor, back_to_account};
use crate::auth::password::NewPassword;
use crate::auth::throttle::{Throttle, Wait};
use crate::auth::{Accounts, PasswordChange, SignedIn, Verdict, VerifyError, Waiter};
use crate::error::RequestError;
use crate::pages::{self, AccountProblem};
use crate::portal::LOGIN;
use crate::portal::form::Form;
use crate::portal::logins::Logins;
use crate::principal::user_name;
use crate::secret::Secret;
use crate::session::{SessionKey, Sessions, cookie};

/// The form for a new password.
pub(in crate::portal) struct PasswordForm {
    pub(in crate::portal) accounts: Arc<Accounts>,
    pub(in crate::portal) logins: Logins,
    pub(in crate::portal) sessions: Arc<Sessions>,
    pub(in crate::portal) throttle: Arc<Throttle>,
}

/// What a user proves the password for, as the log has it.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    NewPassword,
    Token,
}

impl PasswordForm {
    /// Sets the password that a form asks for; the problem is for the page.
    pub(super) async fn change(
        &self,
        visitor: &Visitor<'_>,
        mut form: Form,
    ) -> Result<Result<Response<Bytes>, AccountProblem>, RequestError> {
        let mut take = |name| form.take_bytes(name).map(Secret::new);
        let (old, new, again) = (take("old")?, take("new")?, take("again")?);
        // First what costs no try: whether the new one will do.
        let changed = match acceptable(&old, new, &again, visitor.principal.identity().user()) {
            Ok(new) => match self.prove(visitor, old, Purpose::NewPassword).await {
                Ok(proof) => self.replace(visitor, proof, new).await?,
                Err(problem) => Err(problem),
            },
            Err(problem) => Err(problem),
        };
        Ok(match changed {
            Ok(signed_in) => Ok(self.start_anew(visitor, &signed_in).await),
            Err(problem) => Err(problem),
        })
    }

    /// Verifies and counts the password as a login does (SEC-56, SEC-59).
    pub(super) async fn prove(
        &self,
        visitor: &Visitor<'_>,
        password: Secret<Vec<u8>>,
        purpose: Purpose,
    ) -> Result<SignedIn, AccountProblem> {
        let (user, client) = (visitor.principal.identity().user(), visitor.context.client);
        let throttled = |Wait(wait)| AccountProblem::Throttled { wait };
        let account = user_name::key(user);
        let attempt = visitor.context.begin_login(&self.throttle, &account).await;
        let attempt = attempt.map_err(|wait| {
            match purpose {
                Purpose::NewPassword => {
                    tracing::warn!(target: "audit", %client, user, "password change throttled");
                }
                Purpose::Token => {
                    tracing::warn!(target: "audit", %client, user, "new API token throttled");
                }
            }
            throttled(wait)
        })?;
        let waiter = Waiter::User(user.into());
        match self.accounts.verify(waiter, user, password).await {
            Ok(Verdict::SignedIn(proof)) => {
                attempt.succeeded().await;
                Ok(proof)
            }
            Ok(Verdict::Refused) => {
                match purpose {
                    Purpose::NewPassword => {
                        tracing::warn!(target: "audit", %client, user, "password change failed");
                    }
                    Purpose::Token => {
                        tracing::warn!(target: "audit", %client, user, "new API token refused");
                    }
                }
                Err(attempt.failed().map_or(AccountProblem::Wrong, throttled))
            }
            Err(VerifyError::Busy | VerifyError::Gone) => {
                attempt.withdraw().await;
                Err(AccountProblem::Busy)
            }
            Err(VerifyError::Unavailable) => {
                attempt.withdraw().await;
                Err(AccountProblem::Unavailable)
            }
            Err(VerifyError::Unreadable) => {
                let wait = attempt.failed();
                Err(wait.map_or(AccountProblem::Unavailable, throttled))
            }
        }
    }

    async fn replace(
        &self,
        visitor: &Visitor<'_>,
        proof: SignedIn,
        new: NewPassword,
    ) -> Result<Result<SignedIn, AccountProblem>, RequestError> {
        let replacement = Replacement {
            accounts: Arc::clone(&self.accounts),
            sessions: Arc::clone(&self.sessions),
            client: visitor.context.client,
            by: visitor.session.key(),
        };
        // A task of its own: a browser that gives up now does not leave half of it undone.
        let change = tokio::spawn(replacement.make(proof, new)).await;
        Ok(match change.map_err(|_| RequestError::Panicked)? {
            Ok(PasswordChange::Done(signed_in)) => Ok(signed_in),
            Ok(PasswordChange::NotWritten) => Err(AccountProblem::NotWritten),
            Ok(PasswordChange::Overtaken) => Err(AccountProblem::Overtaken),
            Err(VerifyError::Busy | VerifyError::Gone) => Err(AccountProblem::Busy),
            Err(VerifyError::Unavailable | VerifyError::Unreadable) => {
                Err(AccountProblem::Unavailable)
            }
        })
    }

    /// A session of the new password, for the browser that set it. Where none can be started the
    /// browser signs in: the password is changed all the same.
    async fn start_anew(&self, visitor: &Visitor<'_>, signed_in: &SignedIn) -> Response<Bytes> {
        let context = &visitor.context;
        let remember = visitor.session.remembered();
        match self.logins.start(context, signed_in, remember, None).await {
            Ok(started) => {
                // What was saved waits on; the answer is about the password.
                let mut response = back_to_account();
                started.set_cookies(context, response.headers_mut());
                response
            }
            Err(error) => {
                let user = visitor.principal.identity().user();
                tracing::error!(user, %error, "no session can be kept for a new password");
                let login = HeaderValue::from_static(LOGIN);
                let mut response = pages::redirect(StatusCode::SEE_OTHER, login);
                cookie::expire_session(response.headers_mut());
                response
            }
        }
    }
}

fn acceptable(
    old: &Secret<Vec<u8>>,
    new: Secret<Vec<u8>>,
    again: &Secret<Vec<u8>>,
    user: &str,
) -> Result<NewPassword, AccountProblem> {
    if new != *again {
        return Err(AccountProblem::Differ);
    }
    if new == *old {
        return Err(AccountProblem::Same);
    }
    NewPassword::accept(new, user).map_err(AccountProblem::Weak)
}

/// What a change of password needs, whether or not its browser waits for it.
struct Replacement {
    accounts: Arc<Accounts>,
    sessions: Arc<Sessions>,
    client: IpAddr,
    /// The session that asked for it.
    by: SessionKey,
}

impl Replacement {
    /// Changes the password, tells of it, and ends the sessions of the old one.
    async fn make(self, proof: SignedIn, new: NewPassword) -> Result<PasswordChange, VerifyError> {
        let (client, by) = (self.client, self.by.short());
        let user = proof.account().identity().user().to_owned();
        let change = self.accounts.change_password(proof, new).await?;
        if !matches!(change, PasswordChange::Done(_)) {
            return Ok(change);
        }
        tracing::info!(target: "audit", %client, user, session = %by, "password changed");
        match self.sessions.end_others_of_user(&user, None).await {
            Ok(ended) => {
                for key in ended.into_iter().flatten() {
                    tracing::info!(
                        target: "audit", %client, user, session = %key.short(), %by,
                        "session ended: its user set a new password"
                    );
                }
            }
            // The new fingerprint of the account ends them at their next request, whatever was saved.
            Err(error) => {
                tracing::error!(user, %error, "sessions of an old password were not dropped");
            }
        }
        Ok(change)
    }
}

//! `/.vestibule/account`: who is signed in and where, an end to that, and a new password.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;

use super::csrf::Binding;
use super::form::Form;
use super::{ACCOUNT, LOGIN, Login, Visit, is_page_load, login_required};
use crate::auth::password::NewPassword;
use crate::auth::throttle::Wait;
use crate::auth::{Accounts, PasswordChange, SignedIn, Verdict, VerifyError};
use crate::error::RequestError;
use crate::network::Network;
use crate::pages::{self, AccountProblem, AccountView, SessionView};
use crate::principal::{Method, Principal};
use crate::request::Target;
use crate::secret::Secret;
use crate::session::{EndError, Record, Session, SessionKey, Sessions, cookie};

/// For how long the page says that the password was changed.
const NEWS: Duration = Duration::from_mins(1);

/// Who asks for the page, or sends one of its forms.
struct Visitor<'a> {
    visit: Visit<'a>,
    session: Arc<Session>,
    principal: Principal,
}

impl Login {
    pub(super) async fn account(&self, visit: Visit<'_>) -> Result<Response<Bytes>, RequestError> {
        let Some((session, principal)) = self.signed_in(&visit).await? else {
            let target = Target::parse(visit.head, false).map_err(RequestError::BadRequest)?;
            return Ok(Self::ask(visit.head, &target));
        };
        let visitor = Visitor {
            visit,
            session,
            principal,
        };
        self.account_page(&visitor, None).await
    }

    /// A form of the page; whoever sends it is signed in, and it comes from the page (SEC-54).
    pub(super) async fn change_account(
        &self,
        visit: Visit<'_>,
        body: Incoming,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(visit.head, body).await?;
        let Some((session, principal)) = self.signed_in(&visit).await? else {
            return if is_page_load(&visit.head.headers) {
                Err(RequestError::SessionEnded) // a page, for whoever pressed the button
            } else {
                Ok(login_required())
            };
        };
        let key = session.key();
        if !self.is_sent_by_us(visit.head, visit.authority, &mut form, Some(&key))? {
            return Err(RequestError::Forged);
        }
        let visitor = Visitor {
            visit,
            session,
            principal,
        };
        match form.take("action")?.as_str() {
            "end" => self.end_one(&visitor, &form.take("key")?).await,
            "end-others" => self.end_others(&visitor).await,
            "password" => self.change_password(&visitor, form).await,
            _ => Err(RequestError::Form),
        }
    }

    async fn account_page(
        &self,
        visitor: &Visitor<'_>,
        problem: Option<AccountProblem>,
    ) -> Result<Response<Bytes>, RequestError> {
        let Visitor {
            visit,
            session,
            principal,
        } = visitor;
        let identity = principal.identity();
        let context = principal.context();
        let key = session.key();
        let mut records = self.sessions_of(visitor).await?;
        records.sort_by_key(|record| {
            let latest_first = std::cmp::Reverse((record.last_accessed, record.created));
            (record.key != key, latest_first)
        });
        if records.first().is_none_or(|record| record.key != key) {
            return Ok(login_required()); // ended just now
        }
        let now = self.clock.now();
        let sessions = records.iter().map(|record| SessionView {
            key: record.key.to_string(),
            user_agent: &record.user_agent,
            client: record.client,
            signed_in: record.created,
            last_active: record.last_accessed,
            expires: record.expires,
        });
        let view = AccountView {
            host: visit.authority.as_str(),
            csrf: &self.csrf.token(Binding::Session(&key), visit.authority),
            user: identity.user(),
            email: identity.email(),
            groups: identity.groups(),
            method: &context.methods().names(),
            now,
            sessions: &sessions.collect::<Vec<_>>(),
            password_is_new: context.methods().include(&Method::NewPassword)
                && now.since(context.at()) < NEWS,
            problem,
        };
        Ok(self.pages.account(&view).into_response())
    }

    /// The user's sessions that are good for more than the list: those of the password of now.
    async fn sessions_of(&self, visitor: &Visitor<'_>) -> Result<Vec<Arc<Record>>, RequestError> {
        let records = self.sessions.of_user(visitor.user()).await;
        let mut records = records.map_err(RequestError::Session)?;
        records.retain(|record| record.fingerprint == visitor.session.fingerprint());
        Ok(records)
    }

    /// Ends one of the user's own sessions, whatever key is asked for.
    async fn end_one(
        &self,
        visitor: &Visitor<'_>,
        key: &str,
    ) -> Result<Response<Bytes>, RequestError> {
        let records = self.sessions_of(visitor).await?;
        let record = records.iter().find(|record| record.key.to_string() == key);
        let ended = match record {
            Some(record) => self.sessions.end(&record.key).await,
            None => Ok(false),
        };
        match record {
            Some(record) if ended.map_err(RequestError::EndNotKept)? => {
                visitor.tell_of_end(&record.key);
                Ok(back_to_account())
            }
            _ => {
                let problem = Some(AccountProblem::AlreadyEnded);
                self.account_page(visitor, problem).await
            }
        }
    }

    async fn end_others(&self, visitor: &Visitor<'_>) -> Result<Response<Bytes>, RequestError> {
        let (user, own) = (visitor.user(), visitor.session.key());
        let ended = self
            .sessions
            .end_of_user(user, |record| record.key == own)
            .await;
        let ended = ended.map_err(|error| match error {
            EndError::Unread(error) => RequestError::Session(error),
            EndError::Unwritten(error) => RequestError::EndNotKept(error),
        })?;
        for key in &ended {
            visitor.tell_of_end(key);
        }
        Ok(back_to_account())
    }

    async fn change_password(
        &self,
        visitor: &Visitor<'_>,
        mut form: Form,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut take = |name| form.take_bytes(name).map(Secret::new);
        let (old, new, again) = (take("old")?, take("new")?, take("again")?);
        // First what costs no try: whether the new one will do.
        let changed = match acceptable(&old, new, &again, visitor.principal.identity().user()) {
            Ok(new) => match self.prove(visitor, old).await {
                Ok(proof) => self.replace_password(visitor, proof, new).await?,
                Err(problem) => Err(problem),
            },
            Err(problem) => Err(problem),
        };
        match changed {
            Ok(signed_in) => Ok(self.start_anew(visitor, &signed_in).await),
            Err(problem) => self.account_page(visitor, Some(problem)).await,
        }
    }

    /// Verifies and counts the old password as a login does (SEC-56, SEC-59).
    async fn prove(
        &self,
        visitor: &Visitor<'_>,
        old: Secret<Vec<u8>>,
    ) -> Result<SignedIn, AccountProblem> {
        let (user, client) = (visitor.principal.identity().user(), visitor.visit.client);
        let throttled = |Wait(wait)| AccountProblem::Throttled { wait };
        let attempt = self.throttle.begin(&user.to_ascii_lowercase(), client);
        let attempt = attempt.map_err(|wait| {
            tracing::warn!(target: "audit", %client, user, "password change throttled");
            throttled(wait)
        })?;
        match self.accounts.verify(Network::of(client), user, old).await {
            Ok(Verdict::SignedIn(proof)) => {
                attempt.succeeded();
                Ok(proof)
            }
            Ok(Verdict::Refused) => {
                tracing::warn!(target: "audit", %client, user, "password change failed");
                Err(attempt.failed().map_or(AccountProblem::Wrong, throttled))
            }
            Err(VerifyError::Busy | VerifyError::Gone) => {
                attempt.withdraw();
                Err(AccountProblem::Busy)
            }
        }
    }

    async fn replace_password(
        &self,
        visitor: &Visitor<'_>,
        proof: SignedIn,
        new: NewPassword,
    ) -> Result<Result<SignedIn, AccountProblem>, RequestError> {
        let replacement = Replacement {
            accounts: Arc::clone(&self.accounts),
            sessions: Arc::clone(&self.sessions),
            client: visitor.visit.client,
            by: visitor.session.key(),
        };
        // A task of its own: a browser that gives up now does not leave half of it undone.
        let change = tokio::spawn(replacement.make(proof, new)).await;
        Ok(match change.map_err(|_| RequestError::Panicked)? {
            Ok(PasswordChange::Done(signed_in)) => Ok(signed_in),
            Ok(PasswordChange::NotWritten) => Err(AccountProblem::NotWritten),
            Ok(PasswordChange::Overtaken) => Err(AccountProblem::Overtaken),
            Err(VerifyError::Busy | VerifyError::Gone) => Err(AccountProblem::Busy),
        })
    }

    /// A session of the new password, under a new id, for the browser that set it (SEC-45). Where
    /// none can be started the browser signs in: the password is changed all the same.
    async fn start_anew(&self, visitor: &Visitor<'_>, signed_in: &SignedIn) -> Response<Bytes> {
        let (user, client) = (visitor.principal.identity().user(), visitor.visit.client);
        let remember = visitor.session.remembered();
        let origin = visitor.visit.origin();
        match self.sessions.start(signed_in, origin, remember, None).await {
            Ok(id) => {
                tracing::info!(
                    target: "audit", %client, user, session = %id.key().short(),
                    method = signed_in.methods().names(), "login"
                );
                let host = visitor.visit.authority.to_host();
                self.kept_forms.owners().note(id.key(), host, user);
                // They wait on; the answer is about the password.
                self.claim_forms(&visitor.visit, user, id.key());
                let kept_for = self.sessions.remember_for(remember);
                let mut response = back_to_account();
                let headers = response.headers_mut();
                headers.append(header::SET_COOKIE, cookie::set_session(&id, kept_for));
                for cookie in visitor.visit.cookies.expire_old() {
                    headers.append(header::SET_COOKIE, cookie);
                }
                response
            }
            Err(error) => {
                tracing::error!(user, %error, "no session can be kept for a new password");
                let login = HeaderValue::from_static(LOGIN);
                let mut response = pages::redirect(StatusCode::SEE_OTHER, login);
                cookie::expire_session(response.headers_mut());
                response
            }
        }
    }
}

impl Visitor<'_> {
    fn user(&self) -> &str {
        self.principal.account().subject()
    }

    fn tell_of_end(&self, key: &SessionKey) {
        tracing::info!(
            target: "audit", client = %self.visit.client, user = self.user(),
            session = %key.short(), by = %self.session.key().short(),
            "session ended by its user"
        );
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
        let change = self
            .accounts
            .change_password(Network::of(client), proof, new)
            .await?;
        if !matches!(change, PasswordChange::Done(_)) {
            return Ok(change);
        }
        tracing::info!(target: "audit", %client, user, session = %by, "password changed");
        match self.sessions.end_of_user(&user, |_| false).await {
            Ok(ended) => {
                for key in ended {
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

fn back_to_account() -> Response<Bytes> {
    pages::redirect(StatusCode::SEE_OTHER, HeaderValue::from_static(ACCOUNT))
}

//! `/.vestibule/account`: the sessions of a user, an end to them, API tokens, and a new password.

pub(super) mod password;
mod tokens;

use std::net::IpAddr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use super::csrf::{Binding, Csrf};
use super::form::Form;
use super::{ACCOUNT, Destinations, HostRole, RequestContext, ask_to_sign_in, session_ended};
use crate::auth::api_token::ApiTokens;
use crate::auth::callers::Callers;
use crate::clock::Clock;
use crate::error::RequestError;
use crate::pages::{self, AccountForm, AccountProblem, AccountView, Pages, SessionView};
use crate::principal::{Method, Principal};
use crate::request::{AllowInPath, Target};
use crate::session::{EndError, Record, Session, SessionKey, Sessions};
use crate::upstream::ClientBody;

use password::PasswordForm;
use tokens::{Made, OnPage};

/// For how long the page says that the password was changed.
const NEWS: Duration = Duration::from_mins(1);

/// Who asks for the page, or sends one of its forms.
struct Visitor<'a> {
    context: RequestContext<'a>,
    destinations: Destinations<'a>,
    session: Arc<Session>,
    principal: Principal,
}

/// The page and its forms.
pub(super) struct Account {
    pub(super) callers: Arc<Callers>,
    pub(super) clock: Clock,
    pub(super) csrf: Arc<Csrf>,
    pub(super) pages: Arc<Pages>,
    pub(super) password: PasswordForm,
    pub(super) sessions: Arc<Sessions>,
    pub(super) tokens: Arc<ApiTokens>,
}

impl Account {
    pub(super) async fn show(
        &self,
        context: RequestContext<'_>,
        destinations: Destinations<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        let Some((session, principal)) = context.session(&self.callers).await? else {
            let target = Target::parse(context.head, AllowInPath::default())
                .map_err(RequestError::BadRequest)?;
            return ask_to_sign_in(&context, &target);
        };
        let visitor = Visitor {
            context,
            destinations,
            session,
            principal,
        };
        self.page(&visitor, None, None).await
    }

    /// A form of the page; whoever sends it is signed in, and it comes from the page (SEC-54).
    pub(super) async fn change(
        &self,
        context: RequestContext<'_>,
        destinations: Destinations<'_>,
        body: ClientBody,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(context.head, body).await?;
        let Some((session, principal)) = context.session(&self.callers).await? else {
            return Err(session_ended(context.head));
        };
        let key = session.key();
        let csrf = &self.csrf;
        if !csrf.is_sent_by_us(context.head, context.authority, &mut form, Some(&key))? {
            return Err(RequestError::NotFromOurPage);
        }
        let visitor = Visitor {
            context,
            destinations,
            session,
            principal,
        };
        match form.take("action")?.as_str() {
            "end" => self.end_one(&visitor, &form.take("key")?).await,
            "end-others" => self.end_others(&visitor).await,
            "make-token" => match self.make_token(&visitor, form).await? {
                Ok(made) => self.page(&visitor, None, Some(made)).await,
                Err(problem) => {
                    let problem = Some((AccountForm::Tokens, problem));
                    self.page(&visitor, problem, None).await
                }
            },
            "password" => match self.password.change(&visitor, form).await? {
                Ok(response) => Ok(response),
                Err(problem) => {
                    let problem = Some((AccountForm::Password, problem));
                    self.page(&visitor, problem, None).await
                }
            },
            "revoke-token" => self.revoke_token(&visitor, &form.take("key")?).await,
            _ => Err(RequestError::Form),
        }
    }

    async fn page(
        &self,
        visitor: &Visitor<'_>,
        problem: Option<(AccountForm, AccountProblem)>,
        made: Option<Made>,
    ) -> Result<Response<Bytes>, RequestError> {
        let Visitor {
            context,
            destinations: _,
            session,
            principal,
        } = visitor;
        let identity = principal.identity();
        let login = principal.context();
        let key = session.key();
        let mut records = self.sessions_of(visitor).await?;
        records.sort_by_key(|record| {
            let latest_first = std::cmp::Reverse((record.last_accessed, record.created));
            (record.key != key, latest_first)
        });
        if records.first().is_none_or(|record| record.key != key) {
            return Err(session_ended(context.head)); // just now
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
        let tokens = OnPage::of(&self.tokens, visitor, made);
        let view = AccountView {
            host: context.authority.as_str(),
            csrf: &self.csrf.token(Binding::Session(&key), context.authority),
            user: identity.user(),
            email: identity.email(),
            groups: identity.groups(),
            method: &login.methods().names(),
            now,
            sessions: &sessions.collect::<Vec<_>>(),
            password_is_new: login.methods().include(&Method::NewPassword)
                && now.since(login.at()) < NEWS,
            leads_back: context.role != HostRole::Login,
            tokens: tokens.as_ref().map(OnPage::view),
            problem,
        };
        Ok(self
            .pages
            .titled(context.title)
            .account(&view)
            .into_response())
    }

    /// The user's sessions that are good for more than the list: those of the password of now.
    async fn sessions_of(&self, visitor: &Visitor<'_>) -> Result<Vec<Arc<Record>>, RequestError> {
        let own = visitor.session.key();
        let records = self.sessions.of_user_with(visitor.user(), &own).await;
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
        let is_ended = match record {
            Some(record) => {
                let ended = self.ending(visitor, Which::One(record.key)).await?;
                ended.is_some_and(|ended| !ended.is_empty())
            }
            None => false,
        };
        if is_ended {
            return Ok(back_to_account());
        }
        let problem = Some((AccountForm::Sessions, AccountProblem::AlreadyEnded));
        self.page(visitor, problem, None).await
    }

    async fn end_others(&self, visitor: &Visitor<'_>) -> Result<Response<Bytes>, RequestError> {
        match self.ending(visitor, Which::Others).await? {
            Some(_) => Ok(back_to_account()),
            // Just now, perhaps by the same form.
            None => Err(session_ended(visitor.context.head)),
        }
    }

    /// In a task of its own: a browser that gives up now leaves none ended of which nobody is told.
    async fn ending(
        &self,
        visitor: &Visitor<'_>,
        which: Which,
    ) -> Result<Option<Vec<SessionKey>>, RequestError> {
        let end = End {
            sessions: Arc::clone(&self.sessions),
            which,
            user: visitor.user().to_owned(),
            client: visitor.context.client,
            by: visitor.session.key(),
        };
        let ended = tokio::spawn(end.make()).await;
        let ended = ended.map_err(|_| RequestError::Panicked)?;
        ended.map_err(|error| match error {
            EndError::Unread(error) => RequestError::Session(error),
            EndError::Unwritten(error) => RequestError::EndNotKept(error),
        })
    }
}

/// Which of their sessions somebody ends.
enum Which {
    One(SessionKey),
    /// All but the one that asks for it.
    Others,
}

/// What an end needs, whether or not its browser waits for it.
struct End {
    sessions: Arc<Sessions>,
    which: Which,
    user: String,
    client: IpAddr,
    /// The session that asks for it.
    by: SessionKey,
}

impl End {
    /// Gives those that have ended. `None`: the session that asks for it is over itself.
    async fn make(self) -> Result<Option<Vec<SessionKey>>, EndError> {
        let (user, client, by) = (&self.user, self.client, self.by.short());
        let ended = match self.which {
            Which::One(key) => match self.sessions.end(&key).await {
                Ok(is_ended) => Ok(Some(Vec::from_iter(is_ended.then_some(key)))),
                Err(error) => Err(EndError::Unwritten(error)),
            },
            Which::Others => {
                let ended = self.sessions.end_others_of_user(user, Some(self.by));
                ended.await
            }
        };
        let complete = ended.is_ok();
        let keys: &[_] = match (&ended, &self.which) {
            (Ok(ended), _) => ended.as_deref().unwrap_or_default(),
            // Over here in any case; others are told later.
            (Err(EndError::Unwritten(_)), Which::One(key)) => slice::from_ref(key),
            (Err(EndError::Unwritten(_)), Which::Others) => {
                tracing::info!(
                    target: "audit", %client, user, %by, complete,
                    "other sessions ended by their user"
                );
                &[]
            }
            (Err(EndError::Unread(_)), _) => &[],
        };
        for key in keys {
            tracing::info!(
                target: "audit", %client, user, session = %key.short(), %by, complete,
                "session ended by its user"
            );
        }
        ended
    }
}

impl Visitor<'_> {
    fn user(&self) -> &str {
        self.principal.account().subject()
    }
}

fn back_to_account() -> Response<Bytes> {
    pages::redirect(StatusCode::SEE_OTHER, HeaderValue::from_static(ACCOUNT))
}

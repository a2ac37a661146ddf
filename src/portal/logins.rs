//! Where a login succeeds, whichever page it came from.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};

use super::RequestContext;
use super::long_targets::LongTargets;
use super::saved_posts::store::SavedPostStore;
use crate::auth::SignedIn;
use crate::metrics::LoginCounts;
use crate::session::cookie::{expire_login, set_session};
use crate::session::{HostId, SessionId, Sessions, Shown, StartError};

/// Starts sessions for logins that are done.
#[derive(Clone)]
pub(super) struct Logins {
    pub(super) counts: LoginCounts,
    pub(super) long_targets: Arc<LongTargets>,
    pub(super) saved_posts: Arc<SavedPostStore>,
    pub(super) sessions: Arc<Sessions>,
}

/// A session has started; its browser has yet to learn of it.
pub(super) struct Started {
    id: SessionId,
    kept_for: Option<Duration>,
    /// Something that was posted to an ended session waits for this one.
    pub(super) has_saved_posts: bool,
}

impl Logins {
    /// Starts a session under a new id, `in_place_of` the one that the browser had (SEC-45), counts
    /// it, tells of it, and hands it what was saved for it.
    pub(super) async fn start(
        &self,
        context: &RequestContext<'_>,
        signed_in: &SignedIn,
        remember: bool,
        in_place_of: Option<Shown<'_>>,
    ) -> Result<Started, StartError> {
        let started = self
            .sessions
            .start(signed_in, context.client_info(), remember, in_place_of);
        let id = started.await.inspect_err(|error| {
            let counter = match error {
                StartError::Full => &self.counts.sessions_full,
                StartError::NoRandomness | StartError::Store(_) => &self.counts.not_kept,
            };
            counter.inc();
        })?;
        let (key, user) = (id.key(), signed_in.account().identity().user());
        let former_users = self.saved_posts.former_users();
        let host = context.authority.to_host();
        former_users.note(HostId { key, host }, key, user);
        self.long_targets.adopt(context, key).await;
        self.counts.signed_in.inc();
        tracing::info!(
            target: "audit", client = %context.client, user, session = %key.short(),
            method = signed_in.methods().names(), "login"
        );
        Ok(Started {
            kept_for: self.sessions.remember_for(remember),
            has_saved_posts: self.saved_posts.adopt_for(context, user, key).await,
            id,
        })
    }
}

impl Started {
    pub(super) fn id(&self) -> &SessionId {
        &self.id
    }

    /// Gives the browser its session. What bound the login to it has served its purpose.
    pub(super) fn set_cookies(&self, context: &RequestContext<'_>, headers: &mut HeaderMap) {
        headers.append(header::SET_COOKIE, set_session(&self.id, self.kept_for));
        headers.append(header::SET_COOKIE, expire_login());
        for cookie in context.cookies.expire_old() {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

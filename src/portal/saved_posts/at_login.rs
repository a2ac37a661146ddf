//! What becomes of saved POSTs when a session begins, and when it ends.

use super::store::{Owner, SavedPostStore};
use crate::portal::RequestContext;
use crate::session::{SessionId, SessionKey};

impl SavedPostStore {
    /// The session that this browser shows or has had here, as far as it is remembered; its id may
    /// be another one.
    pub(super) fn session_of(&self, context: &RequestContext<'_>) -> Option<SessionKey> {
        let id = context.cookies.session.as_ref().map(SessionId::key)?;
        let former = self.former_users().of(&id, context.authority.host());
        Some(former.map_or(id, |(session, _)| session))
    }

    /// After a login: hands the new session what waits for this browser, or for the session of
    /// the same user that it had. Whether there is something, or may be.
    pub(in crate::portal) async fn adopt_for(
        &self,
        context: &RequestContext<'_>,
        user: &str,
        key: SessionKey,
    ) -> bool {
        let browser = context.cookies.login.as_ref();
        let browser = browser.map(|cookie| Owner::browser(cookie.as_bytes()));
        let before = self.session_of(context).filter(|before| *before != key);
        let owners = browser.into_iter().chain(before.map(Owner::Session));
        let host = context.authority.as_str();
        let adopted = self.adopt(owners, host, user, key).await;
        if adopted.dropped > 0 {
            tracing::warn!(
                target: "audit", client = %context.client, user, session = %key.short(),
                forms = adopted.dropped, "forms dropped: they were another user's"
            );
        }
        adopted.waiting > 0 || adopted.is_unknown
    }

    /// Forgets what waits for a session that was logged out, on whichever host: nobody can send it
    /// any more. What cannot be forgotten because the store is away ends by itself.
    pub(in crate::portal) async fn discard_for(
        &self,
        context: &RequestContext<'_>,
        key: SessionKey,
    ) {
        for form in self.discard_all(key).await {
            tracing::info!(
                target: "audit", client = %context.client, user = form.user.as_deref(), session = %key.short(),
                app = &*form.app, bytes = form.bytes, "form discarded"
            );
        }
    }
}

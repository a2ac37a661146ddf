//! Takes a form out to send it, for a session that is good at that moment.

use super::store::{SavedPost, SavedPostStore};
use super::{Click, Proof};
use crate::error::RequestError;
use crate::session::{SessionKey, Sessions};

/// See [`SavedPosts::take`](super::SavedPosts::take).
pub(super) async fn take(
    store: &SavedPostStore,
    sessions: &Sessions,
    proof: &Proof,
    click: &Click<'_>,
    (session, user): (&SessionKey, &str),
) -> Result<Option<SavedPost>, RequestError> {
    let (host, target) = (click.authority.as_str(), click.target.as_str());
    let taken = if proof.is_of_page {
        let whose = (*session, user);
        store.take_of_page(whose, host, target, click.id).await
    } else {
        store.take(*session, host, target, click.id).await
    };
    let Some(form) = taken.map_err(RequestError::Session)? else {
        return Ok(None);
    };
    // The store may have taken its time, too (SEC-46).
    match sessions.is_good(session).await {
        Ok(true) => Ok(Some(form)),
        Ok(false) => {
            tracing::info!(
                target: "audit", user, session = %session.short(),
                app = &*form.head.app, bytes = form.body.len(), "form not sent: its session has ended"
            );
            Ok(None)
        }
        Err(error) => {
            store.put_back(*session, form).await;
            Err(RequestError::Session(error))
        }
    }
}

#[cfg(test)]
mod tests;

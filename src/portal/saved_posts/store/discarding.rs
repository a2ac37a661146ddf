//! Forms that are taken out to be forgotten.

use tokio::time::timeout;

use super::form::PostHead;
use super::shared::SharedPosts;
use super::{Discarded, Owner, PostId, SavedPostStore, SessionKey, StoreError};

impl SavedPostStore {
    /// Takes a form out to forget it.
    pub(in crate::portal) async fn discard(
        &self,
        session: SessionKey,
        host: &str,
        id: PostId,
    ) -> Result<Option<Discarded>, StoreError> {
        let is_it = |head: &PostHead| head.id == id && head.is_for(host);
        self.discard_if(&[Owner::Session(session)], is_it).await
    }

    /// Takes out the form that a page shows, or that one of `owners` has by now, to forget it.
    pub(in crate::portal) async fn discard_of_page(
        &self,
        owners: impl IntoIterator<Item = Owner>,
        host: &str,
        id: PostId,
    ) -> Result<Option<Discarded>, StoreError> {
        let owners: Vec<_> = std::iter::once(Owner::Page(id)).chain(owners).collect();
        let is_it = |head: &PostHead| head.sender.is_some() && head.id == id && head.is_for(host);
        self.discard_if(&owners, is_it).await
    }

    /// Takes out all that waits for a session, to forget it, as far as the store can be asked.
    pub(in crate::portal) async fn discard_all(&self, session: SessionKey) -> Vec<Discarded> {
        let owner = Owner::Session(session);
        let mut discarded = Vec::new();
        let local = std::iter::from_fn(|| self.local.take_if(owner, |_| true));
        let local: Vec<_> = local.collect();
        let patience = self.shared.as_ref().map(SharedPosts::patience);
        let discarding = async {
            for form in local {
                if let Some(form) = self.alone(owner, form).await? {
                    discarded.push(Discarded::of(&form.head, form.body.len()));
                }
            }
            match &self.shared {
                Some(shared) => shared.discard_all(owner, &mut discarded).await,
                None => Ok(()),
            }
        };
        // A sign-out does not wait for a store that hangs.
        let _in_time = timeout(patience.unwrap_or_default(), discarding).await;
        discarded
    }

    async fn discard_if(
        &self,
        owners: &[Owner],
        is_it: impl Fn(&PostHead) -> bool,
    ) -> Result<Option<Discarded>, StoreError> {
        for owner in owners {
            if let Some(form) = self.local.take_if(*owner, &is_it)
                && let Some(form) = self.alone(*owner, form).await?
            {
                return Ok(Some(Discarded::of(&form.head, form.body.len())));
            }
        }
        let Some(shared) = &self.shared else {
            return Ok(None);
        };
        for owner in owners {
            if let Some(discarded) = shared.discard(*owner, &is_it).await? {
                return Ok(Some(discarded));
            }
        }
        Ok(None)
    }
}

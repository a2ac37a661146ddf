//! Saved POSTs: forms that came when their session had ended, kept until whoever sent them has signed
//! in and says whether to send them after all.
//!
//! A form waits for one browser, which shows the login cookie that it was kept by, and after the
//! login for the session that has begun there. A form of another site came without a cookie: it
//! waits for the page that shows it, until somebody clicks there. Nobody else finds it. Who takes it
//! out is the only one who has it, so it is never sent twice.
//!
//! With several nodes, forms wait in the store that they share. One that could not be put there waits
//! on the node that took it, and goes there as soon as that can be reached.

mod address;
mod codec;
mod discarding;
mod form;
mod kind;
mod local;
mod post_id;
mod quota;
mod reading;
mod sender;
mod shared;
mod sharing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::super::pending::{HandOver, Name, OF_ONE_OWNER, Put, Take};
use crate::clock::{Clock, Timestamp};
use crate::nodes::Nodes;
use crate::random::{NoRandomness, random};
use crate::session::{FormerUsers, SessionKey, StoreError};

pub(crate) use address::split;
pub(in crate::portal) use address::{LENGTH, address};
use form::PostHead;
pub(crate) use form::SavedPost;
pub(in crate::portal) use form::{Adopted, Destination, Discarded, Waiting};
use kind::essence;
pub(in crate::portal) use kind::{is_form, is_multipart_form};
use local::LocalPosts;
pub(crate) use post_id::PostId;
use quota::Quota;
pub(crate) use quota::Slot;
pub(in crate::portal) use reading::{Unread, read};
pub(crate) use sender::Sender;
use shared::SharedPosts;

/// How long a form waits.
pub(in crate::portal) const SAVED_FOR: Duration = Duration::from_mins(15);

/// The largest body that is kept.
pub(in crate::portal) const MAX_BODY: usize = 1024 * 1024;

/// What a form takes besides its texts and its body, well rounded up.
const OVERHEAD: usize = 1024;

/// Whom a form waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::portal) enum Owner {
    /// A browser where nobody is signed in, by the hash of its login cookie.
    Browser([u8; 32]),
    /// The page that shows a form of another site.
    Page(PostId),
    Session(SessionKey),
}

impl Owner {
    pub(in crate::portal) fn browser(login_cookie: &[u8]) -> Self {
        Self::Browser(Sha256::digest(login_cookie).into())
    }

    /// In the store of several nodes.
    pub(in crate::portal) fn name(&self) -> Name {
        match self {
            Self::Browser(hash) => Name::of("browser", hash),
            Self::Page(id) => Name::of("page", id.as_bytes()),
            Self::Session(key) => Name::of("session", key.as_bytes()),
        }
    }
}

/// Whether something waits, for a page that asks to sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::portal) struct Outlook {
    /// For how long the newest form will wait.
    pub(in crate::portal) saved_for: Option<Duration>,
    /// It is sent after the login without another click: somebody wants a form of another site to
    /// be, and nothing else waits to be chosen from.
    pub(in crate::portal) sends_itself: bool,
}

/// All forms that wait, by whom they wait for.
pub(crate) struct SavedPostStore {
    clock: Clock,
    quota: Quota,
    local: LocalPosts,
    /// `None` where this node is alone.
    shared: Option<SharedPosts>,
    /// The form of a session that they do not know is not kept.
    former_users: Arc<FormerUsers>,
}

impl SavedPostStore {
    /// Keeps `bytes` at most; with 0, nothing at all.
    pub(crate) fn new(bytes: usize, clock: Clock, nodes: &Nodes) -> Self {
        Self {
            quota: Quota::new(bytes),
            local: LocalPosts::new(clock.clone()),
            shared: SharedPosts::of(nodes, &clock),
            former_users: Arc::new(FormerUsers::new(bytes > 0)),
            clock,
        }
    }

    /// Another bound, in bytes.
    pub(in crate::portal) fn set_quota(&self, bytes: usize) {
        self.quota.set_size(bytes);
        self.former_users.set_enabled(bytes > 0);
    }

    pub(in crate::portal) fn are_on(&self) -> bool {
        self.quota.size() > 0
    }

    /// Whose sessions were: forms come later than sessions end.
    pub(in crate::portal) fn former_users(&self) -> &Arc<FormerUsers> {
        &self.former_users
    }

    /// Room for a form from `client`, to be taken before a byte of it is read. `user` is whose
    /// session had ended.
    pub(in crate::portal) fn reserve(
        &self,
        client: IpAddr,
        user: Option<&str>,
        to: &Destination<'_>,
    ) -> Option<Slot> {
        let texts = to.host.len() + to.target.len() + to.content_type.len();
        let texts = texts + to.sender.map_or(0, Sender::length);
        self.quota.reserve(client, OVERHEAD + texts, user.is_some())
    }

    /// Keeps a form for a browser, else for the page that will show it; `None` where the browser has
    /// too many. The same one once more for a browser, after a reload, takes the place of the
    /// first. `user` is whose session had ended.
    pub(in crate::portal) async fn save(
        &self,
        browser: Option<Owner>,
        user: Option<Arc<str>>,
        to: &Destination<'_>,
        body: Bytes,
        slot: Slot,
    ) -> Result<Option<PostId>, NoRandomness> {
        let id = PostId::generate()?;
        let owner = browser.unwrap_or(Owner::Page(id));
        let mut form = SavedPost {
            head: PostHead::new(id, to, user, self.clock.now()),
            body,
            token: random()?,
            may_be_shared: false,
            slot: Some(slot),
        };
        if let Some(shared) = &self.shared {
            match shared.save(owner, &form).await {
                Ok(Put::Kept) => {
                    shared.count(form);
                    return Ok(Some(id));
                }
                Ok(Put::NoRoom | Put::Gone) => return Ok(None),
                Err(failed) => {
                    tracing::warn!(
                        error = %failed.error, app = &*form.head.app, bytes = form.body.len(),
                        "a form is kept on this node alone until the session store takes it"
                    );
                    form.may_be_shared = failed.was_sent;
                }
            }
        }
        Ok(self.local.add(owner, form).then_some(id))
    }

    /// Hands what waits for `owners` on this host to the session `key` that `user` has begun.
    /// What was another user's goes for good. What cannot be handed over because the store is away is
    /// handed over later, and counts as waiting.
    pub(in crate::portal) async fn adopt(
        &self,
        owners: impl IntoIterator<Item = Owner>,
        host: &str,
        user: &str,
        key: SessionKey,
    ) -> Adopted {
        let owners: Vec<_> = owners.into_iter().collect();
        let mut adopted = self.local.adopt(&owners, host, user, key);
        let Some(shared) = &self.shared else {
            return adopted;
        };
        let more = shared.adopt(&owners, host, user, key);
        if let Ok(Ok(more)) = timeout(shared.patience(), more).await {
            adopted.add(&more);
        } else {
            shared.adopt_later(owners, host, user, key);
            adopted.is_unknown = true;
        }
        adopted
    }

    /// What waits for `owner` on this host, the oldest first. While the store is away, what this node
    /// has alone; an error if that is nothing.
    pub(in crate::portal) async fn waiting(
        &self,
        owner: Owner,
        host: &str,
    ) -> Result<Vec<Waiting>, StoreError> {
        let mut waiting = self.local.waiting(owner, host);
        if let Some(shared) = &self.shared {
            match shared.waiting(owner, host).await {
                Ok(more) => {
                    let is_new = |form: &Waiting| waiting.iter().all(|here| here.id != form.id);
                    let more: Vec<_> = more.into_iter().filter(is_new).collect();
                    waiting.extend(more);
                }
                Err(error) if waiting.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        waiting.sort_by_key(|form| form.saved);
        Ok(waiting)
    }

    /// What a page that asks to sign in says of it; nothing of what is in a store that is away.
    pub(in crate::portal) async fn outlook(&self, owner: Owner, host: &str) -> Outlook {
        let waiting = self.waiting(owner, host).await.unwrap_or_default();
        let newest = waiting.last().map(|form| form.saved.plus(SAVED_FOR));
        Outlook {
            saved_for: newest.map(|end| end.since(self.clock.now())),
            sends_itself: matches!(&waiting[..], [form] if form.is_confirmed),
        }
    }

    /// Takes a form out to send it. Of two at once, one gets it. Not to be given up halfway.
    pub(in crate::portal) async fn take(
        &self,
        session: SessionKey,
        host: &str,
        target: &str,
        id: PostId,
    ) -> Result<Option<SavedPost>, StoreError> {
        let is_it = |head: &PostHead| head.is(host, target, id);
        self.take_if(&[Owner::Session(session)], is_it).await
    }

    /// The same of the form that a page shows, for `user` to send it; or the session has it by now.
    /// What came with another user's session stays theirs.
    pub(in crate::portal) async fn take_of_page(
        &self,
        (session, user): (SessionKey, &str),
        host: &str,
        target: &str,
        id: PostId,
    ) -> Result<Option<SavedPost>, StoreError> {
        let is_it = |head: &PostHead| {
            head.is_of_page(host, target, id) && (head.user.is_none() || head.is_of(Some(user)))
        };
        let owners = [Owner::Page(id), Owner::Session(session)];
        let form = self.take_if(&owners, is_it).await?;
        Ok(form.map(|form| form.of(user)))
    }

    async fn take_if(
        &self,
        owners: &[Owner],
        is_it: impl Fn(&PostHead) -> bool,
    ) -> Result<Option<SavedPost>, StoreError> {
        for owner in owners {
            if let Some(form) = self.local.take_if(*owner, &is_it)
                && let Some(form) = self.alone(*owner, form).await?
            {
                return Ok(Some(form));
            }
        }
        let Some(shared) = &self.shared else {
            return Ok(None);
        };
        for owner in owners {
            let found = shared.find(*owner, &is_it).await?;
            let Some(form) = found else { continue };
            // One try at a time: each could lose the answer.
            let Some(trying) = shared.begin_try(form.head.id) else {
                continue;
            };
            match shared.take(*owner, form.head.id, &form.token, None).await {
                Ok(Take::Taken) => return Ok(Some(shared.counted(form))),
                Ok(Take::Absent | Take::Elsewhere) => {}
                Err(StoreError::Unavailable) => {
                    self.local.take_back_later(shared, *owner, form, trying);
                    return Err(StoreError::Unavailable);
                }
                Err(error) => return Err(error), // it was not taken
            }
        }
        Ok(None)
    }

    /// Sees to it that nobody finds a form in the store that this node has.
    async fn alone(
        &self,
        owner: Owner,
        mut form: SavedPost,
    ) -> Result<Option<SavedPost>, StoreError> {
        let Some(shared) = self.shared.as_ref().filter(|_| form.may_be_shared) else {
            return Ok(Some(form));
        };
        // What is on its way there with the token of before is not kept any more.
        let taken = match random() {
            Ok(new) => {
                let (id, had) = (form.head.id, form.token);
                let taken = shared.take(owner, id, &new, Some(&had)).await;
                if let Ok(Take::Taken | Take::Absent) = taken {
                    form.token = new;
                }
                taken
            }
            Err(NoRandomness) => Err(StoreError::Unavailable),
        };
        match taken {
            Ok(Take::Taken | Take::Absent) => {
                form.may_be_shared = false;
                Ok(Some(form))
            }
            Ok(Take::Elsewhere) => Ok(None),
            Err(error) => {
                self.local.put_back(owner, form);
                Err(error)
            }
        }
    }

    /// Lets a form that was taken and not sent wait again, no longer than it would have.
    pub(in crate::portal) async fn put_back(&self, session: SessionKey, mut form: SavedPost) {
        form.head.confirmed = None; // else its page would send it again and again
        let owner = Owner::Session(session);
        if let Some(shared) = &self.shared {
            match shared.put(owner, &form).await {
                Ok(Put::Kept) => return shared.count(form),
                Ok(Put::Gone) => return,
                Ok(Put::NoRoom) => {}
                Err(failed) => form.may_be_shared = failed.was_sent,
            }
        }
        self.local.put_back(owner, form);
    }

    /// Notes a click on Send before the login, and has the form that the page shows wait for this
    /// browser; whether it is there. A click before, whose answer may be lost, may have left it with
    /// this browser, or with `new`, which has the cookie that a browser without one gets.
    pub(in crate::portal) async fn claim(
        &self,
        (browser, new): (Owner, Owner),
        host: &str,
        target: &str,
        id: PostId,
    ) -> Result<bool, StoreError> {
        let owners = [Owner::Page(id), browser, new];
        let is_it = |head: &PostHead| head.is_of_page(host, target, id);
        if self.local.claim(&owners, browser, is_it) {
            return Ok(true);
        }
        match &self.shared {
            Some(shared) => shared.claim(&owners, browser, is_it).await,
            None => Ok(false),
        }
    }

    /// Drops what has waited for too long.
    pub(in crate::portal) fn sweep(&self) {
        self.local.sweep();
        if let Some(shared) = &self.shared {
            shared.sweep();
        }
    }
}

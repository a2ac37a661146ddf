//! Saved POSTs: forms that came when their session had ended, kept in memory until whoever sent
//! them has signed in and says whether to send them after all.
//!
//! A form waits for one browser, which shows the login cookie that it was kept by, and after the
//! login for the session that has begun there. A form of another site came without a cookie: it
//! waits for the page that shows it, until somebody clicks there. Nobody else finds it. Who takes it
//! out is the only one who has it, so it is never sent twice.

mod address;
mod kind;
mod post_id;
mod quota;
mod reading;
mod sender;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::principal::user_name;
use crate::random::NoRandomness;
use crate::session::{FormerUsers, SessionKey};

pub(crate) use address::split;
pub(in crate::portal) use address::{LENGTH, address};
use kind::essence;
pub(in crate::portal) use kind::{is_form, is_multipart_form};
pub(crate) use post_id::PostId;
use quota::Quota;
pub(crate) use quota::Slot;
pub(in crate::portal) use reading::{Unread, read};
pub(crate) use sender::Sender;

/// How long a form waits.
pub(in crate::portal) const SAVED_FOR: Duration = Duration::from_mins(15);

/// How long after the click on its page a form of another site is sent by the login alone.
const CONFIRMED_FOR: Duration = Duration::from_mins(2);

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
}

/// Where a form was going, and what it is.
#[derive(Clone, Debug)]
pub(in crate::portal) struct Destination<'a> {
    pub(in crate::portal) app: &'a Arc<str>,
    /// Host and port as the browser has them.
    pub(in crate::portal) host: &'a str,
    /// Path and query as the app would have got them.
    pub(in crate::portal) target: &'a str,
    pub(in crate::portal) content_type: &'a HeaderValue,
    /// `None` for a form of the app itself.
    pub(in crate::portal) sender: Option<&'a Sender>,
}

/// A form that waits.
pub(crate) struct SavedPost {
    pub(crate) id: PostId,
    /// As it came.
    pub(crate) content_type: HeaderValue,
    /// As it came.
    pub(crate) body: Bytes,
    pub(crate) app: Arc<str>,
    pub(in crate::portal) target: String,
    pub(in crate::portal) saved: Timestamp,
    host: String,
    /// Whose session had ended, or who adopted it; nobody else gets it.
    pub(in crate::portal) user: Option<Arc<str>>,
    /// The page of another site that it is of.
    pub(crate) sender: Option<Sender>,
    /// When somebody said before the login that it is to be sent.
    confirmed: Option<Timestamp>,
    _slot: Slot,
}

/// What the page shows of a form that waits.
#[derive(Debug)]
pub(in crate::portal) struct Waiting {
    pub(in crate::portal) id: PostId,
    pub(in crate::portal) target: String,
    pub(in crate::portal) multipart: bool,
    pub(in crate::portal) size: usize,
    pub(in crate::portal) saved: Timestamp,
    /// The origin of the page that it is of, if that is of another site.
    pub(in crate::portal) origin: Option<HeaderValue>,
    pub(in crate::portal) is_confirmed: bool,
}

/// What a login found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::portal) struct Adopted {
    /// Forms that wait for the new session now.
    pub(in crate::portal) waiting: usize,
    /// Forms that were somebody else's, and are gone.
    pub(in crate::portal) dropped: usize,
}

type Forms = HashMap<Owner, Vec<SavedPost>>;

/// All forms that wait, by whom they wait for.
pub(crate) struct SavedPostStore {
    clock: Clock,
    quota: Quota,
    forms: Mutex<Forms>,
    /// The form of a session that they do not know is not kept.
    former_users: Arc<FormerUsers>,
}

impl SavedPostStore {
    /// Keeps `bytes` at most; with 0, nothing at all.
    pub(crate) fn new(bytes: usize, clock: Clock) -> Self {
        Self {
            clock,
            quota: Quota::new(bytes),
            forms: Mutex::default(),
            former_users: Arc::new(FormerUsers::new(bytes > 0)),
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

    /// Keeps a form for a browser, else for the page that will show it. The same one once more for a
    /// browser, after a reload, takes the place of the first. `user` is whose session had ended.
    pub(in crate::portal) fn save(
        &self,
        browser: Option<Owner>,
        user: Option<Arc<str>>,
        to: &Destination<'_>,
        body: Bytes,
        slot: Slot,
    ) -> Result<PostId, NoRandomness> {
        let id = PostId::generate()?;
        // Copied: the head of a request is one buffer, and would stay as a whole.
        let content_type = HeaderValue::from_bytes(to.content_type.as_bytes());
        let form = SavedPost {
            id,
            content_type: content_type.unwrap_or_else(|_| to.content_type.clone()),
            body,
            app: Arc::clone(to.app),
            target: to.target.to_owned(),
            saved: self.clock.now(),
            host: to.host.to_ascii_lowercase(),
            user,
            sender: to.sender.cloned(),
            confirmed: None,
            _slot: slot,
        };
        let mut forms = self.forms();
        let of_owner = forms.entry(browser.unwrap_or(Owner::Page(id))).or_default();
        of_owner.retain(|other| !other.is_the_same(&form));
        of_owner.push(form);
        Ok(id)
    }

    /// Hands what waits for `owners` on this host to the session `key` that `user` has begun.
    /// What was another user's goes for good.
    pub(in crate::portal) fn adopt(
        &self,
        owners: impl IntoIterator<Item = Owner>,
        host: &str,
        user: &str,
        key: SessionKey,
    ) -> Adopted {
        let now = self.clock.now();
        let mut adopted = Adopted::default();
        let mut forms = self.forms();
        for owner in owners {
            let Some(all) = forms.remove(&owner) else {
                continue;
            };
            let (here, elsewhere): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|form| form.is_for(host));
            if !elsewhere.is_empty() {
                forms.insert(owner, elsewhere);
            }
            for mut form in here.into_iter().filter(|form| form.is_fresh(now)) {
                if form.user.is_none() || form.is_of(Some(user)) {
                    form.user = Some(user.into());
                    forms.entry(Owner::Session(key)).or_default().push(form);
                    adopted.waiting += 1;
                } else {
                    adopted.dropped += 1;
                }
            }
        }
        adopted
    }

    /// What waits for `owner` on this host, the oldest first.
    pub(in crate::portal) fn waiting(&self, owner: Owner, host: &str) -> Vec<Waiting> {
        let now = self.clock.now();
        let forms = self.forms();
        let of_owner = forms.get(&owner).into_iter().flatten();
        let here = of_owner.filter(|form| form.is_fresh(now) && form.is_for(host));
        let mut waiting: Vec<_> = here.map(|form| form.describe(now)).collect();
        waiting.sort_by_key(|form| form.saved);
        waiting
    }

    /// Whether a form is sent after the login without another click: somebody wants a form of another
    /// site to be, and nothing else waits to be chosen from.
    pub(in crate::portal) fn sends_itself(&self, owner: Owner, host: &str) -> bool {
        matches!(&self.waiting(owner, host)[..], [form] if form.is_confirmed)
    }

    /// For how long the newest form that waits for `owner` on this host will wait.
    pub(in crate::portal) fn time_left(&self, owner: Owner, host: &str) -> Option<Duration> {
        let newest = self.waiting(owner, host).pop()?;
        Some(newest.saved.plus(SAVED_FOR).since(self.clock.now()))
    }

    /// Takes a form out to send it. Of two at once, one gets it.
    pub(in crate::portal) fn take(
        &self,
        session: SessionKey,
        host: &str,
        target: &str,
        id: PostId,
    ) -> Option<SavedPost> {
        self.take_if(Owner::Session(session), |form| form.is(host, target, id))
    }

    /// Takes a form out to forget it.
    pub(in crate::portal) fn discard(
        &self,
        session: SessionKey,
        host: &str,
        id: PostId,
    ) -> Option<SavedPost> {
        let owner = Owner::Session(session);
        self.take_if(owner, |form| form.id == id && form.is_for(host))
    }

    /// Takes out all that waits for a session, to forget it.
    pub(in crate::portal) fn discard_all(&self, session: SessionKey) -> Vec<SavedPost> {
        let owner = Owner::Session(session);
        std::iter::from_fn(|| self.take_if(owner, |_| true)).collect()
    }

    /// Lets a form that was taken and not sent wait again, no longer than it would have.
    pub(in crate::portal) fn put_back(&self, session: SessionKey, mut form: SavedPost) {
        form.confirmed = None; // else its page would send it again and again
        let owner = Owner::Session(session);
        self.forms().entry(owner).or_default().push(form);
    }

    /// Drops what has waited for too long.
    pub(in crate::portal) fn sweep(&self) {
        let now = self.clock.now();
        self.forms().retain(|_, of_owner| {
            of_owner.retain(|form| form.is_fresh(now));
            !of_owner.is_empty()
        });
    }

    fn take_if(&self, owner: Owner, is_it: impl Fn(&SavedPost) -> bool) -> Option<SavedPost> {
        take_from(&mut self.forms(), owner, self.clock.now(), is_it)
    }

    /// No code that holds the lock can leave the forms half changed (REL-11).
    fn forms(&self) -> MutexGuard<'_, Forms> {
        self.forms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_from(
    forms: &mut Forms,
    owner: Owner,
    now: Timestamp,
    is_it: impl Fn(&SavedPost) -> bool,
) -> Option<SavedPost> {
    let of_owner = forms.get_mut(&owner)?;
    let at = of_owner
        .iter()
        .position(|form| form.is_fresh(now) && is_it(form))?;
    let form = of_owner.remove(at);
    if of_owner.is_empty() {
        forms.remove(&owner);
    }
    Some(form)
}

impl SavedPost {
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.saved) < SAVED_FOR
    }

    fn is(&self, host: &str, target: &str, id: PostId) -> bool {
        self.id == id && self.is_for(host) && self.target == target
    }

    fn is_for(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }

    /// Nobody but `user` gets it from now on.
    fn of(mut self, user: &str) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Names of users have no case.
    fn is_of(&self, user: Option<&str>) -> bool {
        match (self.user.as_deref(), user) {
            (Some(owner), Some(user)) => user_name::is_same(owner, user),
            (owner, user) => owner == user,
        }
    }

    fn is_the_same(&self, other: &Self) -> bool {
        self.host == other.host
            && self.target == other.target
            && self.sender == other.sender
            && self.is_of(other.user.as_deref())
            && self.content_type == other.content_type
            && self.body == other.body
    }

    /// For a little while only: who signs in later may be somebody else.
    fn is_confirmed(&self, now: Timestamp) -> bool {
        let confirmed = self.confirmed;
        confirmed.is_some_and(|confirmed| now.since(confirmed) < CONFIRMED_FOR)
    }

    fn describe(&self, now: Timestamp) -> Waiting {
        Waiting {
            id: self.id,
            target: self.target.clone(),
            multipart: is_multipart_form(&self.content_type),
            size: self.body.len(),
            saved: self.saved,
            origin: self.sender.as_ref().map(|sender| sender.origin().clone()),
            is_confirmed: self.is_confirmed(now),
        }
    }
}

//! Forms that came when their session had ended: kept in memory until whoever sent them has
//! signed in and says whether to send them after all.
//!
//! A form waits for one browser, which shows the login cookie that it was kept by, and after the
//! login for the session that has begun there. Nobody else finds it. Who takes it out is the only
//! one who has it, so it is never sent twice.

mod address;
mod reading;
mod room;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::random::{NoRandomness, random};
use crate::session::{FormerUsers, SessionKey};

pub(crate) use address::split;
pub(in crate::portal) use address::{LENGTH, address};
pub(in crate::portal) use reading::read;
pub(crate) use room::Reservation;
use room::Room;

/// How long a form waits.
pub(in crate::portal) const KEPT_FOR: Duration = Duration::from_mins(15);

/// The largest body that is kept.
pub(in crate::portal) const MAX_BODY: usize = 1024 * 1024;

/// What a form takes besides its texts and its body, well rounded up.
const OVERHEAD: usize = 1024;

/// Names a kept form: 128 random bits. No secret: without the session it opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormId([u8; 16]);

impl FormId {
    /// Length of its text.
    const TEXT: usize = 22;

    fn generate() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    /// Reads what [`Display`](fmt::Display) writes; everything else is no id.
    pub(in crate::portal) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (text.len() == Self::TEXT && length == bytes.len()).then_some(Self(bytes))
    }
}

impl fmt::Display for FormId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Whom a form waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::portal) enum Holder {
    /// A browser where nobody is signed in, by the hash of its login cookie.
    Browser([u8; 32]),
    Session(SessionKey),
}

impl Holder {
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
}

/// A form that waits.
pub(crate) struct KeptForm {
    pub(crate) id: FormId,
    /// As it came.
    pub(crate) content_type: HeaderValue,
    /// As it came.
    pub(crate) body: Bytes,
    pub(crate) app: Arc<str>,
    pub(in crate::portal) target: String,
    pub(in crate::portal) kept: Timestamp,
    host: String,
    /// Whose session had ended, or who claimed it; nobody else gets it.
    pub(in crate::portal) user: Option<Arc<str>>,
    _room: Reservation,
}

/// What the page shows of a form that waits.
#[derive(Debug)]
pub(in crate::portal) struct Waiting {
    pub(in crate::portal) id: FormId,
    pub(in crate::portal) target: String,
    pub(in crate::portal) multipart: bool,
    pub(in crate::portal) size: usize,
    pub(in crate::portal) kept: Timestamp,
}

/// What a login found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::portal) struct Claimed {
    /// Forms that wait for the new session now.
    pub(in crate::portal) waiting: usize,
    /// Forms that were somebody else's, and are gone.
    pub(in crate::portal) dropped: usize,
}

/// All forms that wait, by whom they wait for.
pub(crate) struct KeptForms {
    clock: Clock,
    room: Room,
    forms: Mutex<HashMap<Holder, Vec<KeptForm>>>,
    /// The form of a session that they do not know is not kept.
    former_users: Arc<FormerUsers>,
}

impl KeptForms {
    /// Keeps `bytes` at most; with 0, nothing at all.
    pub(crate) fn new(bytes: usize, clock: Clock) -> Self {
        Self {
            clock,
            room: Room::new(bytes),
            forms: Mutex::default(),
            former_users: Arc::new(FormerUsers::new(bytes > 0)),
        }
    }

    /// Another bound, in bytes.
    pub(in crate::portal) fn set_room(&self, bytes: usize) {
        self.room.set_size(bytes);
        self.former_users.set_enabled(bytes > 0);
    }

    pub(in crate::portal) fn are_on(&self) -> bool {
        self.room.size() > 0
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
    ) -> Option<Reservation> {
        let texts = to.host.len() + to.target.len() + to.content_type.len();
        self.room.reserve(client, OVERHEAD + texts, user.is_some())
    }

    /// Keeps a form for `holder`; the same one once more, after a reload, takes the place of the
    /// first. `user` is whose session had ended.
    pub(in crate::portal) fn keep(
        &self,
        holder: Holder,
        user: Option<Arc<str>>,
        to: &Destination<'_>,
        body: Bytes,
        room: Reservation,
    ) -> Result<FormId, NoRandomness> {
        let id = FormId::generate()?;
        // Copied: the head of a request is one buffer, and would stay as a whole.
        let content_type = HeaderValue::from_bytes(to.content_type.as_bytes());
        let form = KeptForm {
            id,
            content_type: content_type.unwrap_or_else(|_| to.content_type.clone()),
            body,
            app: Arc::clone(to.app),
            target: to.target.to_owned(),
            kept: self.clock.now(),
            host: to.host.to_ascii_lowercase(),
            user,
            _room: room,
        };
        let mut forms = self.forms();
        let of_holder = forms.entry(holder).or_default();
        of_holder.retain(|other| !other.is_the_same(&form));
        of_holder.push(form);
        Ok(id)
    }

    /// Hands what waits for `holders` on this host to the session `key` that `user` has begun.
    /// What was another user's goes for good.
    pub(in crate::portal) fn claim(
        &self,
        holders: impl IntoIterator<Item = Holder>,
        host: &str,
        user: &str,
        key: SessionKey,
    ) -> Claimed {
        let now = self.clock.now();
        let mut claimed = Claimed::default();
        let mut forms = self.forms();
        for holder in holders {
            let Some(all) = forms.remove(&holder) else {
                continue;
            };
            let (here, elsewhere): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|form| form.is_for(host));
            if !elsewhere.is_empty() {
                forms.insert(holder, elsewhere);
            }
            for mut form in here.into_iter().filter(|form| form.is_fresh(now)) {
                if form.user.is_none() || form.is_of(Some(user)) {
                    form.user = Some(user.into());
                    forms.entry(Holder::Session(key)).or_default().push(form);
                    claimed.waiting += 1;
                } else {
                    claimed.dropped += 1;
                }
            }
        }
        claimed
    }

    /// What waits for `holder` on this host, the oldest first.
    pub(in crate::portal) fn waiting(&self, holder: Holder, host: &str) -> Vec<Waiting> {
        let now = self.clock.now();
        let forms = self.forms();
        let of_holder = forms.get(&holder).into_iter().flatten();
        let here = of_holder.filter(|form| form.is_fresh(now) && form.is_for(host));
        let mut waiting: Vec<_> = here.map(KeptForm::describe).collect();
        waiting.sort_by_key(|form| form.kept);
        waiting
    }

    /// For how long the newest form that waits for `holder` on this host will wait.
    pub(in crate::portal) fn time_left(&self, holder: Holder, host: &str) -> Option<Duration> {
        let newest = self.waiting(holder, host).pop()?;
        Some(newest.kept.plus(KEPT_FOR).since(self.clock.now()))
    }

    /// Takes a form out to send it. Of two at once, one gets it.
    pub(in crate::portal) fn take(
        &self,
        session: SessionKey,
        host: &str,
        target: &str,
        id: FormId,
    ) -> Option<KeptForm> {
        self.take_if(session, |form| {
            form.id == id && form.is_for(host) && form.target == target
        })
    }

    /// Takes a form out to forget it.
    pub(in crate::portal) fn discard(
        &self,
        session: SessionKey,
        host: &str,
        id: FormId,
    ) -> Option<KeptForm> {
        self.take_if(session, |form| form.id == id && form.is_for(host))
    }

    /// Takes out all that waits for a session on this host, to forget it.
    pub(in crate::portal) fn discard_all(&self, session: SessionKey, host: &str) -> Vec<KeptForm> {
        std::iter::from_fn(|| self.take_if(session, |form| form.is_for(host))).collect()
    }

    /// Lets a form that was taken and not sent wait again, no longer than it would have.
    pub(in crate::portal) fn put_back(&self, session: SessionKey, form: KeptForm) {
        let holder = Holder::Session(session);
        self.forms().entry(holder).or_default().push(form);
    }

    /// Drops what has waited for too long.
    pub(in crate::portal) fn sweep(&self) {
        let now = self.clock.now();
        self.forms().retain(|_, of_holder| {
            of_holder.retain(|form| form.is_fresh(now));
            !of_holder.is_empty()
        });
    }

    fn take_if(&self, session: SessionKey, is_it: impl Fn(&KeptForm) -> bool) -> Option<KeptForm> {
        let now = self.clock.now();
        let mut forms = self.forms();
        let holder = Holder::Session(session);
        let of_holder = forms.get_mut(&holder)?;
        let at = of_holder
            .iter()
            .position(|form| form.is_fresh(now) && is_it(form))?;
        let form = of_holder.remove(at);
        if of_holder.is_empty() {
            forms.remove(&holder);
        }
        Some(form)
    }

    /// No code that holds the lock can leave the forms half changed (REL-11).
    fn forms(&self) -> MutexGuard<'_, HashMap<Holder, Vec<KeptForm>>> {
        self.forms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptForm {
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.kept) < KEPT_FOR
    }

    fn is_for(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }

    /// Names of users have no case.
    fn is_of(&self, user: Option<&str>) -> bool {
        match (self.user.as_deref(), user) {
            (Some(owner), Some(user)) => owner.eq_ignore_ascii_case(user),
            (owner, user) => owner == user,
        }
    }

    fn is_the_same(&self, other: &Self) -> bool {
        self.host == other.host
            && self.target == other.target
            && self.is_of(other.user.as_deref())
            && self.content_type == other.content_type
            && self.body == other.body
    }

    fn describe(&self) -> Waiting {
        Waiting {
            id: self.id,
            target: self.target.clone(),
            multipart: essence(&self.content_type).is_some_and(is_multipart),
            size: self.body.len(),
            kept: self.kept,
        }
    }
}

/// Whether a form of HTML has this content type, whatever its parameters.
pub(in crate::portal) fn is_form(content_type: &HeaderValue) -> bool {
    let urlencoded = "application/x-www-form-urlencoded";
    essence(content_type)
        .is_some_and(|kind| kind.eq_ignore_ascii_case(urlencoded) || is_multipart(kind))
}

fn is_multipart(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("multipart/form-data")
}

fn essence(content_type: &HeaderValue) -> Option<&str> {
    let text = std::str::from_utf8(content_type.as_bytes()).ok()?;
    text.split(';').next().map(str::trim)
}

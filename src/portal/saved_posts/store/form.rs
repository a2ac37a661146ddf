//! A form that waits, and what is said of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use super::{PostId, SAVED_FOR, Sender, Slot, Timestamp, is_multipart_form};
use crate::portal::pending::Token;
use crate::principal::user_name;

/// How long after the click on its page a form of another site is sent by the login alone.
pub(super) const CONFIRMED_FOR: Duration = Duration::from_mins(2);

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
    pub(crate) head: PostHead,
    /// As it came.
    pub(crate) body: Bytes,
    /// Of this try to take it out of the store.
    pub(super) token: Token,
    /// Whether the store has it is not known.
    pub(super) may_be_shared: bool,
    /// `None` where another node counts it.
    pub(super) slot: Option<Slot>,
}

/// A form but for its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostHead {
    pub(in crate::portal) id: PostId,
    /// As it came.
    pub(crate) content_type: HeaderValue,
    pub(in crate::portal) app: Arc<str>,
    pub(super) target: String,
    pub(super) saved: Timestamp,
    pub(super) host: String,
    /// Whose session had ended, or who adopted it; nobody else gets it.
    pub(super) user: Option<Arc<str>>,
    /// The page of another site that it is of.
    pub(crate) sender: Option<Sender>,
    /// When somebody said before the login that it is to be sent.
    pub(super) confirmed: Option<Timestamp>,
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

/// What is said of a form that was forgotten.
#[derive(Debug)]
pub(in crate::portal) struct Discarded {
    pub(in crate::portal) app: Arc<str>,
    pub(in crate::portal) user: Option<Arc<str>>,
    pub(in crate::portal) bytes: usize,
}

/// What a login found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::portal) struct Adopted {
    /// Forms that wait for the new session now.
    pub(in crate::portal) waiting: usize,
    /// Forms that were somebody else's, and are gone.
    pub(in crate::portal) dropped: usize,
    /// The store did not say what it has.
    pub(in crate::portal) is_unknown: bool,
}

impl Adopted {
    pub(super) fn add(&mut self, more: &Self) {
        self.waiting += more.waiting;
        self.dropped += more.dropped;
        self.is_unknown |= more.is_unknown;
    }
}

impl Discarded {
    pub(super) fn of(head: &PostHead, bytes: usize) -> Self {
        Self {
            app: Arc::clone(&head.app),
            user: head.user.clone(),
            bytes,
        }
    }
}

impl SavedPost {
    /// Nobody but `user` gets it from now on.
    pub(super) fn of(mut self, user: &str) -> Self {
        self.head.user = Some(user.into());
        self
    }

    pub(super) fn is_the_same(&self, other: &Self) -> bool {
        self.head.is_the_same(&other.head) && self.body == other.body
    }
}

impl PostHead {
    /// `user` is whose session had ended.
    pub(super) fn new(
        id: PostId,
        to: &Destination<'_>,
        user: Option<Arc<str>>,
        now: Timestamp,
    ) -> Self {
        // Copied: the head of a request is one buffer, and would stay as a whole.
        let content_type = HeaderValue::from_bytes(to.content_type.as_bytes());
        Self {
            id,
            content_type: content_type.unwrap_or_else(|_| to.content_type.clone()),
            app: Arc::clone(to.app),
            target: to.target.to_owned(),
            saved: now,
            host: to.host.to_ascii_lowercase(),
            user,
            sender: to.sender.cloned(),
            confirmed: None,
        }
    }

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.saved) < SAVED_FOR
    }

    /// How long it waits yet.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        SAVED_FOR.saturating_sub(now.since(self.saved))
    }

    pub(super) fn is(&self, host: &str, target: &str, id: PostId) -> bool {
        self.id == id && self.is_for(host) && self.target == target
    }

    pub(super) fn is_of_page(&self, host: &str, target: &str, id: PostId) -> bool {
        self.sender.is_some() && self.is(host, target, id)
    }

    pub(super) fn is_for(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }

    /// Names of users have no case.
    pub(super) fn is_of(&self, user: Option<&str>) -> bool {
        match (self.user.as_deref(), user) {
            (Some(owner), Some(user)) => user_name::is_same(owner, user),
            (owner, user) => owner == user,
        }
    }

    /// Whether the two say the same of their bodies.
    pub(super) fn is_the_same(&self, other: &Self) -> bool {
        self.host == other.host
            && self.target == other.target
            && self.sender == other.sender
            && self.is_of(other.user.as_deref())
            && self.content_type == other.content_type
    }

    /// It is `user`'s, unless it is another user's.
    pub(super) fn adopt(&mut self, user: &str) -> bool {
        let is_theirs = self.user.is_none() || self.is_of(Some(user));
        if is_theirs {
            self.user = Some(user.into());
        }
        is_theirs
    }

    /// For a little while only: who signs in later may be somebody else.
    fn is_confirmed(&self, now: Timestamp) -> bool {
        let confirmed = self.confirmed;
        confirmed.is_some_and(|confirmed| now.since(confirmed) < CONFIRMED_FOR)
    }

    /// What is shown of a form whose body has so many bytes.
    pub(super) fn describe(&self, size: usize, now: Timestamp) -> Waiting {
        Waiting {
            id: self.id,
            target: self.target.clone(),
            multipart: is_multipart_form(&self.content_type),
            size,
            saved: self.saved,
            origin: self.sender.as_ref().map(|sender| sender.origin().clone()),
            is_confirmed: self.is_confirmed(now),
        }
    }
}

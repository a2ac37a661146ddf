//! What is said of a form in the store.
//!
//! A version byte, then id, times, size and hash of the body, and the texts, each after its length in
//! two bytes. The times are by the clock of the store: those of the nodes may be apart.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use sha2::{Digest, Sha256};

use super::{PostHead, PostId, SavedPost, Sender, Timestamp};

/// What another version has written is left alone.
const VERSION: u8 = 1;

/// In place of the length of a text that is not there.
const NONE: u16 = u16::MAX;

/// A form but for its body, of which it knows size and hash. Its times are those of this node.
pub(super) struct Described {
    pub(super) head: PostHead,
    pub(super) size: usize,
    pub(super) hash: [u8; 32],
}

/// The same moment by the clocks of this node and of the store.
pub(super) struct Times {
    pub(super) here: Timestamp,
    pub(super) there: Timestamp,
}

impl Times {
    fn to_here(&self, there: Timestamp) -> Timestamp {
        before(self.here, self.there.since(there))
    }

    fn to_there(&self, here: Timestamp) -> Timestamp {
        before(self.there, self.here.since(here))
    }
}

fn before(now: Timestamp, ago: Duration) -> Timestamp {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(ago))
}

impl Described {
    pub(super) fn of(form: &SavedPost) -> Self {
        Self {
            head: form.head.clone(),
            size: form.body.len(),
            hash: Sha256::digest(&form.body).into(),
        }
    }

    pub(super) fn is_the_same(&self, other: &Self) -> bool {
        self.head.is_the_same(&other.head) && self.hash == other.hash
    }

    /// `None` where a text is too long.
    pub(super) fn encode(&self, times: &Times) -> Option<Vec<u8>> {
        let head = &self.head;
        let confirmed = head.confirmed.map(|at| times.to_there(at));
        let mut bytes = Vec::with_capacity(512);
        bytes.push(VERSION);
        bytes.extend(head.id.as_bytes());
        bytes.extend(times.to_there(head.saved).as_millis().to_be_bytes());
        bytes.extend(confirmed.unwrap_or_default().as_millis().to_be_bytes());
        bytes.extend(u32::try_from(self.size).ok()?.to_be_bytes());
        bytes.extend(self.hash);
        let texts = [&*head.app, &head.host, &head.target].map(str::as_bytes);
        let texts = texts.into_iter().chain([head.content_type.as_bytes()]);
        let user = head.user.as_deref().map(str::as_bytes);
        let sender = head.sender.as_ref().map(Sender::fields);
        let sender = sender.unwrap_or_default();
        let sender = sender.map(|field| field.map(HeaderValue::as_bytes));
        for text in texts.map(Some).chain([user]).chain(sender) {
            let Some(text) = text else {
                bytes.extend(NONE.to_be_bytes());
                continue;
            };
            let length = u16::try_from(text.len()).ok();
            let length = length.filter(|length| *length != NONE)?;
            bytes.extend(length.to_be_bytes());
            bytes.extend(text);
        }
        Some(bytes)
    }

    /// `None` for what is no form.
    pub(super) fn decode(bytes: &[u8], times: &Times) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let form = (version == VERSION).then(|| Self::read(rest, times));
        form?.ok()
    }

    fn read(rest: &[u8], times: &Times) -> Result<Self, Malformed> {
        let (id, rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let (saved, rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let (confirmed, rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let (length, rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let (hash, rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let mut texts = Texts(rest);
        let time = |bytes: &[u8; 8]| Timestamp::from_millis(u64::from_be_bytes(*bytes));
        let (saved, confirmed) = (time(saved), time(confirmed));
        let confirmed = (confirmed != Timestamp::default()).then(|| times.to_here(confirmed));
        let head = PostHead {
            id: PostId::from_bytes(*id),
            saved: times.to_here(saved),
            confirmed,
            app: texts.next()?.ok_or(Malformed)?.into(),
            host: texts.next()?.ok_or(Malformed)?,
            target: texts.next()?.ok_or(Malformed)?,
            content_type: texts.next_value()?.ok_or(Malformed)?,
            user: texts.next()?.map(Arc::from),
            sender: {
                let (origin, referer) = (texts.next_value()?, texts.next_value()?);
                let site = texts.next_value()?;
                origin.map(|origin| Sender::from_fields(origin, referer, site))
            },
        };
        let size = u32::from_be_bytes(*length).try_into();
        let form = Self {
            head,
            size: size.map_err(|_| Malformed)?,
            hash: *hash,
        };
        texts.0.is_empty().then_some(form).ok_or(Malformed)
    }
}

struct Malformed;

/// What is left to be read.
struct Texts<'a>(&'a [u8]);

impl Texts<'_> {
    /// The next bytes, if they are not left out.
    fn next_bytes(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let (length, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        let length = u16::from_be_bytes(*length);
        if length == NONE {
            self.0 = rest;
            return Ok(None);
        }
        let (text, rest) = rest.split_at_checked(length.into()).ok_or(Malformed)?;
        self.0 = rest;
        Ok(Some(text))
    }

    fn next(&mut self) -> Result<Option<String>, Malformed> {
        let text = self
            .next_bytes()?
            .map(|text| String::from_utf8(text.to_vec()));
        text.transpose().map_err(|_| Malformed)
    }

    fn next_value(&mut self) -> Result<Option<HeaderValue>, Malformed> {
        let text = self.next_bytes()?.map(HeaderValue::from_bytes);
        text.transpose().map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn form(user: Option<&str>, confirmed: Option<Timestamp>) -> Described {
        Described {
            head: PostHead {
                id: PostId::ANY,
                content_type: HeaderValue::from_bytes(b"multipart/form-data; x=\xe9").unwrap(),
                app: "wiki".into(),
                target: "/save?a=\u{e4}".to_owned(),
                saved: Timestamp::from_millis(900_000),
                host: "wiki.test:8443".to_owned(),
                user: user.map(Arc::from),
                sender: None,
                confirmed,
            },
            size: 3,
            hash: Sha256::digest(Bytes::from_static(b"a=1")).into(),
        }
    }

    #[test]
    fn what_is_said_of_a_form_is_read_back_by_the_clock_of_each_node() {
        let there = Timestamp::from_millis(7_000_000_000_000);
        let first = Times {
            here: Timestamp::from_millis(1_000_000),
            there,
        };
        let second = Times {
            here: Timestamp::from_millis(1_700_000),
            there,
        };
        let confirmed = Timestamp::from_millis(999_000);
        for form in [form(Some("ada"), Some(confirmed)), form(None, None)] {
            let bytes = form.encode(&first).unwrap();
            let same = Described::decode(&bytes, &first).unwrap();
            assert_eq!(same.head, form.head);
            assert_eq!((same.size, same.hash), (form.size, form.hash));
            let other = Described::decode(&bytes, &second).unwrap();
            assert_eq!(other.head.saved, Timestamp::from_millis(1_600_000));
        }
    }

    #[test]
    fn what_is_damaged_or_of_another_version_is_no_form() {
        let times = Times {
            here: Timestamp::from_millis(1_000_000),
            there: Timestamp::from_millis(1_000_000),
        };
        let bytes = form(Some("ada"), None).encode(&times).unwrap();
        for length in 0..bytes.len() {
            assert!(Described::decode(&bytes[..length], &times).is_none());
        }
        assert!(Described::decode(&[&bytes[..], b"x"].concat(), &times).is_none());
        let mut later = bytes.clone();
        later[0] = VERSION + 1;
        assert!(Described::decode(&later, &times).is_none());
        let mut long = form(None, None);
        long.head.target = "a".repeat(NONE.into());
        assert!(long.encode(&times).is_none());
    }
}

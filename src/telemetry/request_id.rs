//! What a request is called: in log lines, on error pages, and towards the application.

use std::fmt::{Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::TryRng;
use rand::rngs::SysRng;

use crate::random::NoRandomness;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Of the longest id of a proxy that is kept.
const MOST: usize = 128;

/// Digits of the process and of the request in an id, and what is between them. Requests that are
/// too many for theirs get more.
const PROCESS: usize = 8;
const REQUEST: usize = 6;
const LONGEST: usize = PROCESS + 1 + 16;

/// Names requests: unique over restarts, and without a system call.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

/// The name of one request.
#[derive(Clone, Debug)]
pub(crate) enum RequestId {
    Own(Digits),
    /// The one that a trusted proxy has given it.
    OfProxy(Arc<str>),
}

/// Written once, and needed by the log and the application.
#[derive(Clone, Debug)]
pub(crate) struct Digits {
    text: [u8; LONGEST],
    length: u8,
}

impl RequestIds {
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let process = SysRng.try_next_u32().map_err(|_| NoRandomness)?;
        Ok(Self {
            process,
            next: AtomicU64::new(0),
        })
    }

    pub(crate) fn next(&self) -> RequestId {
        RequestId::own(self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl RequestId {
    pub(crate) fn own(process: u32, request: u64) -> Self {
        let used = 16 - request.leading_zeros() as usize / 4;
        let length = PROCESS + 1 + used.max(REQUEST);
        let mut text = [0; LONGEST];
        hexadecimal(process.into(), &mut text[..PROCESS]);
        text[PROCESS] = b'-';
        hexadecimal(request, &mut text[PROCESS + 1..length]);
        #[expect(clippy::cast_possible_truncation, reason = "it is below 26")]
        let length = length as u8;
        Self::Own(Digits { text, length })
    }

    /// The one in the head from a trusted proxy, if there is exactly one, and a log and a page can
    /// have it (SEC-71).
    pub(crate) fn of_proxy(headers: &HeaderMap) -> Option<Self> {
        let mut ids = headers.get_all(REQUEST_ID).iter();
        let id = ids.next().filter(|_| ids.next().is_none())?;
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !br#""'\<>&`"#.contains(byte);
        let is_kept = (1..=MOST).contains(&id.len()) && id.as_bytes().iter().all(is_plain);
        Some(Self::OfProxy(id.to_str().ok().filter(|_| is_kept)?.into()))
    }

    /// The same text; `None` for one of our own.
    pub(crate) fn given(&self) -> Option<&str> {
        match self {
            Self::Own(_) => None,
            Self::OfProxy(id) => Some(id),
        }
    }

    pub(crate) fn to_header(&self) -> HeaderValue {
        let value = match self {
            Self::Own(digits) => HeaderValue::from_bytes(digits.as_bytes()),
            Self::OfProxy(id) => HeaderValue::from_str(id),
        };
        value.expect("an id is visible ASCII")
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Own(digits) => str::from_utf8(digits.as_bytes()).expect("digits are ASCII"),
            Self::OfProxy(id) => id,
        }
    }
}

impl Digits {
    fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

impl Display for RequestId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By hand, as every request has one: a third of what `format!` takes.
fn hexadecimal(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_process_and_the_number_of_the_request() {
        for (process, request, expected) in [
            (0, 0, "00000000-000000"),
            (0x1f, 0xab_cdef, "0000001f-abcdef"),
            (u32::MAX, 0x100_0000, "ffffffff-1000000"),
            (1, u64::MAX, "00000001-ffffffffffffffff"),
        ] {
            let id = RequestId::own(process, request);
            assert_eq!(id.to_string(), expected);
            assert_eq!(id.to_header(), expected);
        }
    }

    #[test]
    fn sec_71_an_id_of_a_proxy_is_one_and_plain() {
        let longest = "a".repeat(MOST);
        let too_long = "a".repeat(MOST + 1);
        for (ids, kept) in [
            (&["Root=1-67891233-abcdef012345678912345678"][..], true),
            (&["0af7651916cd43dd8448eb211c80319c"], true),
            (&["a/b+c==;d:e,f"], true),
            (&[&*longest], true),
            (&[&*too_long], false),
            (&[""], false),
            (&["a b"], false),
            (&["a\tb"], false),
            (&["a\"b"], false),
            (&["<b>"], false),
            (&["\u{e4}"], false),
            (&["a", "b"], false),
            (&["a", "a"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for id in ids {
                let value = HeaderValue::from_bytes(id.as_bytes()).unwrap();
                headers.append(REQUEST_ID, value);
            }
            let id = RequestId::of_proxy(&headers).map(|id| id.to_string());
            assert_eq!(id.as_deref(), kept.then(|| ids[0]), "{ids:?}");
        }
    }
}

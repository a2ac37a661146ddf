//! Heads in which nothing is about a body, the connection or another protocol.
//!
//! Nearly all auth requests have such a head. What is read here is what hyper would have read, by the
//! same parser (`httparse`) and after the same [`Framing`](super::wire::Framing); everything else is
//! left to hyper.

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use memchr::memmem::Finder;

/// hyper reads heads with more, up to the configured limit.
const MOST_FIELDS: usize = 64;

/// Of a target, as in hyper.
const MOST_OF_TARGET: usize = u16::MAX as usize - 1;

/// A name that is longer is not kept for the next head: a proxy would fill our memory with a few of them.
const LONG_NAME: usize = 64;

/// To set it up takes as long as to look through a head.
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Reads the heads of one connection.
#[derive(Debug, Default)]
pub(crate) struct PlainHeads {
    /// The names of the last head, as sent and as read. A proxy sends mostly the same ones, in the same
    /// order, and each that is no name of the standards would be a copy.
    names: Vec<(Bytes, HeaderName)>,
    /// Memory of fields.
    fields: HeaderMap,
}

impl PlainHeads {
    /// Where the first head ends, if it is there as a whole. `bytes` up to `seen` have been looked at.
    pub(crate) fn end_of(bytes: &[u8], seen: usize) -> Option<usize> {
        let begin = seen.saturating_sub(3);
        let end = END.find(&bytes[begin..])?;
        Some(begin + end + 4)
    }

    /// Reads a whole head. `None` of every one that is not plain, good or not.
    pub(crate) fn read(&mut self, head: &Bytes) -> Option<Parts> {
        let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut read = httparse::Request::new(&mut []);
        let parsed = read.parse_with_uninit_headers(head, &mut room);
        if parsed != Ok(httparse::Status::Complete(head.len())) || read.version != Some(1) {
            return None;
        }
        let (method, target) = (read.method?.as_bytes(), read.path?.as_bytes());
        let method = Method::from_bytes(method).ok()?;
        if method == Method::HEAD || method == Method::CONNECT || target.len() > MOST_OF_TARGET {
            return None;
        }
        let uri = Uri::from_maybe_shared(head.slice_ref(target)).ok()?;
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        fields.reserve(read.headers.len());
        for (place, field) in read.headers.iter().enumerate() {
            let name = self.name(place, field.name.as_bytes())?;
            if !is_plain(&name, field.value, &fields) {
                return None;
            }
            let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).ok()?;
            fields.append(name, value);
        }
        let (mut parts, ()) = Request::new(()).into_parts();
        (parts.method, parts.uri, parts.headers) = (method, uri, fields);
        Some(parts)
    }

    /// Takes memory for the fields of the next head.
    pub(crate) fn reuse(&mut self, fields: HeaderMap) {
        self.fields = fields;
    }

    fn name(&mut self, place: usize, sent: &[u8]) -> Option<HeaderName> {
        if let Some((last, name)) = self.names.get(place)
            && *last == sent
        {
            return Some(name.clone());
        }
        let name = HeaderName::from_bytes(sent).ok()?;
        if sent.len() > LONG_NAME {
            return Some(name);
        }
        let noted = (Bytes::copy_from_slice(sent), name.clone());
        if let Some(last) = self.names.get_mut(place) {
            *last = noted;
        } else if place == self.names.len() {
            self.names.push(noted); // otherwise it comes after a long one
        }
        Some(name)
    }
}

/// Whether a field has nothing to say to a server, after those `before` it. All others are named here
/// that hyper looks at.
fn is_plain(name: &HeaderName, value: &[u8], before: &HeaderMap) -> bool {
    match *name {
        header::CONTENT_LENGTH => value == b"0" && !before.contains_key(name),
        header::CONNECTION | header::EXPECT | header::TRANSFER_ENCODING | header::UPGRADE => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;

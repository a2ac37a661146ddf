//! What fuzzing sees of a response.

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};

use super::content::Content;
use super::head::{Head, Progress};
use super::is_interim;

/// What becomes of the bytes of a response, without a connection.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct DecodedResponse {
    pub(crate) head: Option<(StatusCode, HeaderMap)>,
    pub(crate) content: Vec<u8>,
    pub(crate) has_ended: bool,
    pub(crate) error: Option<String>,
}

impl DecodedResponse {
    pub(crate) fn of<'a>(reads: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut input, mut content) = (BytesMut::new(), Content::None);
        let mut decoded = Self::default();
        let mut progress = Progress::default();
        for read in reads {
            input.extend_from_slice(read);
            while decoded.head.is_none() && decoded.error.is_none() {
                match Head::parse(&mut input, &mut progress, &mut HeaderMap::new()) {
                    Ok(None) => break,
                    Ok(Some(head)) if is_interim(head.response.status()) => {}
                    Ok(Some(head)) => {
                        let (parts, ()) = head.response.into_parts();
                        decoded.head = Some((parts.status, parts.headers));
                        content = head.content;
                    }
                    Err(error) => decoded.error = Some(error.to_string()),
                }
            }
            while decoded.head.is_some() && decoded.error.is_none() {
                match content.decode(&mut input) {
                    Ok(Some(bytes)) => decoded.content.extend_from_slice(&bytes),
                    Ok(None) => break,
                    Err(error) => decoded.error = Some(error.to_string()),
                }
            }
            decoded.has_ended = decoded.head.is_some() && content.is_at_end();
        }
        // What cannot become a head is refused the sooner the more comes at once.
        if decoded.head.is_none() && decoded.error.is_none() {
            let refused = Progress::default().refuse_what_is_none(&input);
            decoded.error = refused.err().map(|error| error.to_string());
        }
        decoded
    }
}

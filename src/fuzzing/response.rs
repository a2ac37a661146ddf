//! Responses of applications.

use crate::upstream::DecodedResponse;

/// A response: it does not matter how a connection is cut into reads, its content is part of what
/// came, and what follows its end does not change it.
pub fn response(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else {
        return;
    };
    let decode = |bytes: &[u8], step| DecodedResponse::of(bytes.chunks(step));
    let whole = decode(bytes, bytes.len().max(1));
    let pieces = decode(bytes, usize::from(step % 16) + 1);
    assert_eq!(whole, pieces, "whole and in pieces");
    assert!(whole.content.len() <= bytes.len());
    if whole.has_ended && whole.error.is_none() {
        let followed = decode(&[bytes, b"HTTP/1.1 200 OK\r\n\r\n"].concat(), 7);
        assert_eq!(whole, followed, "whatever follows");
    }
}

//! Bytes as they come over a connection.

use crate::request::wire::Framing;

/// The framing of HTTP/1.1: it does not matter how a connection is cut into reads, and what is
/// passed on is what came, up to the byte that refuses.
pub fn wire(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else {
        return;
    };
    let whole = Inspected::of(bytes, bytes.len().max(1));
    let pieces = Inspected::of(bytes, usize::from(step % 16) + 1);
    assert_eq!(whole.refused, pieces.refused, "whole and in pieces");
    for inspected in [&whole, &pieces] {
        let kept = inspected.passed.len() - usize::from(inspected.refused);
        assert_eq!(inspected.passed[..kept], bytes[..kept]);
        if inspected.refused {
            let refusal = inspected.passed[kept];
            assert!(matches!(refusal, 0 | b'\n'), "hyper refuses that byte");
        } else {
            assert_eq!(kept, bytes.len());
        }
    }
    if !whole.refused {
        assert_eq!(whole.place, pieces.place, "whole and in pieces");
    }
}

struct Inspected {
    passed: Vec<u8>,
    refused: bool,
    /// Inside a head, between requests, inside a body.
    place: [bool; 3],
}

impl Inspected {
    fn of(bytes: &[u8], step: usize) -> Self {
        let (mut framing, mut passed) = (Framing::new(), Vec::new());
        for piece in bytes.chunks(step) {
            let mut piece = piece.to_vec();
            let kept = framing.inspect(&mut piece);
            passed.extend(&piece[..kept]);
            if framing.has_refused() {
                break;
            }
        }
        Self {
            passed,
            refused: framing.has_refused(),
            place: [
                framing.is_inside_head(),
                framing.is_between_requests(),
                framing.is_inside_body(),
            ],
        }
    }
}

//! Heads of responses in which names get the letters of the configuration, where an app's own are
//! kept. hyper writes those of the app, and has no place for others.

use std::io::{self, IoSlice};
use std::task::Poll;

use crate::proxy::headers::Letters;

/// Slices of one write. What hyper gives beyond them comes with the next one.
const SLICES: usize = 8;

/// Writes what begins with heads. hyper keeps them in a buffer of their own, the first slice of a
/// write, and gives what is left of it again when it was not written at once.
#[derive(Default)]
pub(super) struct Heads {
    /// The last first slice, corrected.
    copy: Vec<u8>,
    /// How much of it has been written.
    written: usize,
}

impl Heads {
    /// Whether no head has been written in part.
    pub(super) fn are_whole(&self) -> bool {
        self.written == self.copy.len()
    }

    /// Hands `slices` to `write`, the first of which has heads alone.
    pub(super) fn write(
        &mut self,
        letters: &Letters,
        slices: &[IoSlice<'_>],
        write: impl FnOnce(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Some((first, others)) = slices.split_first() else {
            return write(slices);
        };
        self.copy = first.to_vec();
        correct(&mut self.copy, letters);
        let mut all = [IoSlice::new(&self.copy); SLICES];
        let mut used = 1;
        for (slot, other) in all[1..].iter_mut().zip(others) {
            *slot = *other;
            used += 1;
        }
        let written = write(&all[..used]);
        // Nothing is left of what is to come again as a whole.
        self.written = match written {
            Poll::Ready(Ok(written)) => written.min(first.len()),
            Poll::Ready(Err(_)) | Poll::Pending => first.len(),
        };
        written
    }

    /// Hands the rest of what was not written the last time to `write`. `slices` begin with it.
    pub(super) fn write_rest(
        &mut self,
        slices: &[IoSlice<'_>],
        write: impl FnOnce(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let rest = &self.copy[self.written..];
        let again = slices.first().and_then(|first| first.get(..rest.len()));
        if !again.is_some_and(|again| again.eq_ignore_ascii_case(rest)) {
            // Rather other letters than other bytes than hyper's.
            *self = Self::default();
            return write(slices);
        }
        let written = write(&[IoSlice::new(rest)]);
        if let Poll::Ready(Ok(written)) = written {
            self.written += written;
        }
        written
    }
}

/// Corrects the names of the heads that `bytes` begin with, and no byte after them.
fn correct(mut bytes: &mut [u8], letters: &Letters) {
    while bytes.starts_with(b"HTTP/1.")
        && let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n")
    {
        let (head, rest) = bytes.split_at_mut(end + 4);
        for line in head.split_mut(|byte| *byte == b'\n').skip(1) {
            if let Some(colon) = memchr::memchr(b':', line) {
                letters.correct(&mut line[..colon]);
            }
        }
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nx-Theirs: x-ours\r\nX-Ours: x-ours\r\nX-Ours2: 1\r\n\r\n";
    const CORRECTED: &str =
        "HTTP/1.1 200 OK\r\nx-Theirs: x-ours\r\nx-OURS: x-ours\r\nX-Ours2: 1\r\n\r\n";
    const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    const BODY: &str = "\r\nX-Ours: 1\r\n\r\n";

    /// All that is written of `slices`, which are given again until they are, `room` bytes a write
    /// and every other write refused.
    fn written(slices: &[&str], room: usize) -> String {
        let letters = Letters::new(vec!["x-OURS".into()]);
        let mut heads = Heads::default();
        let mut all: Vec<Vec<u8>> = slices.iter().map(|slice| (*slice).into()).collect();
        let (mut out, mut is_noted, mut is_full) = (Vec::new(), true, false);
        while !all.is_empty() {
            let slices: Vec<_> = all.iter().map(|slice| IoSlice::new(slice)).collect();
            let mut write = |slices: &[IoSlice<'_>]| {
                is_full = !is_full;
                if is_full {
                    return Poll::Pending;
                }
                let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
                let before = out.len();
                out.extend(bytes.take(room));
                Poll::Ready(Ok(out.len() - before))
            };
            let written = if !heads.are_whole() {
                heads.write_rest(&slices, write)
            } else if is_noted {
                heads.write(&letters, &slices, write)
            } else {
                write(&slices)
            };
            let Poll::Ready(Ok(mut written)) = written else {
                continue;
            };
            is_noted = false;
            while written > 0 {
                let taken = written.min(all[0].len());
                all[0].drain(..taken);
                written -= taken;
                if all[0].is_empty() {
                    all.remove(0);
                }
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_of_heads_are_corrected_and_nothing_else_is() {
        let like_a_head = &*(HEAD.to_owned() + BODY);
        let many: Vec<_> = std::iter::once(HEAD).chain([BODY; 100]).collect();
        for (slices, expected) in [
            (&[HEAD][..], CORRECTED.to_owned()),
            (&[HEAD, like_a_head], format!("{CORRECTED}{like_a_head}")),
            (&[&(HEAD.to_owned() + BODY)], format!("{CORRECTED}{BODY}")),
            (&[&HEAD.repeat(2), BODY], CORRECTED.repeat(2) + BODY),
            (
                &[&format!("{INTERIM}{HEAD}")],
                format!("{INTERIM}{CORRECTED}"),
            ),
            (&[&HEAD[1..], BODY], format!("{}{BODY}", &HEAD[1..])),
            (&[&HEAD[..30]], HEAD[..30].to_owned()),
            (&[BODY], BODY.to_owned()),
            (&many, format!("{CORRECTED}{}", BODY.repeat(100))),
        ] {
            for room in [1, 7, 20, 100, usize::MAX] {
                assert_eq!(written(slices, room), expected, "{slices:?} by {room}");
            }
        }
    }

    #[test]
    fn other_bytes_than_the_rest_of_a_head_go_out_as_they_are() {
        let letters = Letters::new(vec!["x-OURS".into()]);
        let mut heads = Heads::default();
        let head = [IoSlice::new(HEAD.as_bytes())];
        let _ = heads.write(&letters, &head, |_| Poll::Ready(Ok(20)));
        assert!(!heads.are_whole());
        let other = [IoSlice::new(b"eirs: x\r\n\r\n")];
        let _ = heads.write_rest(&other, |slices| {
            assert_eq!(&*slices[0], &*other[0]);
            Poll::Ready(Ok(0))
        });
        assert!(heads.are_whole());
    }
}

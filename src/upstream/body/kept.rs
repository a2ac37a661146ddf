//! The beginning of a request body, or all of it, which was read before any of it is sent.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::load::{BODY_PIECE, HeldBody};

pub(super) struct Kept {
    /// A longer body is not waited for.
    most: usize,
    /// Copies: a frame of a single byte would keep the whole buffer that it was read into.
    pieces: VecDeque<Vec<u8>>,
    read: usize,
    left: usize,
    whole: bool,
    memory: HeldBody,
}

impl Kept {
    pub(super) fn new(most: usize, memory: HeldBody) -> Self {
        Self {
            most,
            pieces: VecDeque::new(),
            read: 0,
            left: 0,
            whole: false,
            memory,
        }
    }

    /// Whether more is to be read before anything is sent.
    pub(super) fn wants_more(&self) -> bool {
        !self.whole && self.read <= self.most
    }

    /// `false` when there is no memory for it. A frame that exceeds the limit needs none: it is the
    /// last one that is kept, and sent right away.
    pub(super) fn push(&mut self, mut data: &[u8]) -> bool {
        self.read += data.len();
        self.left += data.len();
        while !data.is_empty() {
            match self.pieces.back_mut() {
                Some(piece) if piece.len() < BODY_PIECE => {
                    let (taken, rest) = data.split_at(data.len().min(BODY_PIECE - piece.len()));
                    piece.extend_from_slice(taken);
                    data = rest;
                }
                _ if self.memory.grow(BODY_PIECE) || self.read > self.most => {
                    self.pieces.push_back(Vec::with_capacity(BODY_PIECE));
                }
                _ => return false,
            }
        }
        true
    }

    /// The body has come to its end.
    pub(super) fn end(&mut self) {
        self.whole = true;
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Bytes that are not sent yet.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// The next piece to send.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.left -= piece.len();
        Some(piece.into())
    }
}

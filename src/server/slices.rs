//! Bytes on their way into TLS, in slices that are copied fast.
//!
//! glibc copies from 2 KiB on (4 KiB with AVX) by `rep movsb`. Where source and destination are a few
//! bytes apart, modulo the size of a page, that takes CPUs of AMD several times as long (glibc bug
//! 30994), and so it is here: a buffer that was read into starts on a page, and rustls copies it
//! behind the five bytes of a record's header. Smaller slices are copied by vector instructions,
//! which saves a third of what a large download costs.

use std::io::IoSlice;

/// No more than this is worth it.
const LARGE: usize = 2048;

/// Whole cache lines.
const SLICE: usize = LARGE - 64;

/// As much as TLS takes at once.
const MOST: usize = 64 * 1024;

pub(super) struct Slices<'b> {
    slices: [IoSlice<'b>; MOST.div_ceil(SLICE)],
    count: usize,
}

impl<'b> Slices<'b> {
    /// `None` when nothing is so large.
    pub(super) fn of(buffers: &'b [IoSlice<'_>]) -> Option<Self> {
        let is_large = buffers.iter().any(|buffer| buffer.len() > LARGE);
        is_large.then(|| Self::new(buffers.iter().map(|buffer| &**buffer)))
    }

    /// The same for one buffer.
    pub(super) fn of_one(buffer: &'b [u8]) -> Option<Self> {
        (buffer.len() > LARGE).then(|| Self::new([buffer].into_iter()))
    }

    fn new(buffers: impl Iterator<Item = &'b [u8]>) -> Self {
        let mut slices = [IoSlice::new(&[]); MOST.div_ceil(SLICE)];
        let mut count = 0;
        let small = buffers.flat_map(|buffer| buffer.chunks(SLICE));
        for (slot, slice) in slices.iter_mut().zip(small) {
            *slot = IoSlice::new(slice);
            count += 1;
        }
        Self { slices, count }
    }

    /// The beginning of the bytes, if they are too many.
    pub(super) fn as_slice(&self) -> &[IoSlice<'b>] {
        &self.slices[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(slices: &Slices<'_>) -> Vec<u8> {
        let slices = slices.as_slice().iter();
        slices.flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn what_is_small_stays_as_it_is() {
        assert!(Slices::of_one(&[0; LARGE]).is_none());
        assert!(Slices::of(&[IoSlice::new(&[0; LARGE]), IoSlice::new(b"x")]).is_none());
    }

    #[test]
    fn what_is_large_is_the_same_in_small_slices() {
        let body: Vec<_> = (0..20_000_u16).flat_map(u16::to_be_bytes).collect();
        let slices = Slices::of_one(&body).unwrap();
        assert_eq!(joined(&slices), body);
        assert!(slices.as_slice().iter().all(|slice| slice.len() <= SLICE));
        let buffers = [IoSlice::new(b"head"), IoSlice::new(&body)];
        let slices = Slices::of(&buffers).unwrap();
        assert_eq!(joined(&slices), [b"head", &*body].concat());
    }

    #[test]
    fn what_is_too_much_is_begun() {
        let body = vec![b'x'; 3 * MOST];
        let begun = joined(&Slices::of_one(&body).unwrap());
        assert!(begun.len() >= MOST && body.starts_with(&begun));
    }
}

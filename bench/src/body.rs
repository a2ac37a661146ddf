//! Bodies of any length, of which no byte is copied: what the app sends, and what is uploaded.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

const PIECE: usize = 1 << 20;

/// Numbers that do not compress well; nobody here compresses.
static CONTENT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(PIECE).collect()
});

/// A body of so many bytes.
pub(crate) struct Bulk {
    left: u64,
    /// Repeated until the end.
    piece: Bytes,
    /// What has been taken out of it is added here.
    taken: Option<Arc<AtomicU64>>,
}

impl Bulk {
    pub(crate) fn empty() -> Self {
        Self::of(0)
    }

    pub(crate) fn of(length: u64) -> Self {
        Self {
            left: length,
            piece: CONTENT.clone(),
            taken: None,
        }
    }

    pub(crate) fn counted(length: u64, taken: Arc<AtomicU64>) -> Self {
        Self {
            taken: Some(taken),
            ..Self::of(length)
        }
    }

    pub(crate) fn text(text: String) -> Self {
        Self {
            left: text.len() as u64,
            piece: Bytes::from(text),
            taken: None,
        }
    }
}

impl Body for Bulk {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = self.piece.len();
        let length = usize::try_from(self.left).map_or(piece, |left| left.min(piece));
        self.left -= length as u64;
        if let Some(taken) = &self.taken {
            taken.fetch_add(length as u64, Ordering::Relaxed);
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_is_as_long_as_it_says_and_counts_what_was_taken() {
        for length in [0, 1, 1024, PIECE as u64, 3 * PIECE as u64 + 7] {
            let taken = Arc::new(AtomicU64::new(0));
            let body = Bulk::counted(length, Arc::clone(&taken));
            assert_eq!(body.size_hint().exact(), Some(length));
            let all = body.collect().await.unwrap().to_bytes();
            assert_eq!(all.len() as u64, length);
            assert_eq!(taken.load(Ordering::Relaxed), length);
        }
    }
}

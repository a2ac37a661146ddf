//! Reads the body that is to be kept: bounded, in time, each byte reserved before it is held.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use super::{MAX_BODY, Reservation};

/// The whole body, not each read (SEC-26).
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a body that does not say its length gets first.
const FIRST: usize = 4096;

/// The bytes of `body`; `None` when they are too many, too slow, more than there is room for, or
/// not all of them come.
pub(in crate::login) async fn read(
    body: impl Body<Data = Bytes> + Unpin,
    room: &mut Reservation,
) -> Option<Bytes> {
    let said = body.size_hint();
    if said.lower() > MAX_BODY as u64 {
        return None;
    }
    let mut buffer = Buffer::new(room);
    if let Some(length) = said.exact() {
        buffer.move_to(usize::try_from(length).ok()?)?;
    }
    let read = tokio::time::timeout(TIMEOUT, buffer.fill(body)).await;
    read.ok()??;
    Some(Bytes::from(buffer.bytes)) // moved, with all of its memory
}

/// One piece of memory, which never has more than the room that is taken for it.
struct Buffer<'a> {
    bytes: Vec<u8>,
    room: &'a mut Reservation,
}

impl<'a> Buffer<'a> {
    fn new(room: &'a mut Reservation) -> Self {
        let bytes = Vec::new();
        Self { bytes, room }
    }

    async fn fill(&mut self, mut body: impl Body<Data = Bytes> + Unpin) -> Option<()> {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.ok()?.into_data() else {
                continue; // trailers end here (SEC-39)
            };
            self.append(&data)?;
        }
        Some(())
    }

    fn append(&mut self, data: &[u8]) -> Option<()> {
        let length = self.bytes.len() + data.len();
        if length > MAX_BODY {
            return None;
        }
        if length > self.bytes.capacity() {
            let doubled = self.bytes.capacity() * 2;
            self.move_to(doubled.clamp(FIRST, MAX_BODY).max(length))?;
        }
        self.bytes.extend_from_slice(data);
        Some(())
    }

    /// Has memory for `capacity` bytes; both pieces count while one is copied to the other.
    fn move_to(&mut self, capacity: usize) -> Option<()> {
        if !self.room.grow(capacity) {
            return None;
        }
        let mut larger = Vec::with_capacity(capacity);
        larger.extend_from_slice(&self.bytes);
        let smaller = std::mem::replace(&mut self.bytes, larger);
        let freed = smaller.capacity();
        drop(smaller);
        self.room.shrink(freed);
        Some(())
    }
}

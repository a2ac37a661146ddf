//! Reads the body that is to be kept: bounded, in time, room taken for each byte before it is held.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use super::{MAX_BODY, Slot};

/// The whole body, not each read (SEC-26).
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a body gets first. Not what it announces: that would take room from others for nothing.
const FIRST: usize = 4096;

/// The bytes of `body`; `None` when they are too many, too slow, more than there is room for, or
/// not all of them come.
pub(in crate::portal) async fn read(
    body: impl Body<Data = Bytes> + Unpin,
    slot: &mut Slot,
) -> Option<Bytes> {
    let said = body.size_hint();
    if said.lower() > MAX_BODY as u64 {
        return None;
    }
    let mut buffer = Buffer {
        bytes: Vec::new(),
        announced: said.exact().and_then(|length| usize::try_from(length).ok()),
        slot,
    };
    let read = tokio::time::timeout(TIMEOUT, buffer.fill(body)).await;
    read.ok()??;
    Some(Bytes::from(buffer.bytes)) // moved, with all of its memory
}

/// One piece of memory, which never has more than the room that is taken for it.
struct Buffer<'a> {
    bytes: Vec<u8>,
    announced: Option<usize>,
    slot: &'a mut Slot,
}

impl Buffer<'_> {
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
            let doubled = (self.bytes.capacity() * 2).clamp(FIRST, MAX_BODY);
            let enough = self.announced.unwrap_or(MAX_BODY);
            self.move_to(doubled.min(enough).max(length))?;
        }
        self.bytes.extend_from_slice(data);
        Some(())
    }

    /// Has memory for `capacity` bytes. The smaller piece does not count while it is copied: a
    /// thread copies one at a time.
    fn move_to(&mut self, capacity: usize) -> Option<()> {
        if !self.slot.grow(capacity - self.bytes.capacity()) {
            return None;
        }
        let mut larger = Vec::with_capacity(capacity);
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
        Some(())
    }
}

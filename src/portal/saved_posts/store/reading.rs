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

/// Why a body is not kept.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::portal) enum Unread {
    /// Its app would not take it either.
    OverLimit,
    /// It is larger than what is kept.
    TooLarge,
    /// It is too slow, more than there is room for, or not all of it came.
    Lost,
}

/// The bytes of `body`, which may have `most` for its app.
pub(in crate::portal) async fn read(
    body: impl Body<Data = Bytes> + Unpin,
    slot: &mut Slot,
    most: u64,
) -> Result<Bytes, Unread> {
    let said = body.size_hint();
    if said.lower() > MAX_BODY as u64 {
        return Err(Unread::TooLarge);
    }
    let mut buffer = Buffer {
        bytes: Vec::new(),
        most,
        announced: said.exact().and_then(|length| usize::try_from(length).ok()),
        slot,
    };
    let read = tokio::time::timeout(TIMEOUT, buffer.fill(body)).await;
    read.unwrap_or(Err(Unread::Lost))?;
    Ok(Bytes::from(buffer.bytes)) // moved, with all of its memory
}

/// One piece of memory, which never has more than the room that is taken for it.
struct Buffer<'a> {
    bytes: Vec<u8>,
    most: u64,
    announced: Option<usize>,
    slot: &'a mut Slot,
}

impl Buffer<'_> {
    async fn fill(&mut self, mut body: impl Body<Data = Bytes> + Unpin) -> Result<(), Unread> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Unread::Lost)?;
            let Ok(data) = frame.into_data() else {
                continue; // trailers end here (SEC-39)
            };
            self.append(&data)?;
        }
        Ok(())
    }

    fn append(&mut self, data: &[u8]) -> Result<(), Unread> {
        let length = self.bytes.len() + data.len();
        if length as u64 > self.most {
            return Err(Unread::OverLimit);
        }
        if length > MAX_BODY {
            return Err(Unread::TooLarge);
        }
        if length > self.bytes.capacity() {
            let doubled = (self.bytes.capacity() * 2).clamp(FIRST, MAX_BODY);
            let enough = self.announced.unwrap_or(MAX_BODY);
            self.move_to(doubled.min(enough).max(length))
                .ok_or(Unread::Lost)?;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
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

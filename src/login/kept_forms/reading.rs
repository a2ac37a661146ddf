//! Reads the body that is to be kept: bounded, in time, each byte reserved before it is held.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use super::{MAX_BODY, Reservation};

/// The whole body, not each read (SEC-26).
const TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of `body`; `None` when they are too many, too slow, more than there is room for, or
/// not all of them come.
pub(in crate::login) async fn read(
    body: impl Body<Data = Bytes> + Unpin,
    room: &mut Reservation,
) -> Option<Bytes> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return None;
    }
    let body = tokio::time::timeout(TIMEOUT, collect(body, room)).await;
    Some(Bytes::from(body.ok()??.into_boxed_slice()))
}

async fn collect(
    mut body: impl Body<Data = Bytes> + Unpin,
    room: &mut Reservation,
) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue; // trailers end here (SEC-39)
        };
        if whole.len() + data.len() > MAX_BODY || !room.grow(data.len()) {
            return None;
        }
        whole.extend_from_slice(&data);
    }
    Some(whole)
}

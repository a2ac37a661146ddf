//! Begins and ends the runs of `check --through`.

use std::io;

use tokio::io::AsyncWrite;

use super::protocol::{Done, Line};
use super::{Answer, Peer};
use crate::probe::NoSuchRun;
use crate::proxy::Service;
use crate::random::NoRandomness;

pub(super) fn begin(service: &Service, peer: Peer) -> Line {
    match service.probes().begin() {
        Ok(key) => {
            tracing::info!(target: "audit", by = peer.uid, pid = peer.pid, "probes expected");
            Line::Done(Done::ProbesBegun { key: key.to_text() })
        }
        Err(NoRandomness) => Line::Error("the system gives no random bytes".to_owned()),
    }
}

/// A line for each probe that was read.
pub(super) async fn end<W: AsyncWrite + Unpin>(
    service: &Service,
    key: &str,
    answer: &mut Answer<W>,
) -> io::Result<Line> {
    match service.probes().end(key) {
        Ok(readings) => {
            for (number, readings) in readings {
                answer.line(&Line::Probe(number, readings)).await?;
            }
            Ok(Line::Done(Done::ProbesEnded {}))
        }
        Err(NoSuchRun) => Ok(Line::Error(
            "this run is over: it took longer than two minutes, or another one has begun; try again"
                .to_owned(),
        )),
    }
}

//! Closes and opens apps for an operator.

use super::Peer;
use super::protocol::{Done, Line};
use crate::proxy::{NotResumed, Sentence, Service, UnknownApp};
use crate::telemetry::printable;

pub(super) fn pause(service: &Service, app: &str, sentence: Option<&str>, peer: Peer) -> Line {
    let sentence = match sentence.map(Sentence::parse).transpose() {
        Ok(sentence) => sentence,
        Err(no_sentence) => return Line::Error(no_sentence.to_string()),
    };
    match service.pause(app, sentence) {
        Ok(()) => {
            tracing::info!(target: "audit", by = peer.uid, pid = peer.pid, app, "app paused");
            Line::Done(Done::Paused {})
        }
        Err(unknown) => no_app(app, &unknown),
    }
}

pub(super) fn resume(service: &Service, app: &str, peer: Peer) -> Line {
    let resumed = service.resume(app);
    if let Ok(_) | Err(NotResumed::Configured { was_paused: true }) = resumed {
        tracing::info!(target: "audit", by = peer.uid, pid = peer.pid, app, "app resumed");
    }
    match resumed {
        Ok(was_paused) => Line::Done(Done::Resumed { was_paused }),
        Err(NotResumed::UnknownApp(unknown)) => no_app(app, &unknown),
        Err(NotResumed::Configured { was_paused }) => {
            let paused = if was_paused {
                "the pause is over, but "
            } else {
                ""
            };
            Line::Error(format!(
                "{paused}the configuration closes the app `{app}`: take `maintenance` out of it, \
                 and run `vestibule reload`"
            ))
        }
    }
}

pub(super) fn no_app(name: &str, unknown: &UnknownApp) -> Line {
    let name = printable(name);
    Line::Error(match &unknown.nearest {
        Some(near) => format!("there is no app `{name}`: did you mean `{near}`?"),
        None => format!("there is no app `{name}`; `vestibule status` shows all of them"),
    })
}

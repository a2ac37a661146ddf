//! Lists and ends sessions for an operator.

use std::io;

use tokio::io::AsyncWrite;

use super::protocol::{Done, Line, SessionView, StreamsView};
use super::{Answer, Peer};
use crate::nodes::Streams;
use crate::session::{EndError, KeyPrefix, Record, Removed, SessionKey, Sessions, StoreError};
use crate::telemetry::printable;

/// Sessions in one answer to a list of all.
pub(super) const PAGE: usize = 500;

/// How many sessions are shown that a beginning of a key fits.
const MAX_MATCHES: usize = 16;

/// One page, from the key on that comes after `after`. Gives the last line of the answer, as all
/// here do.
pub(super) async fn list<W: AsyncWrite + Unpin>(
    sessions: &Sessions,
    after: Option<&str>,
    streams: Option<&Streams>,
    answer: &mut Answer<W>,
) -> io::Result<Line> {
    let after = match after.map(|text| SessionKey::parse(text).ok_or(text)) {
        Some(Err(wrong)) => return Ok(no_key(wrong)),
        after => after.and_then(Result::ok),
    };
    match sessions.list(after, PAGE).await {
        Ok((records, next)) => {
            show(&records, streams, answer).await?;
            Ok(listed(next.map(|key| key.to_string()), streams))
        }
        Err(error) => Ok(unread(error)),
    }
}

pub(super) async fn list_of_user<W: AsyncWrite + Unpin>(
    sessions: &Sessions,
    user: &str,
    streams: Option<&Streams>,
    answer: &mut Answer<W>,
) -> io::Result<Line> {
    match sessions.of_user(user).await {
        Ok(records) => show(&records, streams, answer).await?,
        Err(error) => return Ok(unread(error)),
    }
    Ok(listed(None, streams))
}

fn listed(next: Option<String>, streams: Option<&Streams>) -> Line {
    let unknown_of = streams.map(|streams| streams.unknown_of().to_vec());
    Line::Done(Done::Listed {
        next,
        streams_unknown_of: unknown_of.unwrap_or_default(),
    })
}

/// Ends the session whose key begins with `key`; none when that fits several, which are shown.
pub(super) async fn revoke<W: AsyncWrite + Unpin>(
    sessions: &Sessions,
    key: &str,
    peer: Peer,
    answer: &mut Answer<W>,
) -> io::Result<Line> {
    let Some(prefix) = KeyPrefix::parse(key) else {
        return Ok(no_key(key));
    };
    let found = match sessions.beginning_with(&prefix, MAX_MATCHES).await {
        Ok(found) => found,
        Err(error) => return Ok(revoke_known(sessions, &prefix, error, peer).await),
    };
    match found.as_slice() {
        [] => Ok(no_session(key)),
        [record] => Ok(revoke_one(sessions, record, key, peer).await),
        several => {
            show(several, None, answer).await?;
            Ok(Line::Error(format!(
                "{count}{more} sessions begin with {key}: write more digits of one; none has ended",
                count = several.len(),
                more = if several.len() == MAX_MATCHES {
                    " or more"
                } else {
                    ""
                },
            )))
        }
    }
}

/// While the store is away: a session that this node knows ends here, and in the store when that is
/// back.
async fn revoke_known(
    sessions: &Sessions,
    prefix: &KeyPrefix,
    error: StoreError,
    peer: Peer,
) -> Line {
    match sessions.known_beginning_with(prefix).as_slice() {
        [session] => revoke_this(sessions, &session.key(), session.user(), peer)
            .await
            .unwrap_or_else(|| unread(error)),
        _ => unread(error),
    }
}

async fn revoke_one(sessions: &Sessions, record: &Record, key: &str, peer: Peer) -> Line {
    let ended = revoke_this(sessions, &record.key, record.user(), peer).await;
    ended.unwrap_or_else(|| no_session(key)) // it ended by itself meanwhile
}

/// `None` when there is no such session.
async fn revoke_this(
    sessions: &Sessions,
    key: &SessionKey,
    user: &str,
    peer: Peer,
) -> Option<Line> {
    let ended = sessions.end(key).await;
    if ended == Ok(false) {
        return None;
    }
    tracing::info!(
        target: "audit", by = peer.uid, pid = peer.pid,
        session = %key.short(), user, complete = ended.is_ok(), "session revoked"
    );
    Some(match ended {
        Ok(_) => Line::Done(Done::Ended {
            sessions: 1,
            or_more: false,
            user: Some(user.to_owned()),
        }),
        Err(error) => unwritten("the session is", error),
    })
}

/// Ends the sessions of a user, however the name is spelled.
pub(super) async fn revoke_of_user(sessions: &Sessions, user: &str, peer: Peer) -> Line {
    let ended = sessions.end_all_of_user(user).await;
    let total = ended.as_ref().map_or(0, |ended| ended.count);
    let is_whole = ended.as_ref().is_ok_and(|ended| ended.is_whole);
    let user = printable(user).into_owned();
    tracing::info!(
        target: "audit", by = peer.uid, pid = peer.pid, user, sessions = total,
        counted = is_whole, complete = ended.is_ok(), "sessions of a user revoked"
    );
    match ended {
        Ok(ended) => all_ended(ended),
        Err(EndError::Unread(error)) => unread(error),
        Err(EndError::Unwritten(error)) => unwritten("the sessions are", error),
    }
}

pub(super) async fn revoke_all(sessions: &Sessions, peer: Peer) -> Line {
    let ended = sessions.end_all().await;
    let is_whole = ended.is_ok_and(|ended| ended.is_whole);
    tracing::info!(
        target: "audit", by = peer.uid, pid = peer.pid,
        sessions = ended.ok().map(|ended| ended.count), counted = is_whole,
        complete = ended.is_ok(), "all sessions revoked"
    );
    match ended {
        Ok(ended) => all_ended(ended),
        Err(error) => unwritten("all sessions are", error),
    }
}

fn all_ended(ended: Removed) -> Line {
    Line::Done(Done::Ended {
        sessions: ended.count,
        or_more: !ended.is_whole,
        user: None,
    })
}

async fn show<W: AsyncWrite + Unpin>(
    records: &[std::sync::Arc<Record>],
    streams: Option<&Streams>,
    answer: &mut Answer<W>,
) -> io::Result<()> {
    for record in records {
        let view = SessionView {
            streams: streams.map(|streams| streams_of(streams, &record.key)),
            ..SessionView::from(&**record)
        };
        answer.line(&Line::Session(Box::new(view))).await?;
    }
    Ok(())
}

fn streams_of(streams: &Streams, session: &SessionKey) -> Vec<StreamsView> {
    let nodes = streams.of(session.shared_name());
    let view = |(node, open): (&str, u32)| StreamsView {
        node: node.to_owned(),
        open,
    };
    nodes.map(view).collect()
}

fn no_key(wrong: &str) -> Line {
    let wrong = printable(wrong);
    Line::Error(format!(
        "`{wrong}` is no session key: write 8 to 64 hexadecimal digits"
    ))
}

fn no_session(key: &str) -> Line {
    Line::Error(format!("no session begins with {key}"))
}

fn unread(error: StoreError) -> Line {
    Line::Error(match error {
        StoreError::Slow(_) => error.to_string(), // and what to do
        _ => format!("{error}; the server's log says why"),
    })
}

fn unwritten(what: &str, error: StoreError) -> Line {
    Line::Error(format!(
        "{what} over in this server, but that could not be written down: {error}. It is tried \
         again; should the server crash before, look again after its start"
    ))
}

//! Reads what others have ended, and tells it.
//!
//! There is a stream of ends in each shard, whose entries are numbered without a gap. Each is read
//! from the last entry that is known, which proves that none is missed: where it is not there any
//! more, nobody can say what has ended, and all that is known here is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ::redis::{Value, pipe};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::epochs::Epoch;
use super::journal::EndScope;
use super::keys::{SHARDS, Shard};
use super::peers::Peers;
use super::remove::Tell;
use super::scripts::BEGIN;
use super::{Shared, bytes};
use crate::clock::{Clock, Timestamp};
use crate::session::id::SessionKey;
use crate::session::store::{End, StoreError};
use crate::session::user_key::UserKey;

/// How often the streams are read, whether anything wakes the reader or not.
const EVERY: Duration = Duration::from_millis(250);

/// At least so long passes between two reads.
const PAUSE: Duration = Duration::from_millis(5);

/// Entries that are read of a stream at a time.
const BATCH: usize = 1000;

/// How far the streams have been read.
#[derive(Default)]
struct Positions {
    /// `None` where that is not known.
    of: [Option<Position>; SHARDS as usize],
    /// Something may have been missed, which nobody has been told.
    owes_lagged: bool,
}

/// The last entry that is known of a stream: another one may have its number by now.
#[derive(Clone, PartialEq)]
struct Position {
    number: u64,
    fields: Vec<Value>,
}

/// An entry of a stream.
struct Entry {
    position: Position,
    /// `None` is word of this node's own.
    end: Option<End>,
    epoch: Option<Epoch>,
    /// When it was made, in milliseconds by the clock of the server.
    made: Option<u64>,
}

/// Reads until it is dropped.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut generation = shared.link.generation();
    let mut wake_ups = shared.link.wake_ups(&shared.names.channel());
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut positions = Positions::default();
    // The server that knows what this node knows.
    let (mut told, mut peers) = (None, Peers::default());
    let mut is_first = true;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Some(()) = wake_ups.recv() => {}
            Ok(()) = generation.changed() => {}
        }
        let current = generation.borrow_and_update().clone();
        if !current.connected {
            continue;
        }
        if told.as_ref() != Some(&current.run_id) {
            shared.met().meet(&current.run_id);
            // Another server, or one that has begun anew, may not know what the last one did. What
            // it does know comes first: a session that has ended is not to be written again.
            if !is_first
                && (read(&shared, &mut positions).await.is_err()
                    || shared.assert_again().await.is_err())
            {
                told = None; // the last one, too, if it comes back
                continue;
            }
            positions.owes_lagged = true;
            told = Some(current.run_id.clone());
            is_first = false;
            peers.wait();
        }
        let at = shared.clock.now();
        shared.journal().writes.forget_old(at);
        match read(&shared, &mut positions).await {
            // Some of it may have been read on another server.
            Ok(()) if generation.borrow().number != current.number => {
                positions = Positions::default();
            }
            Ok(()) => {
                shared.tell(|follower| follower.no_more_until(at));
                let was_waiting = peers.is_waiting();
                let have_all_told = peers.attend(&shared, &current.run_id).await;
                // Once more: another node may have written a session again meanwhile.
                if was_waiting && have_all_told && shared.end_again().await.is_err() {
                    peers.wait();
                } else if have_all_told {
                    shared.met().settle();
                }
                shared
                    .read
                    .send_if_modified(|read| std::mem::replace(read, at) != at);
            }
            Err(error) => tracing::debug!(%error, "the ends of sessions cannot be read"),
        }
        sleep(PAUSE).await;
    }
}

/// Reads all streams to their ends, and tells of what is there.
async fn read(shared: &Arc<Shared>, positions: &mut Positions) -> Result<(), StoreError> {
    let mut unread: Vec<_> = Shard::all().collect();
    while !unread.is_empty() {
        let mut commands = pipe();
        for shard in &unread {
            let stream = shared.names.ends(*shard);
            if let Some(last) = &positions.of[shard.index()] {
                let first = format!("0-{}", last.number);
                commands.cmd("XRANGE").arg(stream).arg(first).arg("+");
                commands.arg("COUNT").arg(BATCH);
            } else {
                commands.cmd("XREVRANGE").arg(stream).arg("+").arg("-");
                commands.arg("COUNT").arg(1);
            }
        }
        let answers = shared.pipeline(&commands).await?;
        let (mut more, mut empty) = (Vec::new(), Vec::new());
        for (shard, answer) in unread.iter().zip(answers) {
            let Value::Array(values) = answer else {
                return Err(StoreError::Unavailable);
            };
            let position = &mut positions.of[shard.index()];
            let Some(last) = position else {
                positions.owes_lagged = true;
                *position = values.first().and_then(self::position);
                if position.is_none() {
                    empty.push(*shard);
                    more.push(*shard);
                }
                continue;
            };
            if let Some(entries) = going_on_from(last, shared, &values) {
                if let Some(news @ [_, ..]) = entries.get(1..) {
                    let clock = StoreClock::of(shared);
                    for entry in news {
                        shared.hear(entry, &clock);
                    }
                }
                if let Some(entry) = entries.into_iter().next_back() {
                    *last = entry.position;
                }
                if values.len() == BATCH {
                    more.push(*shard);
                }
            } else {
                *position = None;
                more.push(*shard);
            }
        }
        // One entry there is always: so it shows when a stream was emptied.
        for shard in empty {
            let stream = [shared.names.ends(shard)];
            shared.script(&BEGIN, &stream, &[&shared.node]).await?;
        }
        unread = more;
    }
    // The first time, all that was given out has waited for it, unless it says that it has not.
    let is_first = *shared.read.borrow() == Timestamp::default();
    let may_have_missed = !is_first || shared.has_not_waited.load(Ordering::SeqCst);
    if std::mem::take(&mut positions.owes_lagged) && may_have_missed {
        shared.tell(|follower| follower.send(End::Lagged));
    }
    Ok(())
}

/// The entries of an answer, if the first of them is the one that is known, and none is missing.
fn going_on_from(last: &Position, shared: &Shared, values: &[Value]) -> Option<Vec<Entry>> {
    let entries = values.iter().map(|value| entry(shared, value));
    let entries: Vec<_> = entries.collect::<Option<_>>()?;
    let is_known = entries.first().is_some_and(|entry| entry.position == *last);
    let mut numbers = entries.iter().map(|entry| entry.position.number);
    let is_whole = (last.number..)
        .zip(&mut numbers)
        .all(|(one, other)| one == other);
    (is_known && is_whole).then_some(entries)
}

fn position(value: &Value) -> Option<Position> {
    let Value::Array(parts) = value else {
        return None;
    };
    let Value::Array(fields) = parts.get(1)? else {
        return None;
    };
    Some(Position {
        number: number(value)?,
        fields: fields.clone(),
    })
}

fn number(value: &Value) -> Option<u64> {
    let Value::Array(parts) = value else {
        return None;
    };
    let id = std::str::from_utf8(bytes(parts.first()?)?).ok()?;
    id.strip_prefix("0-")?.parse().ok()
}

/// What others may write there once is passed over: later versions may tell of more.
fn entry(shared: &Shared, value: &Value) -> Option<Entry> {
    let position = position(value)?;
    let [what, of, _n, node, others @ ..] = position.fields.as_slice() else {
        return None;
    };
    let of = bytes(of)?;
    let key = || Some(SessionKey::from_bytes(of.try_into().ok()?));
    let end = match bytes(what)? {
        b"k" => Some(End::One(key()?)),
        b"c" => Some(End::Changed(key()?)),
        b"u" => Some(End::User(UserKey::parse(of)?)),
        b"a" => Some(End::All),
        _ => None,
    };
    // Of a user, the own ones, too: whoever asked for it may be gone before it was forgotten here.
    let is_news = bytes(node)? != shared.node || matches!(end, Some(End::User(_)));
    let (others, _) = others.as_chunks::<2>();
    let other = |name: &[u8]| {
        let mut others = others.iter();
        let [_, value] = others.find(|[other, _]| bytes(other) == Some(name))?;
        Some(value)
    };
    let kept = other(b"k").and_then(bytes).unwrap_or_default();
    let epoch = other(b"e").and_then(super::number);
    Some(Entry {
        end: end.filter(|_| is_news),
        epoch: epoch.and_then(|epoch| Epoch::new(epoch, kept)),
        made: other(b"t").and_then(super::number),
        position,
    })
}

/// What the clock of the server says now, as far as this node knows.
struct StoreClock {
    now: Instant,
    millis: i128,
}

impl StoreClock {
    fn of(shared: &Shared) -> Self {
        let servers = shared.link.state().servers;
        let master = servers.iter().find(|server| server.is_master);
        let ahead = master.map_or(0, |server| server.clock_ahead);
        let wall = i128::try_from(Clock::wall().as_millis()).unwrap_or(i128::MAX);
        Self {
            now: Clock::stopwatch(),
            millis: wall.saturating_add(ahead.into()),
        }
    }

    /// A time by that clock, which lies before now.
    fn time(&self, millis: u64) -> Option<Instant> {
        let ago = self.millis.saturating_sub(millis.into()).max(0);
        let ago = Duration::from_millis(u64::try_from(ago).ok()?);
        self.now.checked_sub(ago)
    }
}

impl Shared {
    /// Notes what somebody else has ended, and tells it.
    fn hear(self: &Arc<Self>, entry: &Entry, clock: &StoreClock) {
        let Some(end) = entry.end else {
            return;
        };
        match end {
            End::One(key) => {
                // It may have been written once more after its end, while a new server was told of
                // the last writes.
                if self.journal().bury(key) {
                    let shared = Arc::clone(self);
                    tokio::spawn(async move {
                        if shared.remove_each(&[key], Tell::IfThere).await.is_err() {
                            shared.note_written(&[key], false);
                        }
                    });
                }
            }
            End::User(user) => self.hear_epoch(EndScope::User(user), entry.epoch.as_ref()),
            End::All => self.hear_epoch(EndScope::All, entry.epoch.as_ref()),
            End::Changed(_) | End::Lagged | End::MadeAt(_) | End::NoMoreUntil(_) => {}
        }
        self.tell(|follower| follower.send(end));
        let made = entry.made.filter(|_| !matches!(end, End::Changed(_)));
        if let Some(made) = made.and_then(|made| clock.time(made)) {
            self.tell(|follower| follower.made_at(made));
        }
    }

    fn hear_epoch(&self, scope: EndScope, epoch: Option<&Epoch>) {
        let mut journal = self.journal();
        if let Some(epoch) = epoch {
            journal.writes.forget_ended(scope, epoch);
            journal.note_epoch(scope, epoch.clone());
        } else {
            let any = Epoch {
                number: u64::MAX,
                kept: Vec::new(),
            };
            journal.writes.forget_ended(scope, &any);
        }
    }
}

//! The connections to the servers that nodes share.
//!
//! One connection for each server, which all commands share; [`node`] replaces it when it is lost or
//! old, and [`cluster`] follows which server has which keys. No command waits for that: while there
//! is no connection, all fail at once.

mod cluster;
mod connect;
mod dispatch;
mod durable;
mod error;
mod inspect;
mod node;
mod request;
mod routes;
mod server;
mod shared;
mod slots;
mod target;
#[cfg(test)]
mod tests;
mod wake;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, Script, Value};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::files::trust;
use super::{FileError, SealKeys, Servers, Settings};
use crate::clock::{Clock, Timestamp};
pub(crate) use error::{ConnectError, LinkError};
pub(crate) use inspect::{Inspected, inspect};
pub(crate) use node::Pause;
use request::Request;
use routes::Routes;
pub(crate) use server::Server;
use shared::Shared;
use target::Target;

/// After this, a connection is replaced: names and roles may have changed without anybody saying so.
const AGE: Duration = Duration::from_mins(5);

/// Which servers stand behind the link, and whether they can be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generation {
    /// Goes up with each connection that is made.
    pub(crate) number: u64,
    /// Another one when a server was started anew, or another has taken its place: what was written
    /// before may be gone there. Empty before the first connection.
    pub(crate) run_id: String,
    /// To each server that has keys.
    pub(crate) connected: bool,
}

/// For people and their machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub(crate) connected: bool,
    /// When that changed last.
    pub(crate) since: Timestamp,
    /// Why there is no connection, or no newer one.
    pub(crate) error: Option<String>,
    /// Those that there are connections to.
    pub(crate) servers: Vec<Server>,
}

/// A time before a write, for [`Link::durable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// Cheap to clone; the connections end with the last clone.
#[derive(Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

/// What keeps the connections; it keeps the rest alive, too.
struct Tasks {
    shared: Arc<Shared>,
    follower: Option<AbortHandle>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
        self.shared.close();
    }
}

impl Link {
    /// Reads the files with secrets, and connects in the background of this runtime.
    pub(crate) fn open(settings: &Arc<Settings>, clock: &Clock) -> Result<Self, FileError> {
        Self::open_with(settings, clock, AGE)
    }

    /// With connections that become that old.
    fn open_with(
        settings: &Arc<Settings>,
        clock: &Clock,
        age: Duration,
    ) -> Result<Self, FileError> {
        trust(&settings.files())?;
        let keys = settings.keys()?;
        for password in settings.passwords() {
            password.read_line()?;
        }
        if settings.servers.are_tls() {
            settings.tls.read()?;
        }
        let shared = Arc::new(Shared::new(settings, keys, clock, age));
        let target = match &settings.servers {
            Servers::One(address) => Target::One(address.clone()),
            Servers::Sentinel(sentinel) => Target::Sentinel(sentinel.clone()),
            Servers::Cluster(nodes) => {
                let following = cluster::follow(Arc::clone(&shared), nodes.clone());
                let task = tokio::spawn(following).abort_handle();
                return Ok(Self::of(shared, Some(task)));
            }
        };
        let member = shared.member(target, None);
        shared.set_routes(Routes::one(member));
        Ok(Self::of(shared, None))
    }

    fn of(shared: Arc<Shared>, follower: Option<AbortHandle>) -> Self {
        let tasks = Tasks {
            shared: Arc::clone(&shared),
            follower,
        };
        Self {
            shared,
            _tasks: Arc::new(tasks),
        }
    }

    /// What each key begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.shared.settings.prefix
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// What values are sealed with.
    pub(crate) fn keys(&self) -> &SealKeys {
        &self.shared.keys
    }

    /// One command, with keys of one slot. Without an answer, nobody knows whether it was done.
    pub(crate) async fn query(&self, command: &Cmd) -> Result<Value, LinkError> {
        let answer = self.shared.run(Request::One(command)).await;
        self.shared.log_refusal(answer)
    }

    /// Several commands at once, each with keys of one slot, and their answers in the same order. An
    /// error of one is that of all, though others may have been done.
    pub(crate) async fn pipeline(&self, commands: &Pipeline) -> Result<Vec<Value>, LinkError> {
        let answers = self.shared.pipeline(commands).await;
        self.shared.log_refusal(answers)
    }

    /// A script by its hash, with keys of one slot, of which there is at least one. A server that
    /// does not know it gets its text.
    pub(crate) async fn script(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Value, LinkError> {
        let call = Request::Script { script, keys, args };
        let answer = self.shared.run(call).await;
        self.shared.log_refusal(answer)
    }

    /// To be taken before a write.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.shared.generation.borrow().number)
    }

    /// Waits until what was written and answered since that mark, to the server of this key, is on
    /// as many replicas as `wait_replicas` asks for; gives whether it is. At once where none are
    /// asked for. [`LinkError::Unavailable`]: another server may have taken the place of the one
    /// that was written to, and nobody knows whether it has it.
    pub(crate) async fn durable(&self, since: Mark, key: &[u8]) -> Result<bool, LinkError> {
        if self.shared.settings.wait_replicas == Some(0) {
            return Ok(true);
        }
        let routes = self.shared.routes.load_full();
        let member = routes.of(Some(key)).ok_or(LinkError::Unavailable)?;
        let (answer, answered) = oneshot::channel();
        let asked = durable::Asked {
            key: key.to_owned(),
            answer,
        };
        let sent = member.durable.send(asked).await;
        sent.map_err(|_| LinkError::Unavailable)?;
        let is_durable = answered.await.map_err(|_| LinkError::Unavailable)??;
        if member.node.since() > since.0 {
            return Err(LinkError::Unavailable);
        }
        Ok(is_durable)
    }

    /// Of the servers that commands go to at this moment; see [`Generation::run_id`], which may tell
    /// of them a little later.
    pub(crate) fn run_id(&self) -> String {
        self.shared.routes.load().run_id()
    }

    /// Tells of new connections, and of lost ones.
    pub(crate) fn generation(&self) -> watch::Receiver<Generation> {
        self.shared.generation.subscribe()
    }

    /// Whenever something was published in this channel, and perhaps more often or not at all:
    /// nobody may rely on it.
    pub(crate) fn wake_ups(&self, channel: &str) -> mpsc::Receiver<()> {
        let (wake, woken) = mpsc::channel(1);
        let shared = Arc::downgrade(&self.shared);
        tokio::spawn(wake::keep(shared, channel.to_owned(), wake));
        woken
    }

    /// Milliseconds that the clock of the servers is ahead of this node's; negative where it is behind.
    /// Zero before the first connection, and where they differ by less than a second. Stays as it was
    /// when it was first known, so that times do not jump when one of the clocks is set.
    pub(crate) fn clock_offset(&self) -> i64 {
        self.shared.clock_offset()
    }

    /// As if the clocks had differed so when the first connection was made.
    #[cfg(test)]
    pub(crate) fn set_clock_offset(&self, offset: i64) {
        self.shared.set_clock_offset(offset);
    }

    /// How it is now.
    pub(crate) fn state(&self) -> LinkState {
        self.shared.state()
    }
}

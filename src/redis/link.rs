//! The connections to the servers that nodes share.
//!
//! One connection for each server, which all commands share; [`node`] replaces it when it is lost.
//! No command waits for that: while there is no connection, all fail at once.

mod connect;
mod error;
mod node;
mod request;
mod server;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, Script, Value};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::files::trust;
use super::{FileError, SealKeys, Servers, Settings};
use crate::clock::{Clock, Timestamp};
use crate::telemetry::Seldom;
pub(crate) use error::LinkError;
use error::{Verdict, judge};
use node::{Node, Pause};
use request::Request;
pub(crate) use server::Server;
use target::Target;

/// Which servers stand behind the link, and whether they can be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generation {
    /// Goes up with each connection that is made.
    pub(crate) number: u64,
    /// Another one when a server was started anew, or another has taken its place: what was written
    /// before may be gone there. Empty before the first connection.
    pub(crate) run_id: String,
    pub(crate) connected: bool,
}

/// For people and their machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub(crate) connected: bool,
    /// When that changed last.
    pub(crate) since: Timestamp,
    /// Why there is no connection.
    pub(crate) error: Option<String>,
    /// Those that there are connections to.
    pub(crate) servers: Vec<Server>,
}

/// Cheap to clone; the connections end with the last clone.
#[derive(Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

struct Shared {
    settings: Arc<Settings>,
    keys: SealKeys,
    node: Node,
    generation: watch::Sender<Generation>,
    since: watch::Sender<Timestamp>,
    /// Until then, a command waits for the first connection.
    patience: Instant,
    clock: Clock,
    said_away: Seldom,
}

struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Link {
    /// Reads the files with secrets, and connects in the background of this runtime.
    pub(crate) fn open(settings: &Arc<Settings>, clock: &Clock) -> Result<Self, FileError> {
        trust(&settings.files())?;
        let keys = settings.keys()?;
        for login in settings.logins() {
            if let Some(password) = &login.password {
                password.read_line()?;
            }
        }
        if settings.servers.are_tls() {
            connect::client_config(&settings.tls)?;
        }
        let target = match &settings.servers {
            Servers::One(address) => Target::Address(address.clone()),
            Servers::Sentinel(sentinel) => Target::Address(sentinel.nodes[0].clone()),
            Servers::Cluster(nodes) => Target::Address(nodes[0].clone()),
        };
        let shared = Arc::new(Shared {
            settings: Arc::clone(settings),
            keys,
            node: Node::new(target),
            generation: watch::Sender::default(),
            since: watch::Sender::new(clock.now()),
            patience: Instant::now() + settings.timeout,
            clock: clock.clone(),
            said_away: Seldom::new(clock.clone()),
        });
        let keeper = Arc::clone(&shared);
        let keeper = tokio::spawn(async move {
            keeper
                .node
                .keep(&keeper.settings, || keeper.changed())
                .await;
        });
        Ok(Self {
            shared,
            _tasks: Arc::new(Tasks(vec![keeper.abort_handle()])),
        })
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
        self.run(Request::One(command)).await
    }

    /// Several commands at once, and their answers in the same order; an error of one is that of
    /// all, though others may have been done. All keys are of one slot.
    pub(crate) async fn pipeline(&self, commands: &Pipeline) -> Result<Vec<Value>, LinkError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        match self.run(Request::Several(commands)).await? {
            Value::Array(answers) => Ok(answers),
            other => Ok(vec![other]),
        }
    }

    /// A script by its hash, with keys of one slot, of which there is at least one. A server that
    /// does not know it gets its text.
    pub(crate) async fn script(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Value, LinkError> {
        self.run(Request::Script { script, keys, args }).await
    }

    /// Waits until what was written and answered before, to the server of this key, is on as many
    /// replicas as `wait_replicas` asks for; gives whether it is. At once where none are asked for.
    #[expect(clippy::unused_async, reason = "there are no replicas yet")]
    pub(crate) async fn durable(&self, _key: &[u8]) -> Result<bool, LinkError> {
        Ok(true)
    }

    /// Tells of new connections, and of lost ones.
    pub(crate) fn generation(&self) -> watch::Receiver<Generation> {
        self.shared.generation.subscribe()
    }

    /// Whenever something was published in this channel, and perhaps more often or not at all:
    /// nobody may rely on it.
    pub(crate) fn wake_ups(&self, channel: &str) -> mpsc::Receiver<()> {
        let (wake, woken) = mpsc::channel(1);
        let (shared, channel) = (Arc::downgrade(&self.shared), channel.to_owned());
        tokio::spawn(async move {
            let mut pause = Pause::default();
            while let Some(current) = shared.upgrade().filter(|_| !wake.is_closed()) {
                let connection = current.node.current();
                let settings = Arc::clone(&current.settings);
                drop(current);
                if let Some(connection) = connection
                    && listen(&settings, &connection.address, &channel, &wake).await
                {
                    pause = Pause::default();
                }
                pause.wait().await;
            }
        });
        woken
    }

    /// How it is now.
    pub(crate) fn state(&self) -> LinkState {
        let node = &self.shared.node;
        let current = node.current();
        LinkState {
            connected: current.is_some(),
            since: *self.shared.since.borrow(),
            error: node.error().map(|error| error.to_string()),
            servers: Vec::from_iter(current.map(|connection| connection.server.clone())),
        }
    }

    async fn run(&self, request: Request<'_>) -> Result<Value, LinkError> {
        let Some(connection) = self.shared.connection().await else {
            return Err(LinkError::Unavailable);
        };
        let mut handle = connection.handle();
        let answer = timeout(self.shared.settings.timeout, request.send(&mut handle)).await;
        let verdict = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => judge(&error),
            Err(_) => Verdict::Lost("no answer in time".to_owned()),
        };
        match verdict {
            Verdict::Failed(error) => Err(error),
            Verdict::Lost(why) => {
                tracing::debug!(why, "a connection to the session store is given up");
                self.shared.node.lose(&connection);
                Err(LinkError::Unavailable)
            }
        }
    }
}

impl Shared {
    /// The one there is; the first one is waited for a little.
    async fn connection(&self) -> Option<Arc<connect::Connection>> {
        if let Some(connection) = self.node.current() {
            return Some(connection);
        }
        let mut generation = self.generation.subscribe();
        let is_first = generation.borrow().number == 0;
        if is_first {
            let made = generation.wait_for(|generation| generation.number > 0);
            let _ = timeout_at(self.patience, made).await;
        }
        self.node.current()
    }

    /// Tells of a connection that was made or lost.
    fn changed(&self) {
        let current = self.node.current();
        let connected = current.is_some();
        let mut was_connected = false;
        self.generation.send_modify(|generation| {
            was_connected = generation.connected;
            generation.connected = connected;
            if let Some(connection) = &current {
                generation.number += 1;
                generation.run_id.clone_from(&connection.server.run_id);
            }
        });
        if was_connected != connected {
            self.since.send_replace(self.clock.now());
        }
        match current {
            Some(connection) if !was_connected => {
                self.said_away.reset();
                let server = &connection.server;
                tracing::info!(
                    server = %connection.address,
                    version = server.version,
                    clock_ahead_ms = server.clock_ahead,
                    "connected to the session store"
                );
            }
            None if self.said_away.is_due() => {
                let error = self.node.error();
                let (error, help) = error.map_or_else(Default::default, |error| {
                    (error.to_string(), error.fix().unwrap_or_default())
                });
                tracing::error!(error, help, "the session store cannot be reached");
            }
            _ => {}
        }
    }
}

/// Subscribes, and passes on what comes until the connection ends. Gives whether there was one.
async fn listen(
    settings: &Settings,
    address: &super::Address,
    channel: &str,
    wake: &mpsc::Sender<()>,
) -> bool {
    use futures_util::StreamExt;
    const QUIET: Duration = Duration::from_secs(5);
    let Ok(pub_sub) = connect::open_pub_sub(settings, address).await else {
        return false;
    };
    let (mut sink, mut messages) = pub_sub.split();
    if !matches!(
        timeout(settings.timeout, sink.subscribe(channel)).await,
        Ok(Ok(()))
    ) {
        return false;
    }
    // Something may have come before.
    let _ = wake.try_send(());
    loop {
        tokio::select! {
            () = wake.closed() => return true,
            message = timeout(QUIET, messages.next()) => match message {
                Ok(Some(_)) => {
                    let _ = wake.try_send(()); // one that was not heard yet is enough
                }
                Ok(None) => return true,
                Err(_) => {
                    let ping = timeout(settings.timeout, sink.ping::<::redis::Value>()).await;
                    if !matches!(ping, Ok(Ok(_))) {
                        return true;
                    }
                }
            },
        }
    }
}

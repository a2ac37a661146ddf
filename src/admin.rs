//! Administration: a Unix socket on which the owner of the process, and root, list and end
//! sessions, change users that nodes share, close and open apps, have the configuration read again, and ask how the server is and
//! which others there are.
//!
//! One request a connection, everything bounded: a client that sends junk, stalls or does not read
//! holds one of a few places for some seconds, and nobody else.

mod apps;
mod nodes;
mod probes;
pub(crate) mod protocol;
mod reload;
mod sessions;
mod status;
mod tokens;
mod users;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::protocol::{Done, Line, Request};
pub(crate) use self::reload::{Outcome, Reloads};
pub(crate) use self::status::Server;
use crate::auth::Accounts;
use crate::auth::api_token::ApiTokens;
use crate::clock::Clock;
use crate::doctor;
use crate::nodes::Heartbeat;
use crate::session::Sessions;
use crate::socket_file::{self, BindError, SocketFile};

/// `[admin] socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathSetting {
    /// Nobody insists on it: where it cannot be, the server does without.
    Default(PathBuf),
    /// The configuration says so: where it cannot be, the server does not start.
    Configured(PathBuf),
    Off,
}

impl PathSetting {
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Default(path) | Self::Configured(path) => Some(path),
            Self::Off => None,
        }
    }

    /// This place, as one that the server can do without.
    pub(crate) fn if_possible(self) -> Self {
        match self {
            Self::Default(path) | Self::Configured(path) => Self::Default(path),
            Self::Off => Self::Off,
        }
    }
}

/// What requests are about.
pub(crate) struct Context {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) clock: Clock,
    pub(crate) doctor: Arc<doctor::Live>,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) reloads: Reloads,
    pub(crate) server: Server,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) tokens: Arc<ApiTokens>,
}

/// Clients at a time; more wait to be accepted.
const MAX_CLIENTS: usize = 16;

/// The longest request, its line end included.
const MAX_REQUEST: u64 = 65_536;

/// Lines are sent together up to here.
const BUFFER: usize = 16 * 1024;

/// Accepting goes on after a pause when descriptors have run out (REL-05).
const PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to read a piece of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long clients may go on when the server has stopped.
const FAREWELL: Duration = Duration::from_secs(1);

/// The open socket; closed and removed when dropped.
pub(crate) struct Admin {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _file: SocketFile,
}

/// The socket before anybody answers there: who connects waits for that.
pub(crate) struct Bound {
    listener: UnixListener,
    file: SocketFile,
}

impl Bound {
    /// A server whose operator did not ask for the socket goes on without one, and says so.
    pub(crate) fn open(place: &PathSetting) -> Result<Option<Self>, BindError> {
        match place {
            PathSetting::Configured(path) => Self::bind(path).map(Some),
            PathSetting::Default(path) => {
                let bound = Self::bind(path).inspect_err(|error| {
                    tracing::warn!(%error, "the commands `app`, `node`, `session`, `token`, `reload` and `status` will not work");
                });
                Ok(bound.ok())
            }
            PathSetting::Off => Ok(None),
        }
    }

    fn bind(path: &Path) -> Result<Self, BindError> {
        let (listener, file) = socket_file::bind(path, &socket_file::ADMIN)?;
        Ok(Self { listener, file })
    }

    pub(crate) fn answer(self, context: Context) -> Admin {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(self.listener, Arc::new(context), stop.clone()));
        Admin {
            stop,
            tasks,
            _file: self.file,
        }
    }
}

impl Admin {
    /// Takes no more clients, and gives those who are there a moment.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn serve(listener: UnixListener, context: Arc<Context>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    let mut clients = JoinSet::new();
    while let Some((stream, place)) = stop.run_until_cancelled(next(&listener, &places)).await {
        while clients.try_join_next().is_some() {}
        let context = Arc::clone(&context);
        clients.spawn(async move {
            let _place = place;
            if let Err(error) = converse(stream, &context).await {
                tracing::debug!(%error, "a client of the admin socket is gone");
            }
        });
    }
    drop(listener);
    let finished = async { while clients.join_next().await.is_some() {} };
    let _ = timeout(FAREWELL, finished).await;
}

/// The next client, when there is a place.
async fn next(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> (UnixStream, Option<OwnedSemaphorePermit>) {
    let place = Arc::clone(places).acquire_owned().await.ok(); // never closed
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::debug!(%error, "cannot accept a client of the admin socket");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Who asks, as the kernel says.
#[derive(Clone, Copy, Debug)]
struct Peer {
    uid: u32,
    pid: Option<i32>,
}

impl Peer {
    /// Root, and the user that the server runs as. The mode of the socket says the same, until
    /// somebody changes it.
    fn of(credentials: &UCred) -> Option<Self> {
        let peer = Self {
            uid: credentials.uid(),
            pid: credentials.pid(),
        };
        if [0, rustix::process::geteuid().as_raw()].contains(&peer.uid) {
            return Some(peer);
        }
        tracing::warn!(
            target: "audit", by = peer.uid, pid = peer.pid,
            "administration refused: only root and the user of the server may"
        );
        None
    }
}

/// One request and its answer. Once read, a request is carried out even if its client leaves.
async fn converse(mut stream: UnixStream, context: &Context) -> io::Result<()> {
    let Some(peer) = Peer::of(&stream.peer_cred()?) else {
        return Ok(());
    };
    let (reader, writer) = stream.split();
    let mut request = String::new();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST));
    let read = timeout(REQUEST_TIMEOUT, reader.read_line(&mut request)).await;
    let mut answer = Answer::new(writer, WRITE_TIMEOUT);
    let parsed = match read {
        Err(_) => Err("the request took too long".to_owned()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Err("the request is not text in UTF-8".to_owned())
        }
        Ok(Err(error)) => return Err(error),
        Ok(Ok(0)) => return Ok(()),
        Ok(Ok(_)) => parse(&request),
    };
    match parsed {
        Ok(request) => handle(request, context, peer, &mut answer).await?,
        Err(words) => answer.line(&Line::Error(words)).await?,
    }
    answer.flush().await
}

fn parse(request: &str) -> Result<Request, String> {
    if !request.ends_with('\n') {
        return Err(if request.len() as u64 == MAX_REQUEST {
            format!("the request is longer than {MAX_REQUEST} bytes")
        } else {
            "the request ends before its line does".to_owned()
        });
    }
    serde_json::from_str(request)
        .map_err(|error| format!("this server does not understand the request: {error}"))
}

async fn handle<W: AsyncWrite + Unpin>(
    request: Request,
    context: &Context,
    peer: Peer,
    answer: &mut Answer<W>,
) -> io::Result<()> {
    let sessions = &context.sessions;
    let last = match request {
        Request::AppPause { app, sentence } => {
            apps::pause(&context.server.service, &app, sentence.as_deref(), peer)
        }
        Request::AppResume { app } => apps::resume(&context.server.service, &app, peer),
        Request::NodeList {} => nodes::list(context, answer).await?,
        Request::ProbesBegin {} => probes::begin(&context.server.service, peer),
        Request::ProbesEnd { key } => probes::end(&context.server.service, &key, answer).await?,
        Request::Reload {} => {
            tracing::info!(target: "audit", by = peer.uid, pid = peer.pid, "reload requested");
            context.reloads.ask().await
        }
        Request::SessionList { after } => {
            let streams = nodes::streams(context, after.is_some()).await;
            sessions::list(sessions, after.as_deref(), streams.as_deref(), answer).await?
        }
        Request::SessionListOfUser { user } => {
            let streams = nodes::streams(context, false).await;
            sessions::list_of_user(sessions, &user, streams.as_deref(), answer).await?
        }
        Request::SessionRevoke { key } => sessions::revoke(sessions, &key, peer, answer).await?,
        Request::SessionRevokeOfUser { user } => {
            sessions::revoke_of_user(sessions, &user, peer).await
        }
        Request::SessionRevokeAll {} => sessions::revoke_all(sessions, peer).await,
        Request::TokenAdd(new) => tokens::add(context, new, peer).await,
        Request::TokenList { user } => tokens::list(context, user.as_deref(), answer).await?,
        Request::TokenRevoke { key } => tokens::revoke(context, &key, peer, answer).await?,
        Request::TokenRevokeOfUser { user } => tokens::revoke_of_user(context, &user, peer).await,
        Request::UserAdd(user) => users::add(context, user, peer).await,
        Request::UserCheck { name, is_there } => users::check(context, &name, is_there).await,
        Request::UserImport { users, replace } => {
            users::import(context, users, replace, peer).await
        }
        Request::UserList {} => users::list(context, answer).await?,
        Request::UserPasswd { name, password } => {
            users::passwd(context, &name, &password, peer).await
        }
        Request::UserRemove { name } => users::remove(context, &name, peer).await,
        Request::UserSetDisabled { name, disabled } => {
            users::set_disabled(context, &name, disabled, peer).await
        }
        Request::Status {} => status::status(context).await,
        Request::Health {} => Line::Done(Done::Health(status::health(&context.doctor).await)),
    };
    answer.line(&last).await
}

/// The lines of an answer on their way to a client that may be slow to read them.
struct Answer<W> {
    writer: W,
    buffer: Vec<u8>,
    timeout: Duration,
}

impl<W: AsyncWrite + Unpin> Answer<W> {
    fn new(writer: W, timeout: Duration) -> Self {
        Self {
            writer,
            buffer: Vec::new(),
            timeout,
        }
    }

    async fn line(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, line)?;
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        timeout(self.timeout, self.writer.write_all(&self.buffer)).await??;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;

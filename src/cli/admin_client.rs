//! How commands ask the running server, over its admin socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::Failure;
use crate::admin::protocol::{Done, Line, NodeView, Request, SessionView, TokenView, UserView};
use crate::config::Config;
use crate::probe::Readings;

/// A server answers at once, and in a crowd within a few times of what it grants each client.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Far longer than a line that a server writes.
const MAX_LINE: u64 = 1024 * 1024;

/// What the server has to say.
pub(super) struct Answer {
    pub(super) nodes: Vec<NodeView>,
    pub(super) sessions: Vec<SessionView>,
    pub(super) tokens: Vec<TokenView>,
    pub(super) users: Vec<UserView>,
    pub(super) probes: Readings,
    /// How it ended; what the server refuses is a failure.
    pub(super) done: Result<Done, Failure>,
}

/// Where the running server is asked.
pub(super) struct Client {
    path: PathBuf,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        let path = config.admin.path().ok_or_else(|| {
            Failure::Failed(
                "the configuration switches administration off: `socket` in [admin] is empty"
                    .to_owned(),
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            timeout: TIMEOUT,
        })
    }

    /// Waits no longer than this for each piece of an answer.
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends a request and reads the whole answer before anything is done with it: the server
    /// does not wait for whoever reads our output page by page.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let socket =
            connect(&self.path, self.timeout).map_err(|error| no_connection(&self.path, &error))?;
        let mut text = serde_json::to_vec(request)
            .map_err(|error| Failure::Failed(format!("cannot write the request: {error}")))?;
        text.push(b'\n');
        (&socket).write_all(&text).map_err(|error| broken(&error))?;
        let mut reader = BufReader::new(&socket);
        let (mut nodes, mut sessions) = (Vec::new(), Vec::new());
        let (mut tokens, mut users) = (Vec::new(), Vec::new());
        let mut probes = Readings::new();
        let done = loop {
            match read_line(&mut reader)? {
                Line::Node(node) => nodes.push(*node),
                Line::Session(session) => sessions.push(*session),
                Line::Token(token) => tokens.push(*token),
                Line::User(user) => users.push(*user),
                Line::Probe(number, readings) => {
                    probes.insert(number, readings);
                }
                Line::Done(done) => break Ok(done),
                Line::Error(words) => break Err(Failure::Failed(words)),
                Line::Invalid(words) => break Err(Failure::Invalid(words)),
            }
        };
        Ok(Answer {
            nodes,
            sessions,
            tokens,
            users,
            probes,
            done,
        })
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<Line, Failure> {
    let mut line = Vec::new();
    reader
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .map_err(|error| broken(&error))?;
    if !line.ends_with(b"\n") {
        return Err(Failure::Failed(
            "the server did not complete its response; try again".to_owned(),
        ));
    }
    serde_json::from_slice(&line).map_err(|_| foreign())
}

/// Another version of the server, or another program.
pub(super) fn foreign() -> Failure {
    Failure::Failed(
        "the response is unknown to this version; is the running server another one?".to_owned(),
    )
}

fn connect(path: &Path, timeout: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The first bounds the wait in the server's queue as well.
    socket.set_write_timeout(Some(timeout))?;
    socket.set_read_timeout(Some(timeout))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

fn no_connection(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failure::NoServer(format!("no server is running: nothing answers at {path}"))
        }
        io::ErrorKind::PermissionDenied => Failure::Failed(format!(
            "you may not ask the server at {path}: run this as root, or as the user of the server"
        )),
        io::ErrorKind::WouldBlock => busy(),
        _ => Failure::Failed(format!("cannot reach the server at {path}: {error}")),
    }
}

fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => busy(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Failure::Failed(
            "the server closed the connection: it answers root and the user that it runs as"
                .to_owned(),
        ),
        _ => Failure::Failed(format!("cannot talk to the server: {error}")),
    }
}

fn busy() -> Failure {
    Failure::Failed(format!(
        "the server did not answer within {} seconds; it is overloaded or stopped",
        TIMEOUT.as_secs()
    ))
}

//! Logs: the access line of each request, the audit trail, everything else.
//!
//! One line an event, with fixed field names. Never in a log: passwords, ids, cookies,
//! Authorization, queries (SEC-72). Control characters cannot split a line (SEC-71).
//!
//! Whoever logs formats the line and hands it to a [`queue`], whose thread writes it: no target,
//! however slow or full, makes a request wait.

mod audit_file;
mod json;
mod line;
mod queue;
mod refused_head;
mod request_id;
mod seldom;
mod stdout;
mod timestamp;

use std::borrow::Cow;
use std::fmt::{Display, Formatter};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode, Version};
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, reload};

use self::audit_file::AuditFile;
use self::json::Json;
use self::line::Lines;
use self::queue::Queue;
pub(crate) use self::refused_head::RefusedHead;
pub(crate) use self::request_id::{REQUEST_ID, RequestId, RequestIds};
pub(crate) use self::seldom::Seldom;
use self::stdout::Stdout;
use crate::clock::Clock;
use crate::principal::Identity;
use crate::request::escape_raw;

/// `[log] format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text on a terminal, else JSON.
    Auto,
    Json,
    Text,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) format: Format,
    /// A level, or a list as in `info,vestibule=debug`.
    pub(crate) level: String,
    /// One line for each request.
    pub(crate) access: bool,
    /// Where the audit trail goes besides.
    pub(crate) audit_file: Option<PathBuf>,
}

/// Sends what the process logs to standard output, and the audit trail to its file, until the
/// value that it returns is dropped. Does nothing when somebody else has already taken the
/// process's logs.
pub(crate) fn start(settings: &Settings) -> Result<Logs, LogsError> {
    let stdout = Stdout::open().map_err(LogsError::Stdout)?;
    let journal = stdout.is_journal();
    let (filter, level) = reload::Layer::new(settings.targets());
    let logs = Logs {
        set_level: Box::new(move |targets| {
            // It fails when the subscriber is gone, and then there is no log.
            let _ = level.reload(targets);
        }),
        stdout: Queue::open("standard output", stdout).map_err(LogsError::Stdout)?,
        audit: (settings.audit_file.as_deref())
            .map(open_audit)
            .transpose()?,
    };
    let audit = logs.audit.as_ref().map(audit_layer);
    // Another subscriber is there only where a test or an embedding program has set it.
    let _ = tracing_subscriber::registry()
        .with(stdout_layer(settings, filter, &logs.stdout, journal))
        .with(audit)
        .try_init();
    Ok(logs)
}

impl Settings {
    /// Bytes of lines that wait, at most: what is written while as much again comes (REL-06).
    pub(crate) fn memory(&self) -> usize {
        let queues = 1 + usize::from(self.audit_file.is_some());
        2 * queues * queue::CAPACITY
    }

    fn targets(&self) -> Targets {
        self.level
            .parse()
            .unwrap_or(Targets::new().with_default(LevelFilter::INFO))
    }
}

fn stdout_layer<S, F>(
    settings: &Settings,
    filter: F,
    queue: &Arc<Queue>,
    journal: bool,
) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Filter<S> + 'static,
{
    let json = match settings.format {
        Format::Auto => !io::stdout().is_terminal(),
        Format::Json => true,
        Format::Text => false,
    };
    let lines = fmt::layer().with_ansi(false).with_writer(Lines {
        queue: Arc::clone(queue),
        text: !json,
        journal,
    });
    let lines = match (json, journal) {
        (true, _) => lines.event_format(Json).boxed(),
        // The journal has the time of its own.
        (false, true) => lines.without_time().boxed(),
        (false, false) => lines.boxed(),
    };
    lines.with_filter(filter)
}

/// All of the audit trail, whatever `[log] level` says.
fn audit_layer<S>(queue: &Arc<Queue>) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = Lines {
        queue: Arc::clone(queue),
        text: false,
        journal: false,
    };
    fmt::layer()
        .with_ansi(false)
        .with_writer(lines)
        .event_format(Json)
        .with_filter(Targets::new().with_target("audit", LevelFilter::TRACE))
}

fn open_audit(path: &Path) -> Result<Arc<Queue>, LogsError> {
    AuditFile::open(path)
        .and_then(|file| Queue::open("audit file", file))
        .map_err(|error| LogsError::Audit(path.to_owned(), error))
}

/// Lines that were dropped since the process began, because a target was too slow or full.
pub(crate) fn dropped() -> u64 {
    queue::DROPPED.load(Ordering::Relaxed)
}

/// The logs of the process. Dropping it writes what waits, for twice [`FLUSH`] at most.
pub(crate) struct Logs {
    set_level: Box<dyn Fn(Targets)>,
    stdout: Arc<Queue>,
    audit: Option<Arc<Queue>>,
}

impl Logs {
    /// Another level, from the next line on.
    pub(crate) fn set_level(&self, settings: &Settings) {
        (self.set_level)(settings.targets());
    }

    /// Opens the audit file anew, for who has moved it away.
    pub(crate) fn reopen(&self) {
        if let Some(audit) = &self.audit {
            audit.reopen();
        }
    }
}

impl Drop for Logs {
    /// Standard output comes last: what goes wrong with the audit file is said there.
    fn drop(&mut self) {
        if let Some(audit) = &self.audit {
            audit.close(FLUSH);
        }
        self.stdout.close(FLUSH);
    }
}

/// How long the end of the process waits for one log that is slow.
const FLUSH: Duration = Duration::from_secs(1);

/// Why there are no logs.
#[derive(Debug)]
pub(crate) enum LogsError {
    Audit(PathBuf, io::Error),
    Stdout(io::Error),
}

impl Display for LogsError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Audit(path, error) => write!(
                f,
                "cannot write to the audit file {}: {error}; fix that, or take `audit_file` out \
                 of [log]",
                path.display()
            ),
            Self::Stdout(error) => write!(f, "cannot log to standard output: {error}"),
        }
    }
}

impl std::error::Error for LogsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Audit(_, error) | Self::Stdout(error) => Some(error),
        }
    }
}

/// One request on its way to its access line, which is written when its last byte is gone.
pub(crate) struct AccessLine {
    pub(crate) request: RequestId,
    pub(crate) started: Instant,
    /// Its address.
    pub(crate) client: Arc<str>,
    pub(crate) method: Method,
    /// Without query.
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) app: Option<Arc<str>>,
    pub(crate) user: Option<Arc<Identity>>,
    /// The beginning of the key of its session: 8 hex digits for people.
    pub(crate) session: Option<u32>,
    pub(crate) status: StatusCode,
    /// Of the request's body.
    pub(crate) received: u64,
    /// Of the answer's body.
    pub(crate) sent: u64,
    /// How long the head of the answer took.
    pub(crate) head: Option<Duration>,
    /// Whether the answer came to its end.
    pub(crate) complete: bool,
    /// The error code of a response of our own.
    pub(crate) reason: Option<&'static str>,
    /// Why the request was refused before anybody asked who sent it.
    pub(crate) error: Option<&'static str>,
}

/// A value from the network is logged up to here (SEC-71).
const MAX_FIELD: usize = 512;

impl AccessLine {
    pub(crate) fn begin<B>(request: RequestId, client: Arc<str>, of: &Request<B>) -> Self {
        Self {
            request,
            started: Clock::stopwatch(),
            client,
            method: of.method().clone(),
            path: match of.uri().path() {
                plain if plain.is_ascii() => plain.to_owned(),
                raw => escape_raw(raw, of.version()),
            },
            version: of.version(),
            app: None,
            user: None,
            session: None,
            status: StatusCode::OK,
            received: 0,
            sent: 0,
            head: None,
            complete: false,
            reason: None,
            error: None,
        }
    }

    pub(crate) fn write(&self) {
        let session = self.session.map(hex);
        tracing::info!(
            target: "access",
            request = %self.request,
            client = %self.client,
            user = self.user.as_deref().map(Identity::user),
            session = session.as_ref().and_then(|digits| str::from_utf8(digits).ok()),
            app = self.app.as_deref(),
            method = %self.method,
            path = %printable(&self.path),
            version = %name_of(self.version),
            status = self.status.as_u16(),
            received = self.received,
            sent = self.sent,
            head_ms = self.head.map(milliseconds),
            total_ms = milliseconds(self.started.elapsed()),
            complete = self.complete,
            reason = self.reason,
            error = self.error,
        );
    }
}

/// As its `Debug` has it.
fn name_of(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "unknown",
    }
}

/// Digits as `{:08x}` gives them, without a place of their own in memory.
fn hex(number: u32) -> [u8; 8] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (28 - 4 * at)) as usize & 0xf])
}

/// With three digits behind the point.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// `text` on one line: what could end a line or steer a terminal is escaped, the rest is cut at
/// [`MAX_FIELD`] characters.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_FIELD && text.bytes().fold(true, |all, byte| all & is_visible(byte)) {
        return text.into(); // as nearly all are
    }
    let splits = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}');
    let mut safe = String::with_capacity(text.len().min(MAX_FIELD));
    for c in text.chars().take(MAX_FIELD) {
        if splits(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

/// Or a space.
fn is_visible(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_shown_by_eight_digits() {
        for number in [0, 1, 0x0123_4567, 0x89ab_cdef, u32::MAX] {
            assert_eq!(hex(number), format!("{number:08x}").as_bytes());
        }
    }

    #[test]
    fn sec_71_nothing_splits_a_line() {
        assert_eq!(
            printable("a\r\nb\u{2028}c\u{1b}[31m").to_string(),
            "a\\u{d}\\u{a}b\\u{2028}c\\u{1b}[31m"
        );
        assert_eq!(printable(&"x".repeat(10_000)).to_string().len(), MAX_FIELD);
    }
}

//! Logs: the access line of each request, the audit trail, everything else.
//!
//! One line an event, with fixed field names. Never in a log: passwords, ids, cookies,
//! Authorization, queries (SEC-72). Control characters cannot split a line (SEC-71).
//!
//! Whoever logs formats the line and hands it to a [`queue`], whose thread writes it: no target,
//! however slow or full, makes a request wait.

mod access_line;
mod access_log;
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
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, reload};

pub(crate) use self::access_line::AccessLine;
use self::access_log::AccessLog;
use self::audit_file::AuditFile;
use self::json::Json;
use self::line::Lines;
use self::queue::Queue;
pub(crate) use self::refused_head::RefusedHead;
pub(crate) use self::request_id::{REQUEST_ID, RequestId, RequestIds};
pub(crate) use self::seldom::Seldom;
use self::stdout::Stdout;

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
    let targets = settings.targets();
    let (filter, level) = reload::Layer::new(targets.clone());
    let logs = Logs {
        set_level: Box::new(move |targets| {
            // It fails when the subscriber is gone, and then there is no log.
            AccessLog::set_level(&targets);
            let _ = level.reload(targets);
        }),
        stdout: Queue::open("standard output", stdout).map_err(LogsError::Stdout)?,
        audit: (settings.audit_file.as_deref())
            .map(open_audit)
            .transpose()?,
    };
    let audit = logs.audit.as_ref().map(audit_layer);
    let json = settings.is_json();
    // Another subscriber is there only where a test or an embedding program has set it.
    let started = tracing_subscriber::registry()
        .with(stdout_layer(json, filter, &logs.stdout, journal))
        .with(audit)
        .try_init();
    if json && started.is_ok() {
        AccessLog::start(&logs.stdout, journal, &targets);
    }
    Ok(logs)
}

impl Settings {
    /// Bytes of lines that wait, at most: what is written while as much again comes (REL-06).
    pub(crate) fn memory(&self) -> usize {
        let queues = 1 + usize::from(self.audit_file.is_some());
        2 * queues * queue::CAPACITY
    }

    fn is_json(&self) -> bool {
        match self.format {
            Format::Auto => !io::stdout().is_terminal(),
            Format::Json => true,
            Format::Text => false,
        }
    }

    fn targets(&self) -> Targets {
        self.level
            .parse()
            .unwrap_or(Targets::new().with_default(LevelFilter::INFO))
    }
}

fn stdout_layer<S, F>(json: bool, filter: F, queue: &Arc<Queue>, journal: bool) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Filter<S> + 'static,
{
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

/// A value from the network is logged up to here (SEC-71).
const MAX_FIELD: usize = 512;

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
    fn sec_71_nothing_splits_a_line() {
        assert_eq!(
            printable("a\r\nb\u{2028}c\u{1b}[31m").to_string(),
            "a\\u{d}\\u{a}b\\u{2028}c\\u{1b}[31m"
        );
        assert_eq!(printable(&"x".repeat(10_000)).to_string().len(), MAX_FIELD);
    }
}

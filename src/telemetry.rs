//! Logs: the access line of each request, the audit trail, everything else.
//!
//! One line an event, with fixed field names. Never in a log: passwords, ids, cookies,
//! Authorization, queries (SEC-72). Control characters cannot split a line (SEC-71).

use std::fmt;
use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{Method, Request, StatusCode, Version};
use rand::TryRng;
use rand::rngs::SysRng;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::Clock;
use crate::session::{NoRandomness, SessionKey};

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
}

/// Lines that standard output has not taken; the log belongs to the process, and so does this.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many log lines have been lost since the start.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Standard output, with its failures counted.
struct Output(io::Stdout);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.0.write_all(line).and_then(|()| self.0.flush());
        if written.is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Sends what the process logs to standard output. Does nothing when somebody else has already
/// taken the process's logs.
pub(crate) fn start(settings: &Settings) {
    let targets = settings
        .level
        .parse()
        .unwrap_or(Targets::new().with_default(LevelFilter::INFO));
    let json = match settings.format {
        Format::Auto => !io::stdout().is_terminal(),
        Format::Json => true,
        Format::Text => false,
    };
    let registry = tracing_subscriber::registry().with(targets);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Output(io::stdout()))
        .with_ansi(false);
    // Another subscriber is there only where a test or an embedding program has set it.
    let _ = if json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines).try_init()
    };
}

/// Names requests in log lines and on error pages: unique over restarts, and without a syscall.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

/// The name of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId(u32, u64);

impl RequestIds {
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let process = SysRng.try_next_u32().map_err(|_| NoRandomness)?;
        Ok(Self {
            process,
            next: AtomicU64::new(0),
        })
    }

    pub(crate) fn next(&self) -> RequestId {
        RequestId(self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:06x}", self.0, self.1)
    }
}

/// One request on its way to its access line, which is written when its last byte is gone.
pub(crate) struct AccessLine {
    pub(crate) request: RequestId,
    pub(crate) started: Instant,
    pub(crate) client: IpAddr,
    pub(crate) method: Method,
    /// Without query.
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) app: Option<Arc<str>>,
    pub(crate) user: Option<String>,
    pub(crate) session: Option<SessionKey>,
    pub(crate) status: StatusCode,
    /// Of the request's body.
    pub(crate) received: u64,
    /// Of the answer's body.
    pub(crate) sent: u64,
    /// Milliseconds until the head of the answer.
    pub(crate) head_ms: Option<f64>,
    /// Whether the answer came to its end.
    pub(crate) complete: bool,
}

/// A value from the network is logged up to here (SEC-71).
const MAX_FIELD: usize = 512;

impl AccessLine {
    pub(crate) fn begin<B>(request: RequestId, client: IpAddr, of: &Request<B>) -> Self {
        Self {
            request,
            started: Clock::stopwatch(),
            client,
            method: of.method().clone(),
            path: of.uri().path().to_owned(),
            version: of.version(),
            app: None,
            user: None,
            session: None,
            status: StatusCode::OK,
            received: 0,
            sent: 0,
            head_ms: None,
            complete: false,
        }
    }

    /// Milliseconds since the request began.
    pub(crate) fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1000.0
    }

    pub(crate) fn write(&self) {
        tracing::info!(
            target: "access",
            request = %self.request,
            client = %self.client,
            user = self.user.as_deref(),
            session = self.session.map(|key| key.short().to_string()),
            app = self.app.as_deref(),
            method = %self.method,
            path = %printable(&self.path),
            version = ?self.version,
            status = self.status.as_u16(),
            received = self.received,
            sent = self.sent,
            head_ms = self.head_ms.map(round),
            total_ms = round(self.elapsed_ms()),
            complete = self.complete,
        );
    }
}

fn round(milliseconds: f64) -> f64 {
    (milliseconds * 1000.0).round() / 1000.0
}

/// `text` on one line: what could end a line or steer a terminal is escaped, the rest is cut at
/// [`MAX_FIELD`] characters.
pub(crate) fn printable(text: &str) -> impl fmt::Display {
    let splits = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}');
    let mut safe = String::with_capacity(text.len().min(MAX_FIELD));
    for c in text.chars().take(MAX_FIELD) {
        if splits(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
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

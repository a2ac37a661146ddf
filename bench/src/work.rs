//! What is measured: pieces of work, their names, and what is counted.

use serde::{Deserialize, Serialize};

use crate::client::Version;

/// A figure of a peer in a round.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// 1 KiB with a session by HTTP/1.1, as fast as it goes.
    Http1,
    /// The same by HTTP/2, many streams a connection.
    Http2,
    /// 1 KiB by HTTP/1.1 at a fixed rate, far below what the machine can do.
    Steady,
    /// A connection with a full handshake and one request.
    Full,
    /// The same with a resumed session of TLS.
    Resumed,
    Down1m,
    Down100m,
    Down100mHttp2,
    Up100m,
    Up100mHttp2,
    /// Questions of a proxy by forward auth, without TLS.
    Questions,
    /// From the start of the process to its first answer.
    Start,
    /// Memory after the first answers.
    Idle,
    /// Memory for each idle connection more.
    Connection,
}

/// How a figure is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// CPU time for one of them, in microseconds.
    CpuEach(&'static str),
    /// CPU time for a gigabyte (10^9 bytes), in seconds.
    CpuByte,
    Milliseconds,
    MiB,
    KiB,
}

/// How load is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// So many connections and streams a connection, each asking again once it was answered.
    Closed(Version, usize, usize),
    /// So many requests a second, whether answers come or not.
    Open(u32),
    /// New connections.
    Handshakes {
        resumed: bool,
    },
    Down(Version, usize, u64),
    Up(Version, usize, u64),
    /// So many connections, each asking again once it was answered.
    Questions(usize),
}

impl Work {
    pub(crate) const ALL: [Self; 14] = [
        Self::Http1,
        Self::Http2,
        Self::Steady,
        Self::Full,
        Self::Resumed,
        Self::Down1m,
        Self::Down100m,
        Self::Down100mHttp2,
        Self::Up100m,
        Self::Up100mHttp2,
        Self::Questions,
        Self::Connection,
        Self::Idle,
        Self::Start,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Http1 => "1 KiB, HTTP/1.1",
            Self::Http2 => "1 KiB, HTTP/2",
            Self::Steady => "1 KiB, 2,000 a second",
            Self::Full => "full handshake",
            Self::Resumed => "resumed handshake",
            Self::Down1m => "1 MiB down",
            Self::Down100m => "100 MiB down",
            Self::Down100mHttp2 => "100 MiB down, HTTP/2",
            Self::Up100m => "100 MiB up",
            Self::Up100mHttp2 => "100 MiB up, HTTP/2",
            Self::Questions => "answer of forward auth",
            Self::Start => "start to first answer",
            Self::Idle => "memory after the start",
            Self::Connection => "memory of an idle connection",
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Http1 | Self::Http2 | Self::Steady => Unit::CpuEach("request"),
            Self::Full | Self::Resumed => Unit::CpuEach("connection"),
            Self::Questions => Unit::CpuEach("answer"),
            Self::Start => Unit::Milliseconds,
            Self::Idle => Unit::MiB,
            Self::Connection => Unit::KiB,
            _ => Unit::CpuByte,
        }
    }

    /// `None` for what is read off the process at its start.
    pub(crate) fn load(self) -> Option<Load> {
        use Version::{Http1, Http2};
        Some(match self {
            Self::Http1 => Load::Closed(Http1, 64, 1),
            Self::Http2 => Load::Closed(Http2, 16, 32),
            Self::Steady => Load::Open(2000),
            Self::Full => Load::Handshakes { resumed: false },
            Self::Resumed => Load::Handshakes { resumed: true },
            Self::Down1m => Load::Down(Http1, 8, 1 << 20),
            Self::Down100m => Load::Down(Http1, 2, 100 << 20),
            Self::Down100mHttp2 => Load::Down(Http2, 2, 100 << 20),
            Self::Up100m => Load::Up(Http1, 2, 100 << 20),
            Self::Up100mHttp2 => Load::Up(Http2, 2, 100 << 20),
            Self::Questions => Load::Questions(64),
            Self::Start | Self::Idle | Self::Connection => return None,
        })
    }
}

impl Unit {
    /// A value as tables and progress show it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::CpuEach(what) => format!("{} µs/{what}", short(value)),
            Self::CpuByte => format!("{} s/GB", short(value)),
            Self::Milliseconds => format!("{} ms", short(value)),
            Self::MiB => format!("{} MiB", short(value)),
            Self::KiB => format!("{} KiB", short(value)),
        }
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    let digits = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.digits$}")
}

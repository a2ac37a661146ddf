//! The clients of a flood: a process of its own, of the lowest priority, so that it is not the
//! machine that keeps users waiting. Attackers have machines of their own.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::body::Bulk;
use crate::certificate::Certificate;
use crate::client::{Client, Connection, Template, Version, form};

/// No flood lasts longer, whatever becomes of the process that has begun it.
const LONGEST: Duration = Duration::from_mins(1);

/// Until it is there.
const GATHERING: Duration = Duration::from_secs(30);

/// Passwords that an address tries before the next one does.
const TRIES: usize = 8;

/// Silent connections of a client that are open at a time.
const SILENT: usize = 30;

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flood {
    /// Wrong passwords of names that nobody has, from new addresses again and again.
    Passwords,
    /// Handshakes after which nothing is asked.
    Handshakes,
    /// Requests without a session over fewer connections than those at which some are turned away.
    Few,
    /// The same over many more connections.
    Many,
    /// The same over the streams of HTTP/2.
    Streams,
}

impl Flood {
    pub(crate) const ALL: [Self; 5] = [
        Self::Passwords,
        Self::Handshakes,
        Self::Few,
        Self::Many,
        Self::Streams,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Passwords => "wrong passwords",
            Self::Handshakes => "handshakes alone",
            Self::Few => "visitors, 100 connections",
            Self::Many => "visitors, 2,000 connections",
            Self::Streams => "visitors, 16 x 32 streams",
        }
    }
}

/// The results, per second.
pub(crate) struct Came {
    pub(crate) answered: f64,
    pub(crate) refused: f64,
}

/// A flood that goes on until it is dropped.
pub(crate) struct Attack {
    child: Child,
    /// What it says.
    lines: Option<BufReader<ChildStdout>>,
    began: Instant,
}

impl Attack {
    /// Begins it, and waits until it is there.
    pub(crate) async fn begin(flood: Flood, client: &Client, folder: &Path) -> io::Result<Self> {
        let name = serde_json::to_value(flood)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["attack", name.as_str().unwrap_or_default()])
            .arg(client.port().to_string())
            .arg(folder.join("cert.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().map(BufReader::new);
        let mut attack = Self {
            child,
            lines,
            began: Instant::now(),
        };
        if attack.line().await?.trim() != "ready" {
            return Err(io::Error::other("the flood does not begin"));
        }
        attack.began = Instant::now();
        Ok(attack)
    }

    pub(crate) async fn end(mut self) -> io::Result<Came> {
        let seconds = self.began.elapsed().as_secs_f64();
        drop(self.child.stdin.take());
        let line = self.line().await?;
        let counts: Vec<f64> = line.split_whitespace().flat_map(str::parse).collect();
        let [answered, refused] = counts[..] else {
            return Err(io::Error::other("the flood has ended early"));
        };
        Ok(Came {
            answered: answered / seconds,
            refused: refused / seconds,
        })
    }

    /// The next line that it says.
    async fn line(&mut self) -> io::Result<String> {
        let mut lines = self.lines.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let read = spawn_blocking(move || {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            io::Result::Ok((line, lines))
        });
        let (line, lines) = timeout(GATHERING, read).await???;
        self.lines = Some(lines);
        Ok(line)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    refused: AtomicU64,
    /// Clients that are not there yet.
    missing: AtomicU32,
    /// Addresses that were taken.
    addresses: AtomicU32,
}

impl Counts {
    /// The next address of a network that is all of this machine.
    fn address(&self) -> Ipv4Addr {
        let next = self.addresses.fetch_add(1, Ordering::Relaxed) % 0x00ef_0000;
        Ipv4Addr::from_bits(0x7f01_0001 + next)
    }

    fn note(&self, status: StatusCode) {
        let count = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => &self.refused,
            _ => &self.answered,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn is_there(&self) {
        if self.missing.fetch_sub(1, Ordering::Relaxed) == 1 {
            say("ready");
        }
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
    let _ = io::stdout().flush();
}

/// What the process of a flood runs, until its input ends.
pub(crate) fn run(flood: &str, port: u16, certificate: &Path) -> io::Result<()> {
    let flood: Flood = serde_json::from_value(flood.into())?;
    let _ = rustix::process::nice(19);
    let client = Client::new(&Certificate::read(certificate)?, port)?;
    let counts = Arc::new(Counts::default());
    let ends = Arc::clone(&counts);
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        say(&format!("{} {}", of(&ends.answered), of(&ends.refused)));
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let clients = match flood {
            Flood::Passwords => 64,
            Flood::Handshakes => 32,
            Flood::Few => 100,
            Flood::Many => 2000,
            Flood::Streams => 16,
        };
        counts.missing.store(clients, Ordering::Relaxed);
        for _ in 0..clients {
            let (client, counts) = (client.clone(), Arc::clone(&counts));
            tokio::spawn(async move {
                let mut is_new = true;
                loop {
                    let done = once(flood, &client, &counts, &mut is_new).await;
                    if done.is_err() {
                        sleep(Duration::from_millis(10)).await; // it was turned away
                    }
                }
            });
        }
        sleep(LONGEST).await;
    });
    Ok(())
}

async fn once(
    flood: Flood,
    client: &Client,
    counts: &Arc<Counts>,
    is_new: &mut bool,
) -> io::Result<()> {
    let client = client.coming_from(counts.address());
    let mut there = || {
        if std::mem::take(is_new) {
            counts.is_there();
        }
    };
    match flood {
        Flood::Passwords => {
            let post = client.form("/.vestibule/login");
            let mut connection = client.connect(Version::Http1).await?;
            there();
            for nth in 0..TRIES {
                let name = format!("nobody{nth}");
                let body = form(&[("username", &name), ("password", "not the right one")]);
                counts.note(ask(&mut connection, &post, Bulk::text(body)).await?);
            }
        }
        Flood::Handshakes => {
            let mut open = VecDeque::new();
            loop {
                open.push_back(client.coming_from(counts.address()).silent().await?);
                there();
                counts.answered.fetch_add(1, Ordering::Relaxed);
                if open.len() > SILENT {
                    open.pop_front();
                }
            }
        }
        Flood::Few | Flood::Many => {
            let page = page(&client, Version::Http1);
            let mut connection = client.connect(Version::Http1).await?;
            there();
            loop {
                counts.note(ask(&mut connection, &page, Bulk::empty()).await?);
            }
        }
        Flood::Streams => {
            let page = page(&client, Version::Http2);
            let connection = client.connect(Version::Http2).await?;
            there();
            let mut streams = tokio::task::JoinSet::new();
            for _ in 0..32 {
                let Some(mut stream) = connection.stream() else {
                    continue;
                };
                let (page, counts) = (page.clone(), Arc::clone(counts));
                streams.spawn(async move {
                    loop {
                        let status = ask(&mut stream, &page, Bulk::empty()).await;
                        match status {
                            Ok(status) => counts.note(status),
                            Err(error) => return error,
                        }
                    }
                });
            }
            if let Some(Ok(error)) = streams.join_next().await {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// What a browser asks first.
fn page(client: &Client, version: Version) -> Template {
    let html = HeaderValue::from_static("text/html,*/*;q=0.8");
    client
        .request(version, Method::GET, "/")
        .field(ACCEPT, html)
}

async fn ask(
    connection: &mut Connection,
    template: &Template,
    body: Bulk,
) -> io::Result<StatusCode> {
    let response = connection.send(template, body).await?;
    let status = response.status();
    let body = response.into_body().collect().await;
    body.map_err(io::Error::other)?;
    Ok(status)
}

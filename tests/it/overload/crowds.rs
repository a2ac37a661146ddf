//! Hostile crowds of sixteen networks, each within its limits, beside one user and newcomers: SEC-87.
//! Whatever they do, memory stays below the ceiling: REL-06.
//!
//! The crowds keep to half a core, so that it is their cunning that is tested and not the machine.

use std::any::Any;
use std::collections::VecDeque;
use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::tls::{self, HOST};
use crate::harness::*;
use crate::soak::status;

const NETWORKS: usize = 16;

/// Connections that each network keeps open, below what one address may have.
const HELD: usize = 200;

/// Descriptors that the tests beside this one need.
const SPARE: u64 = 1000;

/// Rounds beside each crowd, unless the environment has another number.
const ROUNDS: usize = 4;

/// Requests that a browser has in flight at a time.
const PARALLEL: u32 = 30;

#[derive(Clone, Copy, Debug)]
enum Crowd {
    /// Asks for pages and takes none of them.
    UntakenPages,
    /// Finishes the handshake and asks nothing.
    Silence,
    /// Has public requests wait for the app.
    Waiting,
    /// Sends uploads that the app does not take.
    Uploads,
    /// Guesses passwords of names that nobody has.
    WrongPasswords,
    /// Shows cookies that it has made up.
    MadeUpCookies,
    /// Sends almost all of the largest head that is allowed, and never its end.
    LongHeads,
    /// Opens WebSockets and says nothing more.
    Tunnels,
}

const ALL: [Crowd; 8] = [
    Crowd::UntakenPages,
    Crowd::Silence,
    Crowd::Waiting,
    Crowd::Uploads,
    Crowd::WrongPasswords,
    Crowd::MadeUpCookies,
    Crowd::LongHeads,
    Crowd::Tunnels,
];

impl Crowd {
    /// One more connection of this crowd, to be kept open.
    async fn joins(self, source: &str, address: SocketAddr, nth: usize) -> Option<Box<dyn Any>> {
        let made_up = format!("__Host-Http-vestibule={nth:043}");
        match self {
            Self::Silence => {
                let stream = tls::connect_from(source, address, &["http/1.1"]).await;
                Some(Box::new(stream.ok()?))
            }
            Self::Waiting => {
                let stream = tls::connect_from(source, address, &["http/1.1"]).await;
                let mut raw = Raw::new(stream.ok()?);
                raw.send(format!("GET /open HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
                    .await;
                Some(Box::new(raw))
            }
            Self::LongHeads => {
                let stream = tls::connect_from(source, address, &["http/1.1"]).await;
                let mut raw = Raw::new(stream.ok()?);
                let head = format!("GET /open HTTP/1.1\r\nHost: {HOST}\r\nX-Long: ");
                raw.send([head.into_bytes(), vec![b'x'; 30_000]].concat())
                    .await;
                Some(Box::new(raw))
            }
            Self::Tunnels => {
                let stream = tls::connect_from(source, address, &["http/1.1"]).await;
                let mut raw = Raw::new(stream.ok()?);
                raw.send(format!(
                    "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nOrigin: https://{HOST}\r\n\
                     Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                ))
                .await;
                Some(Box::new(raw))
            }
            Self::WrongPasswords => {
                let stream = tls::connect_from(source, address, &["http/1.1"]).await;
                let mut raw = Raw::new(stream.ok()?);
                let form = format!("username=nobody{nth}&password=wrong");
                raw.send(login(&form)).await;
                Some(Box::new(raw))
            }
            Self::UntakenPages | Self::MadeUpCookies => {
                let mut connection = RawHttp2::try_connect_from(source, address).await?;
                let no_window = [0, 4, 0, 0, 0, 0];
                connection.frame(frame::SETTINGS, 0, 0, no_window).await;
                let mut fields = RawHttp2::get("/.vestibule/login");
                if matches!(self, Self::MadeUpCookies) {
                    fields = RawHttp2::get("/.vestibule/account");
                    fields.push(("cookie", &made_up));
                }
                for nth in 0..100 {
                    connection.headers(1 + 2 * nth, &fields, true).await;
                }
                Some(Box::new(connection))
            }
            Self::Uploads => {
                let mut connection = RawHttp2::try_connect_from(source, address).await?;
                let mut fields = RawHttp2::fields("POST", "/open");
                fields.push(("content-length", "1000000000"));
                for stream in [1, 3, 5, 7] {
                    connection.headers(stream, &fields, false).await;
                    for _ in 0..4 {
                        connection.data(stream, &[b'x'; 16_000], false).await;
                    }
                }
                Some(Box::new(connection))
            }
        }
    }
}

/// A login form as a browser sends it.
fn login(form: &str) -> String {
    format!(
        "POST /.vestibule/login HTTP/1.1\r\nHost: {HOST}\r\nOrigin: https://{HOST}\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

/// An attack that goes on until it is dropped.
struct Attack {
    stop: Arc<AtomicBool>,
    /// Connections that it has had.
    had: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Attack {
    fn begin(crowds: &'static [Crowd], held: usize, address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let had = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&had));
        let thread = thread::spawn(move || {
            // It is not to starve what it attacks, passwords are hashed at this priority.
            let _lowered = rustix::process::nice(19);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(attack(crowds, held, address, &stopped, &counted));
        });
        Self {
            stop,
            had,
            thread: Some(thread),
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn attack(
    crowds: &[Crowd],
    held: usize,
    address: SocketAddr,
    stop: &AtomicBool,
    had: &AtomicUsize,
) {
    let started = Instant::now();
    let mut networks: Vec<VecDeque<Box<dyn Any>>> = Vec::new();
    networks.resize_with(NETWORKS, VecDeque::new);
    for nth in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let network = nth % NETWORKS;
        let source = format!("127.0.1.{}", network + 1);
        let crowd = crowds[nth / NETWORKS % crowds.len()];
        let joins = timeout(
            Duration::from_millis(200),
            crowd.joins(&source, address, nth),
        );
        if let Ok(Some(connection)) = joins.await {
            networks[network].push_back(connection);
            had.fetch_add(1, Ordering::Relaxed);
        }
        if networks[network].len() > held {
            networks[network].pop_front();
        }
        // Half a core.
        let used = clock_gettime(ClockId::ThreadCPUTime);
        let used = Duration::new(
            used.tv_sec.try_into().unwrap_or(0),
            used.tv_nsec.try_into().unwrap_or(0),
        );
        sleep((used * 2).saturating_sub(started.elapsed())).await;
    }
}

/// Connections that each network can keep open here; the tests beside this one need descriptors,
/// too. Each connection takes one of ours, and one more where the app is asked.
fn held() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum; // 1,024 is what a shell gives; the rest is for the asking
    setrlimit(Resource::Nofile, limit).unwrap();
    let descriptors = limit.current.unwrap_or(u64::MAX).saturating_sub(SPARE);
    let each = usize::try_from(descriptors).unwrap_or(usize::MAX) / 2 / NETWORKS;
    each.min(HELD)
}

/// What a user and a newcomer meet.
#[derive(Debug, Default)]
struct Met {
    pages: Vec<Duration>,
    logins: Vec<Duration>,
}

impl Met {
    fn p99(&self) -> Duration {
        let mut pages = self.pages.clone();
        pages.sort_unstable();
        pages[(pages.len() * 99).div_ceil(100) - 1]
    }
}

/// A browser opens a connection and asks for thirty things at a time, and somebody else signs in
/// from an address of its own, so many times.
async fn rounds(service: &Service, cookie: &str, rounds: usize, first: usize) -> Met {
    let mut met = Met::default();
    for round in first..first + rounds {
        let mut browser = RawHttp2::connect(service.address).await;
        let mut fields = RawHttp2::get("/quick");
        fields.push(("cookie", cookie));
        let asked = Instant::now();
        for nth in 0..PARALLEL {
            browser.headers(1 + 2 * nth, &fields, true).await;
        }
        for nth in 0..PARALLEL {
            let page = browser.outcome(1 + 2 * nth).await;
            assert_eq!((page.status, page.ended), (Some(200), true), "{page:?}");
            met.pages.push(asked.elapsed());
        }
        let source = format!("127.0.2.{}", round % 250 + 1);
        let asked = Instant::now();
        let stream = tls::connect_from(&source, service.address, &["http/1.1"]).await;
        let mut newcomer = Raw::new(stream.expect("a newcomer gets a connection"));
        let form = format!("username=bob&password={}", PASSWORD.replace(' ', "+"));
        newcomer.send(login(&form)).await;
        newcomer.response().await.assert_status(303);
        met.logins.push(asked.elapsed());
    }
    met
}

fn shown(service: &Service) -> Value {
    let (code, shown, said) = run(&service.files, &["status", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&shown).unwrap()
}

/// What the memory of the service stays below, in KiB.
fn ceiling(service: &Service) -> u64 {
    shown(service)["memory"]["max"].as_u64().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_87_no_crowd_keeps_users_or_newcomers_waiting() {
    let by_hand = env::var("VESTIBULE_CROWD_ROUNDS").ok();
    let count = by_hand.as_ref().map_or(ROUNDS, |rounds| {
        rounds.parse().expect("VESTIBULE_CROWD_ROUNDS is a number")
    });
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            match exchange.target() {
                "/quick" => exchange.reply("200 OK", &[], "here it is").await,
                "/socket" => exchange.echo_websocket().await,
                _ => exchange.wait_until_closed().await,
            }
        })
    })
    .await;
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .rule("/open", "everyone")
        .rule("/socket", "everyone")
        .server("max_connections = 3000")
        .spawn()
        .await;
    let cookie = service
        .browser()
        .login("ada", PASSWORD)
        .await
        .session_cookie();
    let quiet = rounds(&service, &cookie, count, 0).await.p99();
    let (held, mixture): (_, &'static [Crowd]) = (held(), &ALL);
    let each = mixture.chunks(1);
    for (nth, crowds) in each.chain([mixture]).enumerate() {
        let attack = Attack::begin(crowds, held, service.address);
        let many = if by_hand.is_some() { 2500 } else { 100 };
        // How many of them stay open is up to the service, which ends some crowds' connections.
        some_within(PATIENCE * 4, "the crowd to be there", async || {
            (attack.had.load(Ordering::Relaxed) >= many).then_some(())
        })
        .await;
        let met = rounds(&service, &cookie, count, (nth + 1) * count).await;
        let (p99, login) = (met.p99(), met.logins.iter().max().unwrap());
        // The most there ever was, also beside the crowds before.
        let (memory, ceiling) = (status(service.program.id(), "VmHWM:"), ceiling(&service));
        println!(
            "{crowds:?}: p99 {p99:?} ({quiet:?} without), slowest login {login:?}, \
             {memory} of {ceiling} KiB"
        );
        assert!(
            memory <= ceiling,
            "{crowds:?}: {memory} above {ceiling} KiB"
        );
        if by_hand.is_some() {
            let bar = (quiet * 2).max(quiet + Duration::from_millis(50));
            assert!(p99 <= bar, "{crowds:?}: {p99:?} above {bar:?}");
            assert!(*login <= Duration::from_secs(2), "{crowds:?}: {login:?}");
        }
        drop(attack);
    }
}

//! Rounds: in each, every peer in turn is started, checked, loaded and stopped.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::app::{App, USER_HEADER};
use crate::body::Bulk;
use crate::certificate::Certificate;
use crate::client::{Client, Version};
use crate::load::{self, Outcome, SMALL};
use crate::machine::{Machine, Moment};
use crate::peers::{Login, PASSWORD, Peer, Prepare, Site, USER};
use crate::process::{self, Running};
use crate::record::{Figure, Header, Writer, rounded};
use crate::work::{Unit, Work};

const START: Duration = Duration::from_secs(15);

/// A figure during which others had more of the machine than this is marked.
pub(crate) const QUIET: f64 = 0.03;

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) peers: Vec<(&'static Peer, PathBuf)>,
    pub(crate) works: Vec<Work>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) workers: usize,
    pub(crate) idle_connections: usize,
    pub(crate) output: PathBuf,
}

/// What all rounds share.
struct Bench<'a> {
    plan: &'a Plan,
    folder: TempDir,
    certificate: Certificate,
    app: App,
    writer: Writer,
    round: u32,
    /// The figures of the peer that the others are compared with, of this round.
    reference: BTreeMap<Work, f64>,
    /// Of Vestibule.
    failures: usize,
}

/// A peer that serves.
struct Started {
    running: Running,
    client: Arc<Client>,
    took: Duration,
}

/// Measures; gives how many times something of Vestibule was left out, because it failed.
///
/// # Errors
/// Something that all peers need does not work.
pub(crate) async fn run(plan: &Plan) -> io::Result<usize> {
    let versions = plan.peers.iter().map(|(peer, program)| {
        let version = crate::machine::version(program, peer.version);
        (peer.name.to_owned(), version)
    });
    let header = Header {
        date: time::OffsetDateTime::now_utc().date().to_string(),
        rounds: plan.rounds,
        seconds: plan.seconds,
        workers: plan.workers,
        idle_connections: plan.idle_connections,
        reference: plan.peers[0].0.name.to_owned(),
        machine: Machine::this(),
        versions: versions.collect(),
    };
    let mut bench = Bench {
        plan,
        folder: tempfile::Builder::new()
            .prefix("vestibule-bench-")
            .tempdir()?,
        certificate: Certificate::make()?,
        app: App::start()?,
        writer: Writer::create(&plan.output, &header)?,
        round: 0,
        reference: BTreeMap::new(),
        failures: 0,
    };
    for round in 1..=plan.rounds {
        (bench.round, bench.reference) = (round, BTreeMap::new());
        let count = plan.peers.len();
        for place in 0..count {
            // Another one begins each round, so that none always follows the same one.
            let (peer, program) = &plan.peers[(place + round as usize - 1) % count];
            if let Err(error) = bench.peer(peer, program).await {
                bench.left_out(peer, "the rest of the round", &error);
            }
        }
    }
    Ok(bench.failures)
}

impl Bench<'_> {
    async fn peer(&mut self, peer: &Peer, program: &Path) -> io::Result<()> {
        let memory = [Work::Start, Work::Idle, Work::Connection];
        if self.plan.works.iter().any(|work| memory.contains(work)) {
            // A process of its own: one that was loaded before has memory to spare.
            let started = self.start(peer, program).await?;
            self.at_rest(peer, started).await?;
        }
        if self.plan.works.contains(&Work::Questions)
            && let Some(prepare) = peer.answers
            && let Err(error) = self.answers(peer, prepare, program).await
        {
            self.left_out(peer, Work::Questions.title(), &error);
        }
        let works = self.plan.works.iter();
        let loads = works
            .filter(|&&work| work != Work::Questions)
            .filter_map(|&work| Some((work, work.load()?)));
        let loads: Vec<_> = loads.collect();
        if loads.is_empty() {
            return Ok(());
        }
        let mut started = self.start(peer, program).await?;
        for (work, load) in loads {
            let id = started.running.id();
            match load::run(load, &started.client, id, self.plan.seconds).await {
                Ok(outcome) => self.loaded(peer, work, &outcome)?,
                Err(error) => {
                    self.left_out(peer, work.title(), &error);
                    started = self.start(peer, program).await?;
                }
            }
        }
        Ok(())
    }

    /// What its answers cost, when a proxy asks whether it may send on what a user sends.
    async fn answers(&mut self, peer: &Peer, prepare: Prepare, program: &Path) -> io::Result<()> {
        let site = self.site(peer)?;
        let client = Client::new(&self.certificate, site.port)?;
        let mut client = client.asked_about_at(site.questions);
        let mut running = Running::start(
            command(prepare, &site, program)?,
            site.folder.join("output.log"),
        )?;
        let answers = || async {
            let (mut connection, question) = (client.connect_to_ask().await?, client.question("/"));
            connection.send(&question, Bulk::empty()).await
        };
        until_served(&mut running, answers).await?;
        if let Login::Form(path) = peer.login {
            let denied = answers().await?.status();
            if denied != StatusCode::UNAUTHORIZED {
                return Err(io::Error::other(format!("it answers {denied} to anybody")));
            }
            client.sign_in(path, USER, PASSWORD).await?;
            let mut connection = client.connect_to_ask().await?;
            let question = client.question("/");
            let answer = connection.send(&question, Bulk::empty()).await?;
            let user = answer.headers().get(USER_HEADER);
            if user.is_none_or(|user| user != USER) {
                return Err(io::Error::other("it does not say who asks"));
            }
        }
        let (load, client) = (Work::Questions.load(), Arc::new(client));
        let load = load.expect("it is a load");
        let outcome = load::run(load, &client, running.id(), self.plan.seconds).await?;
        self.loaded(peer, Work::Questions, &outcome)
    }

    /// A folder of its own, and ports.
    fn site(&self, peer: &Peer) -> io::Result<Site> {
        let folder = self.folder.path().join(peer.name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        Ok(Site {
            folder,
            port: free_port()?,
            questions: free_port()?,
            app: self.app.address,
            workers: self.plan.workers,
            cert: self.certificate.cert.clone(),
            key: self.certificate.key.clone(),
        })
    }

    /// Starts it in a folder of its own, signs in, and sees that it does what it is there for.
    async fn start(&self, peer: &Peer, program: &Path) -> io::Result<Started> {
        let site = self.site(peer)?;
        let command = command(peer.prepare, &site, program)?;
        let mut client = Client::new(&self.certificate, site.port)?;
        let began = Instant::now();
        let mut running = Running::start(command, site.folder.join("output.log"))?;
        until_served(&mut running, || client.fetch(SMALL.0)).await?;
        let took = began.elapsed();
        timeout(START, check(peer, &mut client))
            .await
            .map_err(io::Error::other)??;
        Ok(Started {
            running,
            client: Arc::new(client),
            took,
        })
    }

    /// Its start, and its memory: alone, and with connections that do nothing.
    async fn at_rest(&mut self, peer: &Peer, started: Started) -> io::Result<()> {
        let moment = Moment::now();
        let id = started.running.id();
        sleep(Duration::from_millis(300)).await;
        let before = process::memory(id);
        let template = started.client.request(Version::Http1, Method::GET, SMALL.0);
        let mut open = Vec::new();
        for _ in 0..self.plan.idle_connections {
            let mut connection = started.client.connect(Version::Http1).await?;
            load::small(&mut connection, &template).await?;
            open.push(connection);
        }
        sleep(Duration::from_millis(700)).await;
        let more = process::memory(id).saturating_sub(before);
        let values = [
            (Work::Start, started.took.as_secs_f64() * 1000.0),
            (Work::Idle, float(before) / 1_048_576.0),
            (
                Work::Connection,
                float(more) / 1024.0 / float(open.len() as u64),
            ),
        ];
        let foreign = moment.until(&Moment::now());
        for (work, value) in values {
            if self.plan.works.contains(&work) {
                let figure = Figure {
                    round: self.round,
                    peer: peer.name.to_owned(),
                    work,
                    value: rounded(value),
                    rate: None,
                    p50: None,
                    p99: None,
                    peak_mib: None,
                    spooled: None,
                    others: rounded(foreign.others),
                    stolen: rounded(foreign.stolen),
                };
                self.add(peer, &figure)?;
            }
        }
        Ok(())
    }

    fn loaded(&mut self, peer: &Peer, work: Work, outcome: &Outcome) -> io::Result<()> {
        let (value, count) = match work.unit() {
            Unit::CpuEach(_) => (outcome.cpu / outcome.count * 1e6, outcome.count),
            _ => (
                outcome.cpu / outcome.count * 1e9,
                outcome.count / 1_048_576.0,
            ),
        };
        let figure = Figure {
            round: self.round,
            peer: peer.name.to_owned(),
            work,
            value: rounded(value),
            rate: Some(rounded(count / outcome.seconds)),
            p50: outcome.p50,
            p99: outcome.p99,
            peak_mib: outcome.peak.map(|peak| rounded(float(peak) / 1_048_576.0)),
            spooled: outcome
                .written
                .map(|written| rounded(float(written) / outcome.count)),
            others: rounded(outcome.foreign.others),
            stolen: rounded(outcome.foreign.stolen),
        };
        self.add(peer, &figure)
    }

    fn left_out(&mut self, peer: &Peer, what: &str, error: &io::Error) {
        let (round, rounds) = (self.round, self.plan.rounds);
        eprintln!(
            "{round}/{rounds}  {:26} {what}: left out: {error}",
            peer.title
        );
        self.failures += usize::from(peer.program == "vestibule");
    }

    /// Writes it down, and says it.
    fn add(&mut self, peer: &Peer, figure: &Figure) -> io::Result<()> {
        self.writer.line(figure)?;
        let (work, value) = (figure.work, figure.value);
        if peer.name == self.plan.peers[0].0.name {
            self.reference.insert(work, value);
        }
        let ratio = self
            .reference
            .get(&work)
            .map(|one| format!("{:.2}", value / one));
        let foreign = figure.others + figure.stolen;
        let noise = if foreign > QUIET {
            format!("  (others used {:.0} % of the machine)", foreign * 100.0)
        } else {
            String::new()
        };
        eprintln!(
            "{}/{}  {:26} {:28} {:>20} {:>8}{noise}",
            self.round,
            self.plan.rounds,
            peer.title,
            work.title(),
            work.unit().show(value),
            ratio.unwrap_or_default(),
        );
        Ok(())
    }
}

fn command(prepare: Prepare, site: &Site, program: &Path) -> io::Result<Command> {
    let mut command = prepare(site, program)?;
    command.current_dir(&site.folder);
    Ok(command)
}

/// Asks until there is an answer.
async fn until_served<A, F: Future<Output = io::Result<A>>>(
    running: &mut Running,
    ask: impl Fn() -> F,
) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match timeout(START, ask()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(_)) if began.elapsed() < START => sleep(Duration::from_millis(1)).await,
            _ => {
                return Err(io::Error::other(format!(
                    "it does not answer: {}",
                    running.said()
                )));
            }
        }
        if let Some(said) = running.ended() {
            return Err(io::Error::other(format!("it does not start: {said}")));
        }
    }
}

/// With a login it refuses those who have none, and tells the app who asks; signed in or not, the
/// small response comes.
async fn check(peer: &Peer, client: &mut Client) -> io::Result<()> {
    if peer.login != Login::None {
        let (status, body) = client.fetch(SMALL.0).await?;
        if status.is_success() || body.len() == SMALL.1 {
            return Err(io::Error::other("it lets anybody in"));
        }
    }
    match peer.login {
        Login::None => {}
        Login::Cookie(cookie) => client.sign_in_with(cookie)?,
        Login::Form(path) => client.sign_in(path, USER, PASSWORD).await?,
    }
    let (status, body) = client.fetch(SMALL.0).await?;
    if status != StatusCode::OK || body.len() != SMALL.1 {
        return Err(io::Error::other(format!("it answers {status}")));
    }
    if peer.login != Login::None {
        let (_, user) = client.fetch("/who").await?;
        if user != USER {
            return Err(io::Error::other("the app does not know who asks"));
        }
    }
    Ok(())
}

/// One that nobody listens on now.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

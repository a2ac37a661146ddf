//! The program under the tools that count.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::callgrind::{self, Callgrind, Counts};
use super::client::{Client, Open, Work};
use super::conditions::{counted_build, has_the_numbers_cpu};
use super::{Cost, strace};
use crate::harness::real::{find, missing};
use crate::harness::*;

/// How often a client does its work.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Times before counting begins.
    pub(super) warm_up: usize,
    /// Rounds that are counted, and times in each. Of the rounds it is the lower quartile that
    /// counts: a busy machine tears some of them up.
    pub(super) rounds: usize,
    pub(super) times: u32,
}

/// How long the program is left alone, to count what it does by the clock, of which a slow machine
/// sees more.
const IDLE: Duration = Duration::from_secs(8);

/// The program in front of an app, with somebody signed in.
pub(super) struct Bench {
    program: PathBuf,
    app: Upstream,
    service: Mutex<Option<Service>>,
    client: Client,
    is_slow_to_begin: bool,
}

/// The program to count, where there is one and the tools for it.
pub(super) fn countable() -> Option<PathBuf> {
    let program = counted_build()?;
    find("valgrind")?;
    find("strace")?;
    if !has_the_numbers_cpu() {
        missing("an x86-64 CPU with AVX2");
        return None;
    }
    Some(program)
}

impl Bench {
    /// `config` has more sections. The login is not under valgrind, where hashing would take its
    /// time; the session is on disk.
    pub(super) async fn new(program: &Path, app: Upstream, config: &str) -> Self {
        let gate = Vestibule::before(&app).config(config);
        Self::of(program, app, gate, |_, cookie| Client::new(cookie)).await
    }

    /// The same of any gate, for a client that is made with the session cookie of ada.
    pub(super) async fn of(
        program: &Path,
        app: Upstream,
        gate: Vestibule,
        client: impl FnOnce(&Service, &str) -> Client,
    ) -> Self {
        let gate = gate.user("ada", PASSWORD);
        let service = gate.spawn_by(one_thread(Command::new(program))).await;
        let ada = service.browser().login("ada", PASSWORD).await;
        let client = client(&service, &ada.session_cookie());
        Self {
            program: program.to_owned(),
            app,
            service: Mutex::new(Some(stopped(service).await)),
            client,
            is_slow_to_begin: false,
        }
    }

    /// The program has to reach others before it knows the session.
    pub(super) fn slow_to_begin(self) -> Self {
        Self {
            is_slow_to_begin: true,
            ..self
        }
    }

    /// What each of these works costs when it is done once.
    pub(super) async fn costs<const N: usize>(&self, works: [Work; N], plan: Plan) -> [Cost; N] {
        let calls = self.under_strace(&works, plan).await;
        let counts = self.under_callgrind(&works, plan).await;
        let costs = calls.into_iter().zip(counts);
        let costs = costs.map(|(system_calls, counts)| Cost {
            instructions: counts.instructions,
            allocations: counts.allocations,
            system_calls,
        });
        let costs: Vec<_> = costs.collect();
        costs.try_into().expect("one cost for each work")
    }

    /// What is done until the program listens.
    pub(super) async fn start_under_callgrind(&self) -> Counts {
        let folder = tempfile::tempdir().unwrap();
        let mut callgrind = Callgrind::new(folder.path());
        let service = self.start(callgrind.command(&self.program)).await;
        let counts = callgrind.dump(&service);
        self.stop(service).await;
        counts
    }

    async fn under_callgrind(&self, works: &[Work], plan: Plan) -> Vec<Counts> {
        let folder = tempfile::tempdir().unwrap();
        let mut callgrind = Callgrind::new(folder.path());
        let service = self.start(callgrind.command(&self.program)).await;
        let mut rounds = Vec::new();
        for &work in works {
            let mut open = self.client.open(work, &service).await;
            self.repeat(&mut open, plan.warm_up).await;
            callgrind::zero(&service);
            for _ in 0..plan.rounds {
                let started = Instant::now();
                self.repeat(&mut open, plan.times as usize).await;
                rounds.push((callgrind.dump(&service), started.elapsed()));
            }
        }
        let started = Instant::now();
        sleep(IDLE).await;
        let idle = (callgrind.dump(&service), started.elapsed());
        self.stop(service).await;
        let of_each = |count: fn(&Counts) -> f64, rounds: &[(Counts, Duration)]| {
            let a_second = count(&idle.0) / idle.1.as_secs_f64();
            let rounds = rounds.iter();
            let rounds = rounds.map(|(counts, took)| count(counts) - a_second * took.as_secs_f64());
            let mut rounds: Vec<_> = rounds.collect();
            rounds.sort_by(f64::total_cmp);
            rounds[rounds.len() / 4] / f64::from(plan.times)
        };
        let counts = rounds.chunks(plan.rounds).map(|rounds| Counts {
            instructions: of_each(|counts| counts.instructions, rounds),
            allocations: of_each(|counts| counts.allocations, rounds),
        });
        counts.collect()
    }

    async fn under_strace(&self, works: &[Work], plan: Plan) -> Vec<u64> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("strace");
        // -D: the child is the program itself, which is to get the signal.
        command.args(["-D", "-ff", "-o"]);
        command.arg(folder.path().join("trace")).arg(&self.program);
        let service = self.start(command).await;
        let times = plan.rounds * plan.times as usize;
        for &work in works {
            let mut open = self.client.open(work, &service).await;
            self.repeat(&mut open, plan.warm_up + times).await;
        }
        self.stop(service).await;
        eventually_some("the trace", async || {
            strace::calls_of_each(folder.path(), works, plan.warm_up, times)
        })
        .await
    }

    async fn repeat(&self, open: &mut Open<'_>, times: usize) {
        let before = self.app.requests();
        for _ in 0..times {
            open.once().await;
        }
        let sent = if open.work.reaches_app() { times } else { 0 };
        assert_eq!(self.app.requests(), before + sent);
    }

    async fn start(&self, command: Command) -> Service {
        let service = self.service.lock().unwrap().take().unwrap();
        let service = service.start_again_by(one_thread(command)).await;
        if self.is_slow_to_begin {
            self.client.until_answered(&service).await;
        }
        service
    }

    async fn stop(&self, service: Service) {
        let service = stopped(service).await;
        *self.service.lock().unwrap() = Some(service);
    }
}

/// Requests come one after the other, and one thread of the runtime serves them all.
pub(super) fn one_thread(mut command: Command) -> Command {
    command.env("TOKIO_WORKER_THREADS", "1");
    command
}

async fn stopped(mut service: Service) -> Service {
    service.program.signal(Signal::TERM);
    assert!(service.program.exit().await.success());
    service
}

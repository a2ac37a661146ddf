//! Visitors who sign in, look around and sign out on all nodes at once, and what became of each.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::ms;
use crate::client::Client;
use crate::nodes::fleet::{Fleet, NAMES, USERS};
use crate::nodes::walk::WHO;
use crate::peers::PASSWORD;

/// Tasks that look around.
const LOOKING: usize = 4;

/// Between two requests of a task, two logins, two logouts.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(5),
    Duration::from_millis(100),
    Duration::from_millis(110),
];

/// Longer than a node waits for anything.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// An end has reached every node after this.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Crowd {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    prototype: Client,
    ports: Vec<u16>,
    dead: Vec<AtomicBool>,
    done: AtomicBool,
    ledger: Mutex<Ledger>,
}

/// What was answered, and so is known for sure.
#[derive(Default)]
struct Ledger {
    open: Vec<Arc<Visitor>>,
    ended: Vec<Ended>,
    tally: Tally,
}

/// A visitor who has signed out, where and when.
#[derive(Clone)]
struct Ended {
    visitor: Arc<Visitor>,
    at: (usize, Instant),
}

struct Visitor {
    client: Client,
    user: &'static str,
    /// Where and when they signed in.
    since: (usize, Instant),
    /// From the moment at which the logout is sent.
    leaves: AtomicBool,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) logins: usize,
    pub(super) logouts: usize,
    /// Logins and logouts that were refused or cut: what they did is not known.
    refused: usize,
    /// Requests.
    answered: usize,
    /// The node had no answer: 503, or it was killed.
    unavailable: usize,
    /// A signed-in user got 401.
    pub(super) wrongly_ended: usize,
    /// A session that has ended opens.
    pub(super) reopened: usize,
    /// An answer that there must not be, as one for somebody else.
    pub(super) foreign: usize,
}

impl Tally {
    pub(super) fn is_right(&self) -> bool {
        self.wrongly_ended + self.reopened + self.foreign == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            logins,
            logouts,
            refused,
            answered,
            unavailable,
            wrongly_ended,
            reopened,
            foreign,
        } = self;
        write!(
            f,
            "{wrongly_ended} wrongly ended, {reopened} that had ended opened, {foreign} wrong \
             answers; {logins} logins, {logouts} logouts, {answered} requests; {refused} logins and \
             logouts refused or cut, {unavailable} requests"
        )
    }
}

impl Crowd {
    pub(super) fn start(fleet: &Fleet) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            prototype: fleet.visitor()?,
            ports: fleet.nodes.iter().map(|node| node.port).collect(),
            dead: fleet.nodes.iter().map(|_| AtomicBool::new(false)).collect(),
            done: AtomicBool::new(false),
            ledger: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..LOOKING {
            tasks.spawn(Arc::clone(&shared).look_around());
        }
        tasks.spawn(Arc::clone(&shared).sign_in());
        tasks.spawn(Arc::clone(&shared).sign_out());
        Ok(Self { shared, tasks })
    }

    /// Nobody asks a node that is dead.
    pub(super) fn set_dead(&self, node: usize, dead: bool) {
        self.shared.dead[node].store(dead, Ordering::Relaxed);
    }

    /// Waits for some more logins.
    pub(super) async fn go_on(&self, logins: usize) {
        let due = self.shared.ledger().tally.logins + logins;
        while self.shared.ledger().tally.logins < due {
            sleep(PAUSES[0]).await;
        }
    }

    /// Ends the load, and asks each node about each session.
    pub(super) async fn judge(mut self) -> io::Result<Tally> {
        let shared = self.shared;
        shared.done.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        sleep(ENDS_WITHIN).await;
        let (open, ended) = {
            let ledger = shared.ledger();
            (ledger.open.clone(), ledger.ended.clone())
        };
        for node in 0..shared.ports.len() {
            for visitor in &open {
                shared.look(node, visitor).await;
            }
            for ended in &ended {
                shared.look_for_ended(node, ended).await;
            }
        }
        let tally = shared.ledger().tally;
        Ok(tally)
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// One that is alive.
    fn any_node(&self) -> usize {
        loop {
            let node = random(self.ports.len());
            if !self.dead[node].load(Ordering::Relaxed) {
                return node;
            }
        }
    }

    fn at(&self, node: usize, client: &Client) -> Client {
        client.led_to(self.ports[node], Ipv4Addr::new(192, 0, 2, 7))
    }

    async fn sign_in(self: Arc<Self>) {
        while !self.is_done() {
            let user = USERS[random(USERS.len())];
            let node = self.any_node();
            let mut client = self.at(node, &self.prototype);
            let signed_in = client.sign_in("/.vestibule/login", user, PASSWORD);
            let signed_in = timeout(ANSWERED_WITHIN, signed_in).await;
            let visitor = Visitor {
                client,
                user,
                since: (node, Instant::now()),
                leaves: AtomicBool::new(false),
            };
            self.note_login(matches!(signed_in, Ok(Ok(()))).then_some(visitor));
            sleep(PAUSES[1]).await;
        }
    }

    fn note_login(&self, signed_in: Option<Visitor>) {
        let mut ledger = self.ledger();
        match signed_in {
            Some(visitor) => {
                ledger.tally.logins += 1;
                ledger.open.push(Arc::new(visitor));
            }
            None => ledger.tally.refused += 1,
        }
    }

    async fn sign_out(self: Arc<Self>) {
        while !self.is_done() {
            let leaving = {
                let mut ledger = self.ledger();
                let open = ledger.open.len();
                (open > 0).then(|| ledger.open.swap_remove(random(open)))
            };
            if let Some(visitor) = leaving {
                visitor.leaves.store(true, Ordering::Relaxed);
                let node = self.any_node();
                let client = self.at(node, &visitor.client);
                let signed_out = timeout(ANSWERED_WITHIN, client.sign_out()).await;
                let mut ledger = self.ledger();
                match signed_out {
                    Ok(Ok(StatusCode::SEE_OTHER)) => {
                        ledger.tally.logouts += 1;
                        let at = (node, Instant::now());
                        ledger.ended.push(Ended { visitor, at });
                    }
                    // The page that says that nobody is signed in.
                    Ok(Err(error)) if error.to_string().ends_with("but 200 OK") => {
                        ledger.tally.wrongly_ended += 1;
                        visitor.tell_wrong(node, "cannot sign out: nobody is signed in");
                    }
                    _ => ledger.tally.refused += 1,
                }
            }
            sleep(PAUSES[2]).await;
        }
    }

    async fn look_around(self: Arc<Self>) {
        while !self.is_done() {
            let (open, ended) = {
                let ledger = self.ledger();
                let open = ledger.open.get(random(ledger.open.len())).cloned();
                let ended = ledger.ended.get(random(ledger.ended.len()));
                let ended = ended.filter(|ended| ended.at.1.elapsed() > ENDS_WITHIN);
                (open, ended.cloned())
            };
            if let Some(visitor) = open {
                self.look(self.any_node(), &visitor).await;
            }
            if let Some(ended) = ended {
                self.look_for_ended(self.any_node(), &ended).await;
            }
            sleep(PAUSES[0]).await;
        }
    }

    async fn look(&self, node: usize, visitor: &Visitor) {
        let client = self.at(node, &visitor.client);
        let answer = timeout(ANSWERED_WITHIN, client.fetch(WHO)).await;
        let tally = &mut self.ledger().tally;
        match answer {
            Ok(Ok((StatusCode::OK, user))) if user == visitor.user => tally.answered += 1,
            Ok(Ok((StatusCode::UNAUTHORIZED, _))) if visitor.leaves.load(Ordering::Relaxed) => {
                tally.answered += 1;
            }
            Ok(Ok((StatusCode::UNAUTHORIZED, _))) => {
                tally.wrongly_ended += 1;
                visitor.tell_wrong(node, "is signed out");
            }
            Ok(Ok((StatusCode::SERVICE_UNAVAILABLE, _)) | Err(_)) | Err(_) => {
                tally.unavailable += 1;
            }
            Ok(Ok(_)) => tally.foreign += 1,
        }
    }

    async fn look_for_ended(&self, node: usize, ended: &Ended) {
        let Ended { visitor, at } = ended;
        let client = self.at(node, &visitor.client);
        let answer = timeout(ANSWERED_WITHIN, client.fetch(WHO)).await;
        let tally = &mut self.ledger().tally;
        match answer {
            Ok(Ok((StatusCode::UNAUTHORIZED, _))) => tally.answered += 1,
            Ok(Ok((StatusCode::OK, _))) => {
                tally.reopened += 1;
                let (place, ago) = (NAMES[at.0], ms(at.1.elapsed()));
                visitor.tell_wrong(
                    node,
                    &format!("is in, though signed out on {place} {ago} ago"),
                );
            }
            Ok(Ok((StatusCode::SERVICE_UNAVAILABLE, _)) | Err(_)) | Err(_) => {
                tally.unavailable += 1;
            }
            Ok(Ok(_)) => tally.foreign += 1,
        }
    }
}

impl Visitor {
    /// In what is still printed while it is measured.
    fn tell_wrong(&self, node: usize, what: &str) {
        let (user, (place, begun)) = (self.user, self.since);
        let (place, node, ago) = (NAMES[place], NAMES[node], ms(begun.elapsed()));
        eprintln!("wrong: {user}, signed in on {place} {ago} ago, {what} on {node}");
    }
}

/// Below `count`; 0 where there is nothing to choose from.
fn random(count: usize) -> usize {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
    usize::from_ne_bytes(bytes).checked_rem(count).unwrap_or(0)
}

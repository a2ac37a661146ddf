//! The timing equaliser: refusals wait for an interval while hashes differ in cost.
//!
//! bcrypt takes 200 ms where argon2id takes 25: by its time a refusal would tell for whom the
//! file holds an old hash, and so who exists. Until the last of them is upgraded, refusals are
//! held back to the next multiple of a time that every hash in the file keeps within, and the
//! thread takes no other login meanwhile: who waits behind it learns as little, whether it was a
//! refusal or not.

use std::hint;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::password::{Hasher, MAX_LENGTH, Scheme, StoredHash};
use crate::clock::Clock;

/// Room for a machine that is busier than when the costs were measured.
const ROOM: u32 = 2;

/// An interval that is longer than any of the hashes takes; `None` when all take equally long.
pub(super) fn interval<'a>(hashes: impl Iterator<Item = &'a StoredHash>) -> Option<Duration> {
    let longest = hashes
        .filter(|hash| !hash.costs_as_usual())
        .map(estimate)
        .max()?;
    Some(ROOM * longest.max(costs().usual))
}

/// The work on one login, from here on.
pub(super) struct Work {
    began: Instant,
    /// What its thread had computed until then.
    computed: Duration,
}

/// What is left of an interval when the work is done.
pub(super) struct Hold {
    work: Work,
    interval: Duration,
}

impl Work {
    pub(super) fn begin() -> Self {
        Self {
            began: Clock::stopwatch(),
            computed: computed(),
        }
    }

    pub(super) fn up_to(self, interval: Duration) -> Hold {
        Hold {
            work: self,
            interval,
        }
    }
}

impl Hold {
    /// Computes as much as the longest of the hashes does, if this one did not. Others on the core
    /// stretch a login by what it computes: on a busy machine, only one that computes much would
    /// go on beyond the first interval.
    pub(super) fn compute(&self) {
        while computed().saturating_sub(self.work.computed) < self.interval / ROOM {
            for _ in 0..1000 {
                hint::spin_loop();
            }
        }
    }

    /// What is to be waited for after that.
    pub(super) fn rest(&self) -> Duration {
        until_next(self.work.began.elapsed(), self.interval)
    }
}

/// How long to hold back what took `elapsed`.
fn until_next(elapsed: Duration, interval: Duration) -> Duration {
    let over = elapsed.as_nanos() % interval.as_nanos().max(1);
    interval.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or(0)))
}

/// What the calling thread has computed so far, without what it waited for others.
fn computed() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// How long the schemes take on this machine, by the unit in which their cost is counted.
struct Costs {
    /// Argon2, 4 MiB once.
    argon2: Duration,
    /// bcrypt of cost 5; each step more takes twice as long.
    bcrypt: Duration,
    /// A thousand rounds with the longest password.
    sha256: Duration,
    sha512: Duration,
    /// A hash that was made here.
    usual: Duration,
}

/// Measured once, and only where there are old hashes.
fn costs() -> &'static Costs {
    static COSTS: OnceLock<Costs> = OnceLock::new();
    COSTS.get_or_init(|| {
        let mut hasher = Hasher::default();
        let password = [b'x'; MAX_LENGTH];
        let mut measure = |text: &str| {
            // All of these are well-formed; were one not, it would count as free and be caught
            // by the test below.
            StoredHash::parse(text).map_or(Duration::ZERO, |hash| {
                let before = computed();
                hasher.verify(&hash, &password);
                computed().saturating_sub(before)
            })
        };
        let salt = "c2FsdHNhbHRzYWx0c2FsdA";
        let output = "A".repeat(43);
        Costs {
            argon2: measure(&format!("$argon2id$v=19$m=4096,t=1,p=1${salt}${output}")),
            bcrypt: measure(&format!("$2b$05${}", ".".repeat(53))),
            sha256: measure(&format!("$5$rounds=1000$salt${}", ".".repeat(43))),
            sha512: measure(&format!("$6$rounds=1000$salt${}", ".".repeat(86))),
            usual: measure(&format!("$argon2id$v=19$m=19456,t=2,p=1${salt}${output}")),
        }
    })
}

fn estimate(hash: &StoredHash) -> Duration {
    let costs = costs();
    match hash.scheme() {
        Scheme::Argon2(hash) => {
            // Both are capped where hashes are parsed, far below an overflow.
            costs.argon2 * (hash.params.m_cost() * hash.params.t_cost()).div_ceil(4096)
        }
        Scheme::Bcrypt { cost } => costs.bcrypt * 2u32.pow(cost.saturating_sub(5)),
        Scheme::Sha256Crypt { rounds } => costs.sha256 * rounds.div_ceil(1000),
        Scheme::Sha512Crypt { rounds } => costs.sha512 * rounds.div_ceil(1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_56_every_scheme_has_a_cost_and_the_interval_outlasts_it() {
        let costs = costs();
        let nothing = Duration::ZERO;
        assert!(costs.argon2 > nothing && costs.bcrypt > nothing && costs.usual > nothing);
        assert!(costs.sha256 > nothing && costs.sha512 > nothing);
        let bcrypt = |cost| StoredHash::parse(&format!("$2b${cost}${}", ".".repeat(53))).unwrap();
        let (cheap, dear) = (bcrypt("05"), bcrypt("13"));
        let interval = super::interval([&cheap, &dear].into_iter()).unwrap();
        assert_eq!(interval, ROOM * (costs.bcrypt * 256).max(costs.usual));
    }

    #[test]
    fn sec_56_without_old_hashes_there_is_no_interval() {
        let usual = StoredHash::dummy().unwrap();
        assert_eq!(interval([&usual].into_iter()), None);
        assert_eq!(interval(std::iter::empty()), None);
    }

    #[test]
    fn refusals_fall_on_multiples_of_the_interval() {
        let millis = Duration::from_millis;
        for (elapsed, expected) in [(0, 100), (1, 99), (99, 1), (100, 100), (250, 50)] {
            assert_eq!(until_next(millis(elapsed), millis(100)), millis(expected));
        }
    }

    #[test]
    fn sec_56_each_login_computes_as_much_as_the_longest() {
        let interval = Duration::from_millis(40);
        let hold = Work::begin().up_to(interval);
        let before = hold.work.computed;
        hold.compute();
        let first = computed().saturating_sub(before);
        assert!(first >= interval / ROOM);
        hold.compute();
        assert!(
            computed().saturating_sub(before) < first + interval / ROOM,
            "no more than that"
        );
    }
}

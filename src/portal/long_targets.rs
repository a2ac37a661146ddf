//! Where a login leads when that is too long for the address of the login page: kept here until
//! the login, for the browser that was going there (SEC-63).
//!
//! The address of the login page has a name for it instead. The name opens nothing, and leads
//! nowhere in another browser.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::RequestContext;
use super::csrf::Csrf;
use super::return_to::ReturnTo;
use super::saved_posts::store::Owner;
use crate::clock::{Clock, Timestamp};
use crate::network::{Network, QuotaPermit, Quotas};
use crate::random::NoRandomness;
use crate::session::{SessionId, SessionKey};

/// How long a target is kept.
const KEPT_FOR: Duration = Duration::from_hours(1);

/// Bytes of all targets, shared among networks (SEC-87).
const ROOM: u64 = 4 * 1024 * 1024;

/// What a target takes besides its text, well rounded up.
const OVERHEAD: usize = 256;

/// Targets of one browser, as many as it has tabs that wait for the login. One more drops the oldest.
const OF_ONE_BROWSER: usize = 8;

/// All targets that wait for a login.
pub(super) struct LongTargets {
    clock: Clock,
    room: Arc<Quotas>,
    kept: Mutex<HashMap<Owner, Vec<Kept>>>,
}

struct Kept {
    name: String,
    target: ReturnTo,
    since: Timestamp,
    _room: QuotaPermit,
}

impl LongTargets {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            room: Quotas::new(ROOM),
            kept: Mutex::default(),
        }
    }

    /// Keeps a target for the browser with this login cookie, and gives the name that it has from
    /// now on; `None` when there is no room for it.
    pub(super) fn keep(
        &self,
        login_cookie: &[u8],
        client: IpAddr,
        target: &ReturnTo,
    ) -> Result<Option<String>, NoRandomness> {
        let (owner, now) = (Owner::browser(login_cookie), self.clock.now());
        let mut kept = self.kept();
        let of_owner = kept.entry(owner).or_default();
        if let Some(same) = of_owner.iter_mut().find(|kept| kept.target == *target) {
            same.since = now; // a tab that was loaded again
            return Ok(Some(same.name.clone()));
        }
        if of_owner.len() == OF_ONE_BROWSER {
            of_owner.remove(0);
        }
        let bytes = OVERHEAD + target.as_str().len();
        let room = self.room.take(Network::of(client), bytes as u64);
        let name = match room {
            Some(room) => {
                let name = Csrf::login_cookie()?;
                of_owner.push(Kept {
                    name: name.clone(),
                    target: target.clone(),
                    since: now,
                    _room: room,
                });
                Some(name)
            }
            None => None,
        };
        if of_owner.is_empty() {
            kept.remove(&owner);
        }
        Ok(name)
    }

    /// The target of this name, if it is kept for this browser or for its session.
    pub(super) fn find(&self, context: &RequestContext<'_>, name: &str) -> Option<ReturnTo> {
        self.find_for(owners(context), name)
    }

    /// After a login: what waits for the other tabs of this browser waits for its session now,
    /// because the login cookie is gone.
    pub(super) fn adopt(&self, context: &RequestContext<'_>, key: SessionKey) {
        self.hand_over(owners(context), key);
    }

    /// Drops what has waited for too long.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        self.kept().retain(|_, of_owner| {
            of_owner.retain(|kept| kept.is_fresh(now));
            !of_owner.is_empty()
        });
    }

    fn find_for(&self, owners: impl Iterator<Item = Owner>, name: &str) -> Option<ReturnTo> {
        let (kept, now) = (self.kept(), self.clock.now());
        let mut all = owners.filter_map(|owner| kept.get(&owner)).flatten();
        let found = all.find(|kept| kept.name == name && kept.is_fresh(now))?;
        Some(found.target.clone())
    }

    fn hand_over(&self, owners: impl Iterator<Item = Owner>, key: SessionKey) {
        let mut kept = self.kept();
        let all: Vec<_> = owners.filter_map(|owner| kept.remove(&owner)).collect();
        let mut all: Vec<_> = all.into_iter().flatten().collect();
        all.drain(..all.len().saturating_sub(OF_ONE_BROWSER));
        if !all.is_empty() {
            kept.insert(Owner::Session(key), all);
        }
    }

    /// No code that holds the lock can leave the targets half changed (REL-11).
    fn kept(&self) -> MutexGuard<'_, HashMap<Owner, Vec<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.since) < KEPT_FOR
    }
}

/// For whom something may be kept that this request may have.
fn owners(context: &RequestContext<'_>) -> impl Iterator<Item = Owner> {
    let browser = context.cookies.login.as_ref();
    let browser = browser.map(|cookie| Owner::browser(cookie.as_bytes()));
    let session = context.cookies.session.as_ref().map(SessionId::key);
    session.map(Owner::Session).into_iter().chain(browser)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 8192;

    fn target(n: usize) -> ReturnTo {
        ReturnTo::parse(&format!("/{n}?{}", "a".repeat(3000)), MAX)
    }

    fn client(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn browser(cookie: &[u8]) -> impl Iterator<Item = Owner> {
        std::iter::once(Owner::browser(cookie))
    }

    #[test]
    fn sec_63_a_target_is_kept_for_one_browser_and_for_an_hour() {
        let clock = Clock::system();
        let targets = LongTargets::new(clock.clone());
        let keep = |n| targets.keep(b"mine", client(1), &target(n)).unwrap();
        let name = keep(1).unwrap();
        assert_eq!(targets.find_for(browser(b"mine"), &name), Some(target(1)));
        assert_eq!(targets.find_for(browser(b"other"), &name), None);
        assert_eq!(targets.find_for(browser(b"mine"), "name"), None);
        assert_eq!(keep(1).as_ref(), Some(&name), "the same once more");
        clock.advance(KEPT_FOR);
        assert_eq!(targets.find_for(browser(b"mine"), &name), None);
        assert!(targets.room.total() > 0);
        targets.sweep();
        assert_eq!(targets.room.total(), 0);
    }

    #[test]
    fn sec_63_the_session_that_begins_has_what_other_tabs_wait_for() {
        let targets = LongTargets::new(Clock::system());
        let name = targets.keep(b"mine", client(1), &target(1)).unwrap();
        let name = name.unwrap();
        let key = SessionId::generate().unwrap().key();
        targets.hand_over(browser(b"mine"), key);
        let session = || std::iter::once(Owner::Session(key));
        assert_eq!(targets.find_for(session(), &name), Some(target(1)));
        assert_eq!(targets.find_for(browser(b"mine"), &name), None);
    }

    #[test]
    fn sec_63_one_browser_has_no_more_than_its_last_eight() {
        let targets = LongTargets::new(Clock::system());
        let keep = |n| targets.keep(b"mine", client(1), &target(n)).unwrap();
        let names: Vec<_> = (0..9).map(|n| keep(n).unwrap()).collect();
        let is_kept = |name: &String| targets.find_for(browser(b"mine"), name).is_some();
        assert!(!is_kept(&names[0]) && names[1..].iter().all(is_kept));
    }

    #[test]
    fn sec_87_no_network_has_room_of_all_others() {
        let targets = LongTargets::new(Clock::system());
        let keep = |n: usize, from| {
            let cookie = n.to_string();
            let kept = targets.keep(cookie.as_bytes(), client(from), &target(n));
            kept.unwrap().is_some()
        };
        let refused = (0..10_000).find(|&n| !keep(n, 1)).unwrap();
        assert!(refused > 600, "{refused}");
        assert!(targets.room.total() <= ROOM / 2);
        assert!(keep(refused, 2), "another network has its own");
        let nothing = Owner::browser(refused.to_string().as_bytes());
        assert_eq!(targets.kept().get(&nothing).map(Vec::len), Some(1));
    }
}

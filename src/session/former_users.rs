//! Whose a session was, remembered beyond its end. A store forgets an expired session when it is
//! shown again or the garbage is collected: after half a second, or minutes where there are many.
//! What a browser sends after that is still its user's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{HostId, SessionKey};
use crate::request::Host;

/// Users of so many sessions are remembered. Those that were not seen for the longest are
/// forgotten first.
const MAX: u64 = 100_000;

/// The users of sessions, each on the host of its session.
pub(crate) struct FormerUsers {
    enabled: AtomicBool,
    /// By the hash of each id.
    of: Cache<SessionKey, Former>,
}

#[derive(Clone)]
struct Former {
    host: Host,
    session: SessionKey,
    user: Arc<str>,
}

impl FormerUsers {
    pub(crate) fn new(enabled: bool) -> Self {
        let of = Cache::builder().max_capacity(MAX);
        Self {
            enabled: AtomicBool::new(enabled),
            of: of.eviction_policy(EvictionPolicy::lru()).build(),
        }
    }

    /// Whether to remember anything from now on.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    /// Notes whose session an id opens; called when it begins or is first seen, not with each
    /// request.
    pub(crate) fn note(&self, id: HostId, session: SessionKey, user: &str) {
        if self.enabled.load(Ordering::Relaxed) {
            let HostId { key, host } = id;
            let user = user.into();
            self.of.insert(
                key,
                Former {
                    host,
                    session,
                    user,
                },
            );
        }
    }

    /// Which session an id of this hash opens or has opened on this host, and whose it is, as far as
    /// that is remembered (SEC-88).
    pub(crate) fn of(&self, id: &SessionKey, host: &str) -> Option<(SessionKey, Arc<str>)> {
        let former = self.of.get(id)?;
        let is_here = former.host.is(host);
        is_here.then_some((former.session, former.user))
    }
}

#[cfg(test)]
mod tests {
    use super::super::SessionId;
    use super::*;

    fn note(former_users: &FormerUsers) -> SessionKey {
        let key = SessionId::generate().unwrap().key();
        let host = Host::parse("wiki.test").unwrap();
        former_users.note(HostId { key, host }, key, "ada");
        key
    }

    #[test]
    fn sec_88_on_another_host_nobody_remembers_whose_session_it_was() {
        let former_users = FormerUsers::new(true);
        let key = note(&former_users);
        let former = former_users.of(&key, "Wiki.Test.");
        assert_eq!(former, Some((key, "ada".into())));
        assert_eq!(former_users.of(&key, "other.test"), None);
    }

    #[test]
    fn nothing_is_remembered_unless_asked_for() {
        let former_users = FormerUsers::new(false);
        let before = note(&former_users);
        former_users.set_enabled(true);
        let after = note(&former_users);
        assert_eq!(former_users.of(&before, "wiki.test"), None);
        assert!(former_users.of(&after, "wiki.test").is_some());
    }
}

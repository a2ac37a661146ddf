//! How many WebSockets an app has open, and whose.
//!
//! A tunnel holds a connection to the application for as long as its client likes, outside the
//! pool. So there is a bound for each user and each network of visitors, and one for all users and
//! one for all visitors of the app (SEC-87).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Caller, Settings};
use crate::clock::Clock;
use crate::network::{self, Network};
use crate::telemetry::Seldom;

/// The users of an app have so many for each connection that its pool may have.
const FOR_USERS: usize = 4;

/// The same for visitors.
const FOR_VISITORS: usize = 1;

/// What one configuration allows an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// For a user, and for a network of visitors.
    each: usize,
    users: usize,
    visitors: usize,
}

/// The bound that keeps one more from being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The user, or the network, has as many as it may.
    Caller,
    /// There are so many in all that this one has to stay out for the others.
    App,
}

/// The open ones of each app, whatever is configured meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<HashMap<String, Weak<Tunnels>>>);

/// The open ones of one app.
pub(crate) struct Tunnels {
    refused: Seldom,
    state: Mutex<State>,
    visitors: Arc<network::Quotas>,
}

#[derive(Debug, Default)]
struct State {
    of_users: usize,
    users: HashMap<Box<str>, usize>,
    networks: HashMap<Network, usize>,
}

/// Counts one tunnel, from its handshake until it is dropped.
pub(crate) struct Tunnel {
    tunnels: Arc<Tunnels>,
    owner: Owner,
    /// Of what is for visitors.
    _permit: Option<network::QuotaPermit>,
}

enum Owner {
    User(Box<str>),
    Network(Network),
}

impl Limits {
    /// `each` is `max_tunnels_per_user`.
    pub(crate) fn of(settings: &Settings) -> Self {
        let connections = settings
            .max_connections
            .saturating_mul(settings.addresses.len());
        Self {
            each: settings.max_tunnels_per_user,
            users: connections.saturating_mul(FOR_USERS),
            visitors: connections.saturating_mul(FOR_VISITORS),
        }
    }
}

impl Registry {
    /// What is counted for the app of this name.
    pub(crate) fn of_app(&self, name: &str, clock: &Clock) -> Arc<Tunnels> {
        let mut apps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = apps.get(name).and_then(Weak::upgrade) {
            return known;
        }
        apps.retain(|_, tunnels| tunnels.strong_count() > 0);
        let tunnels = Tunnels::new(clock.clone());
        apps.insert(name.to_owned(), Arc::downgrade(&tunnels));
        tunnels
    }
}

impl Tunnels {
    fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            refused: Seldom::new(clock),
            state: Mutex::default(),
            visitors: network::Quotas::new(0),
        })
    }

    /// One more, if the caller may have it.
    pub(crate) fn open(
        self: &Arc<Self>,
        caller: Caller<'_>,
        limits: Limits,
    ) -> Result<Tunnel, Full> {
        let mut state = self.lock();
        let (owner, permit) = match caller {
            Caller::User(user) => (state.take_for_user(user, limits)?, None),
            Caller::Visitor(network) => {
                let (owner, permit) =
                    state.take_for_visitor(network.widest(), limits, &self.visitors)?;
                (owner, Some(permit))
            }
        };
        drop(state);
        Ok(Tunnel {
            tunnels: Arc::clone(self),
            owner,
            _permit: permit,
        })
    }

    /// Says in the log, now and then, that one was refused.
    pub(crate) fn report(&self, app: &str, caller: Caller<'_>, full: Full) {
        if !self.refused.is_due() {
            return;
        }
        let open = self.lock().total();
        let (user, network) = match caller {
            Caller::User(user) => (Some(user), None),
            Caller::Visitor(network) => (None, Some(network.widest())),
        };
        tracing::warn!(
            app, user, network = network.map(tracing::field::display), limit = %full, open,
            "too many WebSockets: more of them are answered with 503"
        );
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn total(&self) -> usize {
        self.of_users + self.networks.values().sum::<usize>()
    }

    /// A user has no more than what is left for all others, as networks have it, so that a few
    /// users cannot shut the next one out.
    fn take_for_user(&mut self, user: &str, limits: Limits) -> Result<Owner, Full> {
        let held = self.users.get(user).copied().unwrap_or(0);
        if held >= limits.each {
            return Err(Full::Caller);
        }
        let left = limits.users.checked_sub(self.of_users + 1);
        let left = left.ok_or(Full::App)?;
        if held > 0 && held + 1 > left {
            return Err(Full::App);
        }
        self.of_users += 1;
        *self.users.entry(user.into()).or_default() += 1;
        Ok(Owner::User(user.into()))
    }

    fn take_for_visitor(
        &mut self,
        network: Network,
        limits: Limits,
        visitors: &Arc<network::Quotas>,
    ) -> Result<(Owner, network::QuotaPermit), Full> {
        let held = self.networks.get(&network).copied().unwrap_or(0);
        if held >= limits.each {
            return Err(Full::Caller);
        }
        visitors.set_capacity(u64::try_from(limits.visitors).unwrap_or(u64::MAX));
        let permit = visitors.take(network, 1).ok_or(Full::App)?;
        *self.networks.entry(network).or_default() += 1;
        Ok((Owner::Network(network), permit))
    }

    fn give_back(&mut self, owner: &Owner) {
        match owner {
            Owner::User(user) => {
                self.of_users -= 1;
                if let Some(held) = self.users.get_mut(user) {
                    *held -= 1;
                }
                self.users.retain(|_, held| *held > 0);
            }
            Owner::Network(network) => {
                if let Some(held) = self.networks.get_mut(network) {
                    *held -= 1;
                }
                self.networks.retain(|_, held| *held > 0);
            }
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.tunnels.lock().give_back(&self.owner);
    }
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnels").finish_non_exhaustive()
    }
}

/// As the log has it.
impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "max_tunnels_per_user",
            Self::App => "app",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        each: 4,
        users: 32,
        visitors: 16,
    };

    fn visitor(address: &str) -> Caller<'static> {
        Caller::Visitor(Network::of(address.parse().unwrap()))
    }

    /// Opens until there are no more; how many, and what kept the next one out.
    fn open_all(tunnels: &Arc<Tunnels>, caller: Caller<'_>) -> (Vec<Tunnel>, Full) {
        let mut open = Vec::new();
        loop {
            match tunnels.open(caller, LIMITS) {
                Ok(tunnel) => open.push(tunnel),
                Err(full) => return (open, full),
            }
        }
    }

    #[test]
    fn sec_87_a_user_and_a_network_have_so_many_each() {
        let tunnels = Tunnels::new(Clock::system());
        let mut kept = Vec::new();
        for caller in [
            Caller::User("ada"),
            Caller::User("bob"),
            visitor("192.0.2.1"),
            visitor("2001:db8:1::1"),
        ] {
            let (open, full) = open_all(&tunnels, caller);
            assert_eq!((open.len(), full), (4, Full::Caller), "{caller:?}");
            kept.extend(open);
        }
        let (more, full) = open_all(&tunnels, visitor("2001:db8:1:ff::1"));
        assert_eq!((more.len(), full), (0, Full::Caller), "of the same /48");
    }

    #[test]
    fn sec_87_strangers_take_nothing_of_users_and_users_leave_some_to_each_other() {
        let tunnels = Tunnels::new(Clock::system());
        let of_users = || -> Vec<_> {
            let users = (0..8).map(|n| format!("user{n}"));
            users
                .map(|user| open_all(&tunnels, Caller::User(&user)).0)
                .collect()
        };
        let count = |open: &[Vec<Tunnel>]| open.iter().map(Vec::len).collect::<Vec<_>>();
        let alone = count(&of_users());
        assert!(alone.iter().all(|held| *held > 0), "{alone:?}");
        let mut open = Vec::new();
        for n in 1..=32 {
            open.extend(open_all(&tunnels, visitor(&format!("192.0.2.{n}"))).0);
        }
        assert!((12..=16).contains(&open.len()), "{}", open.len());
        assert_eq!(count(&of_users()), alone, "whatever strangers have");
        drop(open);
        let state = tunnels.lock();
        assert_eq!(
            (state.of_users, state.users.len(), state.networks.len()),
            (0, 0, 0)
        );
        assert_eq!(tunnels.visitors.total(), 0);
    }

    #[test]
    fn a_reload_forgets_no_open_one() {
        let registry = Registry::default();
        let clock = Clock::system();
        let _open = open_all(&registry.of_app("wiki", &clock), Caller::User("ada")).0;
        let (more, _) = open_all(&registry.of_app("wiki", &clock), Caller::User("ada"));
        assert_eq!(more.len(), 0);
        let (other, _) = open_all(&registry.of_app("chat", &clock), Caller::User("ada"));
        assert_eq!(other.len(), 4);
    }
}

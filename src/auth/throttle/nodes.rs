//! The throttle as logins meet it: the counters of this node, and those that all nodes share.
//!
//! A try has to pass both. The own ones come first and count every try, so that they can decide
//! alone while the store is away: nothing passes then that they would refuse, and a node that is cut
//! off gives nobody more tries than it would by itself. What a login on
//! another node has made forgotten is forgotten here, too; what the store has lost is not.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::attempt::LocalAttempt;
use super::known::{KnownNetworks, Pair};
use super::redis::{Counted, SharedCounts};
use super::{LocalThrottle, Settings, Wait};
use crate::clock::Clock;
use crate::network::Network;

/// Counts tries to sign in, and says who has to wait.
pub(crate) struct Throttle {
    local: LocalThrottle,
    /// `None` where this node is alone.
    store: Option<SharedCounts>,
}

/// A try that is under way. It stays counted unless it [succeeds](Attempt::succeeded) or turns out
/// to be [no try](Attempt::withdraw).
#[must_use]
pub(crate) struct Attempt<'a> {
    local: LocalAttempt<'a>,
    shared: Shared<'a>,
}

enum Shared<'a> {
    Counted(&'a SharedCounts, Box<Counted>),
    /// Nobody knows yet.
    Late(&'a SharedCounts, JoinHandle<Option<Claimed>>),
    Uncounted,
}

/// Where a try is made.
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "a node alone counts by the rest of it")
)]
pub(super) struct Place<'a> {
    /// By its canonical name.
    pub(super) account: &'a str,
    pub(super) network: Network,
    /// The network is that of a proxy, and nobody is known by it.
    pub(super) by_proxy: bool,
    /// This node knows that the user has signed in from there.
    pub(super) known: bool,
}

#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "a node alone has none of it")
)]
pub(super) enum Claimed {
    Refused(Wait),
    Counted(Box<Counted>),
}

/// What became of a try in the store.
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "a node alone has none of it")
)]
pub(super) enum Said {
    InTime(Claimed),
    /// The store does not say in time whether it has counted the try.
    Later(JoinHandle<Option<Claimed>>),
    Nothing,
}

impl Throttle {
    pub(crate) fn new(
        settings: Settings,
        known: Arc<KnownNetworks>,
        clock: Clock,
        store: Option<SharedCounts>,
    ) -> Self {
        Self {
            local: LocalThrottle::new(settings, known, clock),
            store,
        }
    }

    /// The same with other limits. The counters of this node are at zero; those that nodes share
    /// stay.
    pub(crate) fn with(&self, settings: Settings) -> Self {
        Self {
            local: self.local.with(settings),
            store: self.store.clone(),
        }
    }

    /// How many entries each counter of this node has.
    pub(crate) fn entries(&self) -> [(&'static str, u64); 3] {
        self.local.entries()
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.local.settings()
    }

    /// Counts a try at `account`, by its canonical name, from `address`. Waits for the store for a
    /// quarter of a second at most.
    pub(crate) async fn begin(&self, account: &str, address: IpAddr) -> Result<Attempt<'_>, Wait> {
        let network = Network::of(address);
        let pair = self.local.pair(account, network);
        self.begin_at(account, network, Some(pair)).await
    }

    /// The same from a client that `proxy` does not name: it counts there, but nobody is known by
    /// the network of a proxy.
    pub(crate) async fn begin_behind(
        &self,
        account: &str,
        proxy: IpAddr,
    ) -> Result<Attempt<'_>, Wait> {
        self.begin_at(account, Network::of(proxy), None).await
    }

    async fn begin_at(
        &self,
        account: &str,
        network: Network,
        pair: Option<Pair>,
    ) -> Result<Attempt<'_>, Wait> {
        let begun = self.local.begin_at(account, network, pair);
        let Some(store) = &self.store else {
            let local = begun?;
            return Ok(Attempt {
                local,
                shared: Shared::Uncounted,
            });
        };
        let place = Place {
            account,
            network,
            by_proxy: pair.is_none(),
            known: pair.is_some_and(|pair| self.local.knows(&pair)),
        };
        let local = match begun {
            Ok(local) => local,
            // The user may have signed in from there on another node.
            Err(wait) => {
                let (Some(pair), false) = (pair, place.known) else {
                    return Err(wait);
                };
                let seen = store.known_since(&place).await.ok_or(wait)?;
                self.local.learn(pair, seen);
                self.local.begin_at(account, network, Some(pair))?
            }
        };
        match store.claim(&place, self.settings()).await {
            Said::Nothing => Ok(Attempt {
                local,
                shared: Shared::Uncounted,
            }),
            Said::Later(claim) => Ok(Attempt {
                local,
                shared: Shared::Late(store, claim),
            }),
            Said::InTime(Claimed::Refused(wait)) => {
                local.withdraw();
                Err(wait)
            }
            Said::InTime(Claimed::Counted(counted)) => {
                let mut local = local;
                if let (Some(pair), Some(seen)) = (pair, counted.known_since) {
                    // It counts here as it does there.
                    local.withdraw();
                    self.local.learn(pair, seen);
                    local = match self.local.begin_at(account, network, Some(pair)) {
                        Ok(local) => local,
                        Err(wait) => {
                            store.withdraw(counted).await;
                            return Err(wait);
                        }
                    };
                }
                if let Some(failures) = counted.since_login {
                    local.has_since_login(failures);
                }
                Ok(Attempt {
                    local,
                    shared: Shared::Counted(store, counted),
                })
            }
        }
    }
}

impl Attempt<'_> {
    /// Forgets the failures of this account at this network, which is known from now on. Those of
    /// the network stay: users with an account of their own could reset them for others.
    pub(crate) async fn succeeded(self) {
        self.local.succeeded();
        match self.shared {
            Shared::Counted(store, counted) => store.succeeded(counted).await,
            Shared::Late(store, claim) => store.take_back_later(claim, true),
            Shared::Uncounted => {}
        }
    }

    /// The password was not looked at: nothing was learned, and nothing stays counted.
    pub(crate) async fn withdraw(self) {
        self.local.withdraw();
        match self.shared {
            Shared::Counted(store, counted) => store.withdraw(counted).await,
            Shared::Late(store, claim) => store.take_back_later(claim, false),
            Shared::Uncounted => {}
        }
    }

    /// The password was wrong; how long to wait when that was the last try for now.
    pub(crate) fn failed(self) -> Option<Wait> {
        let shared = match self.shared {
            Shared::Counted(_, counted) => counted.last_for,
            Shared::Late(..) | Shared::Uncounted => None,
        };
        self.local.failed().max(shared)
    }
}

#[cfg(all(test, feature = "redis"))]
impl Throttle {
    pub(super) fn store(&self) -> &SharedCounts {
        self.store.as_ref().expect("it has one")
    }
}

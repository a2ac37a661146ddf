//! Where a login leads when that is too long for the address of the login page: kept here until
//! the login, for the browser that was going there (SEC-63).
//!
//! The address of the login page has a name for it instead. The name opens nothing, and leads
//! nowhere in another browser.
//!
//! With several nodes, it is in the store that they share as well: the login may come to any of them.
//! Without the store, it is good on the node that kept it.

mod local;
mod shared;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use super::RequestContext;
use super::csrf::Csrf;
use super::return_to::ReturnTo;
use super::saved_posts::store::Owner;
use crate::clock::{Clock, Timestamp};
use crate::nodes::Nodes;
use crate::random::NoRandomness;
use crate::session::{SessionId, SessionKey};

use local::LocalTargets;
use shared::SharedTargets;

/// How long a target is kept.
const KEPT_FOR: Duration = Duration::from_hours(1);

/// Targets of one browser, as many as it has tabs that wait for the login. One more drops the oldest.
const OF_ONE_BROWSER: usize = 8;

/// Characters of a name.
const NAME: usize = 22;

/// All targets that wait for a login.
pub(super) struct LongTargets {
    clock: Clock,
    /// Those that this node has kept; it counts them, wherever else they are.
    local: LocalTargets,
    /// `None` where this node is alone.
    shared: Option<SharedTargets>,
}

impl LongTargets {
    pub(super) fn new(clock: Clock, nodes: &Nodes) -> Self {
        Self {
            local: LocalTargets::new(),
            shared: SharedTargets::of(nodes),
            clock,
        }
    }

    /// Keeps a target for the browser with this login cookie, and gives the name that it has from
    /// now on; `None` when there is no room for it.
    pub(super) async fn keep(
        &self,
        login_cookie: &[u8],
        client: IpAddr,
        target: &ReturnTo,
    ) -> Result<Option<String>, NoRandomness> {
        let (owner, now) = (Owner::browser(login_cookie), self.clock.now());
        // A tab that was loaded again.
        let again = self.local.again(owner, target, now);
        let (name, is_shared) = if let Some(again) = again {
            again
        } else {
            let name = Csrf::login_cookie()?;
            if !self.local.keep(owner, (client, &name), target, now) {
                return Ok(None);
            }
            (name, false)
        };
        if let Some(shared) = self.shared.as_ref().filter(|_| !is_shared)
            && shared.keep(owner, &name, target).await.is_ok()
        {
            self.local.is_shared(owner, &name, now);
        }
        Ok(Some(name))
    }

    /// The target of this name, if it is kept for this browser or for its session.
    pub(super) async fn find(&self, context: &RequestContext<'_>, name: &str) -> Option<ReturnTo> {
        self.find_for(&owners(context), name).await
    }

    async fn find_for(&self, owners: &[Owner], name: &str) -> Option<ReturnTo> {
        if name.len() != NAME {
            return None; // nobody need be asked
        }
        let found = self.local.find(owners, name, self.clock.now());
        if found.is_some() {
            return found;
        }
        self.shared.as_ref()?.find(owners, name).await.ok()?
    }

    /// After a login: what waits for the other tabs of this browser waits for its session now,
    /// because the login cookie is gone.
    pub(super) async fn adopt(&self, context: &RequestContext<'_>, key: SessionKey) {
        self.hand_over(&owners(context), key).await;
    }

    async fn hand_over(&self, owners: &[Owner], key: SessionKey) {
        self.local.hand_over(owners, key);
        if let Some(shared) = &self.shared {
            // Without the store, the other tabs lead to the start page on other nodes.
            let _away = shared.hand_over(owners, key).await;
        }
    }

    /// Drops what has waited for too long.
    pub(super) fn sweep(&self) {
        self.local.sweep(self.clock.now());
    }
}

/// For whom something may be kept that this request may have.
fn owners(context: &RequestContext<'_>) -> Vec<Owner> {
    let browser = context.cookies.login.as_ref();
    let browser = browser.map(|cookie| Owner::browser(cookie.as_bytes()));
    let session = context.cookies.session.as_ref().map(SessionId::key);
    session
        .map(Owner::Session)
        .into_iter()
        .chain(browser)
        .collect()
}

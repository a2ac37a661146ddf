//! The right to one of the connections to an address, and who gets it when they become scarce.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::network::Network;
use crate::upstream::quota::{QuotaPermit, UserQuotas};
use crate::upstream::visitors::{self, Visitors};
use crate::upstream::{Caller, Settings, UpstreamError};

/// All connections that there may be to one address.
pub(super) struct Slots {
    max: usize,
    /// Half of the users' connections, for whoever comes first.
    first: Arc<Semaphore>,
    /// The other half, for users within their quota of it.
    second: Arc<Semaphore>,
    quotas: UserQuotas,
    /// What visitors without a session have is theirs, and never lowers what a user gets.
    visiting: Arc<Semaphore>,
    visitors: Arc<Visitors>,
    /// How long a request waits for a slot.
    timeout: Duration,
}

/// The right to one of the connections.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _quota: Option<QuotaPermit>,
    _visitor: Option<visitors::VisitorPermit>,
}

impl Slots {
    pub(super) fn new(settings: &Settings) -> Self {
        let max = settings.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let for_visitors = (max / 4).max(1);
        // Of one connection there are no parts.
        let for_users = (max - for_visitors).max(1);
        let first = Arc::new(Semaphore::new(for_users - for_users / 2));
        let visiting = if max == 1 {
            Arc::clone(&first)
        } else {
            Arc::new(Semaphore::new(for_visitors))
        };
        Self {
            max,
            first,
            second: Arc::new(Semaphore::new(for_users / 2)),
            quotas: UserQuotas::of(for_users),
            visiting,
            visitors: Visitors::of(for_visitors),
            timeout: settings.connect_timeout,
        }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn in_use(&self) -> usize {
        let mut free = self.first.available_permits() + self.second.available_permits();
        if self.max > 1 {
            free += self.visiting.available_permits();
        }
        self.max - free.min(self.max)
    }

    /// The right to one connection, waiting for it as long as connecting may take.
    pub(super) async fn take(&self, caller: Caller<'_>) -> Result<Slot, UpstreamError> {
        let slot = match caller {
            Caller::User(user) => {
                if let Ok(permit) = Arc::clone(&self.first).try_acquire_owned() {
                    return Ok(Slot::of(permit));
                }
                Box::pin(timeout(self.timeout, self.slot_of_user(user))).await
            }
            Caller::Visitor(network) => {
                Box::pin(timeout(self.timeout, self.slot_of_visitor(network))).await
            }
        };
        slot.ok().flatten().ok_or(UpstreamError::Busy)
    }

    /// Waits for whatever comes first.
    async fn slot_of_user(&self, user: &str) -> Option<Slot> {
        let second = async {
            let quota = self.quotas.take(user).await?;
            let permit = Arc::clone(&self.second).acquire_owned().await.ok()?;
            Some(Slot {
                _quota: Some(quota),
                ..Slot::of(permit)
            })
        };
        tokio::select! {
            biased;
            permit = Arc::clone(&self.first).acquire_owned() => permit.ok().map(Slot::of),
            slot = second => slot,
        }
    }

    async fn slot_of_visitor(&self, network: Network) -> Option<Slot> {
        let visitor = self.visitors.take(network).await?;
        let permit = Arc::clone(&self.visiting).acquire_owned().await.ok()?;
        Some(Slot {
            _visitor: Some(visitor),
            ..Slot::of(permit)
        })
    }
}

impl Slot {
    fn of(permit: OwnedSemaphorePermit) -> Self {
        Self {
            _permit: permit,
            _quota: None,
            _visitor: None,
        }
    }
}

//! Which address, and which connection to it, a request goes over.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, Request, header};
use sha2::{Digest, Sha256};

use super::http1::Message;
use super::pool::{Endpoint, Lease};
use super::{Address, Caller, ConnectionAuth, RequestBody, UpstreamError, Upstreams, webdav};
use crate::session::Session;

/// How requests are shared among the addresses of an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight; those with the same number in turn.
    Least,
    /// Each session has its address, and each client without a session.
    Sticky,
}

/// Who sends a request.
#[derive(Clone, Copy)]
pub(crate) struct Requester<'a> {
    pub(crate) client: IpAddr,
    pub(crate) session: Option<&'a Session>,
}

/// One request, stream or WebSocket on its way to an address that counts them.
pub(crate) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    pub(super) fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The addresses as a request tries them: those that are up in their order, then the others.
pub(super) struct Candidates<'a> {
    upstreams: &'a Upstreams,
    order: Order,
    place: usize,
    only_up: bool,
    /// A bit for each place that had its try; more than 64 addresses may have a second one.
    tried: u64,
}

impl<'a> Iterator for Candidates<'a> {
    type Item = &'a (Arc<Endpoint>, HeaderValue);

    fn next(&mut self) -> Option<Self::Item> {
        let count = self.upstreams.endpoints.len();
        loop {
            if self.place == count {
                if !self.only_up {
                    return None;
                }
                (self.place, self.only_up) = (0, false);
            }
            let bit = 1_u64.unbounded_shl(u32::try_from(self.place).unwrap_or(u32::MAX));
            let candidate = &self.upstreams.endpoints[self.order.at(self.place, count)];
            self.place += 1;
            let has_its_turn = if self.only_up {
                count == 1 || candidate.0.is_up()
            } else {
                self.tried & bit == 0
            };
            if has_its_turn {
                self.tried |= bit;
                return Some(candidate);
            }
        }
    }
}

/// In which order addresses are tried.
enum Order {
    InTurnFrom(usize),
    Ranked(Vec<usize>),
}

impl Order {
    /// `first` and those after it, by what each has; with the same they stay in turn.
    fn ranked<T: Ord>(first: usize, count: usize, mut of: impl FnMut(usize) -> T) -> Self {
        let mut ranked: Vec<_> = (0..count).map(|place| (first + place) % count).collect();
        ranked.sort_by_cached_key(|at| of(*at));
        Self::Ranked(ranked)
    }

    fn at(&self, place: usize, count: usize) -> usize {
        match self {
            Self::InTurnFrom(first) => (first + place) % count,
            Self::Ranked(ranked) => ranked[place],
        }
    }
}

/// Rendezvous hashing: who goes to an address that is gone spreads over the others, and nobody else
/// moves. The first of the order is the address with the smallest of these.
fn distance(requester: Requester<'_>, address: &Address) -> [u8; 32] {
    let mut hash = Sha256::new();
    match requester.session {
        Some(session) => hash.update(format!("session {}", session.key())),
        None => hash.update(format!("client {}", requester.client.to_canonical())),
    }
    hash.update(format!(" {address}"));
    hash.finalize().into()
}

impl Upstreams {
    /// The connection that belongs to the client connection, if there is one that still serves.
    pub(super) async fn own_lease(
        &self,
        request: &mut Request<RequestBody>,
        auth: ConnectionAuth<'_>,
    ) -> Option<Lease> {
        let ConnectionAuth::Own { own, session, .. } = auth else {
            return None;
        };
        let of = |lease: &Lease| {
            let mut endpoints = self.endpoints.iter();
            endpoints.position(|(endpoint, _)| lease.is_to(endpoint))
        };
        let lease = own.take(session, |lease| of(lease).is_some())?;
        let (_, host) = &self.endpoints[of(&lease)?];
        let lease = lease.resume().await?;
        self.set_host(request, lease.address(), host);
        Some(lease)
    }

    /// A connection to the first of the candidates that gives one.
    pub(super) async fn lease(
        &self,
        request: &mut Request<RequestBody>,
        caller: Caller<'_>,
        requester: Requester<'_>,
    ) -> Result<Lease, UpstreamError> {
        let mut failed = None;
        for (endpoint, host) in self.candidates(requester) {
            match endpoint.lease(caller).await {
                Ok(lease) => {
                    self.set_host(request, endpoint.address(), host);
                    return Ok(lease);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or(UpstreamError::Busy))
    }

    /// A new connection to another address than the one that is gone, and what is to be sent there.
    pub(super) async fn lease_elsewhere(
        &self,
        (gone, mut failed): (Arc<Endpoint>, UpstreamError),
        mut message: Message,
        caller: Caller<'_>,
        requester: Requester<'_>,
    ) -> Result<(Lease, Message), UpstreamError> {
        let others = self.candidates(requester);
        for (endpoint, host) in others.filter(|(endpoint, _)| !Arc::ptr_eq(endpoint, &gone)) {
            match endpoint.lease_new(caller, false).await {
                Ok(lease) => {
                    if let Message::Request(request) = &mut message {
                        self.set_host(request, endpoint.address(), host);
                    }
                    return Ok((lease, message));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    pub(super) fn candidates(&self, requester: Requester<'_>) -> Candidates<'_> {
        let order = match self.endpoints.len() {
            1 => Order::InTurnFrom(0),
            count => self.order(requester, count),
        };
        Candidates {
            upstreams: self,
            order,
            place: 0,
            only_up: true,
            tried: 0,
        }
    }

    fn order(&self, requester: Requester<'_>, count: usize) -> Order {
        let first = || self.next.fetch_add(1, Ordering::Relaxed) % count;
        match self.balance {
            Balance::RoundRobin => Order::InTurnFrom(first()),
            Balance::Least => {
                Order::ranked(first(), count, |at| self.endpoints[at].0.count_in_flight())
            }
            Balance::Sticky => Order::ranked(0, count, |at| {
                distance(requester, self.endpoints[at].0.address())
            }),
        }
    }

    pub(super) fn set_host(
        &self,
        request: &mut Request<RequestBody>,
        to: &Address,
        host: &HeaderValue,
    ) {
        if !self.preserve_host {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        if self.rewrites && webdav::is_rewritten(request) {
            webdav::rewrite(request.headers_mut(), to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<Address> {
        let http = |last| Address::Http {
            host: format!("10.0.0.{last}"),
            port: 80,
        };
        (1..=4).map(http).collect()
    }

    fn of(client: IpAddr, addresses: &[Address]) -> usize {
        let requester = Requester {
            client,
            session: None,
        };
        let order = Order::ranked(0, addresses.len(), |at| distance(requester, &addresses[at]));
        order.at(0, addresses.len())
    }

    fn clients() -> impl Iterator<Item = IpAddr> {
        (0..4000_u32).map(|n| IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn sticky_addresses_have_about_the_same_number_of_clients_each() {
        let mut counts = [0; 4];
        for client in clients() {
            counts[of(client, &addresses())] += 1;
        }
        assert!(counts.iter().all(|n| (800..1200).contains(n)), "{counts:?}");
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(
            of(mapped, &addresses()),
            of("192.0.2.1".parse().unwrap(), &addresses())
        );
    }

    #[test]
    fn an_address_that_is_gone_moves_only_its_own_clients() {
        let all = addresses();
        for gone in 0..all.len() {
            let mut left = all.clone();
            left.remove(gone);
            for client in clients().take(500) {
                let before = of(client, &all);
                let after = of(client, &left);
                assert!(before == gone || left[after] == all[before]);
            }
        }
    }

    #[test]
    fn the_least_is_first_and_the_same_stay_in_turn() {
        let load = [3, 0, 1, 0];
        let order = |first| match Order::ranked(first, 4, |at| load[at]) {
            Order::Ranked(ranked) => ranked,
            Order::InTurnFrom(_) => Vec::new(),
        };
        assert_eq!(order(0), [1, 3, 2, 0]);
        assert_eq!(order(2), [3, 1, 2, 0]);
    }
}

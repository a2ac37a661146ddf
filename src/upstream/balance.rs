//! Which address, and which connection to it, a request goes over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Request, header};

use super::pool::{Endpoint, Lease};
use super::{Address, Caller, ConnectionAuth, RequestBody, UpstreamError, Upstreams, webdav};

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

    /// Takes the addresses in turn, those that could not be reached lately last.
    pub(super) async fn lease(
        &self,
        request: &mut Request<RequestBody>,
        caller: Caller<'_>,
    ) -> Result<Lease, UpstreamError> {
        let mut failed = None;
        for (endpoint, host) in self.candidates() {
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

    pub(super) fn candidates(&self) -> impl Iterator<Item = &(Arc<Endpoint>, HeaderValue)> {
        let count = self.endpoints.len();
        let first = match count {
            1 => 0,
            _ => self.next.fetch_add(1, Ordering::Relaxed) % count,
        };
        let turn = move || (0..count).map(move |n| &self.endpoints[(first + n) % count]);
        let up = turn().filter(move |(endpoint, _)| count == 1 || endpoint.is_up());
        up.chain(turn().filter(move |(endpoint, _)| count > 1 && !endpoint.is_up()))
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

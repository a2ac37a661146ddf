//! A client's connection, as its requests see it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use tokio_util::sync::CancellationToken;

use super::body::ResponseBody;
use super::connection_state::ConnectionState;
use super::in_flight::InFlight;
use crate::auth::api_token::LastKey;
use crate::error::RequestError;
use crate::forwarded;
use crate::load::{Admitted, Cause, Consumer, Load, Usage};
use crate::principal::Principal;
use crate::session::ConnectionCache;
use crate::upstream::{ClientBody, Own};

/// What is known of a connection before its first request.
pub(crate) struct ClientConn {
    /// The other end of the socket, or whom it named by the PROXY protocol: a client, or a proxy
    /// before us.
    pub(crate) peer: IpAddr,
    /// The same as logs have it.
    pub(super) peer_text: Arc<str>,
    /// The same as applications read it.
    pub(super) peer_header: HeaderValue,
    /// The host that TLS was asked for.
    pub(super) server_name: Option<String>,
    pub(crate) state: Arc<ConnectionState>,
    pub(crate) purpose: Purpose,
    pub(super) cache: ConnectionCache,
    pub(super) last_token: LastKey,
    /// Its own connection to an application, where that signs connections in (SEC-92).
    pub(super) own: Arc<Own>,
    /// Counts the connection as long as anything of it lives, a tunnel included.
    admitted: Admitted,
    /// What the network of `peer` holds.
    network: Arc<Usage>,
    /// What the user of the last request with a session holds.
    user: Mutex<Option<Arc<Usage>>>,
}

/// What comes by a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Requests,
    /// Auth requests of a proxy (SEC-95), whose network has to be named.
    AuthRequests,
    /// The same by a socket file, whose mode says who may ask.
    AuthRequestsByFile,
}

impl ClientConn {
    /// For auth requests of a proxy.
    pub(crate) fn of_proxy(
        peer: IpAddr,
        purpose: Purpose,
        load: Arc<Load>,
        admitted: Admitted,
    ) -> Self {
        Self {
            purpose,
            ..Self::new(peer, None, load, admitted)
        }
    }

    pub(crate) fn new(
        peer: IpAddr,
        server_name: Option<String>,
        load: Arc<Load>,
        admitted: Admitted,
    ) -> Self {
        Self {
            peer,
            peer_text: peer.to_string().into(),
            peer_header: forwarded::header_of(peer),
            server_name,
            state: ConnectionState::new(load, Arc::clone(admitted.place())),
            purpose: Purpose::Requests,
            cache: ConnectionCache::default(),
            last_token: LastKey::default(),
            own: Arc::default(),
            network: Arc::clone(admitted.network()),
            admitted,
            user: Mutex::default(),
        }
    }

    /// Counts bytes of request bodies that were read by HTTP/2.
    pub(crate) fn receive(&self, bytes: usize) {
        self.admitted.receive(bytes);
    }

    /// What a client sends in a request. Over HTTP/2, what nobody has read of it is read after the
    /// response (SEC-99).
    pub(super) fn body(
        &self,
        head: &Parts,
        body: Incoming,
        stop: &CancellationToken,
    ) -> ClientBody {
        if head.version < Version::HTTP_2 || body.is_end_stream() {
            return ClientBody::new(body);
        }
        let load = Arc::clone(self.state.load());
        let place = Arc::clone(self.state.place());
        ClientBody::drained(body, load, place, stop.clone())
    }

    /// What the network of the other end holds; nobody's where that is a trusted proxy, which
    /// stands for many.
    pub(super) fn network_of_peer(&self) -> Option<&Arc<Usage>> {
        self.admitted.place().is_owned().then_some(&self.network)
    }

    /// The network whose pace applies to a response, if one does: to Vestibule's own responses to strangers
    /// (REL-13). Responses on a connection of a trusted proxy are not delayed, because users share it, and
    /// neither are refusals after which the connection is closed: whoever asks again has to shake hands.
    pub(super) fn paced(
        &self,
        response: &Result<Response<ResponseBody>, RequestError>,
    ) -> Option<&Arc<Usage>> {
        let is_ours = match response {
            Ok(response) => {
                response.body().is_made_here()
                    && response.status() != StatusCode::SWITCHING_PROTOCOLS
            }
            Err(error) => !error.closes_under_pressure(),
        };
        let network = self.network_of_peer();
        network.filter(|_| is_ours && !self.state.had_user())
    }

    /// Lets a request go on, unless others come first (REL-13, SEC-87). `principal` is of a session
    /// that was looked up and found; `client` is where the request comes from, behind trusted
    /// proxies, too.
    pub(super) fn admit(
        &self,
        request: &InFlight,
        client: IpAddr,
        principal: Option<&Principal>,
    ) -> Result<(), RequestError> {
        let begun = if let Some(principal) = principal {
            let usage = self.usage_of_user(principal.identity().user());
            let usage = usage.ok_or(Cause::Connections);
            usage.and_then(|usage| request.admit(&usage, || true))
        } else {
            let usage = self.usage_of_stranger(client);
            request.admit(&usage, || self.admitted.is_within_share())
        };
        begun.map_err(RequestError::Overloaded)
    }

    /// For whom a request without a session counts: the network of its client, which a trusted
    /// proxy may have named.
    fn usage_of_stranger(&self, client: IpAddr) -> Arc<Usage> {
        if client == self.peer {
            Arc::clone(&self.network)
        } else {
            self.state.load().usages().of_address(client)
        }
    }

    /// For whom a request with a session counts, and from now on the connection, too. `None` when
    /// the user has too many connections.
    fn usage_of_user(&self, user: &str) -> Option<Arc<Usage>> {
        let mut last = self.user.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = &*last
            && usage.is_of(user)
        {
            return Some(Arc::clone(usage));
        }
        let usage = self.state.load().usages().of(Consumer::User(user.into()));
        if !self.admitted.belongs_to(&usage) {
            return None;
        }
        *last = Some(Arc::clone(&usage));
        Some(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::load::tests::load;
    use crate::load::{Admission, ConnectionLimits};

    fn connection(peer: &str) -> ClientConn {
        let load = Arc::new(load(100));
        let limits = ConnectionLimits {
            max: 100,
            max_per_address: 100,
        };
        let usages = Arc::clone(load.usages());
        let admission = Admission::new(limits, |_| false, usages, &Clock::system());
        let peer = peer.parse().unwrap();
        ClientConn::new(peer, None, load, admission.admit(peer).unwrap())
    }

    #[test]
    fn rel_13_a_refusal_waits_for_its_turn_unless_its_connection_is_closed() {
        let stranger = connection("192.0.2.1");
        for cause in Cause::ALL {
            let error = RequestError::Overloaded(cause);
            let closes = error.closes_under_pressure();
            let waits = stranger.paced(&Err(error)).is_some();
            assert!(waits != closes, "{cause}");
        }
        assert!(stranger.paced(&Err(RequestError::NotFound)).is_some());
    }
}

//! The client to the applications: pooled, balanced, streaming.

mod address;
mod authentication;
mod balance;
mod body;
mod client_body;
mod connect;
pub(crate) mod dial;
mod error;
pub(crate) mod health;
pub(crate) mod hop_by_hop;
mod http1;
mod keep_alive;
mod letters;
mod own;
mod pool;
mod quota;
mod reports;
mod response_body;
mod send;
mod sender;
mod tolerant;
mod trust;
pub(crate) mod tunnels;
pub(crate) mod upgrade;
mod visitors;
mod webdav;

use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};

use crate::access::Permit;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::metrics::Pool;
use crate::network::Network;
use crate::request::{Authority, Host};

pub(crate) use address::Address;
use authentication::tie;
pub(crate) use authentication::{
    ConnectionAuth, challenges as connection_auth_is_asked_for, signs_connection_in,
};
pub(crate) use balance::{Balance, Requester};
pub(crate) use body::{MIN_BYTES_PER_SECOND, RequestBody, Upload};
pub(crate) use client_body::ClientBody;
pub(crate) use error::{OpenError, UpstreamError};
pub(crate) use health::HealthCheck;
#[cfg(fuzzing)]
pub(crate) use http1::DecodedResponse;
use http1::Message;
pub(crate) use http1::ResponseError;
pub(crate) use letters::OwnNames;
pub(crate) use own::Own;
use pool::Endpoint;
use reports::Reports;
pub(crate) use response_body::ResponseBody;
pub(crate) use send::Renewal;
use send::{
    Failed, Wait, drop_length, frame, may_be_followed, say_that_it_is_empty, send, send_or_repeat,
};
pub(crate) use sender::Application;
pub(crate) use tolerant::Tolerated;
#[cfg(fuzzing)]
pub(crate) use tolerant::filter_answer;
pub(crate) use trust::Fingerprint;

/// Whom a request is for, where there is only so much for all of them (SEC-87).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller<'a> {
    User(&'a str),
    /// Without a session, and so one of a network.
    Visitor(Network),
}

/// Ends the wait for an answer that takes its time: what it gives resolves when the request is not
/// permitted any more (SEC-89).
pub(crate) type Guard<'a> = &'a (dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> + Sync);

impl<'a> Caller<'a> {
    pub(crate) fn of(permit: &'a Permit, client: IpAddr) -> Self {
        match permit.identity() {
            Some(identity) => Self::User(identity.user()),
            None => Self::Visitor(Network::of(client)),
        }
    }
}

/// What of the inside is put as the outside knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rewriting {
    /// Addresses, in both directions.
    pub(crate) redirects: bool,
    /// `Secure` and `Domain` of cookies.
    pub(crate) cookies: bool,
}

/// How the requests of one app are sent.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) addresses: Vec<Address>,
    /// Which one of several a request goes to.
    pub(crate) balance: Balance,
    /// Send the browser's `Host`; else the address's own.
    pub(crate) preserve_host: bool,
    pub(crate) rewriting: Rewriting,
    /// Header names keep the letters that they were written with, in both directions.
    pub(crate) preserve_header_case: bool,
    /// Request bodies without a length are read up to here, so that they get one; 0 for none.
    pub(crate) buffer_requests: usize,
    /// `Host` in place of either.
    pub(crate) host: Option<Authority>,
    /// What TLS asks for, and the certificate has to name, in place of the address's host.
    pub(crate) server_name: Option<String>,
    /// The certificates of https upstreams; any that is trusted when there is none.
    pub(crate) pins: Vec<Fingerprint>,
    /// PEM file of the authorities for https upstreams, and of such that are trusted as they are;
    /// the system's authorities when there is none.
    pub(crate) ca: Option<PathBuf>,
    /// What is forgiven in answers.
    pub(crate) tolerate: Vec<Tolerated>,
    /// Connections to one address at a time; more requests wait. A quarter is for visitors without
    /// a session; of the second half of the rest no user takes all.
    pub(crate) max_connections: usize,
    /// Open WebSockets of one user, and of one network of visitors without a session.
    pub(crate) max_tunnels_per_user: usize,
    pub(crate) connect_timeout: Duration,
    /// How long the head of an answer may take, counted from the end of the request.
    pub(crate) response_timeout: Duration,
    /// How long an unused connection is kept.
    pub(crate) idle_timeout: Duration,
    /// How long a connection of the pool takes requests from its beginning on.
    pub(crate) max_age: Duration,
    /// How each address is asked whether it is up, if it is.
    pub(crate) health: Option<HealthCheck>,
    /// `health` is there, without any key of its own.
    pub(crate) has_empty_health: bool,
}

impl Settings {
    /// `Host` of a request of our own to an app that visitors know by `host`.
    fn host_of_own(&self, address: &Address, host: Option<&Host>) -> HeaderValue {
        let browsers = host.filter(|_| self.preserve_host);
        let browsers = browsers.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        match &self.host {
            Some(host) => host.to_header(),
            None => browsers.unwrap_or_else(|| address.host_header()),
        }
    }
}

/// One app's application: one address or several.
pub(crate) struct Upstreams {
    endpoints: Vec<(Arc<Endpoint>, HeaderValue)>,
    preserve_host: bool,
    rewrites: bool,
    buffer_requests: usize,
    response_timeout: Duration,
    balance: Balance,
    next: AtomicUsize,
    reports: Arc<Reports>,
}

/// What is known of one address from the requests that went there.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) address: Address,
    /// Whether the last try to connect succeeded; true before the first.
    pub(crate) reachable: bool,
    /// What its checks say, where there are any.
    pub(crate) checked: Option<health::State>,
}

impl Upstreams {
    /// `own_names` are those whose letters are not preserved; then come the app's name and host.
    pub(crate) fn open(
        settings: &Settings,
        own_names: OwnNames,
        (name, host): (&Arc<str>, Option<&Host>),
        clock: &Clock,
        checks: &health::Registry,
    ) -> Result<Self, OpenError> {
        let own_names = settings.preserve_header_case.then(|| Arc::new(own_names));
        let secure = settings.addresses.iter().any(Address::is_https);
        let tls = secure.then(|| trust::clients(settings)).transpose()?;
        let reports = Arc::new(Reports::new(name, settings, clock));
        let endpoint = |address: &Address| {
            let mut connector = connect::Connector::new(address.clone(), tls.as_ref(), settings)?;
            if let Some(own_names) = &own_names {
                connector.preserve_header_case(Arc::clone(own_names));
            }
            let checks = settings.health.as_ref().map(|check| {
                let host = settings.host_of_own(address, host);
                health::Checks::new(name, address, host, check, checks)
            });
            let endpoint = Endpoint::new(connector, clock.clone(), settings, &reports, checks);
            let host = settings.host.as_ref();
            let host = host.map_or_else(|| address.host_header(), Authority::to_header);
            Ok((Arc::new(endpoint), host))
        };
        Ok(Self {
            endpoints: settings
                .addresses
                .iter()
                .map(endpoint)
                .collect::<Result<_, _>>()?,
            preserve_host: settings.preserve_host && settings.host.is_none(),
            rewrites: settings.rewriting.redirects,
            buffer_requests: settings.buffer_requests,
            response_timeout: settings.response_timeout,
            balance: settings.balance,
            next: AtomicUsize::new(0),
            reports,
        })
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.endpoints
            .iter()
            .map(|(endpoint, _)| endpoint.address())
    }

    /// Up to which length a request body without one is read before it is sent; 0 for none.
    pub(crate) fn buffer_requests(&self) -> usize {
        self.buffer_requests
    }

    /// Each address, in the order of the configuration.
    pub(crate) fn health(&self) -> impl Iterator<Item = Health> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint.health())
    }

    /// Sends a permitted request and gives the answer as it streams.
    pub(crate) async fn forward(
        &self,
        permit: Permit,
        mut request: Request<RequestBody>,
        requester: Requester<'_>,
        auth: ConnectionAuth<'_>,
        guard: Option<Guard<'_>>,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        *request.version_mut() = Version::HTTP_11;
        let upload = request.body().upload();
        let is_head = request.method() == Method::HEAD;
        let mut is_chunked = false;
        match &upload {
            None => say_that_it_is_empty(&mut request),
            Some(_) if request.headers().contains_key(header::CONTENT_LENGTH) => {}
            Some(_) => is_chunked = Box::pin(frame(&mut request)).await?,
        }
        let is_rewritten = self.rewrites && webdav::is_rewritten(&request);
        let signs_in = self.judge_credentials(request.headers_mut(), auth)?;
        let caller = Caller::of(&permit, requester.client);
        let mut lease = match self.own_lease(&mut request, auth).await {
            Some(lease) => lease,
            None => self.lease(&mut request, caller, requester).await?,
        };
        if signs_in {
            tie(&mut lease, auth);
        }
        lease.set_upload(upload.clone());
        let wait = Wait {
            timeout: self.response_timeout,
            upload: upload.as_deref(),
            guard,
        };
        let may_move = self.endpoints.len() > 1 && !signs_in && !lease.has_tie();
        let answer = if lease.reused {
            let copies = may_move && (is_rewritten || !self.preserve_host);
            send_or_repeat(&mut lease, wait, request, copies).await
        } else {
            send(&mut lease, wait, Message::Request(request)).await
        };
        let answer = match answer {
            Err(Failed {
                error,
                again: Some(again),
            }) if may_move && error.is_of_address() => {
                let gone = (lease.into_endpoint(), error);
                let other = self.lease_elsewhere(gone, again, caller, requester);
                let (other, again) = Box::pin(other).await.inspect_err(|error| {
                    self.reports.refused(error);
                })?;
                lease = other;
                lease.set_upload(upload.clone());
                Box::pin(send(&mut lease, wait, again)).await
            }
            answer => answer,
        };
        let answer = answer.map_err(|failed| failed.error);
        drop(permit); // used up: one permit, one request
        let mut response = answer.inspect_err(|error| self.reports.refused(error))?;
        lease.note_answer();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::BadResponse("101 that nobody asked for")); // SEC-16
        }
        if drop_length(&mut response) {
            lease.set_last();
        }
        match response.status() {
            StatusCode::LENGTH_REQUIRED | StatusCode::NOT_IMPLEMENTED if is_chunked => {
                self.reports.refused_chunks(response.status());
            }
            StatusCode::MISDIRECTED_REQUEST if lease.address().is_https() => {
                self.reports.misdirected();
            }
            StatusCode::BAD_GATEWAY if is_rewritten => self.reports.refused_destination(),
            _ => {}
        }
        let may_be_followed = is_head && may_be_followed(&response);
        let asks = matches!(
            response.status(),
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        );
        if asks && self.judge_challenges(response.headers_mut(), auth)? {
            tie(&mut lease, auth);
        }
        // Whom NTLM has signed in would be signed out with the connection, which is nobody else's.
        if may_be_followed && !lease.is_tied() {
            lease.set_last();
        }
        lease.heed(hop_by_hop::strip_response(response.headers_mut()));
        Ok(response.map(|()| ResponseBody::new(lease)))
    }

    /// The connections to all addresses together.
    pub(crate) fn pool(&self) -> Pool {
        let pools = self.endpoints.iter().map(|(endpoint, _)| endpoint.pool());
        pools.fold(Pool::default(), Pool::and)
    }

    /// Asks each address whether it is up, when it is time for that; until the token says that the
    /// service stops.
    pub(crate) fn check(&self, stop: &CancellationToken) {
        for (endpoint, _) in &self.endpoints {
            endpoint.check(stop);
        }
    }

    /// Closes unused connections, and others as soon as they are: another configuration holds.
    pub(crate) fn retire(&self) {
        for (endpoint, _) in &self.endpoints {
            endpoint.retire();
        }
    }

    /// Closes connections that nobody used for a while.
    pub(crate) fn reap(&self) {
        for (endpoint, _) in &self.endpoints {
            endpoint.reap();
        }
    }
}

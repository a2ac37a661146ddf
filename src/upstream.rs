//! The client to the applications: pooled, balanced, streaming.

mod authentication;
mod body;
mod connect;
pub(crate) mod dial;
pub(crate) mod hop_by_hop;
mod own;
mod pool;
mod quota;
mod sender;
pub(crate) mod tunnels;
pub(crate) mod upgrade;
mod visitors;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use rustls::pki_types::{InvalidDnsNameError, pem};

use crate::access::Permit;
use crate::clock::Clock;
use crate::metrics::{Pool, UpstreamErrorCounts};
use crate::network::Network;
use crate::session::{Session, Sessions};
use crate::telemetry::Seldom;

pub(crate) use body::{RequestBody, ResponseBody, Upload};
pub(crate) use own::Own;
use pool::{Endpoint, Lease};

/// One address of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `http://host:port`
    Http { host: String, port: u16 },
    /// `https://host:port`
    Https { host: String, port: u16 },
    /// `unix:/path`
    Unix(PathBuf),
}

/// Whom a request is for, where there is only so much for all of them (SEC-87).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller<'a> {
    User(&'a str),
    /// Without a session, and so one of a network.
    Visitor(Network),
}

/// What becomes of authentication that signs in a connection and not a request (SEC-92).
#[derive(Clone, Copy)]
pub(crate) enum ConnectionAuth<'a> {
    /// The upstream connection belongs to this client connection and session from then on.
    Own {
        own: &'a Arc<Own>,
        session: &'a Arc<Session>,
        sessions: &'a Sessions,
    },
    /// The client connection has several requests at a time: it has to be HTTP/1.1.
    NeedsHttp1,
    /// There is nobody whose connection it could be: challenges and credentials end here.
    Dropped,
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

/// How the requests of one app are sent.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Balanced when there is more than one.
    pub(crate) addresses: Vec<Address>,
    /// Send the browser's `Host`; else the address's own.
    pub(crate) preserve_host: bool,
    /// PEM file of the authorities for https upstreams; the system's when there is none.
    pub(crate) ca: Option<PathBuf>,
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
}

/// Why an app's upstream cannot be used at all; found at the start.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The file with the authorities cannot be read.
    Authorities(PathBuf, pem::Error),
    /// One of them is no certificate that TLS can use.
    Authority(PathBuf, rustls::Error),
    /// There is no authority to trust.
    NoAuthorities,
    /// The host of an https address is no name that a certificate can have.
    ServerName(InvalidDnsNameError),
    Tls(rustls::Error),
}

/// Why an application's answer did not come.
#[derive(Debug)]
pub(crate) enum UpstreamError {
    /// An answer that two parsers might read in two ways (SEC-15).
    BadResponse(&'static str),
    /// All connections to the address are in use.
    Busy,
    /// The client did not send the body that it had announced.
    ClientBody,
    /// The client sent its body slower than is bearable (SEC-26).
    ClientTooSlow,
    Connect(io::Error),
    ConnectTimeout,
    /// The application signs connections in, and the client's is of HTTP/2 (SEC-92).
    Http1Required,
    /// No answer, or none that is HTTP.
    Send(hyper::Error),
    ResponseTimeout,
    /// The request was not permitted any more before there was an answer (SEC-89).
    Withdrawn,
}

/// One app's application: one address or several.
pub(crate) struct Upstreams {
    endpoints: Vec<(Arc<Endpoint>, HeaderValue)>,
    preserve_host: bool,
    response_timeout: Duration,
    next: AtomicUsize,
    /// The app's name, for the log.
    name: Arc<str>,
    dropped_auth: Seldom,
}

/// After this the wait for an answer is guarded; see [`Guard`].
const SOON: Duration = Duration::from_millis(250);

/// An answer; or what went wrong, and the request when nothing of it was written.
type Answer = Result<Response<Incoming>, (UpstreamError, Option<Request<RequestBody>>)>;

/// What is known of one address from the requests that went there.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) address: Address,
    /// Whether the last try to connect succeeded; true before the first.
    pub(crate) reachable: bool,
}

impl Upstreams {
    /// `name` is the app's.
    pub(crate) fn open(
        settings: &Settings,
        name: &Arc<str>,
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        let secure = |address: &Address| matches!(address, Address::Https { .. });
        let secure = settings.addresses.iter().any(secure);
        let tls = secure
            .then(|| connect::client_config(settings.ca.as_deref()))
            .transpose()?;
        let endpoint = |address: &Address| {
            let timeout = settings.connect_timeout;
            let connector = connect::Connector::new(address.clone(), tls.as_ref(), timeout)?;
            let endpoint = Endpoint::new(
                connector,
                clock.clone(),
                settings.idle_timeout,
                settings.max_connections,
                settings.connect_timeout,
            );
            Ok((Arc::new(endpoint), address.host_header()))
        };
        Ok(Self {
            endpoints: settings
                .addresses
                .iter()
                .map(endpoint)
                .collect::<Result<_, _>>()?,
            preserve_host: settings.preserve_host,
            response_timeout: settings.response_timeout,
            next: AtomicUsize::new(0),
            name: Arc::clone(name),
            dropped_auth: Seldom::new(clock.clone()),
        })
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.endpoints
            .iter()
            .map(|(endpoint, _)| endpoint.address())
    }

    /// Each address, in the order of the configuration.
    pub(crate) fn health(&self) -> impl Iterator<Item = Health> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint.health())
    }

    /// Sends a permitted request and gives the answer as it streams.
    ///
    /// A connection from the pool may have died unnoticed. Where nothing was written, the request
    /// goes out again on a fresh connection; where something was, only if it has no body, its
    /// method is idempotent (RFC 9110 §9.2.2) and no byte of an answer came (REL-03).
    pub(crate) async fn forward(
        &self,
        permit: Permit,
        mut request: Request<RequestBody>,
        client: IpAddr,
        auth: ConnectionAuth<'_>,
        guard: Option<Guard<'_>>,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        *request.version_mut() = Version::HTTP_11;
        let upload = request.body().upload();
        if upload.is_some() && !request.headers().contains_key(header::CONTENT_LENGTH) {
            // hyper drops the body of a GET whose length nobody says.
            let chunked = HeaderValue::from_static("chunked");
            request
                .headers_mut()
                .insert(header::TRANSFER_ENCODING, chunked);
        }
        let signs_in = self.judge_credentials(request.headers_mut(), auth)?;
        let caller = Caller::of(&permit, client);
        let mut lease = match self.own_lease(&mut request, auth).await {
            Some(lease) => lease,
            None => self.lease(&mut request, caller).await?,
        };
        if signs_in {
            tie(&mut lease, auth);
        }
        drop(permit); // used up: one permit, one request
        let spare = (lease.reused && upload.is_none() && request.method().is_idempotent())
            .then(|| copy(&request));
        let reused = lease.reused;
        lease.set_upload(upload.clone());
        let wait = Wait {
            patience: self.response_timeout,
            upload: upload.as_deref(),
            guard,
        };
        let answer = match send(&mut lease, wait, request).await {
            Err((error, unsent)) if reused => match unsent.or(spare) {
                // After an answer, however bad, it has been acted upon.
                Some(request) if matches!(error, UpstreamError::Send(_)) && !lease.has_heard() => {
                    lease.reconnect().await?;
                    Box::pin(send(&mut lease, wait, request)).await
                }
                _ => Err((error, None)),
            },
            answer => answer,
        };
        let mut response = answer.map_err(|(error, _)| error)?;
        lease.note_answer();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::BadResponse("101 that nobody asked for")); // SEC-16
        }
        accept(&mut response)?;
        let asks = matches!(
            response.status(),
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        );
        if asks && self.judge_challenges(response.headers_mut(), auth)? {
            tie(&mut lease, auth);
        }
        hop_by_hop::strip(response.headers_mut());
        Ok(response.map(|body| ResponseBody::new(body, lease)))
    }

    /// Whether a request's credentials sign its connection in; nobody's are gone then.
    fn judge_credentials(
        &self,
        headers: &mut HeaderMap,
        auth: ConnectionAuth<'_>,
    ) -> Result<bool, UpstreamError> {
        if !authentication::signs_in(headers) {
            return Ok(false);
        }
        match auth {
            ConnectionAuth::Own { .. } => return Ok(true),
            ConnectionAuth::NeedsHttp1 => return Err(UpstreamError::Http1Required),
            ConnectionAuth::Dropped => {}
        }
        authentication::drop_credentials(headers);
        self.report_dropped_auth();
        Ok(false)
    }

    /// The same for what an answer asks for.
    fn judge_challenges(
        &self,
        headers: &mut HeaderMap,
        auth: ConnectionAuth<'_>,
    ) -> Result<bool, UpstreamError> {
        if !authentication::challenges(headers) {
            return Ok(false);
        }
        match auth {
            ConnectionAuth::Own { .. } => return Ok(true),
            ConnectionAuth::NeedsHttp1 => return Err(UpstreamError::Http1Required),
            ConnectionAuth::Dropped => {}
        }
        if authentication::drop_challenges(headers) {
            self.report_dropped_auth();
        }
        Ok(false)
    }

    fn report_dropped_auth(&self) {
        if self.dropped_auth.is_due() {
            tracing::warn!(
                app = &*self.name,
                "NTLM or Negotiate was taken out: it signs a connection in, and this one is \
                 nobody's, or that of a trusted proxy"
            );
        }
    }

    /// The connection that belongs to the client connection, if there is one that still serves.
    async fn own_lease(
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
        self.set_host(request, host);
        Some(lease)
    }

    /// The connections to all addresses together.
    pub(crate) fn pool(&self) -> Pool {
        let pools = self.endpoints.iter().map(|(endpoint, _)| endpoint.pool());
        pools.fold(Pool::default(), Pool::and)
    }

    /// Closes connections that nobody used for a while.
    pub(crate) fn reap(&self) {
        for (endpoint, _) in &self.endpoints {
            endpoint.reap();
        }
    }

    /// Takes the addresses in turn, those that could not be reached lately last.
    async fn lease(
        &self,
        request: &mut Request<RequestBody>,
        caller: Caller<'_>,
    ) -> Result<Lease, UpstreamError> {
        let mut failed = None;
        for (endpoint, host) in self.candidates() {
            match endpoint.lease(caller).await {
                Ok(lease) => {
                    self.set_host(request, host);
                    return Ok(lease);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or(UpstreamError::Busy))
    }

    fn candidates(&self) -> impl Iterator<Item = &(Arc<Endpoint>, HeaderValue)> {
        let count = self.endpoints.len();
        let first = match count {
            1 => 0,
            _ => self.next.fetch_add(1, Ordering::Relaxed) % count,
        };
        let turn = move || (0..count).map(move |n| &self.endpoints[(first + n) % count]);
        let up = turn().filter(move |(endpoint, _)| count == 1 || endpoint.is_up());
        up.chain(turn().filter(move |(endpoint, _)| count > 1 && !endpoint.is_up()))
    }

    fn set_host(&self, request: &mut Request<RequestBody>, host: &HeaderValue) {
        if !self.preserve_host {
            request.headers_mut().insert(header::HOST, host.clone());
        }
    }
}

impl UpstreamError {
    /// Where it is counted.
    pub(crate) fn of<'c>(&self, counts: &'c UpstreamErrorCounts) -> Option<&'c Counter> {
        Some(match self {
            Self::Http1Required | Self::Withdrawn => return None, // nothing went wrong
            Self::BadResponse(_) => &counts.bad_response,
            Self::Busy => &counts.busy,
            Self::ClientBody => &counts.client_body,
            Self::ClientTooSlow => &counts.client_too_slow,
            Self::Connect(_) => &counts.connect,
            Self::ConnectTimeout => &counts.connect_timeout,
            Self::ResponseTimeout => &counts.response_timeout,
            Self::Send(_) => &counts.no_response,
        })
    }
}

impl Address {
    /// `Host` for an app that is to see its own name.
    fn host_header(&self) -> HeaderValue {
        let (host, port, default) = match self {
            Self::Http { host, port } => (host, *port, 80),
            Self::Https { host, port } => (host, *port, 443),
            Self::Unix(_) => return HeaderValue::from_static("localhost"),
        };
        let text = if port == default {
            host.clone()
        } else {
            format!("{host}:{port}")
        };
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
    }
}

/// As the configuration writes it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Http { host, port } => ("http", host, port),
            Self::Https { host, port } => ("https", host, port),
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadResponse(what) => write!(f, "the application's answer is ambiguous: {what}"),
            Self::Busy => {
                f.write_str("none of the connections to the application was free in time")
            }
            Self::ClientBody => f.write_str("the client broke its request body off"),
            Self::ClientTooSlow => f.write_str("the client sent its request body too slowly"),
            Self::Connect(error) => write!(f, "cannot connect to the application: {error}"),
            Self::ConnectTimeout => f.write_str("connecting to the application took too long"),
            Self::Http1Required => {
                f.write_str("the application signs connections in, which takes HTTP/1.1")
            }
            Self::ResponseTimeout => f.write_str("the application did not answer in time"),
            Self::Send(error) => match error.source() {
                Some(source) => write!(f, "no answer from the application: {error}: {source}"),
                None => write!(f, "no answer from the application: {error}"),
            },
            Self::Withdrawn => f.write_str("the request is not permitted any more"),
        }
    }
}

impl Error for UpstreamError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Send(error) => Some(error),
            Self::BadResponse(_)
            | Self::Busy
            | Self::ClientBody
            | Self::ClientTooSlow
            | Self::ConnectTimeout
            | Self::Http1Required
            | Self::ResponseTimeout
            | Self::Withdrawn => None,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorities(path, error) => {
                write!(f, "cannot read the certificates in {}: {error}", path.display())
            }
            Self::Authority(path, error) => {
                write!(f, "a certificate in {} cannot be used: {error}", path.display())
            }
            Self::NoAuthorities => f.write_str(
                "there is no certificate authority to trust; install ca-certificates or set upstream_ca",
            ),
            Self::ServerName(error) => write!(f, "the upstream's host cannot have a certificate: {error}"),
            Self::Tls(error) => write!(f, "cannot set up TLS to the upstream: {error}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Authorities(_, error) => Some(error),
            Self::Authority(_, error) | Self::Tls(error) => Some(error),
            Self::ServerName(error) => Some(error),
            Self::NoAuthorities => None,
        }
    }
}

/// Ties the connection to whom it is signed in for.
fn tie(lease: &mut Lease, auth: ConnectionAuth<'_>) {
    if let ConnectionAuth::Own {
        own,
        session,
        sessions,
    } = auth
        && !lease.is_tied()
    {
        lease.tie(own, sessions.watch(session));
    }
}

/// Sends on one connection. The error has the request when nothing of it was written.
async fn send(lease: &mut Lease, wait: Wait<'_, '_>, request: Request<RequestBody>) -> Answer {
    let answer = lease.sender().send(request);
    let answer = wait.until(answer).await.map_err(|error| (error, None))?;
    answer.map_err(|mut error| {
        let unsent = error.take_message();
        let error = match wait.upload {
            Some(upload) if upload.was_too_slow() => UpstreamError::ClientTooSlow,
            _ if error.error().is_user() => UpstreamError::ClientBody,
            _ => UpstreamError::Send(error.into_error()),
        };
        (error, unsent)
    })
}

/// How long the head of an answer is waited for.
#[derive(Clone, Copy)]
struct Wait<'u, 'g> {
    /// From the last byte of the upload.
    patience: Duration,
    upload: Option<&'u Upload>,
    guard: Option<Guard<'g>>,
}

impl Wait<'_, '_> {
    async fn until<F: Future>(self, answer: F) -> Result<F::Output, UpstreamError> {
        let mut answer = std::pin::pin!(answer);
        // Most answers come soon, and need neither a guard nor a second timer.
        let soon = match self.guard {
            Some(_) => self.patience.min(SOON),
            None => self.patience,
        };
        let begun = self.upload.map(Upload::bytes);
        if let Ok(answer) = tokio::time::timeout(soon, answer.as_mut()).await {
            return Ok(answer);
        }
        Box::pin(self.longer(answer, begun, self.patience.saturating_sub(soon))).await
    }

    /// Goes on waiting while something happens. `sent` was the upload's length before, and `left` is
    /// what is left of the patience since.
    async fn longer<F: Future>(
        self,
        mut answer: Pin<&mut F>,
        mut sent: Option<u64>,
        mut left: Duration,
    ) -> Result<F::Output, UpstreamError> {
        let mut withdrawn = self.guard.map(|guard| guard());
        loop {
            let withdrawn = async {
                match &mut withdrawn {
                    Some(withdrawn) => withdrawn.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = answer.as_mut() => return Ok(answer),
                () = withdrawn => return Err(UpstreamError::Withdrawn),
                () = tokio::time::sleep(left) => {}
            }
            let now = self.upload.map(Upload::bytes);
            if now == sent {
                return Err(UpstreamError::ResponseTimeout);
            }
            (sent, left) = (now, self.patience);
        }
    }
}

/// What hyper forgives in an answer and we do not (SEC-15); the rest is an answer of our version.
fn accept(response: &mut Response<Incoming>) -> Result<(), UpstreamError> {
    let headers = response.headers_mut();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 {
        return Err(UpstreamError::BadResponse("more than one Content-Length"));
    }
    let digits = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_digit);
    if !headers.get(header::CONTENT_LENGTH).is_none_or(digits) {
        return Err(UpstreamError::BadResponse(
            "a Content-Length that is no number",
        ));
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        if lengths > 0 {
            return Err(UpstreamError::BadResponse(
                "Content-Length and Transfer-Encoding",
            ));
        }
        if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(UpstreamError::BadResponse(
                "a Transfer-Encoding other than chunked",
            ));
        }
    }
    // The version is of a hop (RFC 9110 §2.5): that of an old application would close each
    // connection of its clients, and hide from them that a body was cut.
    *response.version_mut() = Version::HTTP_11;
    Ok(())
}

/// A request without a body, to send once more.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

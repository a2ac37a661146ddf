//! One client connection: handshake, HTTP/1.1 or HTTP/2, and the timer that ends it.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, Due};
use super::body::AnswerBody;
use super::introduction;
use super::linger::{MOST_OF_BODY, MOST_OF_HEAD, linger};
use super::service::Service;
use super::stall::{self, Said, Streams};
use super::{Settings, Timeouts};
use crate::forwarded;
use crate::load::{Admitted, Consumer, Load, Usage};
use crate::request::frames::DataFrames;
use crate::request::wire::Framing;
use crate::session::Memo;
use crate::tls::Handshakes;
use crate::upstream::Own;

/// What is known of a connection before its first request.
pub(super) struct Connection {
    /// The other end of the socket, or whom it named by the PROXY protocol: a client, or a proxy
    /// before us.
    pub(super) peer: IpAddr,
    /// The same as applications read it.
    pub(super) peer_header: HeaderValue,
    /// The host that TLS was asked for.
    pub(super) server_name: Option<String>,
    pub(super) activity: Arc<Activity>,
    pub(super) memo: Memo,
    /// Its own connection to an application, where that signs connections in (SEC-92).
    pub(super) own: Arc<Own>,
    /// Counts the connection as long as anything of it lives, a tunnel included.
    admitted: Admitted,
    /// What the network of `peer` holds.
    network: Arc<Usage>,
    /// What the user of the last request with a session holds.
    user: Mutex<Option<Arc<Usage>>>,
}

impl Connection {
    fn new(
        service: &Service,
        stream: &TlsStream<TcpStream>,
        peer: IpAddr,
        admitted: Admitted,
    ) -> Self {
        let (_, tls) = stream.get_ref();
        let load = &service.life.load;
        let (place, network) = (Arc::clone(admitted.place()), Arc::clone(admitted.network()));
        Self {
            peer,
            peer_header: forwarded::header_of(peer),
            server_name: tls.server_name().map(str::to_owned),
            activity: Activity::new(Arc::clone(load), place),
            memo: Memo::default(),
            own: Arc::default(),
            admitted,
            network,
            user: Mutex::default(),
        }
    }

    /// What the network of the other end holds; nobody's where that is a trusted proxy, which
    /// stands for many.
    pub(super) fn network_of_peer(&self) -> Option<&Arc<Usage>> {
        self.admitted.place().is_owned().then_some(&self.network)
    }

    pub(super) fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// For whom a request without a session counts: the network of its client, which a trusted
    /// proxy may have named.
    pub(super) fn usage_of_stranger(&self, load: &Load, client: IpAddr) -> Arc<Usage> {
        if client == self.peer {
            Arc::clone(&self.network)
        } else {
            load.usages().of_address(client)
        }
    }

    /// For whom a request with a session counts, and from now on the connection, too. `None` when
    /// the user has too many connections.
    pub(super) fn usage_of_user(&self, load: &Load, user: &str) -> Option<Arc<Usage>> {
        let mut last = self.user.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = &*last
            && usage.is_of(user)
        {
            return Some(Arc::clone(usage));
        }
        let usage = load.usages().of(Consumer::User(user.into()));
        if !self.admitted.belongs_to(&usage) {
            return None;
        }
        *last = Some(Arc::clone(&usage));
        Some(usage)
    }

    fn is_evicted(&self) -> bool {
        self.admitted.place().is_evicted()
    }
}

/// Bounds what one client that does not read holds (SEC-27).
const WRITE_BUFFER: usize = 64 * 1024;

/// hyper takes no smaller buffer.
const MIN_BUFFER: usize = 8 * 1024;

/// HTTP/2: enough for an upload at 100 ms distance; the connection's window is larger than one
/// stream's, so that a slow upload does not stall the others.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A connection without a request gives its buffers back after this.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// For the first request of a connection that was accepted before a stop. Where the listening
/// socket outlives us nobody is turned away, and neither is who came at this moment. Long enough
/// for a packet that is lost and sent again after a second (RFC 6298 §2.1).
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// How long a client may take to be told that its connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// How often the limits of a connection that waits for its client are looked at anew: they are
/// shorter while there is too much to do.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// SEC-24.
const MAX_STREAMS: u32 = 128;

/// Shakes hands and serves the connection to its end, in a task of its own.
pub(super) async fn serve(
    service: Arc<Service>,
    handshakes: Handshakes,
    mut stream: TcpStream,
    peer: IpAddr,
    mut admitted: Admitted,
) {
    let introduced = introduction::client(&service, &mut stream, peer, &mut admitted);
    let Some(peer) = introduced.await else { return };
    let place = Arc::clone(admitted.place());
    let stream = tokio::select! {
        stream = shake_hands(&service, &handshakes, stream, peer) => stream,
        () = place.gone() => None,
    };
    let Some(stream) = stream else { return };
    let (_, tls) = stream.get_ref();
    let http2 = tls.alpn_protocol() == Some(b"h2");
    let connection = Arc::new(Connection::new(&service, &stream, peer, admitted));
    // A task of its own, so that the handshake's memory does not stay with an idle connection.
    let socket = Socket::new(stream, Arc::clone(&connection), !http2);
    if http2 {
        service
            .life
            .connections
            .spawn(serve_http2(Arc::clone(&service), connection, socket));
    } else {
        service
            .life
            .connections
            .spawn(serve_http1(Arc::clone(&service), connection, socket));
    }
}

async fn shake_hands(
    service: &Service,
    handshakes: &Handshakes,
    stream: TcpStream,
    peer: IpAddr,
) -> Option<TlsStream<TcpStream>> {
    let handshake = tokio::time::timeout(
        service.settings().timeouts.handshake,
        handshakes.shake(stream),
    );
    match handshake.await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(client = %peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(client = %peer, "TLS handshake took too long");
            None
        }
    }
}

async fn serve_http1(service: Arc<Service>, connection: Arc<Connection>, mut socket: Socket) {
    loop {
        let settings = service.settings();
        let mut served = {
            let mut builder = http1::Builder::new();
            let head = settings.limits.head.max(MIN_BUFFER);
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(None) // ours is in `Activity`, and knows idle from slow
                .max_header_size(settings.limits.head)
                .max_buf_size(head.max(WRITE_BUFFER));
            if settings.limits.fields != 100 {
                builder.max_headers(settings.limits.fields); // hyper's default needs no allocation
            }
            let service = service_fn(answers(&service, &connection));
            builder
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades()
        };
        let patience = PARK_AFTER.min(settings.timeouts.keep_alive);
        let shut_down = http1::UpgradeableConnection::graceful_shutdown;
        let driven = drive(
            &service,
            &settings,
            &connection,
            Pin::new(&mut served),
            patience,
            shut_down,
        )
        .await;
        if driven == Driven::Ended {
            return;
        }
        let Some(parts) = served.into_parts() else {
            return; // a tunnel has it now
        };
        socket = parts.io.into_inner();
        if driven == Driven::Done {
            return socket.close(&service).await;
        }
        // hyper's buffers would stay with every idle connection, three times what TLS needs:
        // only the socket waits for the next request.
        if !parts.read_buf.is_empty() {
            return;
        }
        if !socket.wait(&service, &settings.timeouts).await {
            let _ = tokio::time::timeout(FAREWELL, socket.shutdown()).await;
            return;
        }
    }
}

async fn serve_http2(service: Arc<Service>, connection: Arc<Connection>, socket: Socket) {
    let settings = service.settings();
    let mut served = pin!({
        let mut builder = http2::Builder::new(Streams {
            write_timeout: settings.timeouts.write,
            load: Arc::clone(&service.life.load),
        });
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(settings.limits.head).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(WRITE_BUFFER);
        let service = service_fn(answers(&service, &connection));
        builder.serve_connection(TokioIo::new(socket), service)
    });
    let patience = settings.timeouts.keep_alive;
    let shut_down = http2::Connection::graceful_shutdown;
    let driven = drive(
        &service,
        &settings,
        &connection,
        served.as_mut(),
        patience,
        shut_down,
    )
    .await;
    if let Driven::Idle = driven {
        served.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(FAREWELL, served).await; // says GOAWAY
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, h2::Error>> + Send>>;

/// Answers the requests of a connection. Boxed: hyper keeps room for an answer that is under way
/// as long as the connection lives, and would move it around.
fn answers(
    service: &Arc<Service>,
    connection: &Arc<Connection>,
) -> impl Fn(Request<Incoming>) -> Answer + use<> {
    let (service, connection) = (Arc::clone(service), Arc::clone(connection));
    move |request| {
        let (proxy, connection) = (service.proxy(), Arc::clone(&connection));
        Box::pin(async move { proxy.handle(&connection, request).await })
    }
}

/// Why a connection is no longer driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driven {
    /// It is to be dropped.
    Ended,
    /// All that was to be said has been.
    Done,
    /// There is no request, and there has been none for the patience.
    Idle,
}

/// Polls a connection until it ends or idles. It ends in good order when the service stops, and at
/// once when the client keeps us waiting (SEC-25, SEC-27).
async fn drive<C: Future<Output = hyper::Result<()>>>(
    service: &Service,
    settings: &Settings,
    connection: &Connection,
    mut served: Pin<&mut C>,
    patience: Duration,
    graceful_shutdown: impl Fn(Pin<&mut C>),
) -> Driven {
    let mut alarm = pin!(tokio::time::sleep(patience.min(settings.timeouts.headers)));
    let mut stopping = pin!(service.life.stop.cancelled());
    let mut evicted = pin!(connection.activity.evicted());
    let (mut registered, mut closing) = (false, false);
    let mut first_request: Option<Pin<Box<Sleep>>> = None;
    let mut farewell: Option<Pin<Box<Sleep>>> = None;
    let mut session_end: Option<stall::SessionEnd> = None;
    poll_fn(|cx| {
        // Polling it takes a lock that all connections share; once is enough to be woken by it.
        if !std::mem::replace(&mut registered, true) {
            let _ = stopping.as_mut().poll(cx);
            let _ = evicted.as_mut().poll(cx);
        }
        if connection.is_evicted() {
            // An answer that is cut short must not look whole, so there is no farewell then.
            return Poll::Ready(if connection.activity.is_answering() {
                Driven::Ended
            } else {
                Driven::Idle
            });
        }
        if !closing && service.is_stopping() {
            closing = connection.activity.has_served() || {
                let sleep = || Box::pin(tokio::time::sleep(FIRST_REQUEST));
                let patience = first_request.get_or_insert_with(sleep);
                patience.as_mut().poll(cx).is_ready()
            };
            if closing {
                graceful_shutdown(served.as_mut());
            }
        }
        if connection.activity.ends() && farewell.is_none() {
            graceful_shutdown(served.as_mut());
            farewell = Some(Box::pin(tokio::time::sleep(FAREWELL)));
        }
        stall::take();
        if let Poll::Ready(ended) = served.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(client = %connection.peer, %error, "a connection has ended");
            }
            return Poll::Ready(Driven::Done);
        }
        match stall::take() {
            Said::Nothing => {}
            said => session_end = said.session_end(),
        }
        if let Some(end) = &mut session_end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Driven::Ended); // whoever takes nothing cannot be told (SEC-75)
        }
        // A client of HTTP/2 that does not confirm the GOAWAY is sent no second one, and would
        // ask on.
        if let Some(farewell) = &mut farewell
            && farewell.as_mut().poll(cx).is_ready()
            && !connection.activity.is_answering()
        {
            return Poll::Ready(Driven::Ended);
        }
        loop {
            let due = connection.activity.due(&settings.timeouts, patience);
            if let Some(due) = due
                && Instant::from_std(due.at()) < alarm.deadline()
            {
                alarm.as_mut().reset(due.at().into());
            }
            ready!(alarm.as_mut().poll(cx));
            match due {
                Some(due) if Instant::from_std(due.at()) > Instant::now() => {
                    let look = Instant::now() + LOOK_AGAIN;
                    alarm.as_mut().reset(look.min(due.at().into()));
                }
                Some(Due::Request(_)) if !closing => return Poll::Ready(Driven::Idle),
                Some(due) => {
                    tracing::debug!(client = %connection.peer, ?due, "the client keeps us waiting");
                    return Poll::Ready(Driven::Ended);
                }
                None => alarm
                    .as_mut()
                    .reset(Instant::now() + settings.timeouts.headers),
            }
        }
    })
    .await
}

/// The client's socket: what is read is checked on the way, and what happens is noted.
struct Socket {
    stream: TlsStream<TcpStream>,
    connection: Arc<Connection>,
    protocol: Protocol,
}

/// What is read is looked at on its way.
enum Protocol {
    /// `None` in a tunnel.
    Http1(Option<Box<Framing>>),
    Http2(DataFrames),
}

impl Socket {
    fn new(stream: TlsStream<TcpStream>, connection: Arc<Connection>, http1: bool) -> Self {
        let protocol = if http1 {
            Protocol::Http1(Some(Box::new(Framing::new())))
        } else {
            Protocol::Http2(DataFrames::new())
        };
        Self {
            stream,
            connection,
            protocol,
        }
    }

    /// Closes the connection after its last answer, which the client gets to read even if it was
    /// not done asking (SEC-99).
    async fn close(mut self, service: &Service) {
        let most = match &self.protocol {
            Protocol::Http1(Some(framing)) if framing.is_inside_body() => MOST_OF_BODY,
            Protocol::Http1(Some(framing)) if !framing.is_between_requests() => MOST_OF_HEAD,
            _ => return,
        };
        let shut_down = tokio::time::timeout(FAREWELL, self.shutdown()).await;
        if let Ok(Ok(())) = shut_down {
            let (transport, _) = self.stream.into_inner();
            let place = self.connection.activity.place();
            linger(transport, most, place, &service.life.stop).await;
        }
    }

    /// Waits for the next request; whether one comes before the connection has been idle for too
    /// long, has to make room for others, or the service stops (SEC-28).
    async fn wait(&self, service: &Service, timeouts: &Timeouts) -> bool {
        let until = Instant::from_std(self.connection.activity.idle_until(timeouts.keep_alive));
        let (transport, _) = self.stream.get_ref();
        tokio::select! {
            readable = transport.readable() => readable.is_ok(),
            () = tokio::time::sleep_until(until) => false,
            () = self.connection.activity.evicted() => false,
            () = service.life.stop.cancelled() => false,
        }
    }

    fn written<T>(&self, written: Poll<T>) -> Poll<T> {
        self.connection.activity.note_write(written.is_pending());
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Protocol::Http1(Some(framing)) = &this.protocol
            && framing.has_refused()
        {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let activity = &this.connection.activity;
        match &mut this.protocol {
            Protocol::Http1(framing) if activity.is_upgraded() => *framing = None,
            Protocol::Http1(Some(framing)) => {
                let passed = framing.inspect(&mut buffer.filled_mut()[before..]);
                buffer.set_filled(before + passed);
                activity.note_head(framing.is_inside_head());
            }
            Protocol::Http1(None) => {}
            Protocol::Http2(frames) => {
                let data = frames.count(&buffer.filled()[before..]);
                if data > 0 {
                    this.connection.admitted.receive(data);
                }
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

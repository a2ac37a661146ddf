//! One client connection: handshake, HTTP/1.1 or HTTP/2, and the timer that ends it.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use super::body::AnswerBody;
use super::client_conn::ClientConn;
use super::deadline::Deadline;
use super::introduction;
use super::linger::{MOST_OF_BODY, MOST_OF_HEAD, linger};
use super::service::Service;
use super::stall::{self, Said, SessionEnd};
use super::streams::Streams;
use super::{Settings, Timeouts};
use crate::load::Admitted;
use crate::request::frames::DataFrames;
use crate::request::wire::Framing;
use crate::tls::Handshakes;

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
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

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
    let server_name = tls.server_name().map(str::to_owned);
    let load = Arc::clone(service.load());
    let connection = Arc::new(ClientConn::new(peer, server_name, load, admitted));
    // A task of its own, so that the handshake's memory does not stay with an idle connection.
    let socket = Socket::new(stream, Arc::clone(&connection), !http2);
    if http2 {
        service.shutdown().connections().spawn(serve_http2(
            Arc::clone(&service),
            connection,
            socket,
        ));
    } else {
        service.shutdown().connections().spawn(serve_http1(
            Arc::clone(&service),
            connection,
            socket,
        ));
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

async fn serve_http1(service: Arc<Service>, connection: Arc<ClientConn>, mut socket: Socket) {
    loop {
        let settings = service.settings();
        let mut served = {
            let mut builder = http1::Builder::new();
            let head = settings.limits.head.max(MIN_BUFFER);
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(None) // ours is a `Deadline`, and knows idle from slow
                .max_header_size(settings.limits.head)
                .max_buf_size(head.max(WRITE_BUFFER));
            if settings.limits.fields != 100 {
                builder.max_headers(settings.limits.fields); // hyper's default needs no allocation
            }
            let service = service_fn(respond(&service, &connection));
            builder
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades()
        };
        let idle_timeout = PARK_AFTER.min(settings.timeouts.keep_alive);
        let shut_down = http1::UpgradeableConnection::graceful_shutdown;
        let driven = drive(
            &service,
            &settings,
            &connection,
            Pin::new(&mut served),
            idle_timeout,
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
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.shutdown()).await;
            return;
        }
    }
}

async fn serve_http2(service: Arc<Service>, connection: Arc<ClientConn>, socket: Socket) {
    let settings = service.settings();
    let mut served = pin!({
        let mut builder = http2::Builder::new(Streams {
            write_timeout: settings.timeouts.write,
            load: Arc::clone(service.load()),
        });
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(settings.limits.head).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(WRITE_BUFFER);
        let service = service_fn(respond(&service, &connection));
        builder.serve_connection(TokioIo::new(socket), service)
    });
    let idle_timeout = settings.timeouts.keep_alive;
    let shut_down = http2::Connection::graceful_shutdown;
    let driven = drive(
        &service,
        &settings,
        &connection,
        served.as_mut(),
        idle_timeout,
        shut_down,
    )
    .await;
    if let Driven::Idle = driven {
        served.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, served).await; // says GOAWAY
    }
}

type Responding = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, h2::Error>> + Send>>;

/// Answers the requests of a connection. Boxed: hyper keeps room for a response that is in flight
/// as long as the connection lives, and would move it around.
fn respond(
    service: &Arc<Service>,
    connection: &Arc<ClientConn>,
) -> impl Fn(Request<Incoming>) -> Responding + use<> {
    let (service, connection) = (Arc::clone(service), Arc::clone(connection));
    move |request| {
        let (proxy, connection) = (service.proxy(), Arc::clone(&connection));
        let in_flight = connection.state.begin(!request.body().is_end_stream());
        Box::pin(async move { proxy.handle(&connection, in_flight, request).await })
    }
}

/// Why a connection is no longer driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driven {
    /// It is to be dropped.
    Ended,
    /// All that was to be said has been.
    Done,
    /// There is no request, and there has been none for the idle timeout.
    Idle,
}

/// Polls a connection until it ends or idles. It ends in good order when the service stops, and at
/// once when the client keeps us waiting (SEC-25, SEC-27).
async fn drive<C: Future<Output = hyper::Result<()>>>(
    service: &Service,
    settings: &Settings,
    connection: &ClientConn,
    mut served: Pin<&mut C>,
    idle_timeout: Duration,
    graceful_shutdown: impl Fn(Pin<&mut C>),
) -> Driven {
    let mut alarm = pin!(tokio::time::sleep(
        idle_timeout.min(settings.timeouts.headers)
    ));
    let mut stopping = pin!(service.shutdown().token().cancelled());
    let mut evicted = pin!(connection.state.evicted());
    let (mut registered, mut closing) = (false, false);
    let mut first_request: Option<Pin<Box<Sleep>>> = None;
    let mut close_timeout: Option<Pin<Box<Sleep>>> = None;
    let mut session_end: Option<SessionEnd> = None;
    poll_fn(|cx| {
        // Polling it takes a lock that all connections share; once is enough to be woken by it.
        if !std::mem::replace(&mut registered, true) {
            let _ = stopping.as_mut().poll(cx);
            let _ = evicted.as_mut().poll(cx);
        }
        if connection.state.is_evicted() {
            // A response that is cut short must not look whole, so nothing is said of the end.
            return Poll::Ready(if connection.state.is_answering() {
                Driven::Ended
            } else {
                Driven::Idle
            });
        }
        if !closing && service.shutdown().has_begun() {
            closing = connection.state.has_served() || {
                let sleep = || Box::pin(tokio::time::sleep(FIRST_REQUEST));
                let timeout = first_request.get_or_insert_with(sleep);
                timeout.as_mut().poll(cx).is_ready()
            };
            if closing {
                graceful_shutdown(served.as_mut());
            }
        }
        if connection.state.ends() && close_timeout.is_none() {
            graceful_shutdown(served.as_mut());
            close_timeout = Some(Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)));
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
        if let Some(timeout) = &mut close_timeout
            && timeout.as_mut().poll(cx).is_ready()
            && !connection.state.is_answering()
        {
            return Poll::Ready(Driven::Ended);
        }
        loop {
            let deadline = Deadline::of(&connection.state, &settings.timeouts, idle_timeout);
            if let Some(deadline) = deadline
                && Instant::from_std(deadline.at()) < alarm.deadline()
            {
                alarm.as_mut().reset(deadline.at().into());
            }
            ready!(alarm.as_mut().poll(cx));
            match deadline {
                Some(deadline) if Instant::from_std(deadline.at()) > Instant::now() => {
                    let look = Instant::now() + LOOK_AGAIN;
                    alarm.as_mut().reset(look.min(deadline.at().into()));
                }
                Some(Deadline::Request(_)) if !closing => return Poll::Ready(Driven::Idle),
                Some(deadline) => {
                    tracing::debug!(client = %connection.peer, ?deadline, "the client keeps us waiting");
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
    connection: Arc<ClientConn>,
    protocol: Protocol,
}

/// What is read is looked at on its way.
enum Protocol {
    /// `None` in a tunnel.
    Http1(Option<Box<Framing>>),
    Http2(DataFrames),
}

impl Socket {
    fn new(stream: TlsStream<TcpStream>, connection: Arc<ClientConn>, http1: bool) -> Self {
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
        let shut_down = tokio::time::timeout(CLOSE_TIMEOUT, self.shutdown()).await;
        if let Ok(Ok(())) = shut_down {
            let (transport, _) = self.stream.into_inner();
            let place = self.connection.state.place();
            linger(transport, most, place, service.shutdown().token()).await;
        }
    }

    /// Waits for the next request; whether one comes before the connection has been idle for too
    /// long, has to make room for others, or the service stops (SEC-28).
    async fn wait(&self, service: &Service, timeouts: &Timeouts) -> bool {
        let until = Instant::from_std(self.connection.state.idle_since() + timeouts.keep_alive);
        let (transport, _) = self.stream.get_ref();
        tokio::select! {
            readable = transport.readable() => readable.is_ok(),
            () = tokio::time::sleep_until(until) => false,
            () = self.connection.state.evicted() => false,
            () = service.shutdown().token().cancelled() => false,
        }
    }

    fn written<T>(&self, written: Poll<T>) -> Poll<T> {
        self.connection.state.note_write(written.is_pending());
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
        let state = &this.connection.state;
        match &mut this.protocol {
            Protocol::Http1(framing) if state.is_upgraded() => *framing = None,
            Protocol::Http1(Some(framing)) => {
                let passed = framing.inspect(&mut buffer.filled_mut()[before..]);
                buffer.set_filled(before + passed);
                state.note_head(framing.is_inside_head());
            }
            Protocol::Http1(None) => {}
            Protocol::Http2(frames) => {
                let data = frames.count(&buffer.filled()[before..]);
                if data > 0 {
                    this.connection.receive(data);
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

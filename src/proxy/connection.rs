//! One client connection: handshake, HTTP/1.1 or HTTP/2, and the timer that ends it.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, Due};
use super::body::AnswerBody;
use super::stall::Streams;
use super::{Proxy, Timeouts};
use crate::listener::Admitted;
use crate::request::wire::Framing;

/// What is known of a connection before its first request.
pub(super) struct Connection {
    /// The other end of the socket: a client, or a proxy before us.
    pub(super) peer: IpAddr,
    /// The host that TLS was asked for.
    pub(super) server_name: Option<String>,
    pub(super) activity: Arc<Activity>,
    /// Counts the connection as long as anything of it lives, a tunnel included.
    _admitted: Admitted,
}

/// Bounds what one client that does not read holds (SEC-27).
const WRITE_BUFFER: usize = 64 * 1024;

/// hyper takes no smaller buffer.
const MIN_BUFFER: usize = 8 * 1024;

/// HTTP/2: enough for an upload at 100 ms distance; the connection's window is larger than one
/// stream's, so that a slow upload does not stall the others.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// SEC-24.
const MAX_STREAMS: u32 = 128;

/// Serves a connection to its end.
pub(super) async fn serve(
    proxy: Arc<Proxy>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: IpAddr,
    admitted: Admitted,
) {
    let handshake = tokio::time::timeout(proxy.timeouts.handshake, acceptor.accept(stream));
    let stream = match Box::pin(handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(client = %peer, %error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!(client = %peer, "TLS handshake took too long");
            return;
        }
    };
    let (_, tls) = stream.get_ref();
    let http2 = tls.alpn_protocol() == Some(b"h2");
    let server_name = tls.server_name().map(str::to_owned);
    let activity = Activity::new();
    let connection = Arc::new(Connection {
        peer,
        server_name,
        activity: Arc::clone(&activity),
        _admitted: admitted,
    });
    // What is large is boxed, so that an idle connection holds only what it is at.
    if http2 {
        Box::pin(serve_http2(
            proxy,
            connection,
            Socket::new(stream, activity, false),
        ))
        .await;
    } else {
        Box::pin(serve_http1(
            proxy,
            connection,
            Socket::new(stream, activity, true),
        ))
        .await;
    }
}

async fn serve_http1(proxy: Arc<Proxy>, connection: Arc<Connection>, socket: Socket) {
    let mut builder = http1::Builder::new();
    let head = proxy.limits.head.max(MIN_BUFFER);
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None) // ours is in `Activity`, and knows idle from slow
        .max_header_size(proxy.limits.head)
        .max_buf_size(head.max(WRITE_BUFFER));
    if proxy.limits.fields != 100 {
        builder.max_headers(proxy.limits.fields); // hyper's default needs no allocation
    }
    let service = service_fn(answers(&proxy, &connection));
    let served = builder
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    drive(
        &proxy,
        &connection,
        pin!(served),
        http1::UpgradeableConnection::graceful_shutdown,
    )
    .await;
}

async fn serve_http2(proxy: Arc<Proxy>, connection: Arc<Connection>, socket: Socket) {
    let mut builder = http2::Builder::new(Streams {
        write_timeout: proxy.timeouts.write,
    });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(proxy.limits.head).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(WRITE_BUFFER);
    let service = service_fn(answers(&proxy, &connection));
    let served = builder.serve_connection(TokioIo::new(socket), service);
    drive(
        &proxy,
        &connection,
        pin!(served),
        http2::Connection::graceful_shutdown,
    )
    .await;
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

/// Answers the requests of a connection. Boxed: hyper keeps room for an answer that is under way
/// as long as the connection lives, and would move it around.
fn answers(
    proxy: &Arc<Proxy>,
    connection: &Arc<Connection>,
) -> impl Fn(Request<Incoming>) -> Answer + use<> {
    let (proxy, connection) = (Arc::clone(proxy), Arc::clone(connection));
    move |request| {
        let (proxy, connection) = (Arc::clone(&proxy), Arc::clone(&connection));
        Box::pin(async move { Ok(proxy.handle(&connection, request).await) })
    }
}

/// Polls a connection until it ends, in good order when the service stops or the client has been
/// idle, at once when the client keeps us waiting (SEC-25, SEC-27, SEC-28).
async fn drive<C: Future<Output = hyper::Result<()>>>(
    proxy: &Proxy,
    connection: &Connection,
    mut served: Pin<&mut C>,
    graceful_shutdown: impl Fn(Pin<&mut C>),
) {
    let timeouts: &Timeouts = &proxy.timeouts;
    let mut alarm = pin!(tokio::time::sleep(timeouts.headers));
    let mut stopping = pin!(proxy.stop.cancelled());
    let (mut registered, mut closing) = (false, false);
    std::future::poll_fn(|cx| {
        // Polling it takes a lock that all connections share; once is enough to be woken by it.
        if !std::mem::replace(&mut registered, true) {
            let _ = stopping.as_mut().poll(cx);
        }
        if !closing && proxy.is_stopping() {
            closing = true;
            graceful_shutdown(served.as_mut());
        }
        if let Poll::Ready(ended) = served.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(client = %connection.peer, %error, "a connection has ended");
            }
            return Poll::Ready(());
        }
        loop {
            let due = connection.activity.due(timeouts);
            if let Some(due) = due
                && Instant::from_std(due.at()) < alarm.deadline()
            {
                alarm.as_mut().reset(due.at().into());
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match due {
                Some(Due::Request(at)) if Instant::from_std(at) <= Instant::now() => {
                    graceful_shutdown(served.as_mut());
                    let _ = served.as_mut().poll(cx); // says goodbye, and need not be heard
                    return Poll::Ready(());
                }
                Some(due) if Instant::from_std(due.at()) <= Instant::now() => {
                    tracing::debug!(client = %connection.peer, ?due, "the client keeps us waiting");
                    return Poll::Ready(());
                }
                Some(due) => alarm.as_mut().reset(due.at().into()),
                None => alarm.as_mut().reset(Instant::now() + timeouts.headers),
            }
        }
    })
    .await;
}

/// The client's socket: what is read is checked on the way, and what happens is noted.
struct Socket {
    stream: TlsStream<TcpStream>,
    activity: Arc<Activity>,
    /// HTTP/1.1 only; HTTP/2 has frames.
    framing: Option<Box<Framing>>,
}

impl Socket {
    fn new(stream: TlsStream<TcpStream>, activity: Arc<Activity>, http1: bool) -> Self {
        Self {
            stream,
            activity,
            framing: http1.then(|| Box::new(Framing::new())),
        }
    }

    fn written<T>(&self, written: Poll<T>) -> Poll<T> {
        self.activity.note_write(written.is_pending());
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some(framing) = &mut this.framing {
            if this.activity.is_upgraded() {
                this.framing = None;
            } else {
                framing.inspect(&mut buffer.filled_mut()[before..]);
                this.activity.note_head(framing.is_inside_head());
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

//! One client connection: HTTP/1.1 or HTTP/2, and the timer that ends it.

use std::future::{self, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, Sleep};

use super::batch::{Batch, Gathering};
use super::deadline::Deadline;
use super::malformed;
use super::socket::Socket;
use super::streams::Streams;
use super::transport::Transport;
use crate::proxy::stall::{self, Said, SessionEnd};
use crate::proxy::{ClientConn, Purpose, ResponseBody, Service, Settings};
use crate::request::Malformed;

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
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the limits of a connection that waits for its client are looked at anew: they are
/// shorter while there is too much to do.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// SEC-24.
const MAX_STREAMS: u32 = 128;

/// Requests that are still accepted after GOAWAY: a client may have opened so many streams before it
/// read that.
const MAX_LATE_REQUESTS: u32 = MAX_STREAMS;

/// A client that opens more streams than this after it had enough time and streams to read the GOAWAY
/// does not mean to stop.
const MAX_REFUSED_REQUESTS: u32 = 128;

pub(super) async fn serve_http1<S: Transport>(
    service: Arc<Service>,
    connection: Arc<ClientConn>,
    mut socket: Socket<S>,
) {
    // hyper's buffers and states would stay with every idle connection, several times what TLS
    // needs. They are in a box, which is given back: only the socket waits for the next request.
    while let Some(parked) = Box::pin(serve_requests(&service, &connection, socket)).await {
        socket = parked;
        if !socket.wait(&service).await {
            return;
        }
    }
}

/// Serves a connection until it ends; gives its socket where it has had no request for a while.
pub(super) async fn serve_requests<S: Transport>(
    service: &Arc<Service>,
    connection: &Arc<ClientConn>,
    socket: Socket<S>,
) -> Option<Socket<S>> {
    let settings = service.settings();
    let mut served = {
        let mut builder = http1::Builder::new();
        let head = settings.limits.head.max(MIN_BUFFER);
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None) // ours is a `Deadline`, and knows idle from slow
            .title_case_headers(connection.purpose == Purpose::Requests) // no proxy minds
            .preserve_header_case(settings.preserve_header_case)
            .max_header_size(settings.limits.head)
            .max_buf_size(head.max(WRITE_BUFFER));
        if settings.limits.fields != 100 {
            builder.max_headers(settings.limits.fields); // hyper's default needs no allocation
        }
        let service = service_fn(respond(service, connection));
        builder
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
    };
    let idle_timeout = park_after(&settings);
    let shut_down = http1::UpgradeableConnection::graceful_shutdown;
    let driven = drive(
        service,
        &settings,
        connection,
        Pin::new(&mut served),
        idle_timeout,
        shut_down,
    )
    .await;
    // Before what it holds is dropped, its request with it.
    let is_cut = match driven {
        Driven::Broken => true,
        Driven::Ended => connection.state.is_answering(),
        Driven::Done | Driven::Idle | Driven::Refused(_) => false,
    };
    if is_cut && connection.state.is_unframed() {
        if let Some(parts) = served.into_parts() {
            parts.io.into_inner().reset();
        }
        return None;
    }
    if driven == Driven::Ended {
        return None;
    }
    let parts = served.into_parts()?; // a tunnel has it otherwise
    let mut socket = parts.io.into_inner();
    if let Driven::Refused(malformed) = driven {
        malformed::refuse(service, connection, &mut socket, malformed, &parts.read_buf).await;
    }
    if driven != Driven::Idle {
        socket.close(service).await;
        return None;
    }
    parts.read_buf.is_empty().then_some(socket)
}

/// How long a connection without a request keeps its buffers.
pub(super) fn park_after(settings: &Settings) -> Duration {
    PARK_AFTER.min(settings.timeouts.keep_alive)
}

pub(super) async fn serve_http2<S: Transport>(
    service: Arc<Service>,
    connection: Arc<ClientConn>,
    socket: Socket<S>,
) {
    let settings = service.settings();
    let socket = Gathering::new(socket);
    let served = pin!({
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
        builder.serve_connection(TokioIo::new(socket.share()), service)
    });
    let mut served = Batch {
        served,
        socket,
        is_answering: &|| connection.state.is_answering(),
        shut_down: http2::Connection::graceful_shutdown,
        has_waited: false,
        early_answers: &|| connection.state.settled_early_answers(),
        kept_back: 0,
    };
    let idle_timeout = settings.timeouts.keep_alive;
    let driven = drive(
        &service,
        &settings,
        &connection,
        Pin::new(&mut served),
        idle_timeout,
        Batch::graceful_shutdown,
    )
    .await;
    if let Driven::Idle = driven {
        Pin::new(&mut served).graceful_shutdown();
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, served).await; // says GOAWAY
    }
}

type Responding = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, h2::Error>> + Send>>;

/// Answers the requests of a connection. Boxed: hyper keeps room for a response that is in flight
/// as long as the connection lives, and would move it around.
fn respond(
    service: &Arc<Service>,
    connection: &Arc<ClientConn>,
) -> impl Fn(Request<Incoming>) -> Responding + use<> {
    let (service, connection) = (Arc::clone(service), Arc::clone(connection));
    move |request| {
        let (proxy, connection) = (service.proxy(), Arc::clone(&connection));
        let is_http1 = request.version() < Version::HTTP_2;
        // A client that ignores GOAWAY could keep its connection by opening ever more streams. A refused
        // request was not processed, so it may be sent again elsewhere (RFC 9113 §8.7).
        if !is_http1 && is_overdue(&connection) {
            connection.state.count_refused_request();
            return Box::pin(future::ready(Err(h2::Reason::REFUSED_STREAM.into()))) as Responding;
        }
        let in_flight = connection.state.begin(!request.body().is_end_stream());
        // Written where they stay: `Box::pin` would build them on the stack and copy them.
        if connection.purpose != Purpose::Requests {
            let answer = Box::write(Box::new_uninit(), async move {
                let (head, body) = request.into_parts();
                let request = (head, Some(body));
                proxy.answer(&connection, in_flight, request).await
            });
            return Box::into_pin(answer) as Responding;
        }
        let response = Box::write(Box::new_uninit(), async move {
            let mut response = proxy.handle(&connection, in_flight, request).await?;
            if is_http1 && let Some(letters) = response.extensions_mut().remove() {
                connection.state.note_letters(letters);
            }
            Ok(response)
        });
        Box::into_pin(response)
    }
}

/// Whether the client of a request has had enough time, or streams, to learn that its connection is to
/// close.
fn is_overdue(connection: &ClientConn) -> bool {
    let Some(since) = connection.state.ends_since() else {
        return false;
    };
    let late = connection.state.count_late_request();
    late > MAX_LATE_REQUESTS || since.elapsed() > CLOSE_TIMEOUT
}

/// Why a connection is no longer driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// It is to be dropped.
    Ended,
    /// All that was to be said has been.
    Done,
    /// A response has failed halfway.
    Broken,
    /// Its last head was no request.
    Refused(Malformed),
    /// There is no request, and there has been none for the idle timeout.
    Idle,
}

/// Polls a connection until it ends or idles. It ends in good order when the service stops, and at
/// once when the client keeps us waiting (SEC-25, SEC-27).
pub(super) async fn drive<C: Future<Output = hyper::Result<()>>>(
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
            let Err(error) = ended else {
                return Poll::Ready(Driven::Done);
            };
            tracing::debug!(client = %connection.peer, %error, "a connection has ended");
            return Poll::Ready(match malformed::of_error(&error) {
                Some(malformed) => Driven::Refused(malformed),
                None if error.is_user() => Driven::Broken,
                None => Driven::Done,
            });
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
        if connection.state.refused_requests() > MAX_REFUSED_REQUESTS {
            tracing::debug!(client = %connection.peer, "the client ignores GOAWAY");
            return Poll::Ready(Driven::Ended);
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

//! A connection by which a proxy asks (SEC-95).
//!
//! Most auth requests are plain: a head and no body, with nothing about the connection. These are read
//! and answered here, with half of the allocations. At the first head that is not
//! [plain](PlainHeads), good or bad, hyper gets the connection with all that was not answered, until it
//! idles: so there is no second opinion about bodies, persistent connections, and what is no HTTP.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::UNIX_EPOCH;

use bytes::BytesMut;
use http::{Response, header};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connection::{CLOSE_TIMEOUT, Driven, drive, park_after, serve_requests};
use super::socket::Socket;
use super::transport::Transport;
use crate::clock::Clock;
use crate::proxy::{ClientConn, ResponseBody, Service};
use crate::request::PlainHeads;

/// Room for what is read next: a head has mostly less.
const ROOM: usize = 4096;

pub(super) async fn serve_auth_requests<S: Transport>(
    service: Arc<Service>,
    connection: Arc<ClientConn>,
    mut socket: Socket<S>,
) {
    // Boxed, as in `serve_http1`: only the socket waits for the next request.
    loop {
        let left = match Box::pin(answer_plain(&service, &connection, socket)).await {
            Left::Nothing => None,
            Left::Idle(socket) => Some(socket),
            Left::ForHyper(socket) => Box::pin(serve_requests(&service, &connection, socket)).await,
        };
        let Some(parked) = left else { return };
        socket = parked;
        if !socket.wait(&service).await {
            return;
        }
    }
}

/// What is left of a connection whose plain requests were answered.
enum Left<S> {
    Nothing,
    /// It has had no request for a while.
    Idle(Socket<S>),
    /// With what is for hyper to read.
    ForHyper(Socket<S>),
}

async fn answer_plain<S: Transport>(
    service: &Arc<Service>,
    connection: &Arc<ClientConn>,
    socket: Socket<S>,
) -> Left<S> {
    let settings = service.settings();
    let mut plain = Plain {
        socket,
        read: BytesMut::new(),
        heads: PlainHeads::default(),
        written: Vec::new(),
        date: Date::new(),
        is_for_hyper: false,
    };
    let closing = AtomicBool::new(false);
    let driven = {
        let served = pin!(async {
            let limit = settings.limits.head;
            if let Err(error) = plain.serve(service, connection, limit, &closing).await {
                tracing::debug!(client = %connection.peer, %error, "a connection has ended");
            }
            Ok(())
        });
        let close = |_: Pin<&mut _>| closing.store(true, Ordering::Relaxed);
        let idle_timeout = park_after(&settings);
        drive(service, &settings, connection, served, idle_timeout, close).await
    };
    let mut socket = plain.socket;
    match driven {
        Driven::Done if plain.is_for_hyper => Left::ForHyper(socket),
        Driven::Done => {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.shutdown()).await;
            socket.close(service).await;
            Left::Nothing
        }
        Driven::Idle if plain.read.is_empty() => Left::Idle(socket),
        Driven::Idle | Driven::Ended | Driven::Broken | Driven::Refused(_) => Left::Nothing,
    }
}

struct Plain<S> {
    socket: Socket<S>,
    /// What was read and not answered.
    read: BytesMut,
    heads: PlainHeads,
    /// The answer.
    written: Vec<u8>,
    date: Date,
    is_for_hyper: bool,
}

impl<S: Transport> Plain<S> {
    /// Answers one request after the other until the connection is to end, or hyper is to have it.
    async fn serve(
        &mut self,
        service: &Arc<Service>,
        connection: &Arc<ClientConn>,
        limit: usize,
        closing: &AtomicBool,
    ) -> io::Result<()> {
        let mut seen = 0;
        loop {
            let Some(end) = PlainHeads::end_of(&self.read, seen) else {
                seen = self.read.len();
                if seen >= limit || self.socket.refused().is_some() {
                    self.leave_to_hyper(&[]);
                    return Ok(());
                }
                if self.read_more(closing).await? == 0 {
                    return Ok(());
                }
                continue;
            };
            seen = 0;
            let head = self.read.split_to(end).freeze();
            let parts = (end <= limit).then(|| self.heads.read(&head)).flatten();
            let Some(parts) = parts else {
                self.leave_to_hyper(&head);
                return Ok(());
            };
            drop(head);
            let in_flight = connection.state.begin(false);
            let proxy = service.proxy();
            let answer = proxy.answer(connection, in_flight, (parts, None)).await;
            let Ok(answer) = answer else { return Ok(()) };
            if self.write(answer).await? {
                return Ok(());
            }
        }
    }

    /// Gives `head` back, and what came after it.
    fn leave_to_hyper(&mut self, head: &[u8]) {
        self.socket.unread(&self.read);
        self.socket.unread(head);
        self.read.clear();
        self.is_for_hyper = true;
    }

    /// Gives how many bytes there were: 0 at the end of the connection, which is now if it is to close and
    /// no head has begun.
    async fn read_more(&mut self, closing: &AtomicBool) -> io::Result<usize> {
        let is_between = self.read.is_empty();
        self.read.reserve(ROOM);
        let mut reading = pin!(self.socket.read_buf(&mut self.read));
        poll_fn(|cx| {
            if is_between && closing.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(0));
            }
            reading.as_mut().poll(cx)
        })
        .await
    }

    /// Sends an answer by one write; whether it says that the connection ends.
    async fn write(&mut self, mut answer: Response<ResponseBody>) -> io::Result<bool> {
        let closes = answer.headers().contains_key(header::CONNECTION);
        let out = &mut self.written;
        out.clear();
        let status = answer.status();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        for (name, value) in answer.headers() {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
        }
        let content = answer.body_mut().frame().await;
        let content = content
            .and_then(Result::ok)
            .and_then(|frame| frame.into_data().ok());
        let content = content.unwrap_or_default();
        write!(out, "\r\ncontent-length: {}\r\ndate: ", content.len())?;
        self.date.write(out);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&content);
        self.socket.write_all(out).await?;
        self.heads.reuse(std::mem::take(answer.headers_mut()));
        drop(answer); // its request is over
        self.socket.flush().await?;
        Ok(closes)
    }
}

/// `Date`, which is written anew each second.
struct Date {
    clock: Clock,
    second: u64,
    text: String,
}

impl Date {
    fn new() -> Self {
        Self {
            clock: Clock::system(),
            second: 0,
            text: String::new(),
        }
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        let now = self.clock.now().to_system_time();
        let second = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if self.text.is_empty() || second != self.second {
            (self.second, self.text) = (second, httpdate::fmt_http_date(now));
        }
        out.extend_from_slice(self.text.as_bytes());
    }
}

//! One connection to the recording upstream, as its script sees it.

use std::fmt::Write;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::upstream::{Received, Record};

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

/// A request that waits for its answer.
pub(crate) struct Exchange {
    io: Box<dyn Io>,
    /// Read and not yet used.
    buffer: Vec<u8>,
    record: Arc<Record>,
    connection: usize,
    /// Its place among all requests, and among those of this connection.
    request: usize,
    nth: usize,
    head: String,
    body: Body,
    over: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Body {
    Length(usize),
    Chunked,
    Read,
}

impl Exchange {
    pub(super) fn new(io: Box<dyn Io>, record: Arc<Record>) -> Self {
        let connection = {
            let mut connections = record.connections.lock().unwrap();
            connections.push(Vec::new());
            connections.len() - 1
        };
        Self {
            io,
            buffer: Vec::new(),
            record,
            connection,
            request: 0,
            nth: 0,
            head: String::new(),
            body: Body::Read,
            over: false,
        }
    }

    /// Reads the next head; `false` when there will be none.
    pub(super) async fn next_request(&mut self) -> bool {
        if self.body != Body::Read {
            self.body().await; // what the script has left
        }
        if self.over {
            return false;
        }
        let Some(head) = self.until(b"\r\n\r\n").await else {
            return false;
        };
        self.head = String::from_utf8_lossy(&head[..head.len() - 4]).into_owned();
        self.body = match (
            self.header("transfer-encoding"),
            self.header("content-length"),
        ) {
            (Some(_), _) => Body::Chunked,
            (None, Some(length)) => Body::Length(length.parse().unwrap()),
            (None, None) => Body::Read,
        };
        let mut requests = self.record.requests.lock().unwrap();
        self.nth += 1;
        self.request = requests.len();
        requests.push(Received {
            connection: self.connection,
            head: self.head.clone(),
            complete: self.body == Body::Read,
            ..Received::default()
        });
        true
    }

    /// Request line and fields, without the empty line.
    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    /// Which connection this is, counted from 0.
    pub(crate) fn connection(&self) -> usize {
        self.connection
    }

    /// How many requests this connection had before.
    pub(crate) fn nth_request(&self) -> usize {
        self.nth - 1
    }

    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The first value of a field.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let fields = self.head.split("\r\n").skip(1);
        let mut pairs = fields.filter_map(|line| line.split_once(':'));
        pairs
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    }

    /// Reads the body to its end.
    pub(crate) async fn body(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(part) = self.next_part().await {
            whole.extend(part);
        }
        whole
    }

    /// The next bytes of the body: what is there, or one whole chunk; `None` at its end.
    pub(crate) async fn next_part(&mut self) -> Option<Vec<u8>> {
        let part = match self.body {
            Body::Read => return None,
            Body::Length(0) => {
                self.end_body("");
                return None;
            }
            Body::Length(left) => {
                if self.buffer.is_empty() {
                    self.fill().await?;
                }
                let taken = left.min(self.buffer.len());
                self.body = Body::Length(left - taken);
                self.take(taken)
            }
            Body::Chunked => {
                let line = self.until(b"\r\n").await?;
                let size = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
                let size = usize::from_str_radix(&size, 16).expect("a chunk size");
                if size == 0 {
                    let mut trailers = String::new();
                    loop {
                        let line = self.until(b"\r\n").await?;
                        if line == b"\r\n" {
                            break;
                        }
                        trailers.push_str(&String::from_utf8_lossy(&line));
                    }
                    self.end_body(&trailers);
                    return None;
                }
                while self.buffer.len() < size + 2 {
                    self.fill().await?;
                }
                let mut chunk = self.take(size + 2);
                assert_eq!(chunk.split_off(size), b"\r\n", "a chunk ends with CRLF");
                chunk
            }
        };
        self.record.requests.lock().unwrap()[self.request]
            .body
            .extend(&part);
        Some(part)
    }

    /// Sends exactly these bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Whoever aborts an exchange is not obliged to read its answer.
        if self.over {
            return;
        }
        if self.io.write_all(bytes.as_ref()).await.is_err() || self.io.flush().await.is_err() {
            self.end();
        }
    }

    /// Sends an ordinary answer with a Content-Length.
    pub(crate) async fn reply(
        &mut self,
        status: &str,
        fields: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) {
        let body = body.as_ref();
        let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in fields {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        let body = if self.head.starts_with("HEAD ") {
            &[]
        } else {
            body
        };
        self.send([head.as_bytes(), body].concat()).await;
    }

    /// Whether the proxy has let go of the connection.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// A response that goes on until the proxy lets go of the connection.
    pub(crate) async fn download_without_end(&mut self) {
        self.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let chunk = [b"4000\r\n".to_vec(), vec![b'x'; 0x4000], b"\r\n".to_vec()].concat();
        while !self.is_over() {
            self.send(&chunk).await;
        }
    }

    /// Closes the connection after this answer.
    pub(crate) fn close(&mut self) {
        self.body = Body::Read;
        self.over = true;
    }

    /// Reads and forgets until the proxy closes.
    pub(crate) async fn wait_until_closed(&mut self) {
        while self.fill().await.is_some() {}
    }

    /// Accepts the upgrade and echoes messages.
    pub(crate) async fn echo_websocket(&mut self) {
        let key = self.header("sec-websocket-key").expect("a key");
        self.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        ))
        .await;
        let io = std::mem::replace(&mut self.io, Box::new(tokio::io::empty()));
        let early = std::mem::take(&mut self.buffer);
        let mut socket = WebSocketStream::from_partially_read(io, early, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() || socket.send(message).await.is_err() {
                break;
            }
        }
        self.end();
    }

    /// The proxy has closed.
    fn end(&mut self) {
        self.close();
        *self.record.closed.lock().unwrap() += 1;
    }

    fn end_body(&mut self, trailers: &str) {
        self.body = Body::Read;
        let request = &mut self.record.requests.lock().unwrap()[self.request];
        request.complete = true;
        trailers.clone_into(&mut request.trailers);
    }

    async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self
                .buffer
                .windows(mark.len())
                .position(|part| part == mark);
            if let Some(at) = found {
                return Some(self.take(at + mark.len()));
            }
            self.fill().await?;
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Reads more; `None` when the proxy has closed.
    async fn fill(&mut self) -> Option<()> {
        if self.over {
            return None;
        }
        let before = self.buffer.len();
        match self.io.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => {
                self.end();
                None
            }
            Ok(_) => {
                let read = &self.buffer[before..];
                self.record.connections.lock().unwrap()[self.connection].extend(read);
                Some(())
            }
        }
    }
}

//! HTTP/2: one client that behaves, and one that sends any frame it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::tls::{self, HOST};
use super::{Reply, within};

/// A body of any kind.
pub(crate) type AnyBody = BoxBody<Bytes, std::io::Error>;

/// A connection by hyper.
pub(crate) struct Http2 {
    sender: SendRequest<AnyBody>,
}

impl Http2 {
    pub(super) async fn new(stream: TlsStream<TcpStream>) -> Self {
        let io = TokioIo::new(stream);
        let (sender, connection): (_, Connection<_, AnyBody, _>) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// Loads a page and reads it whole.
    pub(crate) async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::get(format!("https://{HOST}{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let empty = Full::default().map_err(|never| match never {}).boxed();
        let response = self.send(request.body(empty).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let fields = head.headers.iter();
        let fields = fields.map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        Reply {
            status: head.status.as_u16(),
            headers: fields.collect(),
            body: within("a body", body.collect())
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        }
    }

    /// Sends a request of any kind.
    pub(crate) async fn send(
        &self,
        request: Request<AnyBody>,
    ) -> hyper::Result<Response<hyper::body::Incoming>> {
        within("an answer", self.sender.clone().send_request(request)).await
    }
}

/// Frame types and flags (RFC 9113 §6).
pub(crate) mod frame {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;

    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
}

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Code of a `RST_STREAM` or GOAWAY.
    fn error_code(&self) -> u32 {
        let at = if self.kind == frame::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// Literal fields that are not indexed and not compressed (RFC 7541 §6.2.2): any byte passes.
pub(crate) fn headers_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            write_length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn write_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// What became of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) status: Option<u16>,
    pub(crate) body: Vec<u8>,
    pub(crate) ended: bool,
    /// Code of the `RST_STREAM` that came.
    pub(crate) reset: Option<u32>,
}

/// A connection that follows no rules by itself, except that it acknowledges SETTINGS and, unless
/// told otherwise, PING.
pub(crate) struct RawHttp2 {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    buffer: Vec<u8>,
    streams: BTreeMap<u32, Stream>,
    go_away: Option<u32>,
    closed: bool,
    pub(crate) ignores_pings: bool,
}

impl RawHttp2 {
    pub(super) async fn start(stream: TlsStream<TcpStream>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let mut connection = Self {
            reader,
            writer,
            buffer: Vec::new(),
            streams: BTreeMap::new(),
            go_away: None,
            closed: false,
            ignores_pings: false,
        };
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        // No table, so that each status comes as it is (RFC 9113 §6.5.2).
        let no_table = [0, 1, 0, 0, 0, 0];
        connection.frame(frame::SETTINGS, 0, 0, no_table).await;
        connection
    }

    /// Connects to an address itself.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::start(tls::connect(stream, HOST, &["h2"]).await.unwrap()).await
    }

    /// Connects from an address of this machine, as a client of its own.
    pub(crate) async fn connect_from(source: &str, address: SocketAddr) -> Self {
        let connection = Self::try_connect_from(source, address).await;
        connection.expect("a connection")
    }

    /// The same; `None` when the gate does not want it.
    pub(crate) async fn try_connect_from(source: &str, address: SocketAddr) -> Option<Self> {
        let stream = tls::connect_from(source, address, &["h2"]).await;
        Some(Self::start(stream.ok()?).await)
    }

    /// The fields of a GET for this path on the host of the tests.
    pub(crate) fn get(path: &str) -> Vec<(&str, &str)> {
        Self::fields("GET", path)
    }

    pub(crate) fn fields<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            (":method", method),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", path),
        ]
    }

    /// Sends a whole head in one HEADERS frame.
    pub(crate) async fn headers(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) {
        let flags = frame::END_HEADERS | if ends { frame::END_STREAM } else { 0 };
        self.frame(frame::HEADERS, flags, stream, headers_block(fields))
            .await;
    }

    pub(crate) async fn data(&mut self, stream: u32, data: &[u8], ends: bool) {
        let flags = if ends { frame::END_STREAM } else { 0 };
        self.frame(frame::DATA, flags, stream, data).await;
    }

    pub(crate) async fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: impl Into<Vec<u8>>,
    ) {
        self.send(Frame::new(kind, flags, stream, payload).bytes())
            .await;
    }

    /// Sends; `false` when the gate does not take it any more.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = self.writer.write_all(bytes.as_ref()).await.is_ok();
        let sent = sent && self.writer.flush().await.is_ok();
        self.closed |= !sent;
        sent
    }

    /// Reads until the answer of a stream has ended or been reset, or the connection is over.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Stream {
        within("the end of a stream", async {
            loop {
                let state = self.streams.entry(stream).or_default();
                if state.ended || state.reset.is_some() || !self.read().await {
                    return self.streams.remove(&stream).unwrap_or_default();
                }
            }
        })
        .await
    }

    /// Reads until the head of an answer has come.
    pub(crate) async fn status(&mut self, stream: u32) -> Option<u16> {
        within("a status", async {
            loop {
                let state = self.streams.entry(stream).or_default();
                if state.status.is_some() || state.reset.is_some() || !self.read().await {
                    return self.streams.entry(stream).or_default().status;
                }
            }
        })
        .await
    }

    /// Reads until the window of a stream has grown; by how much.
    pub(crate) async fn larger_window(&mut self, stream: u32) -> usize {
        loop {
            let got = self.next().await.expect("more frames");
            if got.kind == frame::WINDOW_UPDATE && got.stream == stream {
                let more = got.payload[..4].try_into().unwrap();
                return u32::from_be_bytes(more) as usize;
            }
            self.note(got).await;
        }
    }

    /// Reads until some stream has been reset.
    pub(crate) async fn any_reset(&mut self) {
        within("a reset", async {
            while self.streams.values().all(|stream| stream.reset.is_none()) {
                assert!(self.read().await, "the connection has ended");
            }
        })
        .await;
    }

    /// Reads until a stream has been reset after the head of its answer.
    pub(crate) async fn any_response_reset(&mut self) {
        within("a reset", async {
            let is_reset = |stream: &Stream| stream.status.is_some() && stream.reset.is_some();
            while !self.streams.values().any(is_reset) {
                assert!(self.read().await, "the connection has ended");
            }
        })
        .await;
    }

    /// Whether the head of an answer is there, or comes at once.
    pub(crate) async fn has_status(&mut self, stream: u32) -> bool {
        let read = tokio::time::timeout(Duration::from_millis(20), self.read());
        let _ = read.await;
        let state = self.streams.entry(stream).or_default();
        state.status.is_some() || state.reset.is_some()
    }

    /// Reads until so much of a body has come, and takes it.
    pub(crate) async fn data_of(&mut self, stream: u32, length: usize) -> Vec<u8> {
        within("a part of a body", async {
            loop {
                let state = self.streams.entry(stream).or_default();
                if state.body.len() >= length || !self.read().await {
                    let body = &mut self.streams.entry(stream).or_default().body;
                    return std::mem::take(body);
                }
            }
        })
        .await
    }

    /// Reads to the end of the connection; gives the code of its GOAWAY.
    pub(crate) async fn go_away(&mut self) -> Option<u32> {
        within("the end of the connection", async {
            while self.read().await {}
        })
        .await;
        self.go_away
    }

    /// Reads one frame; `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(length) = self.buffer.first_chunk::<3>() {
                let [a, b, c] = *length;
                let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
                if self.buffer.len() >= end {
                    let bytes: Vec<_> = self.buffer.drain(..end).collect();
                    let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
                    return Some(Frame::new(bytes[3], bytes[4], stream, &bytes[9..]));
                }
            }
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Takes note of one frame; `false` when there are no more.
    async fn read(&mut self) -> bool {
        let Some(got) = self.next().await else {
            return false;
        };
        self.note(got).await;
        true
    }

    async fn note(&mut self, got: Frame) {
        let stream = self.streams.entry(got.stream).or_default();
        match got.kind {
            frame::SETTINGS if got.flags & frame::ACK == 0 => {
                self.frame(frame::SETTINGS, frame::ACK, 0, []).await;
            }
            frame::PING if got.flags & frame::ACK == 0 && !self.ignores_pings => {
                self.frame(frame::PING, frame::ACK, 0, got.payload).await;
            }
            frame::GOAWAY => self.go_away = Some(got.error_code()),
            frame::RST_STREAM => stream.reset = Some(got.error_code()),
            frame::HEADERS => {
                stream.status = stream.status.or(status_of(&got.payload));
                stream.ended |= got.flags & frame::END_STREAM != 0;
            }
            frame::DATA => {
                stream.body.extend(&got.payload);
                stream.ended |= got.flags & frame::END_STREAM != 0;
            }
            _ => {}
        }
    }
}

/// The status, which is the first field of every answer: indexed, or three digits in plain or
/// Huffman code (RFC 7541 Appendices A and B).
fn status_of(block: &[u8]) -> Option<u16> {
    // Table size updates may come first (RFC 7541 §4.2).
    let updates = block.iter().take_while(|&&byte| byte & 0xe0 == 0x20);
    let block = &block[updates.count()..];
    if let index @ 0x88..=0x8e = *block.first()? {
        let known = [200, 204, 206, 304, 400, 404, 500];
        return Some(known[usize::from(index - 0x88)]);
    }
    let length = block.get(1)?;
    let value = block.get(2..)?.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    let bits = value
        .iter()
        .fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
    let mut left = 8 * value.len();
    let mut status = 0;
    for _ in 0..3 {
        let five = u16::try_from(bits >> (left - 5) & 31).unwrap();
        let digit = if five < 3 {
            left -= 5;
            five
        } else {
            left -= 6;
            u16::try_from(bits >> left & 63).unwrap() - 0b01_1001 + 3
        };
        status = status * 10 + digit;
    }
    Some(status)
}

#[test]
fn a_status_is_read_in_each_of_its_codes() {
    for (block, status) in [
        (&[0x88][..], 200),
        (&[0x48, 3, b'4', b'0', b'3'], 403),
        (&[0x20, 0x48, 0x82, 0x64, 0x02], 302), // RFC 7541 §C.6.1
        (&[0x48, 0x83, 0x64, 0x0e, 0xff], 307), // RFC 7541 §C.6.2
    ] {
        assert_eq!(status_of(block), Some(status), "{block:?}");
    }
}

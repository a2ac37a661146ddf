//! An HTTP/1.1 client that sends exactly what it is told, and reads answers strictly.

use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::reply::Reply;
use super::within;

/// One connection.
pub(crate) struct Raw {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    buffer: Vec<u8>,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

impl Raw {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        let (reader, writer) = tokio::io::split(Box::new(stream) as Box<dyn Stream>);
        Self {
            reader,
            writer,
            buffer: Vec::new(),
        }
    }

    /// Sends; a gate that has closed already does not mind.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes).await;
    }

    /// Sends; `false` when the gate does not take it any more.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = self.writer.write_all(bytes.as_ref()).await.is_ok();
        sent && self.writer.flush().await.is_ok()
    }

    /// Reads one whole answer to a GET or the like; interim ones (1xx) are answers of their own.
    pub(crate) async fn response(&mut self) -> Reply {
        within("an answer", self.read_response(false)).await
    }

    /// Reads one answer to a HEAD.
    pub(crate) async fn response_to_head(&mut self) -> Reply {
        within("an answer", self.read_response(true)).await
    }

    /// Reads a head only; the body is for [`Raw::chunk`] or [`Raw::bytes`].
    pub(crate) async fn head(&mut self) -> Reply {
        within("a head", self.read_head()).await
    }

    /// The next chunk of a chunked answer; `None` after the last.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        within("a chunk", self.read_chunk()).await
    }

    /// At least one more byte, whatever has come.
    pub(crate) async fn bytes(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            within("more bytes", self.fill()).await;
        }
        std::mem::take(&mut self.buffer)
    }

    /// Reads so much of a body, and forgets it.
    pub(crate) async fn skip(&mut self, length: usize) {
        let mut left = length - self.buffer.len();
        self.buffer.clear();
        while left > 0 {
            self.buffer.reserve(64 * 1024);
            within("more of a body", self.fill()).await;
            left -= self.buffer.len();
            self.buffer.clear();
        }
    }

    /// The same; nothing when the gate has closed.
    pub(crate) async fn try_bytes(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            let _ = within("more bytes", self.reader.read_buf(&mut self.buffer)).await;
        }
        std::mem::take(&mut self.buffer)
    }

    /// All that comes until the gate closes.
    pub(crate) async fn rest(&mut self) -> String {
        self.rest_after("").await
    }

    /// The same; `sent` is for the message of a failure.
    pub(crate) async fn rest_after(&mut self, sent: &str) -> String {
        let what = format!("the end of the connection after {sent:?}");
        let bytes = within(&what, self.read_rest()).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Says that nothing more will be sent, with `close_notify`.
    pub(crate) async fn close(&mut self) {
        let _ = self.writer.shutdown().await;
    }

    /// How the connection ends: `Ok` as it should, with `close_notify`.
    pub(crate) async fn end(&mut self) -> Result<(), ErrorKind> {
        let end = async {
            loop {
                match self.reader.read_buf(&mut self.buffer).await {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error.kind()),
                }
            }
        };
        within("the end of the connection", end).await
    }

    async fn read_rest(&mut self) -> Vec<u8> {
        // A cut connection is an end like any other: what counts is what came before.
        while let Ok(1..) = self.reader.read_buf(&mut self.buffer).await {}
        std::mem::take(&mut self.buffer)
    }

    async fn read_response(&mut self, to_head: bool) -> Reply {
        let mut reply = self.read_head().await;
        let without_body = to_head || reply.status < 200 || [204, 304].contains(&reply.status);
        if without_body {
            return reply;
        }
        let length = reply.value("content-length").map(str::to_owned);
        if reply.value("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.read_chunk().await {
                reply.body.extend(chunk);
            }
        } else if let Some(length) = length {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                self.fill().await;
            }
            reply.body = self.buffer.drain(..length).collect();
        } else {
            while self.reader.read_buf(&mut self.buffer).await.unwrap() > 0 {}
            reply.body = std::mem::take(&mut self.buffer);
        }
        reply
    }

    async fn read_head(&mut self) -> Reply {
        let head = self.until(b"\r\n\r\n").await;
        Reply::parse(&String::from_utf8_lossy(&head))
    }

    async fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n").await;
        let line = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
        let size = usize::from_str_radix(line, 16).expect("a chunk size");
        while self.buffer.len() < size + 2 {
            self.fill().await;
        }
        let mut chunk: Vec<_> = self.buffer.drain(..size + 2).collect();
        assert_eq!(chunk.split_off(size), b"\r\n", "a chunk ends with CRLF");
        (size > 0).then_some(chunk)
    }

    async fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            let mut parts = self.buffer.windows(mark.len());
            if let Some(at) = parts.position(|part| part == mark) {
                return self.buffer.drain(..at + mark.len()).collect();
            }
            self.fill().await;
        }
    }

    async fn fill(&mut self) {
        let read = self.reader.read_buf(&mut self.buffer).await;
        let seen = String::from_utf8_lossy(&self.buffer);
        match read {
            Ok(0) => panic!("the gate closed after: {seen:?}"),
            Ok(_) => {}
            Err(error) => panic!("the gate aborted ({error}) after: {seen:?}"),
        }
    }
}

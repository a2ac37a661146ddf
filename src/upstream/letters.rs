//! The letters of header names, for apps that tell `SOAPAction` from `Soapaction`.
//!
//! hyper keeps those that a client has written, for each field that is left when a request is sent.
//! A field that is ours has Title-Case all the same, or the letters of the configuration: otherwise
//! a client could hide a body from an app that compares letters, by `content-LENGTH`, or its user, by
//! `x-forwarded-USER`. hyper has no place for that, so the head is corrected on its way out. Its
//! length stays what it was.

mod client;
mod observed;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::{HeaderName, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Stream;
use crate::forwarded;
use crate::identity::fold;
use crate::request::title_case;
pub(super) use client::Client;

/// Fields of the connection and of the message, which are written anew for the app.
static OF_THE_MESSAGE: [HeaderName; 5] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Names whose letters are never the client's.
#[derive(Debug)]
pub(crate) struct OwnNames {
    names: Vec<HeaderName>,
    /// Those of the configuration, which goes out with its letters.
    written: Vec<Box<str>>,
}

impl OwnNames {
    /// `ours` are those that the app gets from us, besides those that every app gets and those that
    /// are `written` in the configuration.
    pub(crate) fn new(
        ours: impl IntoIterator<Item = HeaderName>,
        written: impl IntoIterator<Item = Box<str>>,
    ) -> Self {
        Self {
            names: OF_THE_MESSAGE.iter().cloned().chain(ours).collect(),
            written: written.into_iter().collect(),
        }
    }

    fn contain(&self, name: &[u8]) -> bool {
        let is = |own: &HeaderName| own.as_str().as_bytes().eq_ignore_ascii_case(name);
        self.names.iter().any(is)
            || std::str::from_utf8(name).is_ok_and(|name| forwarded::is_reserved(&fold(name)))
    }

    /// Writes ours as they are to be, in a head that is whole.
    fn correct(&self, head: &mut [u8]) {
        for line in head.split_mut(|&byte| byte == b'\n').skip(1) {
            let Some(colon) = memchr::memchr(b':', line) else {
                continue;
            };
            let name = &mut line[..colon];
            let mut written = self.written.iter().map(|written| written.as_bytes());
            if let Some(written) = written.find(|written| written.eq_ignore_ascii_case(name)) {
                name.copy_from_slice(written);
            } else if self.contain(name) {
                title_case(name);
            }
        }
    }
}

/// Says that the next bytes are those of a head.
#[derive(Clone, Debug, Default)]
struct NextIsHead(Arc<AtomicBool>);

impl NextIsHead {
    fn note(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A connection whose heads are corrected.
struct Corrected {
    stream: Box<dyn Stream>,
    own: Arc<OwnNames>,
    next_is_head: NextIsHead,
    /// A head, and how much of it has been written.
    head: Vec<u8>,
    written: usize,
    /// Whether bytes of the message before may still wait to be written.
    is_behind: bool,
}

impl Corrected {
    fn new(stream: Box<dyn Stream>, own: Arc<OwnNames>, next_is_head: NextIsHead) -> Self {
        Self {
            stream,
            own,
            next_is_head,
            head: Vec::new(),
            written: 0,
            is_behind: false,
        }
    }

    /// Takes the head that `bytes` begin with. hyper writes a head into one buffer.
    fn begin(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Where an answer comes before the end of its request, the next head may be behind bytes
        // that are not its own. Rather no connection than a head with the client's letters.
        let end = memchr::memmem::find(bytes, b"\r\n\r\n").filter(|_| !self.is_behind);
        let end = end.ok_or(io::ErrorKind::InvalidData)?;
        self.head.clear();
        self.head.extend_from_slice(&bytes[..end + 4]);
        self.own.correct(&mut self.head);
        self.written = 0;
        Ok(())
    }
}

impl AsyncWrite for Corrected {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.next_is_head.0.swap(false, Ordering::AcqRel) {
            this.begin(bytes)?;
        }
        this.is_behind = true;
        let left = &this.head[this.written..];
        if left.is_empty() {
            return Pin::new(&mut this.stream).poll_write(cx, bytes);
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, left))?;
        this.written += written;
        Poll::Ready(Ok(written))
    }

    /// What is not written remains, so heads may go by themselves.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let is_body = self.written == self.head.len();
        if is_body && !self.next_is_head.0.load(Ordering::Acquire) {
            self.is_behind = true;
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_behind = false; // hyper flushes when it has written all that it has
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Corrected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn own_names() -> Arc<OwnNames> {
        Arc::new(OwnNames::new(
            [HeaderName::from_static("x-user")],
            ["X-API-key".into()],
        ))
    }

    #[test]
    fn only_names_of_ours_are_corrected() {
        let head = "GET /HOST:1 HTTP/1.1\r\nhOST: content-LENGTH: 1\r\nx-USER: X-uSER\r\nX-oTHER: x\r\n\
            CONTENT-length: 5\r\nx_user: 1\r\nX-Api-Key: x-api-key\r\n\r\n";
        let mut bytes = head.as_bytes().to_vec();
        own_names().correct(&mut bytes);
        let expected = "GET /HOST:1 HTTP/1.1\r\nHost: content-LENGTH: 1\r\nX-User: X-uSER\r\nX-oTHER: x\r\n\
            Content-Length: 5\r\nx_user: 1\r\nX-API-key: x-api-key\r\n\r\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    /// However few bytes the connection takes at a time.
    #[tokio::test]
    async fn heads_are_corrected_and_bodies_are_not() {
        const MESSAGE: &[u8] = b"POST / HTTP/1.1\r\nhOST: a\r\nX-oDD: 1\r\n\r\nhOST: body\r\n\r\n";
        const EXPECTED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nX-oDD: 1\r\n\r\nhOST: body\r\n\r\n";
        for room in [1, 3, 20, 1000] {
            let (ours, mut theirs) = duplex(room);
            let next_is_head = NextIsHead::default();
            let mut sending = Corrected::new(Box::new(ours), own_names(), next_is_head.clone());
            let sending = tokio::spawn(async move {
                for _ in 0..2 {
                    next_is_head.note();
                    sending.write_all(MESSAGE).await.unwrap();
                    sending.flush().await.unwrap();
                }
            });
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).await.unwrap();
            sending.await.unwrap();
            assert_eq!(received, [EXPECTED, EXPECTED].concat(), "{room}");
        }
    }

    #[tokio::test]
    async fn a_head_behind_other_bytes_is_not_sent() {
        let (ours, _theirs) = duplex(1000);
        let next_is_head = NextIsHead::default();
        let mut sending = Corrected::new(Box::new(ours), own_names(), next_is_head.clone());
        next_is_head.note();
        sending
            .write_all(b"POST / HTTP/1.1\r\n\r\nbo")
            .await
            .unwrap();
        next_is_head.note();
        let behind = sending
            .write_all(b"dy GET / HTTP/1.1\r\nhOST: a\r\n\r\n")
            .await;
        assert!(behind.is_err());
    }
}

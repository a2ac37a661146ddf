//! One write for the responses of many HTTP/2 streams.
//!
//! h2 writes each DATA frame above a quarter of a KiB by itself and flushes after it, and a
//! connection's task runs as soon as one of its streams has a response. On its own each small
//! response would be a TLS record and a system call. Here the
//! connection waits until the tasks that are ready with it have run, and what it writes then is
//! gathered until it has nothing more to write.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered: a TLS record (RFC 8446 §5.1). More than that is written as it comes.
const MOST: usize = 16 * 1024;

/// Of the buffer of a connection without requests.
const KEPT: usize = 1024;

/// Times that writes are kept back: content comes as soon as another thread has done its turn.
const MOST_KEPT_BACK: u8 = 16;

/// A socket whose small writes are gathered until it is flushed by [`Batch`]; nobody else flushes it.
pub(super) struct Gathering<S>(Arc<Mutex<Gathered<S>>>);

struct Gathered<S> {
    socket: S,
    /// To be written.
    bytes: Vec<u8>,
    /// Why what was gathered could not be written: h2 has been told that it was.
    failed: Option<io::ErrorKind>,
}

impl<S> Gathering<S> {
    pub(super) fn new(socket: S) -> Self {
        Self(Arc::new(Mutex::new(Gathered {
            socket,
            bytes: Vec::new(),
            failed: None,
        })))
    }

    /// The same socket.
    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Nobody ever waits here: both that have it are polled by one task.
    fn lock(&self) -> MutexGuard<'_, Gathered<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn socket(&mut self) -> Pin<&mut S> {
        Pin::new(&mut self.socket)
    }

    /// Hands what was gathered to the socket.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let drained = loop {
            let rest = &self.bytes[written..];
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.socket).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => written += bytes,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.bytes.drain(..written);
        drained
    }

    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, is_answering: bool) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if !is_answering && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.socket().poll_flush(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gathered = &mut *self.lock();
        gathered.check()?;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if gathered.bytes.len() + length > MOST {
            ready!(gathered.poll_drain(cx))?;
        }
        if length > MOST {
            return gathered.socket().poll_write_vectored(cx, slices);
        }
        for slice in slices {
            gathered.bytes.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// h2 flushes after each frame; what is still here is flushed when it has no more of them.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.lock().check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathered = &mut *self.lock();
        ready!(gathered.poll_drain(cx))?;
        gathered.socket().poll_shutdown(cx)
    }
}

/// A connection that is polled after the streams that are ready now, and whose socket is flushed
/// when it has been.
pub(super) struct Batch<'c, C, S> {
    pub(super) served: Pin<&'c mut C>,
    pub(super) socket: Gathering<S>,
    /// Whether responses are on their way.
    pub(super) is_answering: &'c (dyn Fn() -> bool + Sync),
    pub(super) shut_down: fn(Pin<&mut C>),
    pub(super) has_waited: bool,
    /// How many early answers there were, unless one is without its content as yet.
    pub(super) early_answers: &'c (dyn Fn() -> Option<u32> + Sync),
    /// How often what was gathered has been kept back for one.
    pub(super) kept_back: u8,
}

impl<C, S> Batch<'_, C, S> {
    /// Takes no more requests, and ends after those in flight.
    pub(super) fn graceful_shutdown(mut self: Pin<&mut Self>) {
        let shut_down = self.shut_down;
        shut_down(self.served.as_mut());
    }
}

impl<C: Future, S: AsyncWrite + Unpin> Future for Batch<'_, C, S> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        // tokio runs the task that was woken last next, and one that wakes itself after all others.
        if (self.is_answering)() && !self.has_waited {
            self.has_waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_waited = false;
        let early_answers = (self.early_answers)();
        let ended = self.served.as_mut().poll(cx);
        if ended.is_pending() {
            // What was gathered may end with the head of an early answer (SEC-99): its content comes
            // along, so that no client reacts to the head alone.
            let is_settled = early_answers.is_some() && (self.early_answers)() == early_answers;
            if !is_settled && self.kept_back < MOST_KEPT_BACK {
                self.kept_back += 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.kept_back = 0;
            let is_answering = (self.is_answering)();
            let mut gathered = self.socket.lock();
            if let Poll::Ready(Err(error)) = gathered.poll_flush(cx, is_answering)
                && gathered.failed.replace(error.kind()).is_none()
            {
                cx.waker().wake_by_ref(); // for h2 to be told
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Counts the writes of the socket below.
    struct Counted(DuplexStream, Arc<Mutex<Vec<usize>>>);

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes))?;
            self.1.lock().unwrap().push(written);
            Poll::Ready(Ok(written))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// What `serve` writes through a [`Batch`], in which writes. The client takes `room` bytes at a
    /// time.
    async fn written<F: Future<Output = ()>>(
        room: usize,
        serve: impl FnOnce(Gathering<Counted>) -> F,
    ) -> (Vec<u8>, Vec<usize>) {
        let (socket, mut client) = duplex(room);
        let writes = Arc::default();
        let socket = Gathering::new(Counted(socket, Arc::clone(&writes)));
        let mut served = std::pin::pin!(serve(socket.share()));
        let batch = Batch {
            served: served.as_mut(),
            socket,
            is_answering: &|| true,
            shut_down: |_| {},
            has_waited: false,
            early_answers: &|| Some(0),
            kept_back: 0,
        };
        let mut bytes = Vec::new();
        let ((), read) = tokio::join!(batch, client.read_to_end(&mut bytes));
        read.unwrap();
        let writes = writes.lock().unwrap().clone();
        (bytes, writes)
    }

    #[tokio::test]
    async fn small_writes_go_out_as_one_and_in_their_order() {
        let serve = async |mut socket: Gathering<Counted>| {
            for byte in 0..10 {
                socket.write_all(&[byte; 1000]).await.unwrap();
                socket.flush().await.unwrap();
            }
            tokio::task::yield_now().await; // nothing more to write
            socket.write_all(&[10; 10]).await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let (bytes, writes) = written(1 << 20, serve).await;
        assert_eq!(writes, [10_000, 10]);
        let expected: Vec<u8> = (0..10).flat_map(|byte| [byte; 1000]).collect();
        assert_eq!(bytes[..10_000], expected);
        assert_eq!(bytes[10_000..], [10; 10]);
    }

    #[tokio::test]
    async fn large_writes_are_not_copied_and_pass_none_before_them() {
        let serve = async |mut socket: Gathering<Counted>| {
            socket.write_all(&[1; 100]).await.unwrap();
            socket.write_all(&vec![2; MOST + 1]).await.unwrap();
            socket.write_all(&[3; 100]).await.unwrap();
            socket.write_all(&[4; MOST]).await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let (bytes, writes) = written(1 << 20, serve).await;
        assert_eq!(writes, [100, MOST + 1, 100, MOST]);
        let parts = [(1, 100), (2, MOST + 1), (3, 100), (4, MOST)];
        let expected = parts.map(|(byte, length)| vec![byte; length]).concat();
        assert_eq!(bytes, expected);
    }

    #[tokio::test]
    async fn sec_27_a_client_that_takes_nothing_is_waited_for() {
        let is_done = AtomicBool::new(false);
        let (socket, mut client) = duplex(1000);
        let socket = Gathering::new(socket);
        let mut writer = socket.share();
        let mut served = std::pin::pin!(async {
            for _ in 0..100 {
                writer.write_all(&[7; 1000]).await.unwrap();
                writer.flush().await.unwrap();
            }
            writer.shutdown().await.unwrap();
            is_done.store(true, Ordering::Relaxed);
        });
        let mut batch = Batch {
            served: served.as_mut(),
            socket: socket.share(),
            is_answering: &|| true,
            shut_down: |_| {},
            has_waited: false,
            early_answers: &|| Some(0),
            kept_back: 0,
        };
        for _ in 0..100 {
            let polled = futures_util::poll!(&mut batch);
            assert!(polled.is_pending());
            assert!(socket.lock().bytes.len() <= MOST);
        }
        assert!(!is_done.load(Ordering::Relaxed));
        let mut bytes = Vec::new();
        let ((), read) = tokio::join!(batch, client.read_to_end(&mut bytes));
        assert_eq!(read.unwrap(), 100_000);
    }

    #[tokio::test]
    async fn sec_99_the_head_of_an_early_answer_waits_for_its_content() {
        let (socket, mut client) = duplex(1000);
        let socket = Gathering::new(socket);
        let mut writer = socket.share();
        let content = Arc::new(tokio::sync::Notify::new());
        let has_content = Arc::clone(&content);
        let mut served = std::pin::pin!(async {
            writer.write_all(b"head").await.unwrap();
            has_content.notified().await;
            writer.write_all(b" content").await.unwrap();
            std::future::pending::<()>().await;
        });
        let is_settled = AtomicBool::new(false);
        let early_answers = || is_settled.load(Ordering::Relaxed).then_some(1);
        let mut batch = Batch {
            served: served.as_mut(),
            socket,
            is_answering: &|| false,
            shut_down: |_| {},
            has_waited: false,
            early_answers: &early_answers,
            kept_back: 0,
        };
        let mut bytes = [0; 100];
        assert!(futures_util::poll!(&mut batch).is_pending());
        assert!(futures_util::poll!(std::pin::pin!(client.read(&mut bytes))).is_pending());
        is_settled.store(true, Ordering::Relaxed);
        content.notify_one();
        assert!(futures_util::poll!(&mut batch).is_pending());
        let read = client.read(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..read], b"head content");
        // Not for ever: the thread that has the content may have been taken off its processor.
        is_settled.store(false, Ordering::Relaxed);
        batch.socket.share().write_all(b"head").await.unwrap();
        for _ in 0..=MOST_KEPT_BACK {
            assert!(futures_util::poll!(&mut batch).is_pending());
        }
        let read = client.read(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..read], b"head");
    }

    #[tokio::test]
    async fn a_write_that_fails_is_told_to_the_connection() {
        let (socket, client) = duplex(1000);
        drop(client);
        let socket = Gathering::new(socket);
        let mut writer = socket.share();
        let mut served = std::pin::pin!(async {
            writer.write_all(b"a response").await?;
            tokio::task::yield_now().await; // nothing more to write
            writer.flush().await
        });
        let batch = Batch {
            served: served.as_mut(),
            socket,
            is_answering: &|| true,
            shut_down: |_| {},
            has_waited: false,
            early_answers: &|| Some(0),
            kept_back: 0,
        };
        let error = batch.await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn tasks_that_are_ready_come_before_the_connection() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let connection = Arc::clone(&order);
        let connection = tokio::spawn(async move {
            let mut served =
                std::pin::pin!(async { connection.lock().unwrap().push("connection") });
            let batch = Batch {
                served: served.as_mut(),
                socket: Gathering::new(tokio::io::sink()),
                is_answering: &|| true,
                shut_down: |_| {},
                has_waited: false,
                early_answers: &|| Some(0),
                kept_back: 0,
            };
            batch.await;
        });
        let streams = [(); 3].map(|()| {
            let stream = Arc::clone(&order);
            tokio::spawn(async move { stream.lock().unwrap().push("stream") })
        });
        connection.await.unwrap();
        for stream in streams {
            stream.await.unwrap();
        }
        let order = order.lock().unwrap();
        assert_eq!(*order, ["stream", "stream", "stream", "connection"]);
    }
}

//! What a client's connection is made of, below HTTP.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::linger::linger;
use crate::load::Place;

pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {
    /// Resolves when the client has sent something.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Has the connection end by a reset when it is dropped.
    fn reset(&self);

    /// Ends it after its last answer, which the client gets to read (SEC-99).
    fn linger(
        self,
        most: usize,
        place: &Place,
        stop: &CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}

impl Transport for TlsStream<TcpStream> {
    async fn readable(&self) -> io::Result<()> {
        self.get_ref().0.readable().await
    }

    fn reset(&self) {
        Transport::reset(self.get_ref().0);
    }

    async fn linger(self, most: usize, place: &Place, stop: &CancellationToken) {
        linger(self.into_inner().0, most, place, stop).await;
    }
}

impl Transport for TcpStream {
    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    fn reset(&self) {
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    async fn linger(self, most: usize, place: &Place, stop: &CancellationToken) {
        linger(self, most, place, stop).await;
    }
}

/// There are no resets, and what was written stays readable.
impl Transport for UnixStream {
    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    fn reset(&self) {}

    async fn linger(self, _: usize, _: &Place, _: &CancellationToken) {}
}

//! What carries TLS: the socket of a client, or memory for the watchdog.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;

pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Waits for something to read, or for the end.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Transport for TcpStream {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.readable()
    }
}

impl Transport for DuplexStream {
    /// There is nothing to wait for: it carries one request.
    async fn readable(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

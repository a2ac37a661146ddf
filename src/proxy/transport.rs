//! What carries TLS: the socket of a client, or memory for the watchdog.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;

pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Waits for something to read, or for the end.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Reads something and throws it away; gives how many bytes, 0 at the end.
    fn discard(&mut self) -> impl Future<Output = io::Result<usize>> + Send;
}

impl Transport for TcpStream {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.readable()
    }

    async fn discard(&mut self) -> io::Result<usize> {
        loop {
            TcpStream::readable(self).await?;
            let mut thrown_away = [0; 16 * 1024];
            match self.try_read(&mut thrown_away) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

impl Transport for DuplexStream {
    /// There is nothing to wait for: it carries one request.
    async fn readable(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn discard(&mut self) -> io::Result<usize> {
        Ok(0)
    }
}

//! A WebSocket of a visitor, with short messages (RFC 6455).

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::client::Client;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;

pub(super) struct WebSocket(TlsStream<TcpStream>);

impl WebSocket {
    /// # Errors
    /// It is not opened; the error names the status.
    pub(super) async fn open(client: &Client) -> io::Result<Self> {
        let mut stream = client.silent().await?;
        let head = client.websocket_head("/ws");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        let answer = String::from_utf8_lossy(&answer);
        if !answer.starts_with("HTTP/1.1 101") {
            let status = answer.lines().next().unwrap_or_default();
            return Err(io::Error::other(format!("no WebSocket but {status}")));
        }
        Ok(Self(stream))
    }

    /// # Errors
    /// A message does not come back.
    pub(super) async fn ask(&mut self) -> io::Result<()> {
        let message = b"ask";
        let length = u8::try_from(message.len()).expect("it is short");
        // Masked with zeros, which changes nothing.
        let frame = [&[TEXT, 0x80 | length, 0, 0, 0, 0], &message[..]].concat();
        self.0.write_all(&frame).await?;
        let mut answer = vec![0; 2 + message.len()];
        self.0.read_exact(&mut answer).await?;
        if answer[..2] != [TEXT, length] || answer[2..] != message[..] {
            return Err(io::Error::other("a WebSocket brings something else"));
        }
        Ok(())
    }

    /// When it was closed, by a frame or by the end of the connection.
    ///
    /// # Errors
    /// Something else came.
    pub(super) async fn closed(mut self) -> io::Result<Instant> {
        match self.0.read_u8().await {
            Ok(kind) if kind != CLOSE => Err(io::Error::other("a WebSocket brings something else")),
            _ => Ok(Instant::now()),
        }
    }
}

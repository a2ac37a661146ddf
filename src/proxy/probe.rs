//! The watchdog's request: goes the way of every other, to see whether they are answered.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::{Proxy, Service, connection};
use crate::request::own_path;
use crate::tls::{self, Handshakes, TlsError};

/// Asks the service for a page of our own by TLS and HTTP/1.1.
///
/// In memory, not by a socket: out of descriptors, or with as many connections as are allowed,
/// the service is overloaded and recovers by itself (REL-05). To be ended for it would lose what
/// it still does.
pub(crate) struct Probe {
    service: Arc<Service>,
    handshakes: Handshakes,
    connector: TlsConnector,
}

/// What is wrong with the way of a request.
#[derive(Debug)]
pub(crate) enum ProbeError {
    Io(io::Error),
    /// None, or one that says that something is broken.
    Answer,
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Answer => f.write_str("there is no sound answer"),
        }
    }
}

/// Of a connection in memory; the whole exchange is a few KiB.
const BUFFER: usize = 16 * 1024;

/// More than the page ever is.
const MAX_ANSWER: u64 = 256 * 1024;

impl Probe {
    pub(crate) fn new(service: Arc<Service>, handshakes: Handshakes) -> Result<Self, TlsError> {
        Ok(Self {
            service,
            handshakes,
            connector: TlsConnector::from(Arc::new(tls::own_client()?)),
        })
    }

    /// Asks once; whoever waits for it has to set the limit.
    pub(crate) async fn ask(&self) -> Result<(), ProbeError> {
        let (client, server) = tokio::io::duplex(BUFFER);
        // A task, as for any client: the runtime's threads are part of what is asked about. It
        // ends with this set.
        let mut serving = JoinSet::new();
        serving.spawn(connection::serve_own(
            Arc::clone(&self.service),
            self.handshakes.clone(),
            server,
        ));
        let answer = self.exchange(client).await.map_err(ProbeError::Io)?;
        // Narrow limits may have refused it, which is an answer as good as the page.
        let sound = [b"HTTP/1.1 2", b"HTTP/1.1 4"];
        if sound.iter().any(|start| answer.starts_with(*start)) {
            Ok(())
        } else {
            Err(ProbeError::Answer)
        }
    }

    async fn exchange(&self, stream: DuplexStream) -> io::Result<Vec<u8>> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut stream = self.connector.connect(name, stream).await?;
        let proxy = self.service.proxy();
        let (page, host) = (own_path!("assets/style.css"), proxy.any_host());
        let request = format!("GET {page} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

impl Proxy {
    /// A host that is served here.
    fn any_host(&self) -> &str {
        self.apps.keys().next().map_or("localhost", String::as_str)
    }
}

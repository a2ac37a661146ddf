//! Opens connections to an application: TCP, TLS or a Unix socket.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::letters::{self, OwnNames};
use super::sender::{BytesReceived, Sender};
use super::tolerant::Tolerant;
use super::trust::{Clients, Untrusted};
use super::{Address, OpenError, Settings, Tolerated, UpstreamError};

/// An application's answer may have longer fields than we take from a browser.
pub(super) const MAX_HEAD: usize = 128 * 1024;

/// Finds peers that are gone without a word (REL-07).
const KEEPALIVE: Duration = Duration::from_mins(1);

pub(super) struct Connector {
    address: Address,
    tls: Option<Box<Tls>>,
    /// Where header names keep their letters: all but these.
    own_names: Option<Arc<OwnNames>>,
    tolerated: Vec<Tolerated>,
    timeout: Duration,
}

struct Tls {
    clients: Clients,
    name: ServerName<'static>,
    /// What the last handshake has found.
    has_short_key: AtomicBool,
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connector {
    /// `tls` is for https.
    pub(super) fn new(
        address: Address,
        tls: Option<&Clients>,
        settings: &Settings,
    ) -> Result<Self, OpenError> {
        let tls = match (&address, tls) {
            (Address::Https { host, .. }, Some(clients)) => {
                let name = settings.server_name.as_deref().unwrap_or(host);
                let name = name.trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(name).map_err(OpenError::ServerName)?;
                Some(Box::new(Tls {
                    clients: clients.clone(),
                    name,
                    has_short_key: AtomicBool::new(false),
                }))
            }
            _ => None,
        };
        Ok(Self {
            address,
            tls,
            own_names: None,
            tolerated: settings.tolerate.clone(),
            timeout: settings.connect_timeout,
        })
    }

    /// Header names keep the letters that they were written with, all but these.
    pub(super) fn preserve_header_case(&mut self, own_names: Arc<OwnNames>) {
        self.own_names = Some(own_names);
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// A connection that is ready for its first request; `upgradable` is for a WebSocket.
    pub(super) async fn connect(&self, upgradable: bool) -> Result<Sender, UpstreamError> {
        let stream = tokio::time::timeout(self.timeout, self.open());
        let stream = stream.await.map_err(|_| UpstreamError::ConnectTimeout)?;
        let stream = stream.map_err(UpstreamError::Connect)?;
        let received = BytesReceived::default();
        let stream = self.forgive(stream, &received);
        match &self.own_names {
            None => Ok(Sender::http1(stream, received)),
            Some(own_names) => {
                let client = letters::Client::new(stream, own_names, received.clone(), upgradable);
                Ok(Sender::letters(client.await?, received))
            }
        }
    }

    /// What is read of a connection: what it brings, and without what is forgiven.
    fn forgive(&self, stream: Box<dyn Stream>, received: &BytesReceived) -> Box<dyn Stream> {
        if self.tolerated.is_empty() {
            return stream;
        }
        Box::new(Tolerant::new(stream, &self.tolerated, received.clone()))
    }

    /// Resolves the name anew each time, so that a change of address is followed, and tries every
    /// address that it has (REL-15).
    pub(super) async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let (host, port) = match &self.address {
            Address::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Address::Http { host, port } | Address::Https { host, port } => (host, *port),
        };
        Ok(match &self.tls {
            None => Box::new(connect(host, port).await?),
            Some(tls) => Box::new(tls.connect(host, port).await?),
        })
    }
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 4);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

impl Tls {
    async fn connect(&self, host: &str, port: u16) -> io::Result<TlsStream<TcpStream>> {
        let with = async |config: &Arc<ClientConfig>| {
            let tls = TlsConnector::from(Arc::clone(config));
            tls.connect(self.name.clone(), connect(host, port).await?)
                .await
        };
        // Two handshakes for each connection would be one too many.
        if self.has_short_key.load(Ordering::Relaxed)
            && let Some(short_key) = &self.clients.short_key
        {
            if let Ok(stream) = with(short_key).await {
                return Ok(stream);
            }
            self.has_short_key.store(false, Ordering::Relaxed);
        }
        let error = match with(&self.clients.usual).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        match &self.clients.short_key {
            Some(short_key) if Untrusted::of(&error).is_some_and(Untrusted::has_short_key) => {
                let stream = with(short_key).await.map_err(|_| error)?;
                self.has_short_key.store(true, Ordering::Relaxed);
                Ok(stream)
            }
            _ => Err(error),
        }
    }
}

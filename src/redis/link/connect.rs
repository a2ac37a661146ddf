//! Opens a connection to one server, up to where commands can be sent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::{AsyncConnectionConfig, RedisConnectionInfo, cmd};
use futures_util::future::select_ok;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::ConnectError;
use super::server::Server;
use crate::redis::{Address, FileError, Login, Settings};
use crate::secret::Secret;

/// Finds peers that are gone without a word (REL-07).
const KEEPALIVE: Duration = Duration::from_secs(15);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection, which all commands of this process for a server share.
pub(super) struct Connection {
    inner: MultiplexedConnection,
    driver: AbortHandle,
    ended: watch::Receiver<bool>,
    pub(super) server: Server,
    /// To the server that may stand behind another address now.
    pub(super) address: Address,
}

impl Connection {
    /// One that commands can be sent on, and what its server says of itself.
    pub(super) async fn open(
        settings: &Settings,
        address: &Address,
        login: &Login,
    ) -> Result<Self, ConnectError> {
        let opening = async {
            let mut connection = Self::open_silent(settings, address, login).await?;
            let server = Server::ask(&mut connection.handle()).await?;
            connection.server = Server {
                address: address.to_string(),
                ..server
            };
            Ok(connection)
        };
        let opened = timeout(settings.timeout, opening).await;
        opened.map_err(|_| ConnectError::TimedOut)?
    }

    /// The same to a server of which nothing is asked, within the caller's own time.
    pub(super) async fn open_silent(
        settings: &Settings,
        address: &Address,
        login: &Login,
    ) -> Result<Self, ConnectError> {
        let (stream, password) = dial(settings, address, login).await?;
        // The time that an answer may take is the caller's business.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let silent = info(None, None);
        let (inner, driver) =
            MultiplexedConnection::new_with_config(&silent, stream, config).await?;
        let (end, ended) = watch::channel(false);
        let driver = tokio::spawn(async move {
            driver.await;
            end.send_replace(true);
        });
        let connection = Self {
            inner,
            driver: driver.abort_handle(),
            ended,
            server: Server::default(),
            address: address.clone(),
        };
        if let Some(password) = password {
            // The crate would not say what the server has against it.
            let mut auth = cmd("AUTH");
            auth.arg(&login.username).arg(password.expose());
            let () = auth.query_async(&mut connection.handle()).await?;
        }
        Ok(connection)
    }

    /// To send with. The connection stays open for as long as this value is held.
    pub(super) fn handle(&self) -> MultiplexedConnection {
        self.inner.clone()
    }

    /// When the server has closed it.
    pub(super) async fn ended(&self) {
        let mut ended = self.ended.clone();
        // Without its sender, the driver was ended with this connection.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One for messages of channels.
pub(super) async fn open_pub_sub(
    settings: &Settings,
    address: &Address,
) -> Result<PubSub, ConnectError> {
    let opening = async {
        let (stream, password) = dial(settings, address, &settings.login).await?;
        let username = settings.login.username.as_deref();
        let password = password.as_ref().map(|password| password.expose().as_str());
        Ok(PubSub::new(&info(username, password), stream).await?)
    };
    let opened = timeout(settings.timeout, opening).await;
    opened.map_err(|_| ConnectError::TimedOut)?
}

/// A stream to the server, and the password there. Names and files are read anew each time, so
/// that a change is followed (REL-15).
async fn dial(
    settings: &Settings,
    address: &Address,
    login: &Login,
) -> Result<(Box<dyn Stream>, Option<Secret<String>>), ConnectError> {
    let files = (login.password.clone(), settings.tls.clone());
    let is_tls = address.is_tls();
    let read = spawn_blocking(move || {
        let (password, tls) = files;
        let password = password.map(|source| source.read_line()).transpose()?;
        let tls = is_tls.then(|| tls.read()).transpose()?;
        Ok::<_, FileError>((password, tls))
    });
    let (password, tls) = read.await.map_err(io::Error::other)??;
    let stream: Box<dyn Stream> = match (address, tls) {
        (Address::Unix(path), _) => Box::new(UnixStream::connect(path).await?),
        (Address::Tcp { host, port, .. }, None) => Box::new(connect(host, *port).await?),
        (Address::Tcp { host, port, .. }, Some(tls)) => {
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let stream = connect(host, *port).await?;
            let tls = TlsConnector::from(Arc::new(tls));
            Box::new(tls.connect(name, stream).await.map_err(ConnectError::Tls)?)
        }
    };
    Ok((stream, password))
}

/// Tries all addresses of the name at once: one that is silent does not keep another waiting.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    let attempts = addresses
        .into_iter()
        .map(|it| Box::pin(TcpStream::connect(it)));
    let (stream, _) = select_ok(attempts).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 3);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// Without two commands that need rights of their own, and are of no use here.
fn info(username: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = username {
        info = info.set_username(username);
    }
    if let Some(password) = password {
        info = info.set_password(password);
    }
    info
}

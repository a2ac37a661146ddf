//! Opens a connection to one server, up to where commands can be sent.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::{AsyncConnectionConfig, RedisConnectionInfo};
use futures_util::future::select_ok;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::ConnectError;
use super::server::Server;
use crate::pem_file::{self, Wanted};
use crate::redis::{Address, FileError, Login, Settings, TlsFiles};
use crate::regular_file::{self, SecretError};

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
            connection.server = Server::ask(&mut connection.handle()).await?;
            Ok(connection)
        };
        let opened = timeout(settings.timeout, opening).await;
        opened.map_err(|_| ConnectError::TimedOut)?
    }

    async fn open_silent(
        settings: &Settings,
        address: &Address,
        login: &Login,
    ) -> Result<Self, ConnectError> {
        let (stream, info) = dial(settings, address, login).await?;
        // The time that an answer may take is the caller's business.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (inner, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        let (end, ended) = watch::channel(false);
        let driver = tokio::spawn(async move {
            driver.await;
            end.send_replace(true);
        });
        Ok(Self {
            inner,
            driver: driver.abort_handle(),
            ended,
            server: Server::default(),
            address: address.clone(),
        })
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
        let (stream, info) = dial(settings, address, &settings.login).await?;
        Ok(PubSub::new(&info, stream).await?)
    };
    let opened = timeout(settings.timeout, opening).await;
    opened.map_err(|_| ConnectError::TimedOut)?
}

/// A stream to the server, and how to sign in there. Names and files are read anew each time, so
/// that a change is followed (REL-15).
async fn dial(
    settings: &Settings,
    address: &Address,
    login: &Login,
) -> Result<(Box<dyn Stream>, RedisConnectionInfo), ConnectError> {
    let files = (login.clone(), settings.tls.clone(), address.is_tls());
    let read = spawn_blocking(move || {
        let (login, tls, is_tls) = files;
        let tls = is_tls.then(|| client_config(&tls)).transpose()?;
        Ok::<_, FileError>((sign_in(&login)?, tls))
    });
    let (info, tls) = read.await.map_err(io::Error::other)??;
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
    Ok((stream, info))
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

fn sign_in(login: &Login) -> Result<RedisConnectionInfo, FileError> {
    // Two commands that need rights of their own, for nothing that is of use here.
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = &login.username {
        info = info.set_username(username);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password.read_line()?.expose());
    }
    Ok(info)
}

/// With our own provider: the crate would take that of the process, and there is none.
pub(super) fn client_config(files: &TlsFiles) -> Result<ClientConfig, FileError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_root_certificates(roots(files)?);
    let Some((cert, key)) = &files.client else {
        return Ok(config.with_no_client_auth());
    };
    let chain = pem_file::certificates(cert, &content(cert)?, Wanted::Chain);
    let chain = chain.map_err(FileError::Pem)?;
    let pem = regular_file::secret(key).map_err(|error| match error {
        SecretError::TooOpen(mode) => FileError::TooOpen(key.clone(), mode),
        SecretError::Io(error) => FileError::Unreadable(key.clone(), error),
    })?;
    let keys =
        pem_file::keys(key, &pem).map_err(|unfit| FileError::Pem(unfit.named_by("client_key")))?;
    let first = keys.into_iter().next().expect("at least one");
    config
        .with_client_auth_cert(chain, first)
        .map_err(|error| FileError::Tls(cert.clone(), error))
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &files.ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let certificates = pem_file::certificates(path, &content(path)?, Wanted::Authorities);
    for certificate in certificates.map_err(|unfit| FileError::Pem(unfit.named_by("ca")))? {
        let added = roots.add(certificate);
        added.map_err(|error| FileError::Tls(path.clone(), error))?;
    }
    Ok(roots)
}

fn content(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = regular_file::open(path).and_then(|file| regular_file::read(&file));
    read.map_err(|error| FileError::Unreadable(path.to_owned(), error))
}

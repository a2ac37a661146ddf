//! Tries to connect, and says what was in the way.

mod first_page;

use std::io;
use std::time::Duration;

use http::HeaderValue;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

use super::connect::Connector;
use super::trust::{Untrusted, clients};
use super::{Address, OpenError, Settings};
use crate::request::Host;
pub(crate) use first_page::{Answer, AskError, AskedBy};

/// One address of an app, to be tried once.
pub(crate) struct Dialer {
    connector: Connector,
    /// What a request has there.
    host: HeaderValue,
    timeout: Duration,
    settings: Settings,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// TLS was spoken, but the certificate is not one to be trusted.
    Certificate {
        problem: String,
        help: String,
    },
    /// Whoever runs this may not connect to the Unix socket.
    Denied,
    Io(io::Error),
    /// There is nothing at the path of the Unix socket.
    NoSocket,
    /// The host name has no address.
    NoSuchHost(io::Error),
    /// Whatever listens there does not speak TLS, or not ours.
    NoTls(rustls::Error),
    /// Nothing listens there.
    Refused,
    /// After so long.
    TimedOut(Duration),
}

/// The addresses of an app that visitors know by this host; `port` is the one that browsers use.
pub(crate) fn dialers(
    settings: &Settings,
    host: Option<&Host>,
    port: u16,
) -> Result<Vec<Dialer>, OpenError> {
    let secure = settings.addresses.iter().any(Address::is_https);
    let tls = secure.then(|| clients(settings)).transpose()?;
    let timeout = settings.connect_timeout;
    let dialer = |address: &Address| {
        let connector = Connector::new(address.clone(), tls.as_ref(), settings)?;
        let passes = settings.preserve_host && settings.host.is_none();
        let browsers = host.filter(|_| passes);
        let browsers = browsers.and_then(|host| browsers_host(host, port));
        Ok(Dialer {
            connector,
            host: browsers.unwrap_or_else(|| settings.host_of_own(address, host)),
            timeout,
            settings: settings.clone(),
        })
    };
    settings.addresses.iter().map(dialer).collect()
}

/// `Host` as a browser says it.
pub(crate) fn browsers_host(host: &Host, port: u16) -> Option<HeaderValue> {
    let text = match port {
        443 => host.as_str().to_owned(),
        port => format!("{}:{port}", host.as_str()),
    };
    HeaderValue::try_from(text).ok()
}

impl Dialer {
    pub(crate) fn address(&self) -> &Address {
        self.connector.address()
    }

    /// Opens a connection and closes it, within the app's `connect_timeout` and until `deadline`.
    pub(crate) async fn dial(&self, deadline: Instant) -> Result<(), DialError> {
        let begin = Instant::now();
        let end = deadline.min(begin + self.timeout);
        match timeout_at(end, self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(DialError::TimedOut(end - begin)),
        }
    }

    async fn open(&self) -> Result<(), DialError> {
        // Connecting does the same once more, and does not tell this failure from others.
        if let Address::Http { host, port } | Address::Https { host, port } = self.address() {
            let found = lookup_host((host.as_str(), *port)).await;
            let _addresses = found.map_err(DialError::NoSuchHost)?;
        }
        match self.connector.open().await {
            Ok(_connection) => Ok(()),
            Err(error) => Err(self.cause(error)),
        }
    }

    fn cause(&self, error: io::Error) -> DialError {
        let unix = matches!(self.address(), Address::Unix(_));
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(untrusted) = Untrusted::of(&error) {
            return DialError::Certificate {
                problem: untrusted.problem(format_args!("the certificate of {}", self.address())),
                help: untrusted.help(),
            };
        }
        match (tls, error.kind()) {
            (Some(tls), _) => DialError::NoTls(tls.clone()),
            (None, io::ErrorKind::ConnectionRefused) => DialError::Refused,
            (None, io::ErrorKind::NotFound) if unix => DialError::NoSocket,
            (None, io::ErrorKind::PermissionDenied) if unix => DialError::Denied,
            (None, _) => DialError::Io(error),
        }
    }
}

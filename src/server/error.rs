//! Why the service does not start, or keeps the configuration that it has.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::auth::authenticators;
use crate::auth::throttle::KnownError;
use crate::auth::users_file::UsersFileError;
use crate::identity::token::KeysError;
use crate::pages::PagesError;
use crate::proxy::headers::SecretHeaderError;
use crate::socket_file::BindError;
use crate::telemetry::LogsError;
use crate::tls::TlsError;
use crate::{proxy, session, upstream};

/// Why the service does not start.
#[derive(Debug)]
pub enum StartError {
    /// The configured admin socket cannot be bound.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Admin(BindError),
    /// Everybody on the machine could ask at the socket for forward auth that was handed over: its
    /// file, if it has one, with its mode.
    AuthSocketOpen(Option<(PathBuf, u32)>),
    /// A socket for forward auth cannot be bound.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    AuthSocket(BindError),
    /// The API tokens cannot be kept beside the sessions.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Authenticators(authenticators::OpenError),
    /// An address cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// There are no keys to sign identity tokens with.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    IdentityKeys(KeysError),
    /// What was noted of networks that users sign in from cannot be trusted, or not be read.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    KnownNetworks(KnownError),
    /// A logo that cannot be read, and the like.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Pages(PagesError),
    /// The log or the audit file cannot be written.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Logs(LogsError),
    /// The system has no random bytes.
    NoRandomness,
    /// The threads that serve cannot be started.
    Runtime(io::Error),
    /// A value of `set_file` that cannot be used.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    SecretHeader(SecretHeaderError),
    /// The sessions cannot be kept where the configuration says.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Sessions(session::OpenError),
    /// Signals cannot be received.
    Signals(io::Error),
    /// A socket that was handed over takes no connections.
    Socket(io::Error),
    /// The API tokens cannot be read; the log says why.
    TokensUnread,
    /// Certificates or keys that cannot be used.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Tls(TlsError),
    /// An application that could never be reached as configured.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Upstream(String, upstream::OpenError),
    /// What the watchdog looks at cannot be made.
    Watchdog(io::Error),
    /// The users file is missing, wrong or open to others.
    #[expect(
        private_interfaces,
        reason = "for people to read, not for programs to look into"
    )]
    Users(UsersFileError),
}

impl From<proxy::OpenError> for StartError {
    fn from(error: proxy::OpenError) -> Self {
        match error {
            proxy::OpenError::NoRandomness => Self::NoRandomness,
            proxy::OpenError::Upstream(app, error) => Self::Upstream(app, error),
        }
    }
}

impl StartError {
    /// Whether somebody has to fix the configuration, or what it names, before another try makes
    /// sense.
    pub(crate) fn is_invalid(&self) -> bool {
        match self {
            Self::Authenticators(error) => error.is_invalid(),
            Self::IdentityKeys(error) => error.is_invalid(),
            Self::Sessions(error) => error.is_invalid(),
            Self::Logs(error) => matches!(error, LogsError::Audit(..)),
            Self::Admin(_)
            | Self::AuthSocket(_)
            | Self::Bind(..)
            | Self::NoRandomness
            | Self::Runtime(_)
            | Self::Signals(_)
            | Self::TokensUnread
            | Self::Watchdog(_) => false,
            Self::AuthSocketOpen(_)
            | Self::KnownNetworks(_)
            | Self::Pages(_)
            | Self::SecretHeader(_)
            | Self::Socket(_)
            | Self::Tls(_)
            | Self::Upstream(..)
            | Self::Users(_) => true,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin(error) | Self::AuthSocket(error) => error.fmt(f),
            Self::AuthSocketOpen(file) => {
                f.write_str("every user of this machine could ask at the socket \"auth\" that systemd hands over")?;
                match file {
                    Some((path, mode)) => {
                        write!(
                            f,
                            ": {} has mode {mode:04o}; its unit needs",
                            path.display()
                        )?;
                    }
                    None => {
                        f.write_str("; its unit needs ListenStream= with the path of a file,")?;
                    }
                }
                f.write_str(" SocketMode=0660 and the group of the proxy in SocketGroup=")
            }
            Self::Authenticators(error) => error.fmt(f),
            Self::Bind(address, error) => {
                write!(f, "cannot listen on {address}: {error}")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => f.write_str("; stop the program that does"),
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("; ports below 1024 need root or CAP_NET_BIND_SERVICE")
                    }
                    _ => Ok(()),
                }
            }
            Self::IdentityKeys(error) => error.fmt(f),
            Self::KnownNetworks(error) => error.fmt(f),
            Self::Logs(error) => error.fmt(f),
            Self::NoRandomness => f.write_str("the system gives no random bytes"),
            Self::Runtime(error) => write!(f, "cannot start the runtime threads: {error}"),
            Self::Pages(error) => error.fmt(f),
            Self::SecretHeader(error) => error.fmt(f),
            Self::Sessions(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot receive signals: {error}"),
            Self::Socket(error) => write!(
                f,
                "cannot take connections from a socket that systemd hands over: {error}; its unit \
                 needs Accept=no"
            ),
            Self::TokensUnread => f.write_str("the API tokens cannot be read"),
            Self::Tls(error) => error.fmt(f),
            Self::Upstream(app, error) => write!(f, "app \"{app}\": {error}"),
            Self::Users(error) => error.fmt(f),
            Self::Watchdog(error) => write!(f, "cannot watch the event loop: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Admin(error) | Self::AuthSocket(error) => Some(error),
            Self::Authenticators(error) => Some(error),
            Self::IdentityKeys(error) => Some(error),
            Self::Logs(error) => Some(error),
            Self::Bind(_, error)
            | Self::Runtime(error)
            | Self::Signals(error)
            | Self::Socket(error)
            | Self::Watchdog(error) => Some(error),
            Self::Pages(error) => Some(error),
            Self::SecretHeader(error) => Some(error),
            Self::Sessions(error) => Some(error),
            Self::Tls(error) => Some(error),
            Self::Upstream(_, error) => Some(error),
            Self::Users(error) => Some(error),
            Self::AuthSocketOpen(_)
            | Self::KnownNetworks(_)
            | Self::NoRandomness
            | Self::TokensUnread => None,
        }
    }
}

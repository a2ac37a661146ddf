//! Sockets that the service finds open when it starts (`sd_listen_fds(3)`): they outlive it, so a
//! restart refuses nobody.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::{fmt, io};

use listenfd::ListenFd;

/// The sockets of this process, by what `FileDescriptorName=` says of them.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// For TLS: every name but those below, the one systemd gives by itself included.
    pub(crate) tls: Vec<TcpListener>,
    /// `http`: for the redirect to https.
    pub(crate) http: Vec<TcpListener>,
    /// `auth`: for proxies that ask by forward auth.
    pub(crate) auth: Vec<AuthSocket>,
    /// Names that are kept for later versions; nothing is served there.
    pub(crate) unused: Vec<String>,
}

/// A socket of either kind.
#[derive(Debug)]
pub(crate) enum AuthSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket that TCP connections do not come from, by its name.
#[derive(Debug)]
pub(crate) struct SocketError(pub(crate) String, pub(crate) io::Error);

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, error) = self;
        write!(
            f,
            "cannot use the socket \"{name}\" that systemd hands over: {error}; its unit needs \
             ListenStream= with an address and a port, and Accept=no"
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Auth,
    Tls,
    Http,
    Reserved,
}

impl Purpose {
    fn of(name: &str) -> Self {
        match name {
            "auth" => Self::Auth,
            "http" => Self::Http,
            "metrics" => Self::Reserved,
            _ => Self::Tls,
        }
    }
}

impl Sockets {
    /// Takes the sockets and what the environment says of them: works once, and only while the
    /// process has one thread.
    pub(crate) fn take() -> Result<Self, SocketError> {
        let mut sockets = Self::default();
        // Without it they would be anybody's, and descriptor 3 is whatever it is.
        if std::env::var_os("LISTEN_PID").is_none_or(|pid| pid.is_empty()) {
            return Ok(sockets);
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        for index in 0..handed.len() {
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.unwrap_or("unknown");
            let purpose = Purpose::of(name);
            if purpose == Purpose::Auth
                && let Ok(Some(socket)) = handed.take_unix_listener(index)
            {
                sockets.auth.push(AuthSocket::Unix(socket));
                continue;
            }
            let mut take = || {
                let taken = handed.take_tcp_listener(index);
                taken.map_err(|error| SocketError(name.to_owned(), error))
            };
            match purpose {
                Purpose::Auth => sockets.auth.extend(take()?.map(AuthSocket::Tcp)),
                Purpose::Tls => sockets.tls.extend(take()?),
                Purpose::Http => sockets.http.extend(take()?),
                Purpose::Reserved => sockets.unused.push(name.to_owned()),
            }
        }
        Ok(sockets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_socket_is_for_says_its_name() {
        for (name, purpose) in [
            ("auth", Purpose::Auth),
            ("http", Purpose::Http),
            ("metrics", Purpose::Reserved),
            ("https", Purpose::Tls),
            ("vestibule.socket", Purpose::Tls),
            ("HTTP", Purpose::Tls),
            ("unknown", Purpose::Tls),
        ] {
            assert_eq!(Purpose::of(name), purpose, "{name}");
        }
    }
}

//! `[session.redis]`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Address, FileError, SealKeys, SecretSource};

/// How the servers are reached, and how long what may take. Compared, it says whether a reload
/// changes something that only a restart can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) servers: Servers,
    pub(crate) login: Login,
    pub(crate) tls: TlsFiles,
    /// What each key begins with; without braces, which Cluster gives a meaning.
    pub(crate) prefix: String,
    /// Of a command, and of a connection until it can be used.
    pub(crate) timeout: Duration,
    /// For how long this node goes by what it knows while it cannot ask.
    pub(crate) stale_for: Duration,
    /// How many replicas have to have a write that is answered for; `None` is one where there are
    /// replicas.
    pub(crate) wait_replicas: Option<usize>,
    pub(crate) key: SecretSource,
    /// The file that the sessions would have on disk: what each node keeps for itself lies beside
    /// it.
    pub(crate) state: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Servers {
    One(Address),
    Sentinel(Sentinel),
    /// Some of the nodes: they tell of the others.
    Cluster(Vec<Address>),
}

/// The master that these sentinels watch under that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sentinel {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Address>,
    /// To the sentinels themselves, which have users of their own.
    pub(crate) login: Login,
}

/// To a server; none where there is no password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Login {
    /// Of the ACL; `None` is `default`.
    pub(crate) username: Option<String>,
    pub(crate) password: Option<SecretSource>,
}

/// In PEM; read again for each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// `None` trusts what the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// A certificate and its key, for servers that want to see one.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// What seals the values, read now.
    pub(crate) fn keys(&self) -> Result<SealKeys, FileError> {
        let text = self.key.read().map_err(|error| match error {
            FileError::Unreadable(path, error) if error.kind() == io::ErrorKind::NotFound => {
                FileError::NoKey(path, error)
            }
            error => error,
        })?;
        SealKeys::parse(text.expose()).map_err(|fault| FileError::Key(self.key.path(), fault))
    }

    /// How to sign in, at the servers and at the sentinels.
    pub(crate) fn logins(&self) -> Vec<&Login> {
        let mut logins = vec![&self.login];
        if let Servers::Sentinel(sentinel) = &self.servers {
            logins.push(&sentinel.login);
        }
        logins
    }

    pub(crate) fn passwords(&self) -> impl Iterator<Item = &SecretSource> {
        let logins = self.logins().into_iter();
        logins.filter_map(|login| login.password.as_ref())
    }

    /// Whether only the service may see this file.
    pub(crate) fn may_be_credential(&self, path: &Path) -> bool {
        let mut sources = self.passwords().chain([&self.key]);
        sources.any(|source| match source {
            SecretSource::Given(_) => false,
            SecretSource::File {
                path: own,
                may_be_credential,
            } => *may_be_credential && own == path,
        })
    }

    /// The files with secrets and certificates.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let secrets = self.passwords().chain([&self.key]).map(SecretSource::path);
        let client = self.tls.client.clone().map(|(cert, key)| [cert, key]);
        let tls = client.into_iter().flatten().chain(self.tls.ca.clone());
        secrets.flatten().chain(tls).collect()
    }
}

impl Servers {
    /// Those that the configuration names.
    pub(crate) fn named(&self) -> &[Address] {
        match self {
            Self::One(address) => std::slice::from_ref(address),
            Self::Sentinel(sentinel) => &sentinel.nodes,
            Self::Cluster(nodes) => nodes,
        }
    }

    /// Whether TLS is spoken: by all of them or by none.
    pub(crate) fn are_tls(&self) -> bool {
        self.named().iter().any(Address::is_tls)
    }
}

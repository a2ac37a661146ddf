//! TLS towards the browser: certificates by SNI, tickets, no early data.

mod own;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

pub(crate) use own::own_client;

/// One certificate chain and its key, both PEM.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// `[tls]`: the first pair serves clients that name no host or an unknown one.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) certificates: Vec<CertificateFiles>,
}

/// Why TLS cannot be offered.
#[derive(Debug)]
pub(crate) enum TlsError {
    Certificate(PathBuf, pem::Error),
    /// The key does not fit the certificate, or is of a kind that TLS cannot use.
    KeyMismatch(PathBuf, rustls::Error),
    Key(PathBuf, pem::Error),
    /// Somebody else on the machine could read the key (SEC-79); the mode it has.
    KeyTooOpen(PathBuf, u32),
    NoCertificate(PathBuf),
    Tls(rustls::Error),
    Unreadable(PathBuf, io::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(path, error) => {
                write!(f, "{} is no PEM certificate chain: {error}", path.display())
            }
            Self::KeyMismatch(path, error) => {
                write!(
                    f,
                    "{} is not the key of its certificate: {error}",
                    path.display()
                )
            }
            Self::Key(path, error) => write!(f, "{} is no PEM key: {error}", path.display()),
            Self::KeyTooOpen(path, mode) => write!(
                f,
                "{path} can be read or changed by others (mode {mode:04o}); mend it with: chmod 600 {path}",
                path = path.display()
            ),
            Self::NoCertificate(path) => {
                write!(f, "{} has no certificate in it", path.display())
            }
            Self::Tls(error) => write!(f, "cannot set up TLS: {error}"),
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for TlsError {}

/// The certificates in use; replaced as a whole when their files change.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: Vec<CertificateFiles>,
    current: ArcSwap<Vec<Certificate>>,
    /// What the files were like when they were read last, well or badly.
    seen: Mutex<Vec<Option<FileState>>>,
}

#[derive(Debug)]
struct Certificate {
    end_entity: CertificateDer<'static>,
    key: Arc<CertifiedKey>,
}

/// Tells one content of a file from the next, also behind a symbolic link that was moved.
type FileState = (u64, u64, i64, i64);

impl Certificates {
    pub(crate) fn open(settings: &Settings) -> Result<Self, TlsError> {
        let files = settings.certificates.clone();
        let seen = Mutex::new(look(&files));
        let certificates = files
            .iter()
            .map(Certificate::read)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            files,
            current: ArcSwap::from_pointee(certificates),
            seen,
        })
    }

    /// Reads the files again when they have changed. What cannot be used is reported once, and
    /// the old certificates stay (REL-16).
    pub(crate) fn refresh(&self) {
        let now = look(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return;
        }
        *seen = now;
        drop(seen);
        match self
            .files
            .iter()
            .map(Certificate::read)
            .collect::<Result<Vec<_>, _>>()
        {
            Ok(certificates) => {
                self.current.store(Arc::new(certificates));
                tracing::info!("the TLS certificates have changed and are in use");
            }
            Err(error) => {
                tracing::error!(%error, "the TLS certificates have changed and cannot be used; the old ones stay");
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    /// The first certificate that is for the name, else the first of all.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.current.load();
        let name = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| {
            certificates
                .iter()
                .find(|certificate| certificate.is_for(&name))
        });
        named
            .or(certificates.first())
            .map(|certificate| Arc::clone(&certificate.key))
    }
}

impl Certificate {
    fn read(files: &CertificateFiles) -> Result<Self, TlsError> {
        let unusable = |error| TlsError::Certificate(files.cert.clone(), error);
        let chain = read(&files.cert)?;
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(unusable)?;
        let Some(end_entity) = chain.first().cloned() else {
            return Err(TlsError::NoCertificate(files.cert.clone()));
        };
        let key = read_key(&files.key)?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| TlsError::KeyMismatch(files.key.clone(), error))?;
        Ok(Self {
            end_entity,
            key: Arc::new(key),
        })
    }

    fn is_for(&self, name: &ServerName<'_>) -> bool {
        ParsedCertificate::try_from(&self.end_entity)
            .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
    }
}

/// TLS 1.2 and 1.3 with forward secrecy and AEAD only, which is all that rustls has (SEC-78).
pub(crate) fn server_config(certificates: Arc<Certificates>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(TlsError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Resumption by ticket costs no memory here; 0-RTT could be replayed and stays off.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Tls)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable(path.to_owned(), error))
}

/// A key may be read by its owner and by a group that exists for it, as Debian's ssl-cert, and
/// by nobody else (SEC-79).
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let unreadable = |error| TlsError::Unreadable(path.to_owned(), error);
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o027 != 0 {
        return Err(TlsError::KeyTooOpen(path.to_owned(), mode));
    }
    PrivateKeyDer::from_pem_reader(file).map_err(|error| TlsError::Key(path.to_owned(), error))
}

fn look(files: &[CertificateFiles]) -> Vec<Option<FileState>> {
    let paths = files.iter().flat_map(|files| [&files.cert, &files.key]);
    let state = |path: &PathBuf| {
        let data = fs::metadata(path).ok()?;
        Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
    };
    paths.map(state).collect()
}

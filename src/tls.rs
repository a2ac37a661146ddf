//! TLS towards the browser: certificates by SNI, tickets, no early data.

mod error;
mod files;
mod handshake;
pub(crate) mod inspect;
mod tickets;
mod x509;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use crate::clock::Timestamp;
use crate::nodes::KeyRing;
use crate::regular_file::{self, Owners};
pub(crate) use error::{ANEW, TlsError, reorder};
pub(crate) use files::order;
use files::{pair, read_chain, read_keys};
pub(crate) use handshake::Handshakes;
use tickets::Ticketer;
pub(crate) use x509::Details;

/// One certificate chain and its key, both PEM.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Where the configuration names them, for people.
    pub(crate) line: usize,
    /// systemd may give the service others in their place, which nobody else sees.
    pub(crate) may_be_credentials: bool,
}

/// `[tls]`: the first pair serves clients that name no host or an unknown one.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) certificates: Vec<CertificateFiles>,
}

impl Settings {
    /// Each certificate and each key.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let pairs = self.certificates.iter();
        let both = pairs.flat_map(|files| [&files.cert, &files.key]);
        both.cloned().collect()
    }
}

/// The certificates in use; replaced as a whole when their files change.
#[derive(Debug)]
pub(crate) struct Certificates {
    current: ArcSwap<Vec<Certificate>>,
    files: Mutex<Files>,
    /// When it was last said that one of them ends soon.
    warned: Mutex<Option<Timestamp>>,
}

#[derive(Debug)]
struct Files {
    names: Vec<CertificateFiles>,
    /// What they were like when they were read last, well or badly.
    seen: Vec<Option<FileState>>,
}

/// Certificates that can be used, and are not yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    certificates: Vec<Certificate>,
    files: Files,
}

#[derive(Debug)]
struct Certificate {
    file: PathBuf,
    not_after: Option<Timestamp>,
    end_entity: CertificateDer<'static>,
    key: Arc<CertifiedKey>,
}

/// From here on the log says once a day that a certificate ends soon (REL-16).
const WARN_AHEAD: Duration = Duration::from_hours(21 * 24);
const WARN_EVERY: Duration = Duration::from_hours(24);

const DAY: i64 = 24 * 60 * 60;

/// Tells one content of a file from the next, also behind a symbolic link that was moved.
type FileState = (u64, u64, i64, i64);

impl Certificates {
    pub(crate) fn new(prepared: Prepared) -> Self {
        Self {
            current: ArcSwap::from_pointee(prepared.certificates),
            files: Mutex::new(prepared.files),
            warned: Mutex::default(),
        }
    }

    /// Reads the files of a configuration, and changes nothing.
    pub(crate) fn prepare(settings: &Settings) -> Result<Prepared, TlsError> {
        let names = settings.certificates.clone();
        let seen = look(&names);
        Ok(Prepared {
            certificates: read_all(&names)?,
            files: Files { names, seen },
        })
    }

    /// Uses them from the next handshake on.
    pub(crate) fn replace(&self, prepared: Prepared) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = prepared.files;
        self.current.store(Arc::new(prepared.certificates));
        *self.warned() = None;
    }

    /// Reads the files again when they have changed. What cannot be used is reported once, and
    /// the old certificates stay (REL-16).
    pub(crate) fn refresh(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let now = look(&files.names);
        if files.seen == now {
            return;
        }
        files.seen = now;
        match read_all(&files.names) {
            Ok(certificates) => {
                self.current.store(Arc::new(certificates));
                *self.warned() = None;
                tracing::info!("the TLS certificates have changed and are in use");
            }
            Err(error) => {
                tracing::error!(%error, "the TLS certificates have changed and cannot be used; the old ones stay");
            }
        }
    }
}

impl Certificates {
    /// Each file and how many seconds its certificate is good for at `now`, which is wall time
    /// (REL-08); negative afterwards.
    pub(crate) fn remaining(&self, now: Timestamp) -> Vec<(PathBuf, i64)> {
        let seconds = |time: Timestamp| i64::try_from(time.as_millis() / 1000).unwrap_or(i64::MAX);
        let certificates = self.current.load();
        let known = certificates.iter().filter_map(|certificate| {
            let left = seconds(certificate.not_after?) - seconds(now);
            Some((certificate.file.clone(), left))
        });
        known.collect()
    }

    /// Says in the log, once a day, which certificates end within [`WARN_AHEAD`] or have ended.
    pub(crate) fn warn_of_ends(&self, now: Timestamp) {
        let mut warned = self.warned();
        // A clock that was set back has warned in the future.
        if warned.is_some_and(|last| last <= now && now.since(last) < WARN_EVERY) {
            return;
        }
        *warned = Some(now);
        drop(warned);
        let ahead = i64::try_from(WARN_AHEAD.as_secs()).unwrap_or(i64::MAX);
        for (file, left) in self.remaining(now) {
            let file = file.display();
            if left < 0 {
                tracing::error!(%file, "a TLS certificate has ended: browsers refuse it; put a new one in its place");
            } else if left < ahead {
                let days_left = left / DAY;
                tracing::warn!(%file, days_left, "a TLS certificate ends soon; put a new one in its place");
            }
        }
    }

    fn warned(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.warned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_all(names: &[CertificateFiles]) -> Result<Vec<Certificate>, TlsError> {
    names.iter().map(Certificate::read).collect()
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
        for file in [&files.cert, &files.key] {
            regular_file::trust(file, &Owners::own()).map_err(TlsError::Untrusted)?;
        }
        let chain = read_chain(&files.cert)?;
        let key = pair(files, &chain, &read_keys(&files.key)?)?;
        let [end_entity, ..] = &*key.cert else {
            return Err(TlsError::Tls(rustls::Error::NoCertificatesPresented));
        };
        let end_entity = end_entity.clone();
        Ok(Self {
            file: files.cert.clone(),
            not_after: Details::read(&end_entity).map(|details| details.not_after),
            end_entity,
            key: Arc::new(key),
        })
    }

    fn is_for(&self, name: &ServerName<'_>) -> bool {
        is_for(&self.end_entity, name)
    }
}

fn is_for(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    ParsedCertificate::try_from(certificate)
        .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

/// TLS 1.2 and 1.3 with forward secrecy and AEAD only, which is all that rustls has (SEC-78).
///
/// With `keys` of several nodes, a connection to one resumes on all of them.
pub(crate) fn server_config(
    certificates: Arc<Certificates>,
    keys: Option<Arc<KeyRing>>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(TlsError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Resumption by ticket costs no memory here; 0-RTT could be replayed and stays off.
    config.ticketer = match keys {
        Some(keys) => Arc::new(Ticketer::new(keys)),
        None => aws_lc_rs::Ticketer::new().map_err(TlsError::Tls)?,
    };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(config)
}

fn look(files: &[CertificateFiles]) -> Vec<Option<FileState>> {
    let paths = files.iter().flat_map(|files| [&files.cert, &files.key]);
    let state = |path: &PathBuf| {
        let data = fs::metadata(path).ok()?;
        Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
    };
    paths.map(state).collect()
}

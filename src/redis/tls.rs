//! How TLS is spoken with the servers.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::{FileError, TlsFiles};
use crate::pem_file::{self, Wanted};
use crate::regular_file;

impl TlsFiles {
    /// What the files say now, with our own provider of cryptography: there is none for the process.
    pub(crate) fn read(&self) -> Result<ClientConfig, FileError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_root_certificates(self.roots()?);
        let Some((cert, key)) = &self.client else {
            return Ok(config.with_no_client_auth());
        };
        let chain = pem_file::certificates(cert, &content(cert)?, Wanted::Chain);
        let chain = chain.map_err(FileError::Pem)?;
        let pem = regular_file::secret(key).map_err(|error| FileError::of_secret(key, error))?;
        let keys = pem_file::keys(key, &pem);
        let keys = keys.map_err(|unfit| FileError::Pem(unfit.named_by("client_key")))?;
        let first = keys.into_iter().next().expect("at least one");
        config
            .with_client_auth_cert(chain, first)
            .map_err(|error| FileError::Tls(cert.clone(), error))
    }

    fn roots(&self) -> Result<RootCertStore, FileError> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.ca else {
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
}

fn content(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = regular_file::open(path).and_then(|file| regular_file::read(&file));
    read.map_err(|error| FileError::Unreadable(path.to_owned(), error))
}

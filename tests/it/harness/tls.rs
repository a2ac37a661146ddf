//! One self-signed certificate for all tests, and both sides of TLS with it.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DnType, IsCa, KeyPair,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::{CertifiedKey as CertifiedSigner, SingleCertAndKey};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use vestibule::clock::Clock;

/// The host of the app when a test does not care.
pub(crate) const HOST: &str = "gate.test";

/// A certificate and its key, both as PEM and as DER.
pub(crate) struct Certificate {
    pub(crate) cert_pem: String,
    pub(crate) key_pem: String,
    pub(crate) cert: CertificateDer<'static>,
}

/// One of an authority, with that one's certificate, in PEM.
pub(crate) struct Signed {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) authority: String,
}

static CERTIFICATE: LazyLock<Certificate> =
    LazyLock::new(|| Certificate::generate(&[HOST, "other.test", "localhost", "127.0.0.1"]));

/// The certificate that every gate has unless a test says otherwise.
pub(crate) fn certificate() -> &'static Certificate {
    &CERTIFICATE
}

impl Certificate {
    /// One that is good for so long from now on.
    pub(crate) fn ending_in(left: Duration) -> Self {
        Self::ending(now() + left)
    }

    /// One that was good until yesterday.
    pub(crate) fn ended() -> Self {
        Self::ending(now() - Duration::from_hours(24))
    }

    fn ending(not_after: SystemTime) -> Self {
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.not_after = not_after.into();
        Self::self_signed(&params)
    }

    /// One that is that of an authority, too, as openssl makes them by default.
    pub(crate) fn of_authority(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::self_signed(&params)
    }

    fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
            cert: cert.der().clone(),
        }
    }

    /// One that "the authority" has signed.
    pub(crate) fn signed(names: &[&str]) -> Signed {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "the authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(names).unwrap();
        Signed {
            cert: cert.signed_by(&key, &authority).unwrap().pem(),
            key: key.serialize_pem(),
            authority: authority.pem(),
        }
    }

    pub(crate) fn generate(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        Self {
            cert_pem: cert.pem(),
            key_pem: signing_key.serialize_pem(),
            cert: cert.der().clone(),
        }
    }
}

fn now() -> SystemTime {
    Clock::system().now().to_system_time()
}

/// The server side for an upstream; the key need not be that of the certificate.
pub(super) fn acceptor(cert: &str, key: &str) -> TlsAcceptor {
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let key = provider().key_provider.load_private_key(key).unwrap();
    let certified = SingleCertAndKey::from(CertifiedSigner::new(vec![cert], key));
    let config = config.with_cert_resolver(Arc::new(certified));
    TlsAcceptor::from(Arc::new(config))
}

/// The client side towards a gate: names a host, offers protocols, takes any certificate.
pub(crate) async fn connect(
    stream: TcpStream,
    host: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let versions = tokio_rustls::rustls::ALL_VERSIONS;
    connect_with(stream, host, alpn, versions).await
}

/// The same from an address of this machine, such as 127.0.0.2, as a client of its own.
pub(crate) async fn connect_from(
    source: &str,
    address: SocketAddr,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0))?;
    connect(socket.connect(address).await?, HOST, alpn).await
}

/// The same with other versions of TLS.
pub(crate) async fn connect_with(
    stream: TcpStream,
    host: &str,
    alpn: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_by(&Arc::new(client_config(alpn, versions)), stream, host).await
}

/// The same by a configuration that several connections share, and with it their tickets.
pub(crate) async fn connect_by(
    config: &Arc<ClientConfig>,
    stream: TcpStream,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(name, stream).await
}

/// Takes any certificate.
pub(crate) fn client_config(
    alpn: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Which certificate it is, a test looks up itself where it matters.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, cert, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, cert, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

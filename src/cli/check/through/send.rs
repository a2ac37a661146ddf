//! Sends probes byte by byte as they are, each over a connection of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Front;
use super::spoofs::Probe;
use crate::cli::Failure;
use crate::probe::{PROBE, ProbeKey};

/// For one probe, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// For all of them: the server takes none for longer than two minutes.
const RUN_TIMEOUT: Duration = Duration::from_secs(100);

/// Of the head of a response.
const MAX_HEAD: usize = 16 * 1024;

/// Probes that may fail one after the other before the proxy counts as gone.
const MAX_SILENT: usize = 5;

/// What came back for a probe.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// By which product the proxy says that it answers: in `Server`, or in `Via`, as Caddy does.
    pub(super) product: Option<String>,
}

/// Connects to the proxy in front.
pub(super) struct Sender<'a> {
    front: &'a Front,
    address: SocketAddr,
    from: Option<IpAddr>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    run_timeout: Duration,
}

impl<'a> Sender<'a> {
    pub(super) async fn new(
        front: &'a Front,
        connect_to: Option<SocketAddr>,
        from: Option<IpAddr>,
    ) -> Result<Self, Failure> {
        let name = front.host.trim_matches(['[', ']']);
        let address = match connect_to {
            Some(address) => Ok(address),
            None => resolve(name, front.port).await,
        };
        let address = address.map_err(|error| {
            Failure::Failed(format!(
                "`{name}` has no address: {error}; --connect-to ADDRESS:PORT names one"
            ))
        })?;
        let tls = front.is_tls.then(|| connector(name)).transpose();
        let tls = tls.map_err(|error| Failure::Failed(format!("cannot use TLS: {error}")))?;
        Ok(Self {
            front,
            address,
            from: from.or_else(|| visitor(address)),
            tls,
            run_timeout: RUN_TIMEOUT,
        })
    }

    /// One after the other: what they are numbered by is their place. A probe that the proxy does
    /// not answer is no failure, unless it answers none.
    pub(super) async fn send_all(
        &self,
        probes: &[Probe],
        key: &ProbeKey,
    ) -> Result<Vec<Option<Response>>, Failure> {
        let mut responses = Vec::with_capacity(probes.len());
        let sent = timeout(
            self.run_timeout,
            self.send_each(probes, key, &mut responses),
        )
        .await;
        if let Ok(sent) = sent {
            return sent.map(|()| responses);
        }
        Err(Failure::Failed(format!(
            "{} at {} is too slow: {} of {} requests were sent within {} seconds; try it when \
             there is less to do",
            self.front.authority,
            self.address,
            responses.len(),
            probes.len(),
            self.run_timeout.as_secs()
        )))
    }

    async fn send_each(
        &self,
        probes: &[Probe],
        key: &ProbeKey,
        responses: &mut Vec<Option<Response>>,
    ) -> Result<(), Failure> {
        let mut silent = 0;
        for (number, probe) in (0..).zip(probes) {
            let head = self.head(probe, &key.sign(number));
            let response = timeout(TIMEOUT, self.send(&head)).await;
            let response = response.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            silent = if response.is_ok() { 0 } else { silent + 1 };
            match response {
                Err(error) if number == 0 || silent == MAX_SILENT => {
                    return Err(Failure::Failed(format!(
                        "no answer from {} at {}: {error}",
                        self.front.authority, self.address
                    )));
                }
                response => responses.push(response.ok()),
            }
        }
        Ok(())
    }

    fn head(&self, probe: &Probe, signed: &str) -> Vec<u8> {
        let (method, authority) = (probe.method, &self.front.authority);
        let mut head = Vec::new();
        head.extend_from_slice(method.as_bytes());
        head.push(b' ');
        head.extend_from_slice(&probe.target);
        let fields = format!(
            " HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: vestibule-check\r\n{PROBE}: {signed}\r\n"
        );
        head.extend_from_slice(fields.as_bytes());
        for (name, value) in &probe.fields {
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        head.extend_from_slice(b"Connection: close\r\n\r\n");
        head
    }

    async fn send(&self, head: &[u8]) -> io::Result<Response> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some((tls, name)) => exchange(tls.connect(name.clone(), stream).await?, head).await,
            None => exchange(stream, head).await,
        }
    }
}

async fn resolve(name: &str, port: u16) -> io::Result<SocketAddr> {
    let mut addresses = timeout(TIMEOUT, lookup_host((name, port))).await??;
    addresses
        .next()
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Where to connect from to a proxy on this machine: it is trusted at its own address, 127.0.0.1,
/// and whoever comes from there may claim to be anybody.
fn visitor(address: SocketAddr) -> Option<IpAddr> {
    let is_local = address.ip() == Ipv4Addr::LOCALHOST;
    is_local.then_some(Ipv4Addr::new(127, 0, 0, 2).into())
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    head: &[u8],
) -> io::Result<Response> {
    stream.write_all(head).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    loop {
        let read = stream.read_buf(&mut answer).await?;
        let is_whole = answer.windows(4).any(|end| end == b"\r\n\r\n");
        if is_whole || answer.len() >= MAX_HEAD {
            return parse(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn parse(answer: &[u8]) -> Option<Response> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(answer).ok()?;
    // The last one that has passed the response on comes last, and may have added a field of its
    // own (RFC 9110 §7.6.3).
    let value = |name: &str| {
        let mut fields = response.headers.iter().rev();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(field.value).ok()
    };
    let via = || value("via")?.rsplit(',').next()?.trim().split(' ').nth(1);
    let product = value("server").or_else(via);
    Some(Response {
        status: response.code?,
        product: product.map(str::to_owned),
    })
}

fn connector(name: &str) -> Result<(TlsConnector, ServerName<'static>), rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|_| rustls::Error::General(String::from("no name for a server")))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// Takes the certificate of anybody: a probe holds nothing secret, and what was read of it is asked
/// of the server, over its own socket.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::through::spoofs;

    #[test]
    fn a_proxy_says_its_product_in_server_or_in_via() {
        for (fields, product) in [
            ("", None),
            ("Server: nginx/1.31\r\n", Some("nginx/1.31")),
            ("server: envoy\r\nVia: 1.1 Caddy\r\n", Some("envoy")),
            ("Via: 1.1 Caddy\r\n", Some("Caddy")),
            ("Via: 1.0 fred, 2.0 Caddy (x)\r\n", Some("Caddy")),
            ("Via: 1.1 varnish\r\nVia: 1.1 Caddy\r\n", Some("Caddy")),
            ("Via: 1.1\r\n", None),
        ] {
            let head = format!("HTTP/1.1 204 No Content\r\n{fields}\r\n");
            let response = parse(head.as_bytes()).unwrap();
            assert_eq!(response.product.as_deref(), product, "{fields}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_is_slow_is_waited_for_no_longer_than_the_server_waits() {
        assert!(
            TIMEOUT + RUN_TIMEOUT < Duration::from_mins(2),
            "resolving, and sending"
        );
        // Takes connections, and nothing else.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let front = Front::parse("http://wiki.example.org/").unwrap();
        let sender = Sender {
            run_timeout: Duration::from_millis(100),
            ..Sender::new(&front, Some(address), None).await.unwrap()
        };
        let key = ProbeKey::parse(&"A".repeat(43)).unwrap();
        let sent = sender.send_all(&spoofs::probes("/"), &key).await;
        let Err(Failure::Failed(said)) = sent else {
            panic!("{sent:?}");
        };
        let expected = format!("wiki.example.org at {address} is too slow: 0 of ");
        assert!(said.starts_with(&expected), "{said}");
    }
}

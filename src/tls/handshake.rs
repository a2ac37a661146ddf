//! Handshakes, a few at a time.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::ready;
use std::thread;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::PollSemaphore;

/// Shakes hands with clients.
///
/// A handshake takes the time of ten requests, and anybody may ask for one. Those of a flood are
/// ready all at once: a request of who is signed in would wait behind all of them. Here they
/// queue for a few turns, and whatever else is ready comes in between (REL-13).
#[derive(Clone)]
pub(crate) struct Handshakes {
    acceptor: TlsAcceptor,
    /// One for each thread that carries requests. A turn lasts as long as there is something to
    /// compute, and never while a client keeps us waiting.
    turns: Arc<Semaphore>,
}

impl Handshakes {
    pub(crate) fn new(config: ServerConfig) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self::with_turns(config, threads)
    }

    fn with_turns(config: ServerConfig, turns: usize) -> Self {
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            turns: Arc::new(Semaphore::new(turns)),
        }
    }

    /// Shakes hands with the client at the other end of `stream`; the time that this may take is
    /// the caller's to bound (SEC-25).
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut turns = PollSemaphore::new(Arc::clone(&self.turns));
        let mut handshake = pin!(self.acceptor.accept(stream));
        poll_fn(|cx| {
            let _turn = ready!(turns.poll_acquire(cx));
            handshake.as_mut().poll(cx)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use rcgen::CertifiedKey;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// Handshakes with these turns, and a client that trusts their certificate.
    fn both_sides(turns: usize) -> (Handshakes, TlsConnector) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let CertifiedKey { cert, signing_key } = made.unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let handshakes = Handshakes::with_turns(server, turns);
        (handshakes, TlsConnector::from(Arc::new(client)))
    }

    #[tokio::test]
    async fn rel_13_a_client_that_says_nothing_takes_no_turn() {
        let (handshakes, connector) = both_sides(1);
        let (_silent, server) = tokio::io::duplex(16 * 1024);
        let waiting = handshakes.clone();
        let waiting = tokio::spawn(async move { waiting.accept(server).await });
        tokio::task::yield_now().await;

        let (client, server) = tokio::io::duplex(16 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        let (client, server) =
            tokio::join!(connector.connect(name, client), handshakes.accept(server));
        assert!(client.is_ok() && server.is_ok());
        assert!(!waiting.is_finished());
        waiting.abort();
    }

    #[tokio::test]
    async fn rel_13_a_handshake_waits_for_its_turn() {
        let (handshakes, connector) = both_sides(1);
        let (client, server) = tokio::io::duplex(16 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        let taken = Arc::clone(&handshakes.turns).acquire_owned().await.unwrap();
        let mut both = pin!(async {
            tokio::join!(connector.connect(name, client), handshakes.accept(server))
        });
        for _ in 0..10 {
            assert!(futures_util::poll!(&mut both).is_pending());
        }
        drop(taken);
        let (client, server) = both.await;
        assert!(client.is_ok() && server.is_ok());
    }
}

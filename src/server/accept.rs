//! Takes connections: limits, PROXY header, TLS or an answer to plain HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;

use super::connection::{serve_http1, serve_http2};
use super::redirect::{self, redirect_to_https};
use super::socket::Socket;
use super::{plain_http, proxy_header};
use crate::listener;
use crate::load::{Admission, Admitted, Place};
use crate::proxy::{ClientConn, Service};
use crate::tls::Handshakes;

pub(super) struct Acceptor {
    service: Arc<Service>,
    admission: Arc<Admission>,
    handshakes: Handshakes,
}

impl Acceptor {
    pub(super) fn new(
        service: &Arc<Service>,
        admission: &Arc<Admission>,
        handshakes: Handshakes,
    ) -> Self {
        Self {
            service: Arc::clone(service),
            admission: Arc::clone(admission),
            handshakes,
        }
    }

    /// Takes connections until the service stops or what is returned is dropped: those of TLS, with
    /// its port, and plain ones, which are sent there. `tasks` learns of what may not end before.
    pub(super) fn begin(
        self,
        (listeners, port): (Vec<TcpListener>, u16),
        redirectors: Vec<TcpListener>,
        tasks: &mut Vec<AbortHandle>,
    ) -> JoinSet<()> {
        let mut accepting = JoinSet::new();
        for listener in listeners {
            let (service, admission) = (Arc::clone(&self.service), Arc::clone(&self.admission));
            let accept = accept(service, listener, self.handshakes.clone(), admission);
            tasks.push(accepting.spawn(accept));
        }
        for listener in redirectors {
            let (service, admission) = (Arc::clone(&self.service), Arc::clone(&self.admission));
            let redirect = redirect_to_https(service, listener, admission, port);
            tasks.push(accepting.spawn(redirect));
        }
        accepting
    }
}

/// Takes connections until the service stops.
async fn accept(
    service: Arc<Service>,
    listener: TcpListener,
    handshakes: Handshakes,
    admission: Arc<Admission>,
) {
    let stop = service.shutdown().token();
    while let Some((stream, peer, admitted)) = stop
        .run_until_cancelled(listener::accept(&listener, &admission))
        .await
    {
        let serve = serve(
            Arc::clone(&service),
            handshakes.clone(),
            stream,
            peer,
            admitted,
        );
        service.shutdown().connections().spawn(serve);
    }
}

/// Accepts TLS, and serves the connection to its end in a task of its own.
async fn serve(
    service: Arc<Service>,
    handshakes: Handshakes,
    mut stream: TcpStream,
    peer: IpAddr,
    mut admitted: Admitted,
) {
    let client = proxy_header::client(&service, &mut stream, peer, &mut admitted);
    let Some(peer) = client.await else { return };
    let place = Arc::clone(admitted.place());
    let stream = tokio::select! {
        stream = accept_tls(&service, &handshakes, stream, peer, &place) => stream,
        () = place.gone() => None,
    };
    let Some(stream) = stream else { return };
    let (_, tls) = stream.get_ref();
    let http2 = tls.alpn_protocol() == Some(b"h2");
    let server_name = tls.server_name().map(str::to_owned);
    let load = Arc::clone(service.load());
    let connection = Arc::new(ClientConn::new(peer, server_name, load, admitted));
    let socket = Socket::new(stream, Arc::clone(&connection), !http2);
    // A task of its own, so that the handshake's memory does not stay with an idle connection.
    let connections = service.shutdown().connections();
    if http2 {
        connections.spawn(serve_http2(Arc::clone(&service), connection, socket));
    } else {
        connections.spawn(serve_http1(Arc::clone(&service), connection, socket));
    }
}

/// `None` when the connection needs nothing more: plain HTTP has been answered, then.
async fn accept_tls(
    service: &Service,
    handshakes: &Handshakes,
    stream: TcpStream,
    peer: IpAddr,
    place: &Place,
) -> Option<TlsStream<TcpStream>> {
    let deadline = Instant::now() + service.settings().timeouts.handshake;
    if let Ok(Ok(true)) = timeout_at(deadline, plain_http::is_sent_to(&stream)).await {
        tracing::debug!(client = %peer, "plain HTTP was sent to the port of TLS");
        let answer = redirect::answer_on_tls_port(service, stream, peer, deadline, place);
        Box::pin(answer).await;
        return None;
    }
    match timeout_at(deadline, handshakes.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(client = %peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(client = %peer, "TLS handshake took too long");
            None
        }
    }
}

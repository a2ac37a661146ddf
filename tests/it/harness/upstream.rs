//! An application that keeps every byte it gets, and answers by a script.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, UnixListener};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::exchange::{Exchange, Io};
use super::{eventually, tls};

type Answering<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
type Script = dyn for<'a> Fn(&'a mut Exchange) -> Answering<'a> + Send + Sync;

/// A running application; stops when dropped.
pub(crate) struct Upstream {
    place: Place,
    script: Arc<Script>,
    record: Arc<Record>,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
enum Place {
    Tcp(SocketAddr),
    Tls(SocketAddr),
    Unix(PathBuf),
}

/// One request, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// Counts the connections from 0.
    pub(crate) connection: usize,
    /// Request line and fields, without the empty line at the end.
    pub(crate) head: String,
    /// What has been read of the body, without its framing.
    pub(crate) body: Vec<u8>,
    /// Trailer fields, if the body was chunked.
    pub(crate) trailers: String,
    /// The body ended as it should.
    pub(crate) complete: bool,
}

/// Everything that came in.
#[derive(Default)]
pub(super) struct Record {
    pub(super) requests: Mutex<Vec<Received>>,
    /// The raw bytes of each connection.
    pub(super) connections: Mutex<Vec<Vec<u8>>>,
    /// What each handshake of TLS has asked for.
    pub(super) server_names: Mutex<Vec<Option<String>>>,
    /// How many of them the client has closed.
    pub(super) closed: Mutex<usize>,
}

impl Upstream {
    /// Answers 200 with the head of the request as the body.
    pub(crate) async fn echo() -> Self {
        Self::scripted(|exchange| Box::pin(echo(exchange))).await
    }

    /// Answers each request, read to its end, with exactly these bytes.
    pub(crate) async fn raw(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::scripted(move |exchange| {
            let answer = Arc::clone(&answer);
            Box::pin(async move {
                exchange.body().await;
                exchange.send(&*answer).await;
            })
        })
        .await
    }

    /// Answers each request with exactly these bytes, and closes.
    pub(crate) async fn raw_then_close(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::scripted(move |exchange| {
            let answer = Arc::clone(&answer);
            Box::pin(async move {
                exchange.body().await;
                exchange.send(&*answer).await;
                exchange.close();
            })
        })
        .await
    }

    /// Takes each request and says nothing.
    pub(crate) async fn silent() -> Self {
        Self::scripted(|exchange| Box::pin(exchange.wait_until_closed())).await
    }

    /// Is silent, except for requests of this target.
    pub(crate) async fn silent_but_for(target: &'static str) -> Self {
        Self::scripted(move |exchange| {
            Box::pin(async move {
                if exchange.target() == target {
                    echo(exchange).await;
                } else {
                    exchange.wait_until_closed().await;
                }
            })
        })
        .await
    }

    /// Echoes WebSocket messages; answers what is no WebSocket like [`Upstream::echo`].
    pub(crate) async fn websocket() -> Self {
        Self::scripted(|exchange| {
            Box::pin(async {
                if exchange.header("upgrade").is_some() {
                    exchange.echo_websocket().await;
                } else {
                    echo(exchange).await;
                }
            })
        })
        .await
    }

    /// Answers as the script does; it is called once for each request, with the head read.
    pub(crate) async fn scripted<S>(script: S) -> Self
    where
        S: for<'a> Fn(&'a mut Exchange) -> Answering<'a> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::Tcp(listener.local_addr().unwrap());
        Self::over(Socket::Tcp(listener), place, Arc::new(script))
    }

    /// Echoes on a Unix socket.
    pub(crate) fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let place = Place::Unix(path.to_owned());
        let script: Arc<Script> = Arc::new(|exchange| Box::pin(echo(exchange)));
        Self::over(Socket::Unix(listener), place, script)
    }

    /// Echoes over TLS, with the certificate of the tests.
    pub(crate) async fn tls() -> Self {
        let certificate = tls::certificate();
        Self::tls_with(&certificate.cert_pem, &certificate.key_pem).await
    }

    /// The same with any certificate, in PEM.
    pub(crate) async fn tls_with(cert: &str, key: &str) -> Self {
        Self::tls_scripted(cert, key, |exchange| Box::pin(echo(exchange))).await
    }

    /// Answers over TLS as the script does.
    pub(crate) async fn tls_scripted<S>(cert: &str, key: &str, script: S) -> Self
    where
        S: for<'a> Fn(&'a mut Exchange) -> Answering<'a> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::Tls(listener.local_addr().unwrap());
        let socket = Socket::Tls(listener, tls::acceptor(cert, key));
        Self::over(socket, place, Arc::new(script))
    }

    fn over(socket: Socket, place: Place, script: Arc<Script>) -> Self {
        let record = Arc::new(Record::default());
        let serving = tokio::spawn(serve(socket, Arc::clone(&script), Arc::clone(&record)));
        Self {
            place,
            script,
            record,
            serving,
        }
    }

    /// As `app.upstream` has it.
    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Tcp(address) => format!("http://{address}"),
            Place::Tls(address) => format!("https://localhost:{}", address.port()),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn authority(&self) -> String {
        match &self.place {
            Place::Tcp(address) | Place::Tls(address) => address.to_string(),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Closes the socket and every connection.
    pub(crate) async fn stop(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }

    /// Listens again on the port of before.
    pub(crate) async fn start(&mut self) {
        let Place::Tcp(address) = &self.place else {
            panic!("only a TCP upstream starts again");
        };
        let listener = TcpListener::bind(address).await.unwrap();
        let (script, record) = (Arc::clone(&self.script), Arc::clone(&self.record));
        self.serving = tokio::spawn(serve(Socket::Tcp(listener), script, record));
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.record.requests.lock().unwrap().len()
    }

    /// All requests that have come.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.record.requests.lock().unwrap().clone()
    }

    /// The newest request.
    pub(crate) fn last(&self) -> Received {
        let last = self.record.requests.lock().unwrap().last().cloned();
        last.expect("no request has come")
    }

    /// The name that the last handshake of TLS has asked for.
    pub(crate) fn server_name(&self) -> Option<String> {
        let names = self.record.server_names.lock().unwrap();
        names.last().expect("no handshake has come").clone()
    }

    /// How many connections were ever opened.
    pub(crate) fn connections(&self) -> usize {
        self.record.connections.lock().unwrap().len()
    }

    /// How many connections the proxy has closed.
    pub(crate) fn closed(&self) -> usize {
        *self.record.closed.lock().unwrap()
    }

    /// How many connections are open.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections() - self.closed()
    }

    /// Every byte that has come, connection after connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.record.connections.lock().unwrap().concat()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn wait_for(&self, requests: usize) {
        let what = format!("{requests} requests at the upstream");
        eventually(&what, || self.requests() >= requests).await;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Received {
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// Every value of a field, as it came; the name in any case.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.split("\r\n").skip(1);
        let pairs = fields.filter_map(|line| line.split_once(": "));
        pairs
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The only value of a field.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} came twice:\n{}", self.head);
        values.first().copied()
    }
}

/// The script of [`Upstream::echo`].
pub(crate) async fn echo(exchange: &mut Exchange) {
    exchange.body().await;
    let head = exchange.head().to_owned();
    exchange.reply("200 OK", &[], head).await;
}

enum Socket {
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
    Unix(UnixListener),
}

async fn serve(socket: Socket, script: Arc<Script>, record: Arc<Record>) {
    let mut connections = JoinSet::new(); // dropped, and so aborted, together with this task
    loop {
        let io: Box<dyn Io> = match &socket {
            Socket::Tcp(listener) => Box::new(listener.accept().await.unwrap().0),
            Socket::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
            Socket::Tls(listener, acceptor) => {
                let (stream, _) = listener.accept().await.unwrap();
                match acceptor.accept(stream).await {
                    Ok(stream) => {
                        let name = stream.get_ref().1.server_name().map(str::to_owned);
                        record.server_names.lock().unwrap().push(name);
                        Box::new(stream)
                    }
                    Err(_) => continue, // a client that does not trust the certificate
                }
            }
        };
        let (script, record) = (Arc::clone(&script), Arc::clone(&record));
        connections.spawn(async move {
            let mut exchange = Exchange::new(io, record);
            while exchange.next_request().await {
                script(&mut exchange).await;
            }
        });
    }
}

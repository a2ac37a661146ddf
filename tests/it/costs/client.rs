//! What is asked of the program that is counted, as a browser asks.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use tokio::net::TcpStream;
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig};

use crate::harness::tls::{self, HOST};
use crate::harness::{AnyBody, Http2, Raw, Service, Upstream, eventually_some};

const TARGET: &str = "/counted";

/// How nginx asks.
const ASKING: &str = "GET /nginx HTTP/1.1";

/// Of a body that is small.
const SMALL: usize = 1024;

/// Of a body that is large: the costs of bodies are those of a MiB.
pub(super) const BULK: usize = 1024 * 1024;

/// A user who has signed in.
pub(super) struct Client {
    fields: Vec<(&'static str, String)>,
    /// Where it asks, if it is a proxy.
    asks: Option<SocketAddr>,
}

/// What a client does, again and again; each time with one request to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Requests, one after the other over one connection.
    Http1,
    Http2,
    /// Connections with one request, closed by the client.
    Http1Connection,
    Http1ResumedConnection,
    Http2Connection,
    /// Large bodies, one after the other over one connection.
    Http1Download,
    Http2Download,
    Http1Upload,
    Http2Upload,
    /// Auth requests of a proxy, one after the other over one connection.
    AuthRequest,
}

impl Work {
    /// What begins one of them in a trace: a request to the app, or an auth request.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::AuthRequest => ASKING,
            _ => " /counted HTTP/1.1",
        }
    }

    /// Whether the app gets a request of it.
    pub(super) fn reaches_app(self) -> bool {
        self != Self::AuthRequest
    }
}

/// The same with its connection.
pub(super) struct Open<'c> {
    client: &'c Client,
    service: &'c Service,
    pub(super) work: Work,
    connection: Connection,
}

enum Connection {
    Http1(Raw),
    Http2(Http2),
    /// One each time, with the tickets of the last one where it is to be resumed.
    None(Arc<ClientConfig>),
}

impl Client {
    /// A program that signs in by this field, and sends what programs send.
    pub(super) fn of_program(name: &'static str, value: String) -> Self {
        let fields = vec![
            ("user-agent", "vdirsyncer/0.21.0".to_owned()),
            ("accept", "*/*".to_owned()),
            ("accept-encoding", "gzip, deflate".to_owned()),
            (name, value),
        ];
        Self { fields, asks: None }
    }

    pub(super) fn new(session_cookie: &str) -> Self {
        let fixed = [
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
            (
                "accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ),
            ("accept-language", "en-US,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-user", "?1"),
        ];
        let mut fields: Vec<_> = fixed.map(|(name, value)| (name, value.to_owned())).into();
        fields.push(("cookie", format!("theme=dark; {session_cookie}; lang=en")));
        Self { fields, asks: None }
    }

    /// A proxy that asks there whether it may send on what a browser sends.
    pub(super) fn of_proxy(asks: SocketAddr, session_cookie: &str) -> Self {
        let of_proxy = [
            ("x-original-method", "GET"),
            ("x-original-uri", TARGET),
            ("x-original-host", HOST),
            ("x-original-proto", "https"),
            ("x-real-ip", "203.0.113.7"),
        ];
        let of_proxy = of_proxy.map(|(name, value)| (name, value.to_owned()));
        let of_browser = Self::new(session_cookie).fields;
        Self {
            fields: of_proxy.into_iter().chain(of_browser).collect(),
            asks: Some(asks),
        }
    }

    /// Makes the connection of this work, where it has one.
    pub(super) async fn open<'c>(&'c self, work: Work, service: &'c Service) -> Open<'c> {
        let connection = match work {
            Work::Http1 | Work::Http1Download | Work::Http1Upload => {
                Connection::Http1(service.raw().await)
            }
            Work::Http2 | Work::Http2Download | Work::Http2Upload => {
                Connection::Http2(service.http2().await)
            }
            Work::AuthRequest => {
                let to = self.asks.expect("the client is a proxy");
                Connection::Http1(Raw::new(TcpStream::connect(to).await.unwrap()))
            }
            Work::Http1Connection | Work::Http1ResumedConnection | Work::Http2Connection => {
                Connection::None(http1_config())
            }
        };
        Open {
            client: self,
            service,
            work,
            connection,
        }
    }

    /// Until its session is known.
    pub(super) async fn until_answered(&self, service: &Service) {
        eventually_some("an answer", async || {
            let mut connection = service.raw().await;
            connection.send(self.head("GET", "")).await;
            (connection.response().await.status == 200).then_some(())
        })
        .await;
    }

    pub(super) async fn get_by_http1(&self, connection: &mut Raw) {
        connection.send(self.head("GET", "")).await;
        connection.response().await.assert_status(200);
    }

    async fn ask(&self, connection: &mut Raw) {
        connection.send(self.lines(ASKING, "")).await;
        let answer = connection.response().await;
        answer.assert_status(200);
        answer.assert_header("x-vestibule-cookie", "theme=dark; lang=en");
    }

    pub(super) async fn get_by_http2(&self, connection: &Http2) {
        let reply = connection.get(TARGET, &self.fields()).await;
        reply.assert_status(200);
    }

    async fn connect(&self, service: &Service, config: &Arc<ClientConfig>) {
        let stream = service.tcp().await;
        stream.set_nodelay(true).unwrap();
        let stream = tls::connect_by(config, stream, HOST).await.unwrap();
        let mut connection = Raw::new(stream);
        self.get_by_http1(&mut connection).await;
        connection.close().await;
        connection.end().await.unwrap();
    }

    async fn transfer(&self, connection: &Http2, (method, up): (&str, usize), down: usize) {
        let body = Bytes::from(vec![b'x'; up]);
        let response = connection.send(self.request(method, body)).await;
        let mut body = response.unwrap().into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(received, down);
    }

    fn head(&self, method: &str, more: &str) -> String {
        self.lines(&format!("{method} {TARGET} HTTP/1.1"), more)
    }

    fn lines(&self, first: &str, more: &str) -> String {
        let mut head = format!("{first}\r\nHost: {HOST}\r\n{more}");
        for (name, value) in self.fields() {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        head
    }

    fn request(&self, method: &str, body: Bytes) -> Request<AnyBody> {
        let uri = format!("https://{HOST}{TARGET}");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in self.fields() {
            request = request.header(name, value);
        }
        let body = Full::new(body).map_err(|never| match never {}).boxed();
        request.body(body).unwrap()
    }

    fn fields(&self) -> Vec<(&'static str, &str)> {
        let fields = self.fields.iter();
        fields.map(|(name, value)| (*name, &**value)).collect()
    }
}

impl Open<'_> {
    /// Does the work once.
    pub(super) async fn once(&mut self) {
        let (client, service) = (self.client, self.service);
        match (self.work, &mut self.connection) {
            (Work::Http1, Connection::Http1(connection)) => client.get_by_http1(connection).await,
            (Work::Http2, Connection::Http2(connection)) => client.get_by_http2(connection).await,
            (Work::AuthRequest, Connection::Http1(connection)) => client.ask(connection).await,
            (Work::Http1Connection, _) => client.connect(service, &http1_config()).await,
            (Work::Http1ResumedConnection, Connection::None(config)) => {
                client.connect(service, config).await;
            }
            (Work::Http2Connection, _) => client.get_by_http2(&service.http2().await).await,
            (Work::Http1Download, Connection::Http1(connection)) => {
                connection.send(client.head("GET", "")).await;
                connection.head().await.assert_status(200);
                connection.skip(BULK).await;
            }
            (Work::Http1Upload, Connection::Http1(connection)) => {
                let length = format!("content-length: {BULK}\r\n");
                connection.send(client.head("POST", &length)).await;
                connection.send(vec![b'x'; BULK]).await;
                connection.response().await.assert_status(200);
            }
            (Work::Http2Download, Connection::Http2(connection)) => {
                client.transfer(connection, ("GET", 0), BULK).await;
            }
            (Work::Http2Upload, Connection::Http2(connection)) => {
                client.transfer(connection, ("POST", BULK), SMALL).await;
            }
            (work, _) => unreachable!("{work:?} on another connection"),
        }
    }
}

fn http1_config() -> Arc<ClientConfig> {
    Arc::new(tls::client_config(&["http/1.1"], ALL_VERSIONS))
}

/// An app that answers with a small body.
pub(super) async fn small_app() -> Upstream {
    Upstream::raw(answer(SMALL)).await
}

/// An app that gives large bodies, and takes them.
pub(super) async fn bulk_app() -> Upstream {
    let (small, large) = (answer(SMALL), answer(BULK));
    let answers = Arc::new((small, large));
    Upstream::scripted(move |exchange| {
        let answers = Arc::clone(&answers);
        Box::pin(async move {
            let (small, large) = &*answers;
            let is_upload = !exchange.body().await.is_empty();
            exchange.send(if is_upload { small } else { large }).await;
        })
    })
    .await
}

/// With the fields that an app sends.
fn answer(length: usize) -> String {
    let body = "x".repeat(length);
    format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/html; \
         charset=utf-8\r\nContent-Length: {length}\r\nCache-Control: no-cache\r\nETag: \"1\"\r\n\
         Vary: Accept-Encoding\r\nX-Content-Type-Options: nosniff\r\n\r\n{body}"
    )
}

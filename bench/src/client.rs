//! Clients: a connection by HTTP/1.1 or HTTP/2 over TLS, and requests with a session.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{
    ACCEPT, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::body::Bulk;
use crate::certificate::Certificate;

/// Windows of HTTP/2 as Chrome has them.
const STREAM_WINDOW: u32 = 6 << 20;
const CONNECTION_WINDOW: u32 = 15 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// Somebody who asks one proxy.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    /// Where it comes from.
    source: Ipv4Addr,
    authority: String,
    server_name: ServerName<'static>,
    tls: [Arc<ClientConfig>; 2],
    /// What shows who it is; empty before the login.
    cookie: Option<HeaderValue>,
    /// Where a proxy asks about its requests.
    questions: SocketAddr,
    /// Behind a load balancer: whom its header of the PROXY protocol names as the client.
    forwarded_for: Option<Ipv4Addr>,
}

/// Of connections that are made one after the other.
pub(crate) struct Tickets(Arc<ClientConfig>);

/// An open connection.
pub(crate) struct Connection {
    sender: Sender,
    pub(crate) resumed: bool,
}

enum Sender {
    Http1(http1::SendRequest<Bulk>),
    Http2(http2::SendRequest<Bulk>),
}

/// A request that is sent again and again.
#[derive(Clone)]
pub(crate) struct Template {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Client {
    pub(crate) fn new(certificate: &Certificate, port: u16) -> io::Result<Self> {
        Ok(Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            source: Ipv4Addr::LOCALHOST,
            authority: format!("localhost:{port}"),
            server_name: ServerName::try_from("localhost").map_err(io::Error::other)?,
            tls: [certificate.client("http/1.1")?, certificate.client("h2")?],
            cookie: None,
            questions: SocketAddr::from(([127, 0, 0, 1], 0)),
            forwarded_for: None,
        })
    }

    /// Asks for this host. In TLS it names none: any certificate will do.
    #[must_use]
    pub(crate) fn of_host(mut self, host: &str) -> Self {
        self.authority = format!("{host}:{}", self.address.port());
        self.server_name = ServerName::IpAddress(self.address.ip().into());
        self
    }

    /// The same client somewhere else.
    #[must_use]
    pub(crate) fn coming_from(&self, source: Ipv4Addr) -> Self {
        Self {
            source,
            ..self.clone()
        }
    }

    /// A proxy has its requests, and asks at this port whether it may send them on.
    #[must_use]
    pub(crate) fn asked_about_at(mut self, port: u16) -> Self {
        self.questions.set_port(port);
        self
    }

    /// The same at another node of the same site, as a load balancer would connect.
    #[must_use]
    pub(crate) fn led_to(&self, port: u16, client: Ipv4Addr) -> Self {
        let mut led = self.clone();
        led.address.set_port(port);
        led.forwarded_for = Some(client);
        led
    }

    /// The same through the load balancer.
    #[must_use]
    pub(crate) fn led_through(&self, port: u16) -> Self {
        let mut led = self.clone();
        led.address.set_port(port);
        led.forwarded_for = None;
        led
    }

    /// The head of a request for a WebSocket.
    pub(crate) fn websocket_head(&self, path: &str) -> String {
        let cookie = self.cookie.as_ref().and_then(|cookie| cookie.to_str().ok());
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}\r\nCookie: {cookie}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            host = self.authority,
            cookie = cookie.unwrap_or_default(),
        )
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn sign_in_with(&mut self, cookie: &str) -> io::Result<()> {
        self.cookie = Some(cookie.parse().map_err(io::Error::other)?);
        Ok(())
    }

    pub(crate) async fn connect(&self, version: Version) -> io::Result<Connection> {
        let config = match version {
            Version::Http1 => &self.tls[0],
            Version::Http2 => &self.tls[1],
        };
        self.connect_by(config, version).await
    }

    /// The same by HTTP/1.1, with a ticket of an earlier connection if there is one.
    pub(crate) async fn resume(&self, tickets: &Tickets) -> io::Result<Connection> {
        self.connect_by(&tickets.0, Version::Http1).await
    }

    pub(crate) fn tickets(&self) -> Tickets {
        let mut config = ClientConfig::clone(&self.tls[0]);
        config.resumption = Resumption::in_memory_sessions(8);
        Tickets(Arc::new(config))
    }

    /// A connection on which a proxy asks.
    pub(crate) async fn connect_to_ask(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.questions).await?;
        stream.set_nodelay(true)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Connection {
            sender: Sender::Http1(sender),
            resumed: false,
        })
    }

    async fn connect_by(
        &self,
        config: &Arc<ClientConfig>,
        version: Version,
    ) -> io::Result<Connection> {
        let stream = self.shake_hands(config).await?;
        let tls = stream.get_ref().1;
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let protocol = tls.alpn_protocol() == Some(b"h2");
        if protocol != (version == Version::Http2) {
            return Err(io::Error::other(
                "the proxy does not speak this version of HTTP",
            ));
        }
        let stream = TokioIo::new(stream);
        let sender = match version {
            Version::Http1 => {
                let (sender, connection) =
                    http1::handshake(stream).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Version::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW);
                let (sender, connection) =
                    builder.handshake(stream).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Connection { sender, resumed })
    }

    /// A connection by HTTP/1.1 on which nothing is asked.
    pub(crate) async fn silent(&self) -> io::Result<TlsStream<TcpStream>> {
        self.shake_hands(&self.tls[0]).await
    }

    async fn shake_hands(&self, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if self.source != Ipv4Addr::LOCALHOST {
            socket.bind((self.source, 0).into())?;
        }
        let mut stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        if let Some(client) = self.forwarded_for {
            let header = format!("PROXY TCP4 {client} 127.0.0.1 40000 443\r\n");
            stream.write_all(header.as_bytes()).await?;
        }
        let connector = TlsConnector::from(Arc::clone(config));
        connector.connect(self.server_name.clone(), stream).await
    }

    /// A request for a path, as it is sent over this version.
    pub(crate) fn request(&self, version: Version, method: Method, path: &str) -> Template {
        let mut headers = HeaderMap::new();
        let uri = match version {
            Version::Http1 => {
                let host = HeaderValue::from_str(&self.authority);
                headers.insert(HOST, host.expect("a host"));
                path.parse()
            }
            Version::Http2 => format!("https://{}{path}", self.authority).parse(),
        };
        headers.insert(USER_AGENT, HeaderValue::from_static("vestibule-bench"));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(cookie) = &self.cookie {
            headers.insert(COOKIE, cookie.clone());
        }
        Template {
            method,
            uri: uri.expect("a path"),
            headers,
        }
    }

    /// The question of a proxy about a request for a path, as the examples for nginx have it.
    pub(crate) fn question(&self, path: &str) -> Template {
        let question = self.request(Version::Http1, Method::GET, "/nginx");
        let host = HeaderValue::from_str(&self.authority).expect("a host");
        let fields = [
            ("x-original-method", HeaderValue::from_static("GET")),
            (
                "x-original-uri",
                HeaderValue::from_str(path).expect("a path"),
            ),
            ("x-original-host", host),
            ("x-original-proto", HeaderValue::from_static("https")),
            ("x-real-ip", HeaderValue::from_static("192.0.2.7")),
        ];
        let add = |question: Template, (name, value)| {
            question.field(HeaderName::from_static(name), value)
        };
        fields.into_iter().fold(question, add)
    }

    /// A form for this path, as browsers send it from the page that shows it.
    pub(crate) fn form(&self, path: &str) -> Template {
        let post = self.request(Version::Http1, Method::POST, path);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let own = HeaderValue::from_static("same-origin");
        post.field(CONTENT_TYPE, kind)
            .field(HeaderName::from_static("sec-fetch-site"), own)
    }

    /// The status and the body of one request over a connection of its own.
    pub(crate) async fn fetch(&self, path: &str) -> io::Result<(StatusCode, Bytes)> {
        let mut connection = self.connect(Version::Http1).await?;
        let template = self.request(Version::Http1, Method::GET, path);
        let response = connection.send(&template, Bulk::empty()).await?;
        let status = response.status();
        let body = response.into_body().collect().await;
        Ok((status, body.map_err(io::Error::other)?.to_bytes()))
    }

    /// Signs in as a visitor does: opens the form, fills it in, and keeps the cookies.
    pub(crate) async fn sign_in(
        &mut self,
        path: &str,
        user: &str,
        password: &str,
    ) -> io::Result<()> {
        let fields = [("username", user), ("password", password)];
        let (status, cookie) = self.fill_in(path, &fields).await?;
        if cookie.is_empty() || !status.is_redirection() {
            return Err(io::Error::other(format!("the login answers {status}")));
        }
        self.sign_in_with(&cookie)
    }

    /// Signs out as a visitor does, and keeps the cookie.
    pub(crate) async fn sign_out(&self) -> io::Result<StatusCode> {
        Ok(self.fill_in("/.vestibule/logout", &[]).await?.0)
    }

    /// Opens the form at a path, and sends it; gives the status and the cookies of the answer.
    async fn fill_in(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> io::Result<(StatusCode, String)> {
        let mut connection = self.connect(Version::Http1).await?;
        let mut asking = self.request(Version::Http1, Method::GET, path);
        asking
            .headers
            .insert(ACCEPT, HeaderValue::from_static("text/html"));
        let page = connection.send(&asking, Bulk::empty()).await?;
        let mut cookie = cookies(page.headers());
        if let Some(own) = self.cookie.as_ref().and_then(|own| own.to_str().ok()) {
            cookie = match cookie.as_str() {
                "" => own.to_owned(),
                set => format!("{own}; {set}"),
            };
        }
        let status = page.status();
        let page = page
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)?
            .to_bytes();
        let token = hidden(&String::from_utf8_lossy(&page), "csrf")
            .ok_or_else(|| io::Error::other(format!("{path} has no form, but {status}")))?;
        let body = form(&[fields, &[("csrf", &token)]].concat());
        let navigates = [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        let post = navigates
            .into_iter()
            .fold(self.form(path), |post, (name, value)| {
                post.field(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
        let post = post.field(COOKIE, cookie.parse().map_err(io::Error::other)?);
        let response = connection.send(&post, Bulk::text(body)).await?;
        Ok((response.status(), cookies(response.headers())))
    }
}

impl Connection {
    pub(crate) async fn send(
        &mut self,
        template: &Template,
        body: Bulk,
    ) -> io::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(io::Error::other)?;
                sender
                    .send_request(template.with(body))
                    .await
                    .map_err(io::Error::other)
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(io::Error::other)?;
                sender
                    .send_request(template.with(body))
                    .await
                    .map_err(io::Error::other)
            }
        }
    }

    /// For one more stream of the same connection, if it has streams.
    pub(crate) fn stream(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Self {
                sender: Sender::Http2(sender.clone()),
                resumed: self.resumed,
            }),
        }
    }
}

impl Template {
    /// The same with this field, in place of one of its name.
    #[must_use]
    pub(crate) fn field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn with(&self, body: Bulk) -> Request<Bulk> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// The body of a form.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// Those that a response sets, as the next request has them.
fn cookies(headers: &HeaderMap) -> String {
    let set = headers.get_all(SET_COOKIE).iter();
    let set = set.filter_map(|value| value.to_str().ok()?.split(';').next());
    let set = set.filter(|cookie| !cookie.ends_with('='));
    set.collect::<Vec<_>>().join("; ")
}

/// The value of a hidden field of a page.
fn hidden(page: &str, name: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("name=\"{name}\""))?;
    let (_, rest) = rest.split('>').next()?.split_once("value=\"")?;
    Some(rest.split('"').next()?.to_owned())
}

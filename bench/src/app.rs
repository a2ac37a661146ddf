//! The app behind the proxies, a process of its own: bodies of any length, a sink, and who asks.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::body::Bulk;

/// The header that proxies with a login name the user in.
pub(crate) const USER_HEADER: &str = "x-remote-user";

/// The running app. It ends when this is dropped, or when this process ends, however that comes.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl App {
    /// # Errors
    /// The app does not start.
    pub(crate) fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("app")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { address, child })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What the process of the app runs: says its address, and serves until its input ends.
pub(crate) fn run() -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(io::stdout(), "{}", listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}

async fn serve(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(respond))
        .with_upgrades();
    let _ = served.await; // proxies close connections as they like
}

type Answer = Either<Full<Bytes>, Bulk>;

async fn respond(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path();
    if let Some(length) = path.strip_prefix("/bytes/") {
        return Ok(match length.parse() {
            Ok(length) => Response::new(Either::Right(Bulk::of(length))),
            Err(_) => status(StatusCode::BAD_REQUEST),
        });
    }
    Ok(match (request.method(), path) {
        (_, "/who") => {
            let user = request.headers().get(USER_HEADER);
            text(Bytes::copy_from_slice(
                user.map_or(b"", |user| user.as_bytes()),
            ))
        }
        (_, "/ws") => echo_websocket(request),
        (&Method::POST, "/sink") => match sink(request.into_body()).await {
            Ok(length) => text(Bytes::from(length.to_string())),
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        _ => status(StatusCode::NOT_FOUND),
    })
}

/// Begins a WebSocket on which short messages come back (RFC 6455).
fn echo_websocket(mut request: Request<Incoming>) -> Response<Answer> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return status(StatusCode::UPGRADE_REQUIRED);
    };
    let key = [key.as_bytes(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &key);
    let accept = HeaderValue::from_str(&BASE64_STANDARD.encode(hash)).expect("letters");
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let _ = echo(TokioIo::new(upgraded)).await;
        }
    });
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let mut head = [0; 6];
        stream.read_exact(&mut head).await?;
        let [kind, length, mask @ ..] = head;
        let mut text = vec![0; usize::from(length & 0x7f)];
        stream.read_exact(&mut text).await?;
        let masks = mask.into_iter().cycle();
        text.iter_mut()
            .zip(masks)
            .for_each(|(byte, mask)| *byte ^= mask);
        let length = u8::try_from(text.len()).expect("seven bits");
        let frame = [&[kind, length], &text[..]].concat();
        stream.write_all(&frame).await?;
        if kind & 0xf == 8 {
            return stream.shutdown().await;
        }
    }
}

async fn sink(mut body: Incoming) -> hyper::Result<usize> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

fn text(text: Bytes) -> Response<Answer> {
    Response::new(Either::Left(Full::new(text)))
}

fn status(status: StatusCode) -> Response<Answer> {
    let mut response = text(Bytes::new());
    *response.status_mut() = status;
    response
}

//! An application that remembers nothing: pages, downloads, uploads, events, a tunnel.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, header, upgrade};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Serves as long as the test runs.
pub(super) async fn serve_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .with_upgrades();
    let _client_gone = served.await;
}

async fn answer(mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    let body = match request.uri().path() {
        "/large" => pieces(256, Duration::ZERO, 64 * 1024),
        "/events" => pieces(3600, Duration::from_millis(100), 50),
        "/socket" => return Ok(tunnel(&mut request)),
        "/upload" => {
            let mut received = request.into_body();
            while let Some(Ok(_)) = received.frame().await {}
            full("thanks".into())
        }
        _ => full(vec![b'x'; 1024].into()),
    };
    Ok(Response::new(body))
}

fn full(bytes: Bytes) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(bytes).boxed_unsync()
}

fn pieces(count: u32, pause: Duration, size: usize) -> UnsyncBoxBody<Bytes, Infallible> {
    let piece = Bytes::from(vec![b'y'; size]);
    let pieces = stream::unfold(0, move |nth| {
        let piece = piece.clone();
        async move {
            sleep(pause).await;
            (nth < count).then(|| (Ok(Frame::data(piece)), nth + 1))
        }
    });
    StreamBody::new(Box::pin(pieces)).boxed_unsync()
}

/// Sends back whatever comes, frames and all.
fn tunnel(request: &mut Request<Incoming>) -> Answer {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let accept = derive_accept_key(key.map_or(&[], |key| key.as_bytes()));
    let upgraded = upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
            let _client_gone = tokio::io::copy(&mut reader, &mut writer).await;
        }
    });
    let response = Response::builder()
        .status(101)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept);
    response.body(full(Bytes::new())).unwrap()
}

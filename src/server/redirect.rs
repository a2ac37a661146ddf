//! The plain listener: sends browsers to https and does nothing else (SEC-77).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::proxy_header;
use crate::listener;
use crate::load::Admission;
use crate::pages;
use crate::proxy::Service;
use crate::request;

/// A connection has this long in all; it is there for one response.
const LIFETIME: Duration = Duration::from_secs(15);

/// Takes plain connections until the service stops. `port` is the one of TLS, which counts unless
/// the configuration names another.
pub(super) async fn redirect_to_https(
    service: Arc<Service>,
    listener: TcpListener,
    admission: Arc<Admission>,
    port: u16,
) {
    let stop = service.shutdown().token();
    while let Some((mut stream, peer, mut admitted)) = stop
        .run_until_cancelled(listener::accept(&listener, &admission))
        .await
    {
        let redirecting = Arc::clone(&service);
        service.shutdown().connections().spawn(async move {
            let service = redirecting;
            let client = proxy_header::client(&service, &mut stream, peer, &mut admitted).await;
            if client.is_none() {
                return;
            }
            let respond = service_fn(move |request| {
                let port = service.settings().public_port.unwrap_or(port);
                let response = redirect(&service, &request, port);
                async move { Ok::<_, Infallible>(response.map(Full::new)) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), respond);
            tokio::select! {
                _ = tokio::time::timeout(LIFETIME, served) => {} // nobody waits for more
                () = admitted.place().gone() => {}
            }
        });
    }
}

/// 308 for a page that may be asked for again, 403 for everything else: what was sent plainly
/// was seen by everybody, and is not to be sent once more.
fn redirect(service: &Service, request: &Request<Incoming>, port: u16) -> Response<Bytes> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let location = safe
        .then(|| https_address(service, request, port))
        .flatten();
    match location {
        Some(location) => pages::redirect(StatusCode::PERMANENT_REDIRECT, location),
        None => pages::plain(StatusCode::FORBIDDEN, "Use https."),
    }
}

/// On a host of ours only: a response of ours leads nowhere else (SEC-62).
fn https_address(service: &Service, request: &Request<Incoming>, port: u16) -> Option<HeaderValue> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, None) = (hosts.next()?, hosts.next()) else {
        return None;
    };
    let authority = request::Authority::parse(host).ok()?;
    let host = authority.host().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let meant = request.uri().host();
    if meant.is_some_and(|meant| !meant.eq_ignore_ascii_case(authority.host())) {
        return None; // a target that names another host (SEC-09)
    }
    if !service.serves(host) {
        return None;
    }
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let port = if port == 443 {
        String::new()
    } else {
        format!(":{port}")
    };
    HeaderValue::try_from(format!("https://{host}{port}{target}")).ok()
}

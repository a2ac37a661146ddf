//! Plain HTTP, on a listener of its own or sent to the port of TLS: browsers are sent to https, ACME
//! challenges are answered where the configuration says so, and nothing else is done (SEC-77).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::acme_challenges::{Challenge, Challenges};
use super::plain_http::{Answer, answer_one};
use super::proxy_header;
use crate::clock::Clock;
use crate::forwarded;
use crate::listener;
use crate::load::{Admission, Place};
use crate::pages::{self, messages::texts};
use crate::portal;
use crate::proxy::Service;
use crate::request::Authority;

/// A request has this long to come.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Takes plain connections until the service stops. `port` is the one of TLS, which counts unless
/// the configuration names another, or the client came without a port: then 80 of the outside is
/// mapped to here, or is ours, and so is 443.
pub(super) async fn redirect_to_https(
    service: Arc<Service>,
    listener: TcpListener,
    admission: Arc<Admission>,
    port: u16,
) {
    let challenges = Arc::new(Challenges::new(Clock::system()));
    let stop = service.shutdown().token();
    while let Some((mut stream, peer, mut admitted)) = stop
        .run_until_cancelled(listener::accept(&listener, &admission))
        .await
    {
        let (redirecting, challenges) = (Arc::clone(&service), Arc::clone(&challenges));
        service.shutdown().connections().spawn(async move {
            let service = redirecting;
            let client = proxy_header::client(&service, &mut stream, peer, &mut admitted).await;
            if client.is_none() {
                return;
            }
            let (deadline, place) = (Instant::now() + TIMEOUT, admitted.place());
            let stop = service.shutdown().token();
            let port_of_tls = |authority: &Authority| match authority.port() {
                None | Some(80) => 443,
                Some(_) => port,
            };
            let answer = answer_one(stream, deadline, place, stop, |request| {
                let folder = service.settings().acme_challenges.clone();
                let challenge = request.and_then(Challenge::of);
                if let (Some(folder), Some(challenge)) = (folder, challenge) {
                    let answer = async move { challenges.answer(folder, challenge).await };
                    return Answer::Later(Box::pin(answer));
                }
                let location =
                    request.and_then(|request| https_address(&service, request, port_of_tls));
                let refusal = (StatusCode::FORBIDDEN, texts::PROGRAM_USE_HTTPS);
                Answer::Now(answer(request, location, refusal))
            });
            tokio::select! {
                () = answer => {}
                () = place.gone() => {}
            }
        });
    }
}

/// Answers plain HTTP on the port of TLS, in the time of a handshake. Who gave no port with the
/// host came by another one, so the one that this is counts then.
///
/// A proxy that ends TLS itself would send its browsers round in circles, whether it is trusted or
/// that was forgotten, too: what it says of its client gives it away. Nothing of that is believed.
pub(super) async fn answer_on_tls_port(
    service: &Service,
    stream: TcpStream,
    client: IpAddr,
    deadline: Instant,
    place: &Place,
) {
    let Ok(address) = stream.local_addr() else {
        return;
    };
    let port = |authority: &Authority| authority.port().unwrap_or(address.port());
    let is_proxy = service.settings().trusted_proxies.contain(client);
    let stop = service.shutdown().token();
    answer_one(stream, deadline, place, stop, |request| {
        if is_proxy || request.is_some_and(|request| forwarded::is_told(request.headers())) {
            let refusal = (StatusCode::BAD_REQUEST, texts::PROGRAM_PROXY_WITHOUT_TLS);
            return Answer::Now(answer(request, None, refusal));
        }
        let location = request.and_then(|request| https_address(service, request, port));
        let refusal = (StatusCode::BAD_REQUEST, texts::PROGRAM_PORT_IS_HTTPS);
        Answer::Now(answer(request, location, refusal))
    })
    .await;
}

/// 308 to what may be asked for again. Everything else is refused: what was sent plainly was seen
/// by everybody, and is not to be sent once more.
fn answer(
    request: Option<&Request<()>>,
    location: Option<HeaderValue>,
    (status, sentence): (StatusCode, &'static str),
) -> Response<Bytes> {
    if let Some(location) = location {
        return pages::redirect(StatusCode::PERMANENT_REDIRECT, location);
    }
    if request.is_some_and(|request| portal::is_page_load(request.headers())) {
        pages::bare(status, sentence)
    } else {
        pages::plain(status, sentence)
    }
}

/// On a host of ours only: a response of ours leads nowhere else (SEC-62).
/// `port` says which one counts unless the configuration names another.
fn https_address(
    service: &Service,
    request: &Request<()>,
    port: impl Fn(&Authority) -> u16,
) -> Option<HeaderValue> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, None) = (hosts.next()?, hosts.next()) else {
        return None;
    };
    let authority = Authority::parse(host).ok()?;
    let host = authority.host().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let meant = request.uri().host();
    if meant.is_some_and(|meant| !meant.eq_ignore_ascii_case(authority.host())) {
        return None; // a target that names another host (SEC-09)
    }
    if !service.serves(host) {
        return None;
    }
    let target = request.uri().path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    let slash = match target.as_bytes() {
        [b'/', ..] => "",
        [b'?', ..] => "/", // of an address without a path
        _ => return None,  // `*` is none
    };
    let port = match service
        .settings()
        .public_port
        .unwrap_or_else(|| port(&authority))
    {
        443 => String::new(),
        port => format!(":{port}"),
    };
    HeaderValue::try_from(format!("https://{host}{port}{slash}{target}")).ok()
}

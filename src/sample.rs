//! The app that `quickstart` puts behind the login: it knows nothing of users or sessions.
//!
//! It trusts its identity headers, as every app behind Vestibule does, and listens on loopback
//! only.

mod count;

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How long open requests may take after `stop`.
const GRACE: Duration = Duration::from_secs(3);

const PAGE: &str = "index.html";

/// What the page shows of a request.
const SHOWN: [&str; 6] = [
    "X-Forwarded-User",
    "X-Forwarded-Groups",
    "X-Forwarded-Email",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
];

struct Sample {
    clock: Clock,
    stop: CancellationToken,
    tasks: TaskTracker,
    templates: Environment<'static>,
}

/// Answers until `stop`, then lets open requests finish.
pub(crate) async fn serve(listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates
        .add_template(PAGE, include_str!("sample/index.html"))
        .expect("the template is a constant, and the tests render it");
    let sample = Arc::new(Sample {
        clock: Clock::system(),
        stop,
        tasks: TaskTracker::new(),
        templates,
    });
    while let Some(accepted) = sample.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                sample.tasks.spawn(Arc::clone(&sample).connection(stream));
            }
            // Out of descriptors passes; spinning on it would not help (REL-05).
            Err(error) => {
                tracing::warn!(%error, "the sample app cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    sample.tasks.close();
    let _ = tokio::time::timeout(GRACE, sample.tasks.wait()).await;
    Ok(())
}

impl Sample {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let sample = Arc::clone(&self);
            async move { Ok::<_, Infallible>(sample.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection to the sample app broke");
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match (request.uri().path(), reads) {
            ("/", true) => self.index(request.headers()),
            ("/sample.css", true) => {
                whole("text/css; charset=utf-8", include_str!("sample/sample.css"))
            }
            ("/sample.js", true) => whole(
                "text/javascript; charset=utf-8",
                include_str!("sample/sample.js"),
            ),
            ("/whoami", true) => whoami(request.headers()),
            ("/events", true) => self.events(),
            ("/ws", true) => self.websocket(request),
            ("/upload", false) if request.method() == Method::POST => upload(request).await,
            ("/" | "/sample.css" | "/sample.js" | "/whoami" | "/events" | "/ws", false) => {
                not_allowed("GET, HEAD")
            }
            ("/upload", _) => not_allowed("POST"),
            _ => failure(StatusCode::NOT_FOUND, "The sample app has no such page.\n"),
        }
    }

    fn index(&self, headers: &HeaderMap) -> Response<Body> {
        let count = count::read(headers).saturating_add(1).min(count::MAX);
        let shown: Vec<Value> = SHOWN
            .iter()
            .map(|&name| context! { name, value => headers.get(name).map(text) })
            .collect();
        let user = headers.get(SHOWN[0]).map(text);
        let page = self
            .templates
            .get_template(PAGE)
            .and_then(|page| page.render(context! { user, count, headers => shown }));
        match page {
            Ok(page) => {
                let mut response = whole("text/html; charset=utf-8", page);
                let set = HeaderValue::try_from(format!("count={count}"));
                response
                    .headers_mut()
                    .extend(set.ok().map(|set| (count::SET, set)));
                response
            }
            Err(error) => {
                tracing::error!(%error, "cannot render the sample page");
                failure(StatusCode::INTERNAL_SERVER_ERROR, "This page is broken.\n")
            }
        }
    }

    /// The time, once a second, until the visitor goes or the app stops.
    fn events(&self) -> Response<Body> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let clock = self.clock.clone();
        let events = stream::unfold((ticks, clock), async |(mut ticks, clock)| {
            ticks.tick().await;
            let now = httpdate::fmt_http_date(clock.now().to_system_time());
            let event = Bytes::from(format!("data: {now}\n\n"));
            Some((Ok(Frame::data(event)), (ticks, clock)))
        });
        let events = events.take_until(self.stop.clone().cancelled_owned());
        respond("text/event-stream", StreamBody::new(events).boxed_unsync())
    }

    /// RFC 6455 section 4.2; what comes in goes back.
    fn websocket(self: Arc<Self>, mut request: Request<Incoming>) -> Response<Body> {
        let headers = request.headers();
        let asked = lists(headers, &header::UPGRADE, "websocket")
            && lists(headers, &header::CONNECTION, "upgrade")
            && headers.get(header::SEC_WEBSOCKET_VERSION) == Some(&HeaderValue::from_static("13"));
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .filter(|_| asked && request.method() == Method::GET);
        let accept = key
            .map(|key| derive_accept_key(key.as_bytes()))
            .and_then(|accept| HeaderValue::try_from(accept).ok());
        let Some(accept) = accept else {
            let mut response = failure(StatusCode::UPGRADE_REQUIRED, "Come as a WebSocket.\n");
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            );
            return response;
        };
        let upgrade = hyper::upgrade::on(&mut request);
        self.tasks.spawn(echo(upgrade, self.stop.clone()));
        let mut response = Response::new(Full::default().boxed_unsync());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        response
    }
}

async fn echo(upgrade: OnUpgrade, stop: CancellationToken) {
    let Ok(upgraded) = upgrade.await else { return };
    let stream = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(received) = stop.run_until_cancelled(socket.next()).await {
        match received {
            Some(Ok(message)) if message.is_text() || message.is_binary() => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            // tungstenite answers pings and closing frames by itself.
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
    let away = CloseFrame {
        code: CloseCode::Away,
        reason: "".into(),
    };
    // The other side may be gone already: nobody is left to tell.
    let _ = socket.close(Some(away)).await;
}

/// Size and SHA-256 of a body of any size, without keeping it.
async fn upload(request: Request<Incoming>) -> Response<Body> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return failure(StatusCode::BAD_REQUEST, "The upload broke off.\n");
        };
        if let Some(data) = frame.data_ref() {
            hash.update(data);
            bytes += data.len() as u64;
        }
    }
    let mut sha256 = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a String never fails.
        let _ = write!(sha256, "{byte:02x}");
    }
    let answer = serde_json::json!({ "bytes": bytes, "sha256": sha256 });
    whole("application/json", answer.to_string())
}

/// Every header of this request; one that came more than once as a list.
fn whoami(headers: &HeaderMap) -> Response<Body> {
    let all: serde_json::Map<_, _> = headers
        .keys()
        .map(|name| {
            let mut values: Vec<_> = headers.get_all(name).iter().map(text).collect();
            let value = match values.len() {
                1 => values.remove(0).into(),
                _ => values.into(),
            };
            (name.to_string(), value)
        })
        .collect();
    whole("application/json", serde_json::Value::from(all).to_string())
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Whether the comma-separated list `name` has `token` in it.
fn lists(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|entry| entry.trim().eq_ignore_ascii_case(token))
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, "Not with this method.\n");
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn failure(status: StatusCode, sentence: &'static str) -> Response<Body> {
    let mut response = whole("text/plain; charset=utf-8", sentence);
    *response.status_mut() = status;
    response
}

fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    respond(content_type, Full::new(body.into()).boxed_unsync())
}

/// Nothing of it is to be kept by a browser: the page of one visitor is not that of the next.
fn respond(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

#[cfg(test)]
mod tests;

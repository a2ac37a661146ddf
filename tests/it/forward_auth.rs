//! Forward auth: a proxy asks whether its client may send a request, and sends it on by itself
//! (SEC-95).

/// Whatever a client may put into what its proxy sends.
mod hostile;
/// Who may ask, where, and from when on.
mod listener;
/// What is answered when there is too much to do.
mod overload;
/// How auth requests come.
mod pieces;
pub(crate) mod spoofs;
/// What is answered to whom.
mod verdicts;

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::harness::tls::HOST;
use crate::harness::*;

const LISTEN: &str = "auth_listen = [\"127.0.0.1:0\"]\nauth_from = [\"127.0.0.1\"]";

const PROXIES: [&str; 5] = ["nginx", "haproxy", "traefik", "caddy", "envoy"];

/// Of these, those that pass an answer on to their clients.
const PASSING: [&str; 4] = ["haproxy", "traefik", "caddy", "envoy"];

/// What browsers send with a page load.
const PAGE_LOAD: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

/// An app with parts for everybody and for some, behind a proxy that asks.
fn before(app: &Upstream) -> Vestibule {
    Vestibule::before(app)
        .account(User::new("ada", PASSWORD).groups(&["admins", "staff"]))
        .user("bob", PASSWORD)
        .server(LISTEN)
        .rule("/public", "everyone")
        .rule("/admin", "{ groups = [\"admins\"] }")
}

/// One auth request, as this proxy sends it for a request to the host of the tests.
fn auth_request(proxy: &str, method: &str, target: &str, more: &str) -> String {
    auth_request_for(proxy, method, (HOST, target), more)
}

/// The same for another host.
fn auth_request_for(proxy: &str, method: &str, (host, target): (&str, &str), more: &str) -> String {
    let client = "203.0.113.7";
    match proxy {
        "nginx" | "haproxy" => format!(
            "GET /{proxy} HTTP/1.1\r\nHost: 127.0.0.1:9091\r\nX-Original-Method: {method}\r\n\
             X-Original-URI: {target}\r\nX-Original-Host: {host}:443\r\nX-Original-Proto: https\r\n\
             X-Real-IP: {client}\r\n{more}\r\n"
        ),
        "traefik" | "caddy" => format!(
            "GET /{proxy} HTTP/1.1\r\nHost: 127.0.0.1:9091\r\nX-Forwarded-Method: {method}\r\n\
             X-Forwarded-Uri: {target}\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-For: {client}\r\n{more}\r\n"
        ),
        "envoy" => format!(
            "{method} /envoy{target} HTTP/1.1\r\nHost: {host}\r\nX-Original-Proto: https\r\n\
             X-Real-IP: {client}\r\n{more}\r\n"
        ),
        other => panic!("{other}"),
    }
}

/// A connection to a listener for auth requests.
async fn connect(to: SocketAddr) -> Raw {
    Raw::new(TcpStream::connect(to).await.unwrap())
}

/// Asks on a connection of its own.
async fn ask(to: SocketAddr, auth_request: impl AsRef<[u8]>) -> Reply {
    let mut raw = connect(to).await;
    raw.send(auth_request).await;
    raw.response().await
}

/// The cookies of a user, as a line of a head.
async fn cookies(gate: &Gate, user: &str) -> String {
    let browser = gate.browser().login(user, PASSWORD).await;
    format!("Cookie: theme=dark; {}; x=1\r\n", browser.cookies())
}

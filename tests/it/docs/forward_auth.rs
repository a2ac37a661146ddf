//! Forward auth by the configurations of the page: each proxy asks, for real.

mod caddy;
mod envoy;
mod haproxy;
mod nginx;
mod traefik;

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

/// The blocks of the page.
struct Blocks {
    config: String,
    users: String,
    nginx: String,
    nginx_test: String,
    traefik: [String; 2],
    caddy: String,
    caddy_test: String,
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
    served: Served,
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
        let mut desk = Desk::new(HOST);
        desk.place("http://127.0.0.1:3000", app.url());
        desk.place("127.0.0.1:3000", app.authority());
        let port = |authority: &str| authority.rsplit(':').next().unwrap().to_owned();
        desk.place(
            "port_value: 3000",
            format!("port_value: {}", port(&app.authority())),
        );
        let auth = desk.free("127.0.0.1:9091");
        desk.place("port_value: 9091", format!("port_value: {}", auth.port()));
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
            served,
            check: blocks.check.trim_end().to_owned(),
            app,
            front,
        }
    }

    /// A certificate for the proxy, with these names.
    fn certify(&self, cert: &str, key: &str) {
        let certificate = Certificate::generate(&[HOST]);
        self.desk.write(cert, &certificate.cert_pem);
        self.desk.write_secret(key, &certificate.key_pem);
    }

    /// Waits until the proxy is there, and tells the story.
    async fn try_out(&self, program: &mut Program) {
        program.wait_for_port(self.front).await;
        // Caddy makes its certificate first, and Traefik listens before it knows of anybody.
        eventually_some("our pages there", async || {
            let stream = TcpStream::connect(self.front).await.ok()?;
            let stream = tls::connect(stream, HOST, &["http/1.1"]).await.ok()?;
            let mut raw = Raw::new(stream);
            raw.send(format!(
                "GET /.vestibule/login HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            ))
            .await;
            let answer = raw.rest().await;
            answer.starts_with("HTTP/1.1 200 ").then_some(())
        })
        .await;
        Box::pin(story::tell(self)).await;
        self.check_through().await;
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

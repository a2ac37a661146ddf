use tokio::net::TcpStream;

use super::*;

/// Sends exact bytes, on one connection as long as the proxy keeps it.
pub(super) struct Client {
    front: SocketAddr,
    raw: Raw,
}

impl Client {
    pub(super) async fn new(behind: &Behind) -> Self {
        let front = behind.front;
        let raw = Self::connect(front).await;
        Self { front, raw }
    }

    async fn connect(front: SocketAddr) -> Raw {
        let stream = TcpStream::connect(front).await.unwrap();
        let stream = tls::connect(stream, HOST, &["http/1.1"]).await;
        Raw::new(stream.unwrap())
    }

    /// The status of the answer.
    pub(super) async fn ask(&mut self, target: &str, more: &str) -> u16 {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n");
        self.raw.send(request).await;
        let reply = self.raw.response().await;
        let closes = reply
            .value("connection")
            .is_some_and(|it| it.eq_ignore_ascii_case("close"));
        if closes || reply.status == 400 {
            self.raw = Self::connect(self.front).await;
        }
        reply.status
    }
}

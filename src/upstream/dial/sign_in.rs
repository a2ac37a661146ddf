//! How an app asks visitors to sign in.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::Dialer;
use crate::upstream::authentication;

impl Dialer {
    /// Whether the app asks for NTLM or Negotiate on its first page (SEC-92). One request, within
    /// the app's `connect_timeout` and until `deadline`; without an answer, it does not.
    pub(crate) async fn asks_for_connection_auth(&self, deadline: Instant) -> bool {
        let end = deadline.min(Instant::now() + self.timeout);
        timeout_at(end, self.asks())
            .await
            .unwrap_or(None)
            .unwrap_or(false)
    }

    async fn asks(&self) -> Option<bool> {
        let stream = self.connector.open().await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let request = Request::get("/")
            .header(header::HOST, self.host.clone())
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .ok()?;
        // It ends with its sender.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.ok()?;
        let asks = answer.status() == StatusCode::UNAUTHORIZED;
        Some(asks && authentication::challenges(answer.headers()))
    }
}

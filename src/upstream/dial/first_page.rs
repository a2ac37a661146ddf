//! Asks an app for its first page, as it would be asked for a visitor, but for nobody.

use std::future::poll_fn;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use tokio::time::{Instant, timeout_at};

use super::Dialer;
use crate::upstream::connect::Connector;
use crate::upstream::http1::Message;
use crate::upstream::sender::Sender;
use crate::upstream::trust::{Fingerprint, clients};
use crate::upstream::{Address, RequestBody, Settings, UpstreamError};

/// From the connection to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Of a body, which is looked into for the words of well-known servers.
const MAX_BODY: usize = 4096;

/// An answer, as the app gave it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The beginning of what it says of a request that it refuses; empty otherwise.
    pub(crate) text: String,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum AskError {
    /// Nothing that is HTTP/1.
    Upstream(UpstreamError),
    TimedOut,
}

/// By which name the app is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedBy {
    /// The one that requests of visitors have.
    Visitors,
    /// That of its address.
    Own,
}

impl Dialer {
    /// What `Host` is by this name.
    pub(crate) fn host(&self, by: AskedBy) -> HeaderValue {
        match by {
            AskedBy::Visitors => self.host.clone(),
            AskedBy::Own => self.address().host_header(),
        }
    }

    /// One `GET`, with these headers besides, until `deadline`.
    pub(crate) async fn ask(
        &self,
        path: &str,
        by: AskedBy,
        headers: HeaderMap,
        deadline: Instant,
    ) -> Result<Answer, AskError> {
        ask(&self.connector, path, self.host(by), headers, deadline).await
    }

    /// Whether the same address speaks TLS where the configuration has `http`, and plain HTTP where
    /// it has `https`.
    pub(crate) async fn speaks_the_other(&self, deadline: Instant) -> bool {
        let end = deadline.min(Instant::now() + TIMEOUT);
        let (address, is_https) = match self.address() {
            Address::Unix(_) => return false,
            Address::Http { host, port } => {
                let (host, port) = (host.clone(), *port);
                (Address::Https { host, port }, true)
            }
            Address::Https { host, port } => {
                let (host, port) = (host.clone(), *port);
                (Address::Http { host, port }, false)
            }
        };
        // No certificate is the one of this pin: whatever is shown instead has been spoken of.
        let settings = Settings {
            pins: vec![Fingerprint::NONE],
            ca: None,
            server_name: None,
            ..self.settings.clone()
        };
        let tls = is_https.then(|| clients(&settings));
        let Ok(tls) = tls.transpose() else {
            return false;
        };
        let Ok(connector) = Connector::new(address, tls.as_ref(), &settings) else {
            return false;
        };
        if !is_https {
            let host = self.host(AskedBy::Own);
            return ask(&connector, "/", host, HeaderMap::new(), end)
                .await
                .is_ok();
        }
        match timeout_at(end, connector.open()).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => super::Untrusted::of(&error).is_some(),
            Err(_) => false,
        }
    }
}

async fn ask(
    connector: &Connector,
    path: &str,
    host: HeaderValue,
    mut headers: HeaderMap,
    deadline: Instant,
) -> Result<Answer, AskError> {
    let deadline = deadline.min(Instant::now() + TIMEOUT);
    let answer = timeout_at(deadline, async {
        headers.insert(header::HOST, host);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let request = Request::get(path).body(RequestBody::empty());
        let mut request =
            request.map_err(|_| UpstreamError::BadResponse("there is no path to ask for"))?;
        *request.headers_mut() = headers;
        let mut sender = connector.connect(false).await?;
        let answered = sender.send(Message::Request(request)).await;
        let response = answered.map_err(|(error, _)| UpstreamError::of_connection(error))?;
        let (head, ()) = response.into_parts();
        let text = if head.status.is_client_error() {
            begin(&mut sender, deadline).await
        } else {
            String::new()
        };
        Ok::<_, UpstreamError>(Answer {
            status: head.status,
            headers: head.headers,
            text,
        })
    });
    match answer.await {
        Ok(answer) => answer.map_err(AskError::Upstream),
        Err(_) => Err(AskError::TimedOut),
    }
}

/// What came of a body until then, or until there was enough of it.
async fn begin(sender: &mut Sender, deadline: Instant) -> String {
    let mut read = Vec::new();
    while read.len() < MAX_BODY
        && let content = poll_fn(|cx| sender.poll_content(cx))
        && let Ok(Some(Ok(data))) = timeout_at(deadline, content).await
    {
        read.extend_from_slice(&data[..data.len().min(MAX_BODY - read.len())]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

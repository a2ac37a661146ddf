//! HTTP-01 challenges of another ACME client (RFC 8555 §8.3), from the folder where it puts the
//! responses. Certificate authorities ask on plain HTTP, for names that no app may have yet: any
//! `Host` will do.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::pages::{self, messages::texts};
use crate::regular_file;
use crate::telemetry::Seldom;

const PREFIX: &str = "/.well-known/acme-challenge/";

/// In bytes; the client makes them of 128 random bits or more, in base64url.
const LONGEST_TOKEN: usize = 256;

/// Of a response: the token, a dot, and the digest of a key.
const MAX: u64 = 4096;

/// Where a disk hangs, so many threads do, and no more.
const AT_ONCE: usize = 4;

/// A file has this long to be read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads responses to challenges.
pub(super) struct Challenges {
    reading: Arc<Semaphore>,
    /// Of lines about files that cannot be read.
    seldom: Seldom,
}

/// A challenge to answer.
pub(super) struct Challenge {
    /// `None` for what is no token: there is no such file then.
    token: Option<String>,
}

impl Challenge {
    /// The one that is asked for, if any is. A file cannot be named but by a token: neither a dot
    /// nor a slash is in one.
    pub(super) fn of(request: &Request<()>) -> Option<Self> {
        let token = request.uri().path().strip_prefix(PREFIX)?;
        let is_asked_for = matches!(*request.method(), Method::GET | Method::HEAD);
        let hosts = request.headers().get_all(header::HOST).iter().count();
        // Of two hosts, who knows which one is meant (SEC-09).
        (is_asked_for && hosts <= 1).then(|| Self {
            token: is_token(token).then(|| token.to_owned()),
        })
    }
}

fn is_token(token: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(is_base64url)
}

impl Challenges {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            reading: Arc::new(Semaphore::new(AT_ONCE)),
            seldom: Seldom::new(clock),
        }
    }

    /// What is in the file of this token.
    pub(super) async fn answer(&self, folder: PathBuf, challenge: Challenge) -> Response<Bytes> {
        let missing = || pages::plain(StatusCode::NOT_FOUND, texts::PROGRAM_NO_CHALLENGE);
        let Some(token) = challenge.token else {
            return missing();
        };
        let path = folder.join(token);
        match timeout(TIMEOUT, self.read(path.clone())).await {
            Ok(Ok(content)) => pages::octets(content.into()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => missing(),
            Ok(Err(error)) => {
                self.warn(&path, &error);
                missing()
            }
            Err(_) => {
                self.warn(&path, &io::ErrorKind::TimedOut.into());
                pages::plain(StatusCode::SERVICE_UNAVAILABLE, texts::PROGRAM_NO_CHALLENGE)
            }
        }
    }

    async fn read(&self, path: PathBuf) -> io::Result<Vec<u8>> {
        let place = Arc::clone(&self.reading).acquire_owned().await;
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            // A link could lead out of the folder.
            let file = regular_file::open_itself(&path)?;
            let mut content = Vec::new();
            file.take(MAX + 1).read_to_end(&mut content)?;
            if content.len() as u64 > MAX {
                return Err(io::Error::other("it has more than 4 KiB"));
            }
            Ok(content)
        });
        reading.await.map_err(io::Error::other)?
    }

    fn warn(&self, path: &Path, error: &io::Error) {
        if self.seldom.is_due() {
            let file = path.display();
            tracing::warn!(%file, %error, "an ACME challenge cannot be answered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_names_a_file() {
        let asked = |method: &str, target: &str| {
            let request = Request::builder().method(method).uri(target);
            Challenge::of(&request.body(()).unwrap()).map(|challenge| challenge.token)
        };
        let long = "x".repeat(LONGEST_TOKEN + 1);
        for (target, expected) in [
            ("/.well-known/acme-challenge/aZ09-_", Some(Some("aZ09-_"))),
            ("/.well-known/acme-challenge/a?b=c", Some(Some("a"))),
            ("http://a/.well-known/acme-challenge/a", Some(Some("a"))),
            (
                &format!("/.well-known/acme-challenge/{}", &long[1..]),
                Some(Some(&long[1..])),
            ),
            (&format!("/.well-known/acme-challenge/{long}"), Some(None)),
            ("/.well-known/acme-challenge/", Some(None)),
            ("/.well-known/acme-challenge/..", Some(None)),
            ("/.well-known/acme-challenge/../../etc/passwd", Some(None)),
            ("/.well-known/acme-challenge/a/b", Some(None)),
            ("/.well-known/acme-challenge/%61", Some(None)),
            ("/.well-known/acme-challenge/a%2f..%2fb", Some(None)),
            ("/.well-known/acme-challenge/a.b", Some(None)),
            ("/.well-known/acme-challenge/a=", Some(None)),
            ("/.well-known/acme-challenge", None),
            ("/.well-known/acme-challengex/a", None),
            ("/.well-known/ACME-challenge/a", None),
            ("/.well-known//acme-challenge/a", None),
            ("/x/.well-known/acme-challenge/a", None),
            ("/", None),
        ] {
            for method in ["GET", "HEAD"] {
                let expected = expected.map(|token| token.map(str::to_owned));
                assert_eq!(asked(method, target), expected, "{method} {target}");
            }
            for method in ["POST", "PUT", "OPTIONS", "get"] {
                assert_eq!(asked(method, target), None, "{method} {target}");
            }
        }
    }
}

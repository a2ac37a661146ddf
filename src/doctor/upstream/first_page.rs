//! What it means for visitors how an app answers when it is asked for its first page.

mod redirect;

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::super::{BrowsersPort, Finding};
use crate::proxy::AppSettings;
use crate::proxy::headers::{Facts, RequestHeaders};
use crate::request::Authority;
use crate::telemetry::{REQUEST_ID, RequestId};
use crate::upstream::dial::{Answer, AskError, AskedBy, Dialer, browsers_host};
use crate::upstream::{Address, connection_auth_is_asked_for};

/// An app, and where visitors find it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) app: &'a AppSettings,
    /// Those of the same host have the rest of its paths.
    pub(super) apps: &'a [AppSettings],
    pub(super) dialer: &'a Dialer,
    /// Of the configuration, which the app gets with each request.
    pub(super) headers: &'a RequestHeaders,
    pub(super) port: BrowsersPort,
    /// Then connections belong to nobody (SEC-92).
    pub(super) has_trusted_proxies: bool,
}

/// What is wrong, and what mends it.
type Meaning = (String, String);

impl Asked<'_> {
    /// Asks once; and once more by the app's own name, where an answer may be due to the name.
    pub(super) async fn finding(&self, deadline: Instant) -> Option<Finding> {
        let started = Instant::now();
        let (message, help) = match self.ask(AskedBy::Visitors, deadline).await {
            Ok(answer) => {
                let other = is_due_to_host(&answer) && self.has_other_name();
                let own = if other {
                    self.ask(AskedBy::Own, deadline).await.ok()
                } else {
                    None
                };
                self.meaning(&answer, own.as_ref())?
            }
            Err(error) => self.silence(&error, started, deadline).await,
        };
        Some(Finding::warning(format!("app {}", self.app.name), message, help).at(self.app.line))
    }

    async fn ask(&self, by: AskedBy, deadline: Instant) -> Result<Answer, AskError> {
        // By its own name it is asked as if by itself: no header says another one. In the log of the
        // app, the ids are no visitor's.
        let (host, id) = match by {
            AskedBy::Visitors => (self.browsers_host(), RequestId::own(0, 0)),
            AskedBy::Own => (self.dialer.host(by), RequestId::own(0, 1)),
        };
        let stripped = self.app.part.stripped();
        let prefix = stripped.and_then(|prefix| HeaderValue::from_str(prefix).ok());
        let mut headers = HeaderMap::from_iter([
            (
                header::USER_AGENT,
                HeaderValue::from_static("vestibule-check"),
            ),
            (
                header::ACCEPT,
                HeaderValue::from_static("text/html, */*;q=0.8"),
            ),
            forwarded("x-forwarded-for", HeaderValue::from_static("127.0.0.1")),
            forwarded("x-forwarded-host", host.clone()),
            forwarded("x-forwarded-proto", HeaderValue::from_static("https")),
            (REQUEST_ID, id.to_header()),
        ]);
        headers.extend(
            prefix
                .clone()
                .map(|prefix| forwarded("x-forwarded-prefix", prefix)),
        );
        let facts = Facts {
            client: Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
            host: &host,
            prefix: prefix.as_ref(),
            id: &id,
        };
        self.headers.apply(&mut headers, &facts);
        let path = match stripped {
            Some(_) => "/".to_owned(),
            None => self.app.part.path(),
        };
        self.dialer.ask(&path, by, headers, deadline).await
    }

    /// As browsers say it.
    fn browsers_host(&self) -> HeaderValue {
        let host = self.app.hosts.first_name();
        let host = host.and_then(|host| browsers_host(host, self.port.number));
        host.unwrap_or_else(|| self.dialer.host(AskedBy::Visitors))
    }

    /// What visitors have in their address bars.
    fn site(&self) -> Option<Authority> {
        Authority::parse(&self.browsers_host()).ok()
    }

    fn has_other_name(&self) -> bool {
        self.app.hosts.first_name().is_some()
            && self.dialer.host(AskedBy::Visitors) != self.dialer.host(AskedBy::Own)
    }

    /// Whether the app gets the part of the host that is its own as visitors have it.
    fn keeps_path(&self) -> bool {
        !self.app.part.is_whole_host() && self.app.part.stripped().is_none()
    }

    fn meaning(&self, answer: &Answer, own: Option<&Answer>) -> Option<Meaning> {
        let (address, status) = (self.dialer.address(), answer.status.as_u16());
        let host = self.shown_host();
        if speaks_of_tls(&answer.text) && !address.is_https() {
            return Some(self.is_tls());
        }
        if answer.status == StatusCode::UNAUTHORIZED {
            return self.sign_in(answer);
        }
        // Browsers follow no other 3xx.
        if matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return self.redirect(answer);
        }
        // Not an error by its own name.
        let own = own.filter(|own| !is_due_to_host(own));
        if let Some(own) = own {
            let message = format!(
                "{address} answers {status} to the host {host}, and {} to its own name: it does \
                 not know the other one",
                own.status.as_u16()
            );
            return Some((message, self.other_host()));
        }
        let message = match answer.status {
            StatusCode::MISDIRECTED_REQUEST => {
                format!("{address} answers 421: it does not serve the host {host}")
            }
            StatusCode::BAD_REQUEST => {
                format!("{address} answers 400 to a request like those of visitors")
            }
            status if status.is_server_error() => {
                let message = format!("{address} answers {} to its first page", status.as_u16());
                return Some((message, "look at the log of the application".to_owned()));
            }
            // By its own name, too.
            StatusCode::NOT_FOUND if self.keeps_path() => {
                let path = self.app.part.path();
                let message = format!(
                    "{address} answers 404 to {path}: it may not know that it is below {path}"
                );
                let help = format!(
                    "nothing, if it has no page there; else {}",
                    self.tell_its_path()
                );
                return Some((message, help));
            }
            // An app need not have a page there.
            _ => return None,
        };
        Some((message, self.other_host()))
    }

    /// What lets an app have a name that it takes.
    fn other_host(&self) -> String {
        let host = self.shown_host();
        let take = format!("let the application take the host {host} (allowed or trusted hosts)");
        let keys = if self.app.upstream.preserve_host && self.app.upstream.host.is_none() {
            "write preserve_host = false, or upstream_host = \"...\" with a name that it knows"
        } else {
            "write upstream_host = \"...\" with a name that it knows"
        };
        if self.dialer.address().is_https() {
            // Servers compare it with the name that TLS has asked for.
            format!(
                "{keys}; where it compares the host with the name in TLS, upstream_server_name = \
                 \"{}\"; or {take}",
                host.split(':').next().unwrap_or(&host)
            )
        } else {
            format!("{keys}; or {take}")
        }
    }

    fn shown_host(&self) -> String {
        let host = self.dialer.host(AskedBy::Visitors);
        String::from_utf8_lossy(host.as_bytes()).into_owned()
    }

    /// A second login after ours.
    fn sign_in(&self, answer: &Answer) -> Option<Meaning> {
        let address = self.dialer.address();
        let instead = "have the application take the identity headers";
        if connection_auth_is_asked_for(&answer.headers) {
            return Some(if self.has_trusted_proxies {
                (
                    format!(
                        "{address} asks for NTLM or Negotiate, which sign a connection in: behind \
                         `trusted_proxies`, connections belong to nobody, and nobody can sign in \
                         there"
                    ),
                    format!(
                        "{instead}, or another sign-in; or let browsers connect to Vestibule itself"
                    ),
                )
            } else {
                (
                    format!(
                        "{address} signs visitors in once more after the login here, by NTLM or \
                         Negotiate"
                    ),
                    format!("nothing, if that is meant; else {instead}"),
                )
            });
        }
        // Whether it is the right one shows in the log of the app.
        if self
            .headers
            .names()
            .any(|name| name == header::AUTHORIZATION)
        {
            return None;
        }
        let mut challenges = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let is_basic = |challenge: &HeaderValue| {
            let scheme = challenge.as_bytes().get(..5);
            scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
        };
        challenges.any(is_basic).then(|| {
            (
                format!(
                    "{address} asks for a name and a password of its own (Basic), after the login \
                     here"
                ),
                format!(
                    "switch its own login off, or {instead}; a fixed Authorization can be set in \
                     [app.request_headers]"
                ),
            )
        })
    }

    fn is_tls(&self) -> Meaning {
        let address = self.dialer.address();
        let https = match address {
            Address::Http { host, port } => Address::Https {
                host: host.clone(),
                port: *port,
            },
            other => other.clone(),
        };
        (
            format!("{address} speaks TLS: it does not take plain HTTP"),
            format!("write upstream = \"{https}\""),
        )
    }

    /// There is a connection, and no answer.
    async fn silence(&self, error: &AskError, started: Instant, deadline: Instant) -> Meaning {
        let address = self.dialer.address();
        match error {
            AskError::TimedOut => (
                format!(
                    "{address} takes connections, and has not answered within {:.1?}",
                    started.elapsed()
                ),
                "look at the log of the application".to_owned(),
            ),
            AskError::Upstream(_)
                if !address.is_https() && self.dialer.speaks_the_other(deadline).await =>
            {
                self.is_tls()
            }
            AskError::Upstream(error) => (
                format!("{address}: {error}"),
                "see whether the application listens there for HTTP/1.1, and what its log says"
                    .to_owned(),
            ),
        }
    }
}

fn forwarded(name: &'static str, value: HeaderValue) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), value)
}

/// Servers that know several names answer so to one that they do not know.
fn is_due_to_host(answer: &Answer) -> bool {
    let status = answer.status;
    let is_refused = status.is_client_error() && status != StatusCode::UNAUTHORIZED;
    (is_refused || status.is_server_error()) && !speaks_of_tls(&answer.text)
}

/// As nginx, Apache and Go say it.
fn speaks_of_tls(text: &str) -> bool {
    [
        "plain HTTP request was sent to HTTPS port",
        "speaking plain HTTP to an SSL-enabled server port",
        "sent an HTTP request to an HTTPS server",
    ]
    .iter()
    .any(|words| text.contains(words))
}

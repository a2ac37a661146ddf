//! Probes of `vestibule check --through`: noted as they are read, and sent to no app.

use http::request::Parts;
use http::{HeaderValue, Response, header};

use super::Proxy;
use super::apps::Found;
use super::body::ResponseBody;
use super::client_conn::ClientConn;
use super::exchange::Exchange;
use super::forward_auth::unforwardable;
use crate::error::RequestError;
use crate::pages;
use crate::portal::Endpoint;
use crate::probe::{Reading, Way};
use crate::request::{self, AllowInPath, AuthRequest, BadAuthRequest, BadRequest, Target};

impl Proxy {
    /// The response to a probe; `None` if the request is none.
    pub(super) fn answer_probe(
        &self,
        connection: &ClientConn,
        exchange: &Exchange,
        head: &Parts,
    ) -> Option<Response<ResponseBody>> {
        let number = self.shared.probes.number(&head.headers)?;
        let trusted = &self.settings.trusted_proxies;
        let client = trusted.client(connection.peer, &head.headers);
        let read = self.read_probe(connection, head, Asked::ByClient);
        let way = match read {
            Ok(For::OwnPage) => Way::OwnPage,
            Ok(For::App) | Err(_) => Way::Forwarded,
        };
        let reading = Reading {
            client: client.known_address().map(|address| address.to_string()),
            request_id: exchange.id.given().map(str::to_owned),
            refused: read.err().map(|error| error.to_string()),
            ..reading(way, head)
        };
        self.shared.probes.note(number, reading);
        Some(pages::no_content().map(ResponseBody::ours))
    }

    /// Whether that is a probe, about which a proxy asks: it is noted, and refused, so that no app
    /// gets it.
    pub(super) fn note_auth_request(
        &self,
        connection: &ClientConn,
        head: &Parts,
        auth_request: &Result<AuthRequest, BadAuthRequest>,
    ) -> bool {
        let Some(number) = self.shared.probes.number(&head.headers) else {
            return false;
        };
        let told = auth_request
            .as_ref()
            .map_err(|bad| *bad)
            .and_then(|auth_request| {
                let client = self
                    .settings
                    .trusted_proxies
                    .client_told(&auth_request.client);
                client.ok_or(auth_request.unreadable_client())
            });
        let (client, read) = match told {
            Ok(client) => {
                let read = self.read_probe(connection, head, Asked::ByProxy);
                (client.known_address(), read)
            }
            Err(bad) => (None, Err(RequestError::ForwardAuth(bad))),
        };
        let kind = auth_request.as_ref().map_or("", |it| it.kind.name());
        let reading = Reading {
            client: client.map(|address| address.to_string()),
            refused: read.err().map(|error| error.to_string()),
            ..reading(Way::Asked(kind.to_owned()), head)
        };
        self.shared.probes.note(number, reading);
        true
    }

    /// Reads it as any other request.
    fn read_probe(
        &self,
        connection: &ClientConn,
        head: &Parts,
        asked: Asked,
    ) -> Result<For, RequestError> {
        let authority = request::parse(head, &self.settings.limits)?;
        let (allow, methods) = match self.apps.find(&authority, connection)? {
            Found::Login(_) => (AllowInPath::default(), &self.settings.limits.methods),
            Found::Apps(site) => {
                let app = site.app(head)?;
                if asked == Asked::ByProxy {
                    unforwardable(site, app, head)?;
                }
                (app.allow_in_path, &app.methods)
            }
        };
        let target = Target::parse(head, allow)?;
        match Endpoint::of(target.path()) {
            Some(_) if asked == Asked::ByProxy => {
                Err(RequestError::ForwardAuth(BadAuthRequest::OwnPage))
            }
            Some(_) => Ok(For::OwnPage),
            None if methods.contains(&head.method) => Ok(For::App),
            None => Err(BadRequest::Method.into()),
        }
    }
}

/// Whose request it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    ByClient,
    ByProxy,
}

enum For {
    App,
    OwnPage,
}

/// What the head says.
fn reading(way: Way, head: &Parts) -> Reading {
    let target = head.uri.path_and_query();
    Reading {
        way,
        client: None,
        method: head.method.to_string(),
        host: match head.uri.host() {
            Some(host) => host.to_owned(),
            None => text(head.headers.get(header::HOST)),
        },
        target: target.map_or_else(String::new, ToString::to_string),
        request_id: None,
        refused: None,
    }
}

fn text(value: Option<&HeaderValue>) -> String {
    let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().into_owned()
}

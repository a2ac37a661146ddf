//! Probes of `vestibule check --through`: noted as they are read, and sent to no app.

use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;

use super::Proxy;
use super::apps::Found;
use super::body::ResponseBody;
use super::client_conn::ClientConn;
use super::exchange::Exchange;
use crate::error::RequestError;
use crate::pages;
use crate::portal::Endpoint;
use crate::probe::{Reading, Way};
use crate::request::{self, AllowInPath, BadRequest, Target};

impl Proxy {
    /// The response to a probe; `None` if the request is none.
    pub(super) fn answer_probe(
        &self,
        connection: &ClientConn,
        exchange: &Exchange,
        request: &Request<Incoming>,
    ) -> Option<Response<ResponseBody>> {
        let number = self.shared.probes.number(request.headers())?;
        let head = &head_of(request);
        let trusted = &self.settings.trusted_proxies;
        let client = trusted.client(connection.peer, &head.headers);
        let host = match head.uri.host() {
            Some(host) => host.to_owned(),
            None => text(head.headers.get(header::HOST)),
        };
        let target = head.uri.path_and_query();
        let read = self.read_probe(connection, head);
        let reading = Reading {
            way: match read {
                Ok(Some(())) => Way::OwnPage,
                _ => Way::Forwarded,
            },
            client: client.known_address().map(|address| address.to_string()),
            method: head.method.to_string(),
            host,
            target: target.map_or_else(String::new, ToString::to_string),
            request_id: exchange.id.given().map(str::to_owned),
            refused: read.err().map(|error| error.to_string()),
        };
        self.shared.probes.note(number, reading);
        let noted = pages::no_content();
        Some(noted.map(ResponseBody::ours))
    }

    /// Reads it as any other request; `Some` if it is for a page of ours.
    fn read_probe(
        &self,
        connection: &ClientConn,
        head: &Parts,
    ) -> Result<Option<()>, RequestError> {
        let authority = request::parse(head, &self.settings.limits)?;
        let (allow, methods) = match self.apps.find(&authority, connection)? {
            Found::Login(_) => (AllowInPath::default(), &self.settings.limits.methods),
            Found::Apps(site) => {
                let app = site.app(head)?;
                (app.allow_in_path, &app.methods)
            }
        };
        let target = Target::parse(head, allow)?;
        if Endpoint::of(target.path()).is_some() {
            return Ok(Some(()));
        }
        if !methods.contains(&head.method) {
            return Err(BadRequest::Method.into());
        }
        Ok(None)
    }
}

/// Its body stays where it is: nobody reads it.
fn head_of(request: &Request<Incoming>) -> Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.version = request.version();
    head.headers = request.headers().clone();
    head
}

fn text(value: Option<&HeaderValue>) -> String {
    let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().into_owned()
}

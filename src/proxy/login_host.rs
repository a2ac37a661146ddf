//! The host of one login for all apps: our own pages, and nothing else.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::Proxy;
use super::apps::Found;
use super::body::ResponseBody;
use super::client_conn::ClientConn;
use super::exchange::Exchange;
use crate::error::RequestError;
use crate::pages;
use crate::portal::{self, HostRole, RequestContext};
use crate::request::{AllowInPath, Authority, Host, Target};
use crate::session::cookie::RequestCookies;
use crate::upstream::ClientBody;

/// `[login] host`.
pub(super) struct LoginHost {
    pub(super) host: Host,
    /// In place of the name of an app.
    name: Arc<str>,
}

impl LoginHost {
    pub(super) fn new(host: Host) -> Self {
        let name = host.as_str().into();
        Self { host, name }
    }
}

impl Proxy {
    /// The way of a request that is for no app: for this host, or for none of ours.
    pub(super) async fn serve_login(
        &self,
        found: Result<Found<'_>, RequestError>,
        connection: &ClientConn,
        exchange: &mut Exchange,
        (mut head, body, authority): (Parts, ClientBody, Authority),
    ) -> Result<Response<ResponseBody>, RequestError> {
        let Ok(Found::Login(login)) = found else {
            let error = found.err().unwrap_or(RequestError::Misdirected);
            return self.asset(&head).ok_or(error);
        };
        exchange.enter_login(&authority, self.settings.public_port);
        let trusted = &self.settings.trusted_proxies;
        let client = trusted.client(connection.peer, &head.headers);
        exchange.note_client(client.address, connection);
        let target = Target::parse(&head, AllowInPath::default())?;
        let Some(page) = self.own_page(&target, &head.headers)? else {
            return start(&head, &target);
        };
        let cookies = RequestCookies::take(&mut head.headers);
        if let Some(unreadable) = &client.unreadable {
            self.shared.report_unreadable(connection.peer, unreadable);
        }
        let context = RequestContext {
            head: &head,
            authority: &authority,
            role: HostRole::Login,
            app: &login.name,
            title: None,
            client: client.address,
            is_client_known: client.known_address().is_some(),
            cookies,
            cache: &connection.cache,
            last_token: &connection.last_token,
        };
        self.serve(connection, &exchange.in_flight, page, context, body)
            .await
    }
}

/// Its first page is the account; there is no other.
fn start(head: &Parts, target: &Target) -> Result<Response<ResponseBody>, RequestError> {
    if target.path() != "/" || !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(RequestError::NotFound);
    }
    let account = HeaderValue::from_static(portal::ACCOUNT);
    Ok(pages::redirect(StatusCode::SEE_OTHER, account).map(ResponseBody::ours))
}

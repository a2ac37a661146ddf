//! Which requests go on when there is too much to do (REL-13, SEC-87).

use std::net::IpAddr;

use super::Proxy;
use super::app::App;
use super::client_conn::ClientConn;
use super::in_flight::InFlight;
use crate::error::RequestError;
use crate::load::Cause;
use crate::login::Visit;
use crate::principal::Principal;

impl Proxy {
    /// Lets a request go on, unless others come first. `principal` is of a session that was looked
    /// up and found; `client` is where the request comes from, behind trusted proxies, too.
    pub(super) fn admit(
        &self,
        connection: &ClientConn,
        in_flight: &InFlight,
        client: IpAddr,
        principal: Option<&Principal>,
    ) -> Result<(), RequestError> {
        let begun = if let Some(principal) = principal {
            let usage = connection.usage_of_user(principal.identity().user());
            let usage = usage.ok_or(Cause::Connections);
            usage.and_then(|usage| in_flight.admit(&usage, || true))
        } else {
            let usage = connection.usage_of_stranger(client);
            in_flight.admit(&usage, || connection.is_within_share())
        };
        begun.map_err(RequestError::Overloaded)
    }

    /// Lets a request that has no session be told so. A form is kept in a room of its own, and
    /// nobody loses work because others come first.
    pub(super) fn admit_to_login(
        &self,
        app: &App,
        visit: &Visit<'_>,
        admitted: Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        if app.keep_forms && self.login.is_lost_form(visit.head, visit.authority) {
            return Ok(());
        }
        admitted
    }
}

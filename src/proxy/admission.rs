//! Which requests go on when there is too much to do (REL-13, SEC-87).

use std::net::IpAddr;

use super::Proxy;
use super::activity::ActiveRequest;
use super::app::App;
use super::connection::Connection;
use crate::error::RequestError;
use crate::login::Visit;
use crate::overload::Cause;

impl Proxy {
    /// Lets a request go on, unless others come first. `user` is somebody whose session was looked
    /// up and found; `client` is where the request comes from, behind trusted proxies, too.
    pub(super) fn admit(
        &self,
        connection: &Connection,
        active: &ActiveRequest,
        client: IpAddr,
        user: Option<&str>,
    ) -> Result<(), RequestError> {
        let load = &self.life.load;
        let begun = if let Some(user) = user {
            let usage = connection.usage_of_user(load, user);
            let usage = usage.ok_or(Cause::Connections);
            usage.and_then(|usage| active.admit(&usage, || true))
        } else {
            let usage = connection.usage_of_stranger(load, client);
            active.admit(&usage, || connection.admitted().is_within_share())
        };
        begun.map_err(RequestError::Overloaded)
    }

    /// The same for a page of our own. A cookie alone makes nobody a user: anybody can make one
    /// up.
    pub(super) async fn admit_to_ours(
        &self,
        connection: &Connection,
        active: &ActiveRequest,
        visit: &Visit<'_>,
    ) -> Result<(), RequestError> {
        let caller = self.callers.peek(visit.shown()).await;
        let signed_in = caller.map_err(RequestError::Session)?.into_session();
        let user = signed_in.as_ref().map(|(_, who)| who.identity().user());
        self.admit(connection, active, visit.client, user)
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

//! Who goes on when there is too much to do (REL-13).

use super::Proxy;
use super::activity::ActiveRequest;
use super::app::App;
use super::connection::Connection;
use crate::error::RequestError;
use crate::login::Visit;

/// Lets a request go on, unless others come first. `signed_in` is known for sure.
pub(super) fn admit(
    connection: &Connection,
    active: &ActiveRequest,
    signed_in: bool,
) -> Result<(), RequestError> {
    if signed_in {
        connection.activity.note_user();
    }
    admit_as(connection, active, signed_in)
}

fn admit_as(
    connection: &Connection,
    active: &ActiveRequest,
    signed_in: bool,
) -> Result<(), RequestError> {
    connection.activity.note_session(signed_in);
    if !connection.is_of_client() {
        return Ok(()); // the watchdog asks whether we live, not whether we are busy
    }
    active.admit(signed_in).map_err(RequestError::Overloaded)
}

impl Proxy {
    /// The same for a page of our own, for which a session is looked up only when it matters.
    pub(super) async fn admit_to_ours(
        &self,
        connection: &Connection,
        active: &ActiveRequest,
        visit: &Visit<'_>,
    ) -> Result<(), RequestError> {
        let signed_in = if self.life.load.is_calm() {
            visit.cookies.session.is_some()
        } else {
            self.login.peek(&visit.cookies).await?.is_some()
        };
        admit_as(connection, active, signed_in)
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

//! Who sends a request, and whether they may: the same for requests that are sent on from here, and for
//! those that a proxy asks about.

use std::net::IpAddr;
use std::sync::Arc;

use super::Proxy;
use super::app::App;
use super::apps::Site;
use super::client_conn::ClientConn;
use super::credentials::Shown;
use super::exchange::Exchange;
use super::identify::Proof;
use crate::access::{Decision, Permit};
use crate::error::RequestError;
use crate::portal::RequestContext;
use crate::principal::Principal;
use crate::request::Target;

/// What was found of a request.
pub(super) struct Judged {
    pub(super) proof: Proof,
    pub(super) principal: Option<Principal>,
    /// An error where there is too much to do, and others come first.
    pub(super) admitted: Result<(), RequestError>,
    pub(super) decision: Decision,
    /// Of users and configuration, from before it was judged.
    pub(super) revision: u64,
}

impl Proxy {
    pub(super) async fn judge(
        &self,
        connection: &ClientConn,
        exchange: &mut Exchange,
        context: &RequestContext<'_>,
        (site, app): (&Site, &Arc<App>),
        (target, shown): (&Target, Option<Shown>),
    ) -> Result<Judged, RequestError> {
        let revision = self.revision();
        let (proof, principal) = self.identify(context, app, shown, exchange).await?;
        // First, so that the page of an app in maintenance counts for its user, too.
        let admitted = connection.admit(&exchange.in_flight, context.client, principal.as_ref());
        if let Err(closed) = app.maintenance.check(principal.as_ref()) {
            admitted?;
            return Err(closed);
        }
        let (head, known) = (context.head, context.known_address());
        let authority = context.authority;
        let decision = app.decide(target, authority, head, site, principal.as_ref(), known)?;
        Ok(Judged {
            proof,
            principal,
            admitted,
            decision,
            revision,
        })
    }
}

/// What a decision comes to for this user, or for nobody's request; `None` asks to sign in.
pub(super) fn permit_of(
    decision: Decision,
    principal: Option<&Principal>,
    client: Option<IpAddr>,
) -> Result<Option<Permit>, RequestError> {
    match decision {
        Decision::Allow(permit) => Ok(Some(permit)),
        Decision::Forbid if principal.is_none() => Err(RequestError::ForbiddenToAll),
        Decision::Forbid => Err(RequestError::Forbidden),
        Decision::Login => Ok(None),
        Decision::OutOfScope => Err(RequestError::OutOfScope),
        Decision::WrongNetwork => Err(RequestError::WrongNetwork(client.into())),
    }
}

//! Who sends a request.

use std::sync::Arc;

use http::HeaderValue;

use super::Proxy;
use super::app::App;
use super::credentials;
use super::exchange::Exchange;
use crate::auth::callers::Caller;
use crate::auth::credential::Credential;
use crate::error::RequestError;
use crate::portal::RequestContext;
use crate::principal::Principal;
use crate::session::Session;
use crate::session::cookie;

/// By what it is known who sends a request.
pub(super) type Proof = (Option<Arc<Session>>, Option<Credential>);

impl Proxy {
    /// Who sends a request, by the token or else the session that it shows. This is an access: the
    /// session does not idle.
    pub(super) async fn identify(
        &self,
        context: &RequestContext<'_>,
        app: &App,
        shown: Option<credentials::Shown>,
        exchange: &mut Exchange,
    ) -> Result<(Proof, Option<Principal>), RequestError> {
        if let Some(shown) = shown
            && let Some(Caller::Credential(credential, principal)) =
                self.identify_by(&shown, app, context)?
        {
            exchange.note_credential(&credential, &principal);
            return Ok(((None, Some(credential)), Some(principal)));
        }
        let caller = self.callers.identify(context.shown(), context.cache).await;
        let Some((session, principal)) = caller.map_err(RequestError::Session)?.into_session()
        else {
            return Ok(((None, None), None));
        };
        self.renew(context, &session, &mut exchange.renewed);
        exchange.note_user(&session, &principal);
        Ok(((Some(session), None), Some(principal)))
    }

    /// Gives the browser the id of an old session under the name that no script can set. The same
    /// id: requests of the old name may be on their way, and all of them are good.
    fn renew(
        &self,
        context: &RequestContext<'_>,
        session: &Session,
        cookies: &mut Vec<HeaderValue>,
    ) {
        if context.cookies.by_old_name
            && let Some(id) = &context.cookies.session
        {
            let kept_for = self.sessions.kept_for(session);
            cookies.push(cookie::set_session(id, kept_for));
            cookies.extend(context.cookies.expire_old());
        }
    }
}

//! Who sends a request.

use std::sync::Arc;

use http::HeaderValue;

use super::Proxy;
use super::app::App;
use super::credentials::{self, By};
use super::exchange::{Exchange, Untaken};
use crate::auth::credential::Credential;
use crate::error::RequestError;
use crate::metrics::CallerKind;
use crate::portal::RequestContext;
use crate::principal::Principal;
use crate::session::Session;
use crate::session::cookie;

/// By what it is known who sends a request.
#[derive(Default)]
pub(super) struct Proof {
    pub(super) session: Option<Arc<Session>>,
    pub(super) credential: Option<Credential>,
    /// An `Authorization` that is the app's, because there is a session.
    pub(super) authorization: Option<Box<HeaderValue>>,
}

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
        let mut proof = Proof::default();
        if let Some(shown) = shown {
            if shown.is_token() && !app.credentials().tokens {
                exchange.untaken = Untaken::Token;
            }
            match self.identify_by(shown, app, context).await? {
                By::Credential(credential, principal) => {
                    app.counts.callers.note(match credential {
                        Credential::Password(_) => CallerKind::Basic,
                        Credential::Token(_) => CallerKind::Token,
                    });
                    exchange.note_credential(&credential, &principal);
                    proof.credential = Some(credential);
                    return Ok((proof, Some(principal)));
                }
                By::Session(authorization) => proof.authorization = authorization,
            }
        }
        let caller = self.callers.identify(context.shown(), context.cache).await;
        let Some((session, principal)) = caller.map_err(RequestError::Session)?.into_session()
        else {
            app.counts.callers.note(CallerKind::Anonymous);
            return Ok((proof, None));
        };
        app.counts.callers.note(CallerKind::Session);
        self.renew(context, &session, &mut exchange.renewed);
        exchange.note_user(&session, &principal);
        proof.session = Some(session);
        Ok((proof, Some(principal)))
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

//! Saved POSTs: forms that met an ended session, kept for the login, and sent after it by the usual
//! way.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Response, header};

use super::Proxy;
use super::app::{Allowed, App, Prepared};
use super::body::ResponseBody;
use super::client_conn::ClientConn;
use super::exchange::Exchange;
use crate::error::RequestError;
use crate::identity;
use crate::portal::saved_posts::store::{PostId, SavedPost, Sender};
use crate::portal::saved_posts::{self, Click, Proof};
use crate::portal::{self, RequestContext};
use crate::principal::{Identity, Principal};
use crate::request::Target;
use crate::session::Session;
use crate::upstream::{self, ClientBody, RequestBody, Requester, UpstreamError, hop_by_hop};

/// The request of a Send button, which sends a saved POST to the application.
struct Replay {
    app: Arc<App>,
    allowed: Allowed,
    session: Arc<Session>,
    connection: Arc<ClientConn>,
}

impl Proxy {
    /// Lets a request that has no session be told so, although there is too much to do: what is
    /// saved has a room of its own, and nobody loses work because others come first.
    pub(super) fn admit_to_login(
        &self,
        app: &App,
        context: &RequestContext<'_>,
        admitted: Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        if app.keep_forms
            && self
                .portal
                .saved_posts()
                .accepts(context.head, context.authority)
        {
            return Ok(());
        }
        admitted
    }

    /// The response to a request that needs a session and has none. A form that would be lost is
    /// kept for the login, if the app is one for that.
    pub(super) async fn ask(
        &self,
        context: RequestContext<'_>,
        app: &App,
        target: &Target,
        saved_post: Option<PostId>,
        body: ClientBody,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let limit = self.settings.limits.target;
        if let Some(id) = saved_post {
            let saved_posts = self.portal.saved_posts();
            let asked = saved_posts.ask_first(&context, target, id, body).await?;
            return Ok(asked.map(ResponseBody::ours));
        }
        if !app.keep_forms
            || !self
                .portal
                .saved_posts()
                .accepts(context.head, context.authority)
        {
            let asked = self.portal.ask_to_sign_in(&context, target, limit).await;
            return Ok(asked?.map(ResponseBody::ours));
        }
        let most = app.longest_form();
        let saved = self
            .portal
            .saved_posts()
            .save(&context, &app.name, target, limit, (body, most))
            .await?;
        if let Some(line) = &mut exchange.line {
            line.received = saved.bytes as u64;
        }
        Ok(saved.response.map(ResponseBody::ours))
    }

    /// Who sent a form of another site that the app takes, after a click.
    pub(super) fn sender(
        &self,
        app: &App,
        context: &RequestContext<'_>,
        target: &Target,
    ) -> Option<Sender> {
        let sender = self
            .portal
            .saved_posts()
            .sender(context.head, context.authority)?;
        app.takes_post_from(target, sender.origin())
            .then_some(sender)
    }

    /// Keeps such a form and asks for a click, with or without a session: browsers send none along
    /// from another site. `principal` is the user, if one did.
    pub(super) async fn ask_for_click(
        &self,
        (sender, principal): (&Sender, Option<&Principal>),
        context: &RequestContext<'_>,
        app: &App,
        target: &Target,
        body: ClientBody,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let (limit, saved_posts) = (self.settings.limits.target, self.portal.saved_posts());
        let user = principal.map(|principal| principal.identity().user());
        let start = app.part.path();
        let saved = saved_posts.save_from(
            (sender, user),
            context,
            (&app.name, &start),
            target,
            limit,
            (body, app.longest_form()),
        );
        let saved = saved.await?;
        if let Some(line) = &mut exchange.line {
            line.received = saved.bytes as u64;
        }
        Ok(saved.response.map(ResponseBody::ours))
    }

    /// The request itself is ours and goes nowhere: what is sent is the form that it names, to
    /// where the form was going, for whoever is signed in now. A form that is not theirs, not for
    /// here or not there any more leads back to the page.
    pub(super) async fn replay(
        self: &Arc<Self>,
        app: &Arc<App>,
        allowed: Allowed,
        id: PostId,
        body: ClientBody,
        connection: &Arc<ClientConn>,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let Some(session) = allowed.permitted.session.clone() else {
            return Err(portal::session_ended(&allowed.head));
        };
        let key = session.key();
        let click = Click {
            authority: &allowed.permitted.authority,
            target: &allowed.target,
            id,
        };
        let proven = self.portal.saved_posts();
        let proven = proven.proven(&allowed.head, &click, &key, body).await?;
        let Some(proof) = proven else {
            return Ok(saved_posts::to_page().map(ResponseBody::ours));
        };
        let public = app.is_public(&allowed.permit);
        let permitted = allowed.permitted.clone();
        let replay = Replay {
            app: Arc::clone(app),
            allowed,
            session,
            connection: Arc::clone(connection),
        };
        let ends = self.sessions.ends();
        // A task of its own: whoever clicks twice breaks the first request off, and the form would
        // be gone with it.
        let sent = Arc::clone(self).send_replay(replay, proof, id);
        let sent = self.shared.shutdown.connections().spawn(sent).await;
        let Some(mut response) = sent.map_err(|_| RequestError::Panicked)?? else {
            return Ok(saved_posts::to_page().map(ResponseBody::ours));
        };
        if self.has_changed(ends, &permitted) {
            self.permit_still(app, &permitted).await?;
        }
        self.clean(app, response.headers_mut(), public, &permitted)
            .await;
        let live = &self.shared.live;
        Ok(response.map(|body| ResponseBody::forwarded(body, live, permitted)))
    }

    /// Takes the form out, and sends it; `None` where there is none.
    async fn send_replay(
        self: Arc<Self>,
        replay: Replay,
        proof: Proof,
        id: PostId,
    ) -> Result<Option<Response<upstream::ResponseBody>>, RequestError> {
        let Replay {
            app,
            mut allowed,
            session,
            connection,
        } = replay;
        let key = session.key();
        let click = Click {
            authority: &allowed.permitted.authority,
            target: &allowed.target,
            id,
        };
        let user = allowed.permit.identity().map_or("", Identity::user);
        let saved_posts = self.portal.saved_posts();
        let taken = saved_posts.take(proof, &click, (&key, user)).await?;
        let taken = taken.filter(|form| {
            // The configuration may be another one by now.
            let mut senders = form.head.sender.iter();
            senders.all(|sender| app.takes_post_from(&allowed.target, sender.origin()))
        });
        let Some(form) = taken else {
            return Ok(None);
        };
        let body = RequestBody::whole(form.body.clone());
        app.check_length(&body)?; // it may be another limit by now
        app.counts.received.inc_by(form.body.len() as u64);
        write_content(&mut allowed.head.headers, &form);
        let mut prepared = app.prepare(allowed, &connection.peer_header, body);
        let headers = prepared.request.headers_mut();
        headers.insert(header::CONTENT_LENGTH, form.body.len().into());
        let Prepared {
            permit,
            permitted,
            request,
            client,
        } = prepared;
        let user = permit.identity().map(|who| who.user().to_owned());
        let auth = self.connection_auth(&connection, Some(&session), request.version());
        let requester = Requester {
            client,
            session: Some(&session),
        };
        let forwarded = app
            .upstreams
            .forward(permit, request, requester, auth, None);
        let forwarded = self
            .while_permitted(&app, &permitted, None, forwarded)
            .await;
        let unsent = matches!(
            forwarded,
            Ok(Err(UpstreamError::Busy
                | UpstreamError::Connect(_)
                | UpstreamError::ConnectTimeout))
        );
        let bytes = form.body.len();
        let (session, app) = (key.short(), &*app.name);
        if unsent {
            tracing::info!(
                target: "audit", %client, user, %session, app, bytes,
                "form not sent: the app cannot be reached"
            );
            self.portal.saved_posts().put_back(key, form).await;
        } else {
            let answered = matches!(forwarded, Ok(Ok(_)));
            tracing::info!(target: "audit", %client, user, %session, app, bytes, answered, "form sent");
        }
        forwarded?.map(Some).map_err(RequestError::Upstream)
    }
}

/// Has the request of the button say of its body what the form said: the app gets those bytes.
/// Before the request is prepared, so that the headers that the configuration sets stand above these;
/// what the button nominates goes first, so that it removes none of them (SEC-38).
fn write_content(headers: &mut HeaderMap, form: &SavedPost) {
    hop_by_hop::strip(headers);
    strip_content(headers);
    headers.insert(header::CONTENT_TYPE, form.head.content_type.clone());
    if let Some(sender) = &form.head.sender {
        sender.restore(headers);
    }
}

/// Removes what a request says of its own body. Spelled as CGI has it, too (SEC-36).
fn strip_content(headers: &mut HeaderMap) {
    let of_body = |name: &&HeaderName| {
        let folded = identity::fold(name.as_str());
        folded.starts_with("content-") || matches!(&*folded, "digest" | "repr-digest")
    };
    let of_body: Vec<_> = headers.keys().filter(of_body).cloned().collect();
    for name in of_body {
        headers.remove(name);
    }
}

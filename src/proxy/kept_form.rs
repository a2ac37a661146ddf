//! Forms that met an ended session: kept for the login, and sent after it by the usual way.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, Version, header};
use hyper::body::Incoming;

use super::Proxy;
use super::app::App;
use super::body::AnswerBody;
use super::connection::Connection;
use super::live::Permitted;
use crate::access::Permit;
use crate::error::RequestError;
use crate::forwarded::Client;
use crate::identity;
use crate::login::kept_forms::{FormId, KeptForm};
use crate::login::{Login, Visit};
use crate::request::{Authority, Target};
use crate::session::Session;
use crate::telemetry::AccessLine;
use crate::upstream::{RequestBody, ResponseBody, UpstreamError};

/// A request by which somebody sends a kept form; the rules have let it through.
pub(super) struct Sending {
    pub(super) id: FormId,
    pub(super) app: Arc<App>,
    pub(super) permit: Permit,
    pub(super) head: Parts,
    /// Without the parameter that names the form.
    pub(super) target: Target,
    pub(super) authority: Authority,
    pub(super) client: Client,
    pub(super) permitted: Permitted,
    pub(super) connection: Arc<Connection>,
}

/// A form on its way, as logs name it.
struct Delivery {
    app: Arc<App>,
    permitted: Permitted,
    session: Arc<Session>,
    connection: Arc<Connection>,
    version: Version,
    client: IpAddr,
    user: Option<String>,
    form: KeptForm,
}

impl Proxy {
    /// The answer to a request that needs a session and has none. A form that would be lost is
    /// kept for the login, if the app is one for that.
    pub(super) async fn ask(
        &self,
        visit: Visit<'_>,
        app: &App,
        target: &Target,
        sends: Option<FormId>,
        body: Incoming,
        line: Option<&mut AccessLine>,
    ) -> Result<Response<AnswerBody>, RequestError> {
        if sends.is_some() {
            return Ok(Login::ask_again(visit.head)?.map(AnswerBody::ours));
        }
        if !app.keep_forms || !self.login.is_lost_form(visit.head, visit.authority) {
            return Ok(Login::ask(visit.head, target).map(AnswerBody::ours));
        }
        let limit = self.settings.limits.target;
        let kept = self
            .login
            .keep_form(&visit, &app.name, target, limit, body)
            .await?;
        if let Some(line) = line {
            line.received = kept.bytes as u64;
        }
        Ok(kept.answer.map(AnswerBody::ours))
    }

    /// The request itself is ours and goes nowhere: what is sent is the form that it names, to
    /// where the form was going, for whoever is signed in now. A form that is not theirs, not for
    /// here or not there any more leads back to the page.
    pub(super) async fn send_kept_form(
        self: &Arc<Self>,
        sending: Sending,
        body: Incoming,
    ) -> Result<Response<AnswerBody>, RequestError> {
        let Sending {
            id,
            app,
            permit,
            mut head,
            target,
            authority,
            client,
            permitted,
            connection,
        } = sending;
        let Some(session) = permitted.session.clone() else {
            return Ok(Login::ask_again(&head)?.map(AnswerBody::ours));
        };
        let key = session.key();
        let taken = self
            .login
            .take_form((&head, &authority), &key, &target, id, body)
            .await?;
        let Some(form) = taken else {
            return Ok(Login::to_forms().map(AnswerBody::ours));
        };
        app.counts.received.inc_by(form.body.len() as u64);
        let body = RequestBody::whole(form.body.clone());
        strip_content(&mut head.headers); // before we say who it is for
        app.prepare(
            &mut head,
            target,
            &authority,
            (&client, &connection.peer_header),
            &permit,
            Some(&*session),
        );
        let headers = &mut head.headers;
        headers.insert(header::CONTENT_TYPE, form.content_type.clone());
        headers.insert(header::CONTENT_LENGTH, form.body.len().into());
        let delivery = Delivery {
            app: Arc::clone(&app),
            permitted: permitted.clone(),
            session: Arc::clone(&session),
            connection,
            version: head.version,
            client: client.address,
            user: permit.identity().map(|who| who.user().to_owned()),
            form,
        };
        let public = permit.is_anonymous();
        let request = Request::from_parts(head, body);
        // A task of its own: whoever clicks twice breaks the first request off, and the form would
        // be gone with it.
        let delivered = Arc::clone(self).deliver(delivery, permit, request);
        let delivered = self.life.connections.spawn(delivered).await;
        let mut response = delivered.map_err(|_| RequestError::Panicked)??;
        self.clean(&app, response.headers_mut(), public, Some(&*session))
            .await;
        let live = &self.life.live;
        Ok(response.map(|body| AnswerBody::forwarded(body, live, permitted)))
    }

    async fn deliver(
        self: Arc<Self>,
        delivery: Delivery,
        permit: Permit,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let Delivery {
            app,
            permitted,
            session,
            connection,
            version,
            client,
            user,
            form,
        } = delivery;
        let auth = self.connection_auth(&connection, Some(&session), version);
        let forwarded = app.upstreams.forward(permit, request, client, auth);
        let forwarded = self
            .while_permitted(&app, &permitted, None, forwarded)
            .await;
        let unsent = matches!(
            forwarded,
            Ok(Err(UpstreamError::Busy
                | UpstreamError::Connect(_)
                | UpstreamError::ConnectTimeout))
        );
        let (key, bytes) = (session.key(), form.body.len());
        let (session, app) = (key.short(), &*app.name);
        if unsent {
            tracing::info!(
                target: "audit", %client, user, %session, app, bytes,
                "form not sent: the app cannot be reached"
            );
            self.login.put_form_back(key, form);
        } else {
            let answered = matches!(forwarded, Ok(Ok(_)));
            tracing::info!(target: "audit", %client, user, %session, app, bytes, answered, "form sent");
        }
        forwarded?.map_err(RequestError::Upstream)
    }
}

/// Removes what the request of the button says of its own body: the app gets other bytes. Spelled
/// as CGI has it, too (SEC-36).
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

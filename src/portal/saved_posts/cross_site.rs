//! Forms of other sites that an app takes, such as the answer of an identity provider: browsers
//! send no session along with them (RFC 6265bis §5.2, `SameSite=Lax`), and a visitor who filled in a form
//! elsewhere has not agreed to send it here as themselves. So it waits for a click on our own page,
//! which names sender and target, and for a login where one is needed.
//!
//! Browsers hold the login cookie back as well, so the response sets none: a new one would take the
//! place of the one that the browser has, and whatever waits for that one would be lost. The form
//! waits for its page, and from the click on, which brings the cookies along, for session or browser.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};

use super::store::{self, Destination, Owner, PostId, Sender};
use super::{Saved, SavedPosts};
use crate::error::RequestError;
use crate::pages::CrossSitePostView;
use crate::portal::csrf::Binding;
use crate::portal::form::Form;
use crate::portal::login_cookie::LoginCookie;
use crate::portal::{RequestContext, challenge, navigation, session_ended};
use crate::request::{Authority, ClientKind, Target};
use crate::upstream::ClientBody;

impl SavedPosts {
    /// Who sent a form that can be kept for a click: a page of another site, by loading a page into
    /// a tab.
    pub(crate) fn sender(&self, head: &Parts, authority: &Authority) -> Option<Sender> {
        if !self.can_keep(head) || navigation::check_load(&head.headers).is_err() {
            return None;
        }
        Sender::of(&head.headers, authority)
    }

    /// Keeps a form of another site for its page, and asks with that page, which names both sides.
    /// `user` is whose session came with it: then it is theirs, like the room that it takes (SEC-87).
    /// `start` is the path of the app.
    pub(crate) async fn save_from(
        &self,
        (sender, user): (&Sender, Option<&str>),
        context: &RequestContext<'_>,
        (app, start): (&Arc<str>, &str),
        target: &Target,
        max_target: usize,
        body: (ClientBody, u64),
    ) -> Result<Saved, RequestError> {
        let content_type = context.head.headers.get(header::CONTENT_TYPE);
        let to = Destination {
            app,
            host: context.authority.as_str(),
            target: target.as_str(),
            content_type: content_type.ok_or(RequestError::UnsupportedMediaType)?,
            sender: Some(sender),
        };
        let user = user.map(Arc::from);
        let owner = (None, user.as_ref());
        let kept = self.keep(context, &to, owner, max_target, body).await?;
        let origin = sender.origin().to_str().unwrap_or_default(); // it is in the configuration
        tracing::info!(
            target: "audit", client = %context.client, origin, app = &**app, bytes = kept.bytes,
            "form of another site kept"
        );
        let view = CrossSitePostView {
            host: to.host,
            csrf: &self.csrf.token(Binding::Page(kept.id), context.authority),
            id: &kept.id.to_string(),
            start,
            action: &store::address(to.target, kept.id),
            origin,
            path: target.path(),
            multipart: store::is_multipart_form(to.content_type),
            size: kept.bytes,
        };
        let page = self.pages.titled(context.title).cross_site_post(&view);
        Ok(Saved {
            bytes: kept.bytes,
            response: page.into_response(),
        })
    }

    /// The click of a browser that is not signed in: the form waits for it from now on, and the login
    /// comes first. Everything else that looks like our button belongs to a session that has ended.
    pub(crate) async fn ask_first(
        &self,
        context: &RequestContext<'_>,
        target: &Target,
        id: PostId,
        body: ClientBody,
    ) -> Result<Response<Bytes>, RequestError> {
        let (head, authority) = (context.head, context.authority);
        let token = Form::read_plain(body).await?.take_optional("csrf")?;
        if !self.csrf.proves_click(head, authority, &token, id)? {
            return Err(session_ended(head));
        }
        navigation::check_load(&head.headers)?;
        let cookie = LoginCookie::after(id, &self.csrf, context);
        let new = self.csrf.login_cookie_after(id, authority);
        let browsers = [cookie.as_bytes(), new.as_bytes()].map(Owner::browser);
        let (host, target) = (authority.as_str(), target.as_str());
        let claimed = self.store.claim(browsers.into(), host, target, id).await;
        if !claimed.map_err(RequestError::Session)? {
            return Err(session_ended(head));
        }
        let page = self.login_form.ask_first(context, &cookie).await?;
        let page = page.status(StatusCode::UNAUTHORIZED);
        let challenge = challenge(ClientKind::Browser);
        Ok(page
            .header(header::WWW_AUTHENTICATE, challenge)
            .into_response())
    }

    /// Forgets the form that a page shows, wherever clicks on that page may have left it.
    pub(super) async fn discard_of_page(
        &self,
        context: &RequestContext<'_>,
        id: PostId,
    ) -> Result<(), RequestError> {
        let new = self.csrf.login_cookie_after(id, context.authority);
        let shown = context.cookies.login.as_ref().map(HeaderValue::as_bytes);
        let browsers = shown
            .into_iter()
            .chain([new.as_bytes()])
            .map(Owner::browser);
        let session = self.store.session_of(context);
        let owners = browsers.chain(session.map(Owner::Session));
        let host = context.authority.as_str();
        let discarded = self.store.discard_of_page(owners, host, id).await;
        if let Some(form) = discarded.map_err(RequestError::Session)? {
            tracing::info!(
                target: "audit", client = %context.client, user = form.user.as_deref(),
                session = session.map(|key| key.short().to_string()), app = &*form.app,
                bytes = form.bytes, "form discarded"
            );
        }
        Ok(())
    }
}

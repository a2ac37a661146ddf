//! Saved POSTs: what becomes of a form that met an ended session. It is kept until the login, shown
//! after it, then sent or forgotten.

mod at_login;
mod cross_site;
pub(crate) mod store;
mod taking;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::ask::{RETURN_TO, framed, login_of};
use super::csrf::{self, Binding, Csrf};
use super::form::Form;
use super::login_cookie::LoginCookie;
use super::login_form::LoginForm;
use super::return_to::ReturnTo;
use super::{
    FORM, RequestContext, ask_to_sign_in, challenge, is_page_load, navigation, session_ended,
};
use crate::auth::callers::Callers;
use crate::clock::Clock;
use crate::error::RequestError;
use crate::pages::{self, Framed, Pages, SavedPostView, SavedPostsView};
use crate::request::{AllowInPath, Authority, ClientKind, Target};
use crate::session::{SessionId, SessionKey, Sessions};
use crate::upstream::ClientBody;

use store::{Destination, Owner, PostId, SavedPost, SavedPostStore, Sender, Unread};

/// A longer one is not kept, as no login returns to it (SEC-63).
const MAX_TARGET: usize = 2048;

/// A form was kept.
pub(crate) struct Saved {
    /// Of its body.
    pub(crate) bytes: usize,
    pub(crate) response: Response<Bytes>,
}

/// What is kept.
struct Kept {
    id: PostId,
    bytes: usize,
}

/// The request of a button that sends what was kept.
pub(crate) struct Click<'a> {
    pub(crate) authority: &'a Authority,
    /// Where the form was going.
    pub(crate) target: &'a Target,
    pub(crate) id: PostId,
}

/// Somebody has pressed that button.
pub(crate) struct Proof {
    /// On the page that shows a form of another site.
    is_of_page: bool,
}

/// What waits, and the page that shows it.
pub(crate) struct SavedPosts {
    pub(super) callers: Arc<Callers>,
    pub(super) clock: Clock,
    pub(super) csrf: Arc<Csrf>,
    pub(super) login_form: LoginForm,
    pub(super) pages: Arc<Pages>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) store: Arc<SavedPostStore>,
}

impl SavedPosts {
    /// Whether a request that has no session is a form that somebody filled in on a page of this
    /// host. Only a browser that says so is believed, else any page could leave its forms here
    /// for others to send.
    pub(crate) fn accepts(&self, head: &Parts, authority: &Authority) -> bool {
        self.can_keep(head) && csrf::is_from_own_page(&head.headers, authority)
    }

    /// Whether a request is a form that somebody sent by loading a page.
    fn can_keep(&self, head: &Parts) -> bool {
        let mut kinds = head.headers.get_all(header::CONTENT_TYPE).iter();
        let is_form = match (kinds.next(), kinds.next()) {
            (Some(kind), None) => store::is_form(kind),
            _ => false,
        };
        self.store.are_on()
            && head.method == Method::POST
            && is_form
            && !head.headers.contains_key(header::CONTENT_ENCODING)
            && is_page_load(&head.headers)
    }

    /// Keeps a form for whoever signs in next with this browser, and asks them to: 401 with the
    /// login form. `max_target` is what a request may have,
    /// and `most` what the app takes of a body.
    pub(crate) async fn save(
        &self,
        context: &RequestContext<'_>,
        app: &Arc<str>,
        target: &Target,
        max_target: usize,
        (body, most): (ClientBody, u64),
    ) -> Result<Saved, RequestError> {
        let (ended, user) = self.former_session(context, app)?.unzip();
        let content_type = context.head.headers.get(header::CONTENT_TYPE);
        let to = Destination {
            app,
            host: context.authority.as_str(),
            target: target.as_str(),
            content_type: content_type.ok_or(RequestError::UnsupportedMediaType)?,
            sender: None,
        };
        let cookie = LoginCookie::of(context)?;
        let browser = Some(Owner::browser(cookie.as_bytes()));
        let owner = (browser, user.as_ref());
        let kept = self.keep(context, &to, owner, max_target, (body, most));
        let Kept { bytes, .. } = kept.await?;
        tracing::info!(
            target: "audit", client = %context.client, user = user.as_deref(),
            session = ended.map(|key: SessionKey| key.short().to_string()), app = &**app, bytes, "form kept"
        );
        let page = if navigation::is_framed(&context.head.headers) {
            let why = Framed::Saved(store::SAVED_FOR);
            cookie.set_on(framed(&self.pages, context, login_of(context), why))
        } else {
            let page = self.login_form.ask_first(context, &cookie).await?;
            let page = page.status(StatusCode::UNAUTHORIZED);
            page.header(header::WWW_AUTHENTICATE, challenge(ClientKind::Browser))
        };
        Ok(Saved {
            bytes,
            response: page.into_response(),
        })
    }

    /// Keeps a form for a browser, else for its page, where there is room. `user` is whose session had
    /// ended.
    async fn keep(
        &self,
        context: &RequestContext<'_>,
        to: &Destination<'_>,
        (browser, user): (Option<Owner>, Option<&Arc<str>>),
        max_target: usize,
        (body, most): (ClientBody, u64),
    ) -> Result<Kept, RequestError> {
        let length = to.target.len();
        let fits = length <= MAX_TARGET && length + store::LENGTH <= max_target;
        let user_name = user.map(|user| &**user);
        let read = if !fits {
            Err(Unread::TooLarge)
        } else if let Some(mut slot) = self.store.reserve(context.client, user_name, to) {
            let read = store::read(body, &mut slot, most).await;
            read.map(|body| (body, slot))
        } else {
            Err(Unread::Lost)
        };
        let (body, slot) = read.map_err(|why| {
            if !matches!(why, Unread::OverLimit) {
                tracing::warn!(
                    target: "audit", client = %context.client, app = &**to.app,
                    "form not kept: too large, too slow, or there is no room"
                );
            }
            not_kept(&why, to.sender)
        })?;
        let bytes = body.len();
        let user = user.map(Arc::clone);
        let saved = self.store.save(browser, user, to, body, slot).await;
        let id = saved.map_err(RequestError::NoRandomness)?;
        let id = id.ok_or_else(|| {
            tracing::warn!(
                target: "audit", client = %context.client, app = &**to.app,
                "form not kept: the browser has too many"
            );
            not_kept(&Unread::Lost, to.sender)
        })?;
        Ok(Kept { id, bytes })
    }

    /// The session that this browser had, and whose it was; `None` when it shows none. One that
    /// nobody remembers may have been anybody's: its form would wait for whoever signs in next.
    fn former_session(
        &self,
        context: &RequestContext<'_>,
        app: &str,
    ) -> Result<Option<(SessionKey, Arc<str>)>, RequestError> {
        let Some(key) = context.cookies.session.as_ref().map(SessionId::key) else {
            return Ok(None);
        };
        let former = self.store.former_users();
        let Some(former) = former.of(&key, context.authority.host()) else {
            tracing::warn!(
                target: "audit", client = %context.client, session = %key.short(), app,
                "form not kept: whose session had ended is not known"
            );
            return Err(RequestError::FormNotKept);
        };
        Ok(Some(former))
    }

    /// What waits for this session, with buttons.
    pub(super) async fn show(
        &self,
        context: RequestContext<'_>,
    ) -> Result<Response<Bytes>, RequestError> {
        let Some((session, _)) = context.session(&self.callers).await? else {
            let target = Target::parse(context.head, AllowInPath::default())
                .map_err(RequestError::BadRequest)?;
            return ask_to_sign_in(&context, &target);
        };
        let key = session.key();
        let host = context.authority.as_str();
        let waiting = self.store.waiting(Owner::Session(key), host).await;
        let waiting = waiting.map_err(RequestError::Session)?;
        let texts: Vec<_> = waiting
            .iter()
            .map(|form| {
                let address = store::address(&form.target, form.id);
                (form.id.to_string(), address)
            })
            .collect();
        let forms: Vec<_> = waiting
            .iter()
            .zip(&texts)
            .map(|(form, (id, action))| SavedPostView {
                id,
                action,
                path: form.target.split('?').next().unwrap_or_default(),
                origin: form.origin.as_ref().and_then(|origin| origin.to_str().ok()),
                sends_itself: form.is_confirmed && waiting.len() == 1,
                multipart: form.multipart,
                size: form.size,
                saved: form.saved,
            })
            .collect();
        let view = SavedPostsView {
            host,
            csrf: &self.csrf.token(Binding::Session(&key), context.authority),
            now: self.clock.now(),
            forms: &forms,
        };
        Ok(self
            .pages
            .titled(context.title)
            .saved_posts(&view)
            .into_response())
    }

    /// Forgets a form.
    pub(super) async fn discard(
        &self,
        context: RequestContext<'_>,
        body: ClientBody,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut form = Form::read(context.head, body).await?;
        let (action, id) = (form.take("action")?, form.take("form")?);
        let token = form.take_optional("csrf")?;
        let id = PostId::parse(&id).filter(|_| action == "discard");
        let id = id.ok_or(RequestError::Form)?;
        let (csrf, head, authority) = (&self.csrf, context.head, context.authority);
        if csrf.proves_click(head, authority, &token, id)? {
            self.discard_of_page(&context, id).await?;
            let start = form.take_optional(RETURN_TO)?;
            return Ok(ReturnTo::parse(&start, MAX_TARGET).redirect());
        }
        let found = context.peek(&self.callers).await?;
        let key = match &found {
            Some((session, _)) => Some(session.key()),
            None => self.store.session_of(&context),
        };
        let binding = key.as_ref().map(Binding::Session);
        let ours = csrf.proves(head, authority, &token, binding)?;
        let Some((session, principal)) = found else {
            return Err(session_ended(head));
        };
        if !ours {
            return Ok(to_page());
        }
        let (key, host) = (session.key(), authority.as_str());
        let discarded = self.store.discard(key, host, id).await;
        if let Some(form) = discarded.map_err(RequestError::Session)? {
            tracing::info!(
                target: "audit", client = %context.client, user = principal.identity().user(),
                session = %key.short(), app = &*form.app, bytes = form.bytes,
                "form discarded"
            );
        }
        let left = self.store.waiting(Owner::Session(key), host).await;
        let left = left.map_err(RequestError::Session)?;
        Ok(if left.is_empty() {
            pages::redirect(StatusCode::SEE_OTHER, HeaderValue::from_static("/"))
        } else {
            to_page()
        })
    }

    /// Which Send button of our page was pressed; `None` if the request came from elsewhere.
    pub(crate) async fn proven(
        &self,
        head: &Parts,
        click: &Click<'_>,
        session: &SessionKey,
        body: ClientBody,
    ) -> Result<Option<Proof>, RequestError> {
        navigation::check_load(&head.headers)?;
        let token = Form::read_plain(body).await?.take_optional("csrf")?;
        let (csrf, authority) = (&self.csrf, click.authority);
        let is_of_page = csrf.proves_click(head, authority, &token, click.id)?;
        let binding = Some(Binding::Session(session));
        if !is_of_page && !csrf.proves(head, authority, &token, binding)? {
            return Ok(None);
        }
        // The body may have taken its time, and the session may have ended meanwhile (SEC-46).
        let good = self.sessions.is_good(session).await;
        let good = good.map_err(RequestError::Session)?;
        Ok(good.then_some(Proof { is_of_page }))
    }

    /// Takes out the form that the button names, to send it to where it was going; `None` when
    /// neither this session nor the page with the button has one of that name for there. Whoever
    /// gets it has to send it or to [put it back](Self::put_back), and not to give up halfway.
    pub(crate) async fn take(
        &self,
        proof: Proof,
        click: &Click<'_>,
        whose: (&SessionKey, &str),
    ) -> Result<Option<SavedPost>, RequestError> {
        taking::take(&self.store, &self.sessions, &proof, click, whose).await
    }

    /// Nothing of the form was sent: it can be tried again.
    pub(crate) async fn put_back(&self, session: SessionKey, form: SavedPost) {
        self.store.put_back(session, form).await;
    }

    /// Keeps so many bytes at most.
    pub(crate) fn set_quota(&self, bytes: usize) {
        self.store.set_quota(bytes);
    }

    /// Drops what has waited for too long.
    pub(super) fn sweep(&self) {
        self.store.sweep();
    }
}

/// What its sender is told of a form that is not kept.
fn not_kept(why: &Unread, sender: Option<&Sender>) -> RequestError {
    match (why, sender) {
        (Unread::OverLimit, _) => RequestError::UploadTooLarge,
        (Unread::TooLarge, Some(_)) => RequestError::CrossSiteTooLarge,
        (Unread::Lost, Some(_)) => RequestError::CrossSiteNotKept,
        (Unread::TooLarge | Unread::Lost, None) => RequestError::FormNotKept,
    }
}

/// To the page that shows what waits.
pub(crate) fn to_page() -> Response<Bytes> {
    pages::redirect(StatusCode::SEE_OTHER, HeaderValue::from_static(FORM))
}

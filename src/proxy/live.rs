//! Streams that go on after their request was judged: WebSockets, event streams, downloads,
//! uploads. They end with their session (SEC-75), and when what they were permitted is not
//! permitted any more: each is judged again when users or the configuration change (SEC-89).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method};
use tokio_util::sync::CancellationToken;

use super::Proxy;
use super::app::App;
use super::headers::Changes;
use super::identify::Proof;
use super::websocket::Origin;
use crate::access::Decision;
use crate::auth::credential::Credential;
use crate::clock::Timestamp;
use crate::error::RequestError;
use crate::principal::Principal;
use crate::request::{Authority, Target};
use crate::session::{self, Session, Sessions};
use crate::upstream::Address;

/// How often it is asked whether a response moves: more often than any idle timeout passes.
const LOOK_AT_RECEIVED: Duration = Duration::from_millis(250);

/// A request that was permitted, as far as it is judged again.
#[derive(Clone)]
pub(super) struct Permitted {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) authority: Authority,
    /// Of a WebSocket.
    pub(super) origin: Option<Origin>,
    pub(super) session: Option<Arc<Session>>,
    /// Of a program, in place of a session.
    pub(super) credential: Option<Credential>,
    /// An `Authorization` that is the app's, because there is a session.
    pub(super) authorization: Option<Box<HeaderValue>>,
    /// Where it comes from, as far as that is known.
    pub(super) client: Option<IpAddr>,
    /// Of users and configuration, from before it was judged.
    pub(super) revision: u64,
    /// What becomes of the response.
    pub(super) changes: Option<Arc<Changes>>,
}

impl Permitted {
    pub(super) fn new(
        head: &Parts,
        target: &Target,
        authority: Authority,
        proof: Proof,
        client: Option<IpAddr>,
        revision: u64,
    ) -> Self {
        Self {
            method: head.method.clone(),
            target: target.clone(),
            authority,
            origin: None,
            session: proof.session,
            credential: proof.credential,
            authorization: proof.authorization,
            client,
            revision,
            changes: None,
        }
    }
}

/// All streams in flight.
pub(super) struct LiveStreams {
    sessions: Arc<Sessions>,
    streams: Mutex<HashMap<u64, Arc<Stream>>>,
    next: AtomicU64,
}

struct Stream {
    app: Arc<App>,
    /// Of the application's side, where it is known.
    address: Option<Address>,
    permitted: Permitted,
    /// Of the last judgement.
    revision: AtomicU64,
    ended: CancellationToken,
}

/// A session or credential that proves nothing any more.
struct Over;

/// Tells a stream that it has to end.
pub(super) struct StreamGuard {
    live: Arc<LiveStreams>,
    number: u64,
    session: Option<session::SessionGuard>,
    ended: CancellationToken,
    received: Option<Received>,
}

/// What a client has received lately, where that is use of its session (REL-20).
struct Received {
    /// Bytes a second: less is no use.
    least: u64,
    bytes: u64,
    since: Timestamp,
}

impl LiveStreams {
    pub(super) fn new(sessions: Arc<Sessions>) -> Self {
        Self {
            sessions,
            streams: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Watches a stream from now on. What has changed since it was permitted is seen at the next
    /// look at all streams.
    pub(super) fn watch(
        self: &Arc<Self>,
        app: &Arc<App>,
        address: Option<Address>,
        permitted: Permitted,
    ) -> StreamGuard {
        let session = permitted.session.as_ref();
        let session = session.map(|session| self.sessions.watch(session));
        let ended = match &session {
            Some(session) => session.ended().child_token(),
            None => CancellationToken::new(),
        };
        let stream = Arc::new(Stream {
            app: Arc::clone(app),
            address,
            revision: AtomicU64::new(permitted.revision),
            permitted,
            ended: ended.clone(),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, stream);
        StreamGuard {
            live: Arc::clone(self),
            number,
            session,
            ended,
            received: None,
        }
    }

    /// Judges those again that were judged by an older revision.
    fn judge(&self, revision: u64, permits: impl Fn(&Stream) -> bool) {
        let is_stale = |stream: &&Arc<Stream>| stream.revision.load(Ordering::Relaxed) < revision;
        let stale: Vec<_> = self.lock().values().filter(is_stale).cloned().collect();
        for stream in stale {
            if permits(&stream) {
                stream.revision.store(revision, Ordering::Relaxed);
            } else {
                stream.end();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn end(&self) {
        if self.ended.is_cancelled() {
            return;
        }
        let Permitted {
            session,
            credential,
            ..
        } = &self.permitted;
        let (session, credential) = (session.as_deref(), credential.as_ref());
        let user = session.map(Session::user);
        tracing::info!(
            target: "audit", user = user.or(credential.map(Credential::user)),
            session = session.map(|session| session.key().short().to_string()),
            token = credential.and_then(Credential::token).map(|key| key.short().to_string()),
            app = &*self.app.name, "stream ended: it is not permitted any more"
        );
        self.ended.cancel();
    }
}

impl StreamGuard {
    /// Fires when the stream has to end.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Whether it has to end because its session has ended.
    pub(super) fn session_has_ended(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.ended().is_cancelled())
    }

    /// From now on, what the client receives is use of its session, if it is no less than so many
    /// bytes a second.
    pub(super) fn count_received(&mut self, least: u64) {
        let since = self.live.sessions.now();
        self.received = Some(Received {
            least,
            bytes: 0,
            since,
        });
    }

    /// Notes that the client has received so much.
    pub(super) fn receive(&mut self, bytes: usize) {
        let Some(received) = &mut self.received else {
            return;
        };
        received.bytes += bytes as u64;
        let now = self.live.sessions.now();
        let passed = now.since(received.since);
        if passed < LOOK_AT_RECEIVED {
            return;
        }
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let is_use = received.bytes >= received.least.saturating_mul(millis) / 1000;
        (received.bytes, received.since) = (0, now);
        if is_use {
            self.touch();
        }
    }

    /// Notes that the client sends: its session is in use.
    pub(super) fn touch(&self) {
        if let Some(session) = &self.session {
            self.live.sessions.touch(session.session());
        }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.live.lock().remove(&self.number);
    }
}

impl Proxy {
    /// Of users and configuration: another one than before says that a request may be judged
    /// otherwise.
    pub(super) fn revision(&self) -> u64 {
        self.number.load(Ordering::Relaxed) + self.callers.generation()
    }

    /// The same of the configuration that holds now.
    pub(super) fn latest_revision(&self) -> u64 {
        self.shared.latest_number() + self.callers.generation()
    }

    /// Ends each stream that would not be permitted now (SEC-89).
    pub(super) fn judge_streams(&self) {
        let live = &self.shared.live;
        live.judge(self.revision(), |stream| {
            self.permits(&stream.app, stream.address.as_ref(), &stream.permitted)
        });
    }

    /// Whether a request that was permitted for `was` would be permitted now.
    pub(super) fn permits(
        &self,
        was: &Arc<App>,
        address: Option<&Address>,
        permitted: &Permitted,
    ) -> bool {
        let Permitted {
            method,
            target,
            authority,
            origin,
            client,
            ..
        } = permitted;
        let site = self.apps.of_host(authority.to_host().as_str());
        let Some(Ok(Some(app))) = site.map(|site| site.app_of(target.path())) else {
            return false;
        };
        let Ok(principal) = self.principal_of(permitted) else {
            return false;
        };
        app.goes_on_with(was, address)
            && app.networks.admit(*client)
            && app.maintenance.check(principal.as_ref()).is_ok()
            && matches!(
                app.judge(target.path(), method, principal, *client),
                Ok(Decision::Allow(_))
            )
            && origin.as_ref().is_none_or(|origin| {
                let is_proxy = |peer| self.settings.trusted_proxies.contain(peer);
                let checked = app.websocket_origins.check(origin, authority, is_proxy);
                checked.is_ok()
            })
    }

    /// Whose a request is by now; an error if what proved it proves nothing any more.
    fn principal_of(&self, permitted: &Permitted) -> Result<Option<Principal>, Over> {
        match permitted {
            Permitted {
                session: Some(session),
                ..
            } => self.callers.principal(session).map(Some).ok_or(Over),
            Permitted {
                credential: Some(credential),
                ..
            } => {
                let principal = self.callers.principal_of(credential);
                principal.map(Some).map_err(|_refusal| Over)
            }
            _ => Ok(None),
        }
    }

    /// What is told to a request that was permitted, and is not any more.
    pub(super) fn refusal(&self, permitted: &Permitted) -> RequestError {
        let site = self.apps.of_host(permitted.authority.to_host().as_str());
        let Some(Ok(Some(app))) = site.map(|site| site.app_of(permitted.target.path())) else {
            return RequestError::NotPermitted;
        };
        let principal = self.principal_of(permitted).unwrap_or_default();
        let checked = app.maintenance.check(principal.as_ref());
        checked.err().unwrap_or(RequestError::NotPermitted)
    }
}

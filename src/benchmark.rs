//! What the benchmarks in `benches/` and `bench/` call: sessions and identity tokens, as the server has
//! them.

use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use http::{HeaderMap, HeaderValue};

use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::identity::{self, token};
use crate::nodes::Nodes;
use crate::principal::{
    AccountRef, AuthContext, CredentialFingerprint, Identity, Method, Principal,
};
use crate::request::{Authority, Host};
use crate::session::data::AppData;
use crate::session::{
    self, Backend, ConnectionCache, HostId, Record, SessionId, SessionStore, Settings, Shown,
};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const HOST: &str = "wiki.example.org";

/// Sessions that are written together.
const AT_ONCE: usize = 1000;

/// The store on disk, or the one that several nodes share.
pub struct Store(Arc<dyn SessionStore>);

/// The sessions of a store, and one connection that shows them.
pub struct Sessions {
    all: session::Sessions,
    cache: ConnectionCache,
    app: Arc<str>,
}

/// The id of a session.
pub struct Id(SessionId);

impl Store {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Self {
        let store = session::open(
            &Backend::Disk(path.to_owned()),
            &Nodes::alone(),
            &Clock::system(),
        );
        Self(store.unwrap_or_else(|error| panic!("{error}")))
    }

    /// The one that a configuration names, as the server opens it; within the runtime.
    pub fn of_configuration(path: &Path) -> Self {
        let clock = Clock::system();
        let config = Config::load(path).unwrap_or_else(|error| panic!("{error}"));
        let backend = config.session.backend;
        let nodes = Nodes::open(backend.shared(), &clock);
        let nodes = nodes.unwrap_or_else(|error| panic!("{error}"));
        let store = session::open(&backend, &nodes, &clock);
        Self(store.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Waits until it can be asked.
    pub async fn until_reachable(&self) {
        while self.0.count().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts a session for each number, all at once, and waits until they are durable. Three
    /// numbers in a row are those of one user.
    pub async fn sign_in(&self, numbers: Range<usize>) -> Vec<Id> {
        let now = Clock::system().now();
        let host = Host::parse(HOST).expect("a host");
        let begin = |number| {
            let id = SessionId::generate().expect("random bytes");
            let user = format!("user{:06}", number / 3);
            let record = record(&id, &user, &host, "hash", now);
            (Id(id), record)
        };
        let (ids, records): (Vec<_>, Vec<_>) = numbers.map(begin).unzip();
        self.insert(records).await;
        ids
    }

    /// Starts so many sessions on a host, of users of this hash who take turns, and gives what their
    /// cookies hold. In the order of their keys: the file takes a million of them in seconds.
    pub async fn fill(
        &self,
        count: usize,
        host: &str,
        users: &[String],
        hash: &str,
    ) -> Vec<String> {
        let now = Clock::system().now();
        let host = Host::parse(host).expect("a host");
        let ids = (0..count).map(|_| SessionId::generate().expect("random bytes"));
        let mut ids: Vec<_> = ids.collect();
        ids.sort_by_cached_key(SessionId::key);
        for (nth, ids) in ids.chunks(AT_ONCE).enumerate() {
            let places = ids.iter().zip(nth * AT_ONCE..);
            let begin = |(id, at): (&SessionId, usize)| {
                record(id, &users[at % users.len()], &host, hash, now)
            };
            self.insert(places.map(begin).collect()).await;
        }
        let texts = ids.iter().map(|id| id.to_cookie_text().to_string());
        texts.collect()
    }

    async fn insert(&self, records: Vec<Arc<Record>>) {
        let inserted = records.into_iter().map(|record| self.0.insert(record));
        for inserted in join_all(inserted).await {
            inserted.expect("there is room");
        }
    }

    /// Ends these sessions, all at once, and waits until that is durable.
    pub async fn sign_out(&self, ids: &[Id]) {
        let removed = ids.iter().map(|id| self.0.remove(vec![id.0.key()]));
        for removed in join_all(removed).await {
            assert_eq!(removed, Ok(1));
        }
    }

    /// Writes what waits.
    pub async fn close(&self) {
        self.0.close().await.expect("the disk takes it");
    }

    /// The sessions in it, none of them cached.
    pub fn sessions(&self) -> Sessions {
        let settings = Settings {
            backend: Backend::Memory,
            idle_timeout: Duration::from_hours(1),
            lifetime: Duration::from_hours(12),
            remember_for: Duration::ZERO,
            max_per_user: 20,
            max_sessions: 2_000_000,
        };
        Sessions {
            all: session::Sessions::new(settings, Arc::clone(&self.0), Clock::system()),
            cache: ConnectionCache::default(),
            app: "wiki".into(),
        }
    }
}

impl Sessions {
    /// Starts a session for each number, all at once, as logins do whose passwords are verified: within
    /// `max_sessions` and `max_per_user`. Three numbers in a row are those of one user.
    pub async fn start(&self, numbers: Range<usize>) {
        let now = Clock::system().now();
        let host = Host::parse(HOST).expect("a host");
        let records = numbers.map(|number| {
            let id = SessionId::generate().expect("random bytes");
            record(&id, &format!("user{:06}", number / 3), &host, "hash", now)
        });
        let records: Vec<_> = records.collect();
        let started = records.iter().map(|record| self.all.start_unproven(record));
        for started in join_all(started).await {
            started.expect("there is room");
        }
    }

    /// Whether a request with this id has a session.
    pub async fn find(&self, id: &Id) -> bool {
        let shown = Shown {
            id: &id.0,
            by_old_name: false,
            host: HOST,
            app: &self.app,
        };
        let found = self.all.find(&shown, &self.cache).await;
        found.expect("it can be read").is_some()
    }

    /// What the server does twice a second.
    pub async fn sweep(&self) {
        self.all.sweep(|_| true).await;
    }

    /// Ends every session; gives how many.
    pub async fn end_all(&self) -> usize {
        self.all.end_all().await.expect("the disk takes it").count
    }
}

fn record(id: &SessionId, user: &str, host: &Host, hash: &str, now: Timestamp) -> Arc<Record> {
    Arc::new(Record {
        key: id.key(),
        ids: vec![HostId {
            key: id.key(),
            host: host.clone(),
        }],
        is_old: false,
        account: AccountRef::of_users_file(user),
        groups: vec!["staff".to_owned(), "wiki".to_owned()],
        email: Some(format!("{user}@example.org")),
        context: Arc::new(AuthContext::new(Method::Password.into(), now)),
        fingerprint: CredentialFingerprint::of(hash),
        created: now,
        last_accessed: now,
        expires: now.plus(Duration::from_hours(12)),
        remembered: false,
        client: IpAddr::from([192, 0, 2, 1]),
        user_agent: AGENT.to_owned(),
        data: AppData::default(),
        revision: 0,
    })
}

/// What tells an app of one user.
pub struct Tokens {
    headers: identity::Headers,
    user: Principal,
    session: String,
    authority: Authority,
}

impl Tokens {
    /// With keys in memory.
    pub fn new() -> Self {
        let signer = token::Signer::new(token::KeySource::Memory, Clock::system(), None);
        signer.open().expect("keys");
        let settings = token::Settings {
            header: token::HEADER,
            audience: None,
            lifetime: token::Settings::LIFETIME,
        };
        let mut headers = identity::Headers::new(Vec::new()).with_token(Some(settings));
        headers.sign_by(token::Origins::default(), &Arc::new(signer));
        let groups = vec!["staff".to_owned(), "wiki".to_owned()];
        let email = Some("ada@example.org".to_owned());
        let identity = Identity::new("ada".to_owned(), groups, email);
        let context = AuthContext::new(Method::Password.into(), Clock::system().now());
        let host = HeaderValue::from_static(HOST);
        Self {
            headers,
            user: Principal::new(
                AccountRef::of_users_file("ada"),
                identity.into(),
                context.into(),
            ),
            session: "0123456789abcdef".repeat(4),
            authority: Authority::parse(&host).expect("a host"),
        }
    }

    /// The bytes of the token of a request for this path.
    pub fn make(&self, path: &str) -> usize {
        let mut headers = HeaderMap::new();
        let request = token::Request {
            method: &http::Method::GET,
            authority: &self.authority,
            path,
        };
        let session = &self.session;
        self.headers
            .inject(&mut headers, &self.user, Some(session), request);
        headers.get(token::HEADER).map_or(0, HeaderValue::len)
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self::new()
    }
}

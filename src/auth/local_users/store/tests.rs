//! Two nodes on a real server.

/// A server, or the end of the test where none is installed.
macro_rules! server {
    () => {
        match TestServer::start() {
            Some(server) => server,
            None => return,
        }
    };
}

mod changes;
mod crowds;
mod first;
mod import;
mod keys;
mod losses;
mod unreadable;
mod whole;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ::redis::{Value, cmd};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::follow::EVERY;
use super::redis::KIND;
use super::*;
use crate::auth::password::StoredHash;
use crate::auth::users_file::{User, Users};
use crate::redis::test_server::{TestServer, link, settings};
use crate::redis::{Link, SecretSource, Servers, Settings};
use crate::secret::Secret;

const SOON: Duration = Duration::from_secs(20);

struct Node {
    store: Arc<SharedUsers>,
    link: Link,
    clock: Clock,
    _following: AbortOnDropHandle<()>,
}

impl Node {
    async fn start(settings: Settings, first: Option<&Path>) -> Self {
        let clock = Clock::system();
        let nodes = Nodes::open(Some(&Arc::new(settings)), &clock).unwrap();
        let link = nodes.link().unwrap().clone();
        let current = Arc::new(Current::new(Users::default(), &clock));
        let first = first.map(Path::to_owned);
        let store = SharedUsers::open(first, &current, &nodes, &clock).unwrap();
        let store = Arc::new(store);
        assert!(!store.is_known(), "not yet");
        let followed = Arc::clone(&store);
        let following = tokio::spawn(async move { followed.follow().await });
        let node = Self {
            store,
            link,
            clock,
            _following: AbortOnDropHandle::new(following),
        };
        node.comes("to know the users", || node.store.is_known())
            .await;
        node
    }

    async fn two(server: &TestServer) -> [Self; 2] {
        let (one, two) = (server.settings(), server.settings());
        let (one, two) = tokio::join!(Self::start(one, None), Self::start(two, None));
        [one, two]
    }

    async fn comes(&self, what: &str, condition: impl Fn() -> bool) {
        let comes = async {
            while !condition() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let came = timeout(SOON, comes).await;
        assert!(came.is_ok(), "it does not come {what}");
    }

    /// As logins here see it.
    fn user(&self, name: &str) -> Option<User> {
        self.store.current.load().get(name).cloned()
    }

    fn revoked(&self) -> Vec<String> {
        let revoked = self.store.current.take_revoked().into_iter();
        revoked.map(|revoked| revoked.user).collect()
    }

    async fn add(&self, name: &str) -> User {
        let user = User::new(name.to_owned(), hash()).in_groups(vec!["staff".to_owned()]);
        self.store.add(user.clone()).await.unwrap();
        user
    }

    fn key(&self, what: &str) -> String {
        format!("{}{{users}}:{what}", self.link.prefix())
    }

    /// Puts a value there past all nodes.
    async fn plant(&self, name: &str, value: &[u8]) {
        let field = Field::of(name).unwrap();
        let mut set = cmd("HSET");
        set.arg(self.key("sealed"));
        self.link
            .query(set.arg(field.as_bytes()).arg(value))
            .await
            .unwrap();
    }

    async fn planted(&self, name: &str) -> Option<Vec<u8>> {
        let field = Field::of(name).unwrap();
        let mut get = cmd("HGET");
        get.arg(self.key("sealed"));
        match self.link.query(get.arg(field.as_bytes())).await.unwrap() {
            Value::BulkString(value) => Some(value),
            _ => None,
        }
    }

    /// Leaves nothing in the store but this value.
    async fn go_back_to(&self, name: &str, value: &[u8]) {
        let script = "redis.call('FLUSHALL') redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])";
        let field = Field::of(name).unwrap();
        let mut eval = cmd("EVAL");
        eval.arg(script).arg(1).arg(self.key("sealed"));
        let answer = self.link.query(eval.arg(field.as_bytes()).arg(value));
        answer.await.unwrap();
    }

    /// Has every node look at all of them, as after another server took over.
    async fn lose_changes(&self) {
        let key = self.key("changes");
        self.link.query(cmd("DEL").arg(key)).await.unwrap();
    }
}

fn hash() -> StoredHash {
    StoredHash::dummy().unwrap()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    (folder, path)
}

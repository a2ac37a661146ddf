//! A node that has its users in a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::opened::Opened;
use super::*;
use crate::auth::UsersHome;
use crate::auth::password::StoredHash;
use crate::clock::Clock;
use crate::nodes::Nodes;
use crate::session::{Backend, SessionId, SessionStore, test_record};

struct Node {
    backend: Backend,
    clock: Clock,
    folder: tempfile::TempDir,
    hash: StoredHash,
    accounts: Arc<Accounts>,
    store: Arc<dyn SessionStore>,
    callers: Callers,
}

impl Node {
    /// With its sessions on a disk.
    fn start() -> Self {
        let clock = Clock::system();
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::Disk(folder.path().join("sessions.redb"));
        let hash = StoredHash::dummy().unwrap();
        let path = folder.path().join("users.toml");
        write(&path, &user(&hash, ""));
        let home = UsersHome::File(path);
        let accounts = Arc::new(Accounts::open(&home, &Nodes::alone(), &clock).unwrap());
        let Opened { store, callers, .. } = Opened::by(&backend, &accounts, &clock);
        Self {
            backend,
            clock,
            folder,
            hash,
            accounts,
            store,
            callers,
        }
    }

    /// The sessions can be read again, by whoever judges them from now on.
    fn mend(&mut self) {
        self.open(&Backend::Memory); // gives the file back
        self.open(&self.backend.clone());
    }

    fn open(&mut self, backend: &Backend) {
        let Opened { store, callers, .. } = Opened::by(backend, &self.accounts, &self.clock);
        (self.store, self.callers) = (store, callers);
    }

    /// Ada, with these further lines, until the server knows her so.
    async fn ada(&self, lines: &str, is_active: bool) {
        let before = self.accounts.generation();
        write(&self.path(), &user(&self.hash, lines));
        let noticed = async {
            while self.accounts.generation() == before {
                sleep(Duration::from_millis(5)).await;
                self.accounts.refresh();
            }
        };
        timeout(Duration::from_mins(1), noticed).await.unwrap();
        assert_eq!(self.account().is_some(), is_active, "{lines}");
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("users.toml")
    }

    fn account(&self) -> Option<Arc<crate::auth::Account>> {
        self.accounts.active(&AccountRef::of_users_file("ada"))
    }

    /// A session of ada, begun now.
    async fn begin(&self) -> SessionKey {
        self.clock.advance(Duration::from_millis(1));
        let id = SessionId::generate().unwrap();
        let mut record = Arc::unwrap_or_clone(test_record("ada"));
        (record.key, record.ids[0].key) = (id.key(), id.key());
        record.fingerprint = self.account().unwrap().fingerprint();
        let now = self.clock.now();
        record.context = Arc::new(crate::principal::AuthContext::new(
            crate::principal::Method::Password.into(),
            now,
        ));
        (record.created, record.last_accessed) = (now, now);
        record.expires = now.plus(Duration::from_hours(6));
        self.store.insert(Arc::new(record)).await.unwrap();
        self.clock.advance(Duration::from_millis(1));
        id.key()
    }

    async fn has(&self, key: SessionKey) -> bool {
        self.store.load(key).await.unwrap().is_some()
    }
}

/// The sessions that are there, and who judges them.
fn user(hash: &StoredHash, lines: &str) -> String {
    format!("[user.ada]\npassword = \"{}\"\n{lines}", hash.as_str())
}

fn write(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn sec_51_a_session_ends_with_its_user_however_soon_they_are_back() {
    let node = Node::start();
    let (disabled, of_bob) = ("disabled = true\n", "[user.bob]\npassword = \"");
    // Without an id, and between two looks at the sessions.
    let before = node.begin().await;
    node.ada(disabled, false).await;
    node.ada("", true).await;
    let after = node.begin().await;
    node.callers.tick().await;
    assert!(!node.has(before).await && node.has(after).await);
    // Another id, though nobody has seen them go.
    let before = after;
    node.ada("id = \"e-42\"\n", true).await;
    let after = node.begin().await;
    node.callers.tick().await;
    assert!(!node.has(before).await && node.has(after).await);
    // What else changes leaves them as they are.
    let others = format!(
        "id = \"e-42\"\ngroups = [\"a\"]\n{of_bob}{}\"\n",
        node.hash.as_str()
    );
    node.ada(&others, true).await;
    node.callers.tick().await;
    assert!(node.has(after).await);
    // The same one again, who was seen to go.
    node.ada(disabled, false).await;
    node.ada("id = \"e-42\"\n", true).await;
    node.callers.tick().await;
    assert!(!node.has(after).await);
}

#[tokio::test]
async fn sec_51_sessions_of_a_user_who_was_gone_end_though_the_store_failed_when_it_was_seen() {
    let mut node = Node::start();
    let before = node.begin().await;
    node.store.close().await.unwrap(); // from now on it fails
    // Without an id, and so nothing else tells that she was gone.
    node.ada("disabled = true\n", false).await;
    node.ada("", true).await;
    for _ in 0..2 {
        node.callers.tick().await;
    }
    node.mend();
    let after = node.begin().await;
    assert!(node.has(before).await, "it could not be ended");
    node.callers.tick().await;
    assert!(!node.has(before).await && node.has(after).await);
}

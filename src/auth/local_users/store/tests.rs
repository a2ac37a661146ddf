//! Two nodes on a real server.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ::redis::{Value, cmd};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::follow::EVERY;
use super::redis::KIND;
use super::*;
use crate::auth::password::StoredHash;
use crate::auth::users_file::{self, User};
use crate::redis::test_server::{TestServer, link, settings};
use crate::redis::{Link, SecretSource, Servers, Settings};
use crate::secret::Secret;

const SOON: Duration = Duration::from_secs(20);

struct Node {
    store: Arc<InStore>,
    link: Link,
    clock: Clock,
    _following: AbortOnDropHandle<()>,
}

impl Node {
    async fn start(settings: Settings, first: Option<&Path>) -> Self {
        let clock = Clock::system();
        let nodes = Nodes::open(Some(&Arc::new(settings)), &clock).unwrap();
        let link = nodes.link().unwrap().clone();
        let current = Arc::new(Current::new(Users::default()));
        let first = first.map(Path::to_owned);
        let store = InStore::open(first, &current, &nodes, &clock).unwrap();
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
        self.store.current.load().users.get(name).cloned()
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

/// A server, or the end of the test where none is installed.
macro_rules! server {
    () => {
        match TestServer::start() {
            Some(server) => server,
            None => return,
        }
    };
}

#[tokio::test]
async fn rel_18_what_becomes_of_a_user_on_one_node_is_so_on_the_other() {
    let server = server!();
    let [here, there] = Node::two(&server).await;
    let ada = here.add("Ada").await;
    assert_eq!(here.user("ada"), Some(ada.clone()), "at once");
    there
        .comes("to know ada", || there.user("ADA").is_some())
        .await;
    assert_eq!(there.user("ada"), Some(ada.clone()));

    let new = hash();
    there.store.set_password("ADA", &new).await.unwrap();
    here.comes("to know the password", || {
        here.user("ada").unwrap().password() == &new
    })
    .await;
    assert_eq!(here.store.current.take_revoked(), ["ada"]);
    assert!(here.store.set_disabled("ada", true).await.unwrap());
    assert!(!here.store.set_disabled("ada", true).await.unwrap());
    there
        .comes("to know the end", || there.store.is_gone("ada"))
        .await;
    assert!(there.store.set_disabled("ada", false).await.unwrap());
    let expected = ada.with_password(new);
    assert_eq!(there.user("ada"), Some(expected), "all else is as it was");

    there.store.remove("ada").await.unwrap();
    here.comes("to forget ada", || here.user("ada").is_none())
        .await;
    assert!(here.store.is_gone("Ada") && !here.store.is_gone("nobody"));
    assert!(matches!(
        here.store.remove("ada").await,
        Err(ChangeError::Name(_))
    ));
    here.add("ADA").await;
    there
        .comes("to know her again", || there.user("ada").is_some())
        .await;
    assert!(matches!(
        there.store.add(User::new("ada".to_owned(), hash())).await,
        Err(ChangeError::Name(_))
    ));
    let late = Node::start(server.settings(), None).await;
    assert_eq!(late.user("ada").unwrap().name(), "ADA");
    let (listed, unreadable) = late.store.list().await.unwrap();
    assert_eq!((listed.len(), unreadable), (1, 0));
}

#[tokio::test]
async fn changes_at_the_same_time_lose_nothing() {
    let server = server!();
    let [here, there] = Node::two(&server).await;
    here.add("ada").await;
    for round in 0..20 {
        let (disabled, new) = (round % 2 == 0, hash());
        let (one, other) = tokio::join!(
            here.store.set_disabled("ada", disabled),
            there.store.set_password("ada", &new),
        );
        assert!(one.unwrap());
        other.unwrap();
        for node in [&here, &there] {
            let ada = node.store.find("ada").await.unwrap().unwrap();
            assert_eq!((ada.disabled(), ada.password()), (disabled, &new));
        }
    }
    let adding = [&here, &there].map(|node| node.store.add(User::new("bo".to_owned(), hash())));
    let added = futures_util::future::join_all(adding).await;
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 1);
    let old = here.store.find("ada").await.unwrap().unwrap();
    let (one, two) = (hash(), hash());
    let (one, two) = tokio::join!(
        here.store.replace_password("ada", old.password(), &one),
        there.store.replace_password("ada", old.password(), &two),
    );
    assert!(
        !(one.unwrap() && two.unwrap()),
        "only one was of the old one"
    );
}

#[tokio::test]
async fn rel_19_what_cannot_be_read_signs_nobody_in_and_is_left_alone() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    let (ada, bo) = (node.add("ada").await, node.add("bo").await);
    let good = node.planted("ada").await.unwrap();
    let mut of_other_key = server.settings();
    of_other_key.key = SecretSource::Given(Secret::new("77".repeat(32)));
    let of_other_key = link(of_other_key);
    let place = |name| {
        let key = node.key("sealed");
        [key.as_bytes(), b"\0", Field::of(name).unwrap().as_bytes()].concat()
    };
    let row = Record::first(ada.clone()).encode();
    let later = String::from_utf8(row.clone()).unwrap();
    let later = later.replace("\"v\":1", "\"v\":2");
    let seal = |link: &Link, name, row: &[u8]| link.keys().seal(KIND, &place(name), row).unwrap();
    let mut changed = good.clone();
    changed[5] ^= 1; // of the salt
    for (case, value) in [
        ("changed", changed),
        ("of another user", node.planted("bo").await.unwrap()),
        ("of another key", seal(&of_other_key, "ada", &row)),
        (
            "of a later version",
            seal(&node.link, "ada", later.as_bytes()),
        ),
        ("sealed by a later version", [&[2], &good[1..]].concat()),
        ("cut", good[..9].to_vec()),
        ("too large", vec![1; 100_000]),
        (
            "of nobody",
            seal(&node.link, "ada", &Record::first(bo.clone()).encode()),
        ),
    ] {
        node.plant("ada", &value).await;
        node.lose_changes().await;
        node.comes("to know", || node.user("ada").is_none()).await;
        assert_eq!(node.user("bo"), Some(bo.clone()), "{case}");
        assert!(!node.store.is_gone("ada"), "{case}: nobody knows");
        assert_eq!(node.store.list().await.unwrap().1, 1, "{case}");
        for refused in [
            node.store.set_password("ada", &hash()).await,
            node.store.remove("ada").await,
            node.store.add(ada.clone()).await,
        ] {
            assert!(matches!(refused, Err(ChangeError::Unreadable)), "{case}");
        }
        assert_eq!(node.planted("ada").await, Some(value), "{case}");
        node.plant("ada", &good).await;
        node.lose_changes().await;
        node.comes("to know her again", || node.user("ada").is_some())
            .await;
    }
}

#[tokio::test]
async fn a_store_that_lost_users_gets_them_back_as_they_were_last() {
    let server = server!();
    let text = format!(
        "[user.ada]\npassword = \"{0}\"\n[user.bo]\npassword = \"{0}\"\n",
        hash().as_str()
    );
    let (_folder, first) = file(&text);
    let here = Node::start(server.settings(), Some(&first)).await;
    let there = Node::start(server.settings(), Some(&first)).await;
    here.comes("to have taken them over", || here.user("bo").is_some())
        .await;
    let old = here.planted("ada").await.unwrap();
    let new = hash();
    here.store.set_password("ada", &new).await.unwrap();
    there.store.remove("bo").await.unwrap();
    let removed = here.planted("bo").await.unwrap();
    for node in [&here, &there] {
        node.store.catch_up().await.unwrap();
    }
    // It is emptied; then a server takes over that has not heard of the last changes.
    for is_emptied in [true, false] {
        if is_emptied {
            server.ask(&["FLUSHALL"]);
        } else {
            here.go_back_to("ada", &old).await;
        }
        here.comes("to have put them back", || {
            server.ask(&["HLEN", &here.key("sealed")]) == "2\n"
        })
        .await;
        let late = Node::start(server.settings(), Some(&first)).await;
        late.comes("to know the new password", || {
            late.user("ada").is_some_and(|ada| ada.password() == &new)
        })
        .await;
        for node in [&here, &there, &late] {
            node.store.catch_up().await.unwrap();
            assert_eq!(node.user("ada").unwrap().password(), &new);
            assert_eq!(node.user("bo"), None, "removed is removed");
            assert!(node.store.is_gone("bo"));
        }
        assert_ne!(here.planted("bo").await.unwrap(), removed, "sealed anew");
    }
    assert_eq!(here.store.current.take_revoked(), ["ada", "bo"]);
}

#[tokio::test]
async fn a_users_file_is_taken_over_once() {
    let server = server!();
    let (folder, first) = file("[user.ada\n");
    let missing = folder.path().join("none.toml");
    let node = Node::start(server.settings(), Some(&first)).await;
    let without = Node::start(server.settings(), Some(&missing)).await;
    assert_eq!((node.user("ada"), without.user("ada")), (None, None));
    let text = format!(
        "[user.Ada]\npassword = \"{}\"\ngroups = [\"a\"]\nemail = \"ada@example.org\"\ndisabled = true\n",
        hash().as_str()
    );
    std::fs::write(&first, text).unwrap();
    without
        .comes("to know ada", || without.user("ada").is_some())
        .await;
    let expected = users_file::read(&first).unwrap();
    assert_eq!(without.user("ada").as_ref(), expected.get("ada"));
    node.store.remove("ada").await.unwrap();
    drop((node, without));
    // Nobody is left who knows, but the store does.
    let again = Node::start(server.settings(), Some(&first)).await;
    again.store.catch_up().await.unwrap();
    assert_eq!(again.user("ada"), None);
    assert!(again.store.is_gone("ada"));
}

#[tokio::test]
async fn rel_10_without_the_store_nothing_changes_and_what_is_known_grows_old() {
    let mut server = server!();
    let node = Node::start(server.settings(), None).await;
    let ada = node.add("ada").await;
    server.kill();
    for _ in 0..2 {
        assert_eq!(node.store.catch_up().await, Err(StoreFault::Away));
    }
    let refused = node.store.remove("ada").await;
    assert!(matches!(refused, Err(ChangeError::Store(StoreFault::Away))));
    assert!(node.store.is_known());
    assert_eq!(node.user("ada"), Some(ada.clone()));
    node.clock.advance(server.settings().stale_for);
    assert!(!node.store.is_known());
    timeout(SOON, node.store.have_changed()).await.unwrap();
    assert_eq!(
        node.user("ada"),
        Some(ada.clone()),
        "nobody has removed her"
    );
    server.start_again();
    node.comes("to know them again", || node.store.is_known())
        .await;
    node.store.catch_up().await.unwrap();
    let late = Node::start(server.settings(), None).await;
    late.store.catch_up().await.unwrap();
    assert_eq!(late.user("ada"), Some(ada), "it came back empty");
}

#[tokio::test]
async fn sec_84_a_new_first_key_seals_users_anew() {
    let server = server!();
    let with_keys = |keys: &[&str]| {
        let mut settings = server.settings();
        let keys: Vec<_> = keys.iter().map(|key| key.repeat(32)).collect();
        settings.key = SecretSource::Given(Secret::new(keys.join("\n")));
        settings
    };
    let old = Node::start(with_keys(&["11"]), None).await;
    let ada = old.add("ada").await;
    let both = Node::start(with_keys(&["22", "11"]), None).await;
    both.store.catch_up().await.unwrap();
    drop((old, both));
    let new = Node::start(with_keys(&["22"]), None).await;
    assert_eq!(new.user("ada"), Some(ada));
}

#[tokio::test]
async fn nodes_with_their_keys_in_another_order_leave_each_other_in_peace() {
    let server = server!();
    let with_keys = |keys: [&str; 2]| {
        let mut settings = server.settings();
        let keys = keys.map(|key| key.repeat(32)).join("\n");
        settings.key = SecretSource::Given(Secret::new(keys));
        settings
    };
    let here = Node::start(with_keys(["11", "22"]), None).await;
    let there = Node::start(with_keys(["22", "11"]), None).await;
    for n in 0..5 {
        here.add(&format!("user{n}")).await;
    }
    let length = || {
        server
            .ask(&["XLEN", &here.key("changes")])
            .trim()
            .parse::<u32>()
            .unwrap()
    };
    for node in [&here, &there] {
        node.store.catch_up().await.unwrap();
        assert_eq!(node.store.list().await.unwrap().0.len(), 5);
    }
    sleep(4 * EVERY).await;
    // Each was added once, and sealed anew by each node once at most.
    assert!(length() <= 15, "{}", length());
    let before = length();
    sleep(4 * EVERY).await;
    assert_eq!(length(), before);
}

#[tokio::test]
async fn what_was_set_in_the_store_counts_before_a_file_that_is_taken_over() {
    let server = server!();
    let here = Node::start(server.settings(), None).await;
    let ada = here.add("ada").await;
    for _ in 0..5 {
        // Another node takes over an old file at the moment at which the store has lost everything.
        let old = User::new("ada".to_owned(), hash());
        let records = [(Field::of("ada").unwrap(), Record::first(old))];
        server.ask(&["FLUSHALL"]);
        let _either = here.store.records.begin_with(&records).await.unwrap();
        for _ in 0..3 {
            here.store.catch_up().await.unwrap();
            assert_eq!(here.user("ada"), Some(ada.clone()));
        }
        let late = Node::start(server.settings(), None).await;
        late.comes("to know her password", || {
            late.user("ada") == Some(ada.clone())
        })
        .await;
    }
}

#[tokio::test]
async fn a_users_file_that_cannot_be_taken_over_keeps_nobody_else_out() {
    let server = server!();
    let text = format!(
        "[user.ada]\npassword = \"{}\"\ngroups = [\"{}\"]\n",
        hash().as_str(),
        "g".repeat(20_000)
    );
    let (_folder, first) = file(&text);
    let node = Node::start(server.settings(), Some(&first)).await;
    node.store.catch_up().await.unwrap();
    assert_eq!(node.user("ada"), None);
    node.add("bo").await;
    let large = User::new("cy".to_owned(), hash()).in_groups(vec!["g".repeat(20_000)]);
    assert!(matches!(
        node.store.add(large).await,
        Err(ChangeError::Store(StoreFault::TooLarge))
    ));
}

#[tokio::test]
async fn who_was_disabled_stays_so_whatever_is_put_in_the_place_of_it() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    node.add("ada").await;
    let enabled = node.planted("ada").await.unwrap();
    node.store.set_disabled("ada", true).await.unwrap();
    node.plant("ada", b"junk that nobody can read").await;
    node.lose_changes().await;
    node.store.catch_up().await.unwrap();
    assert!(node.store.is_gone("ada"), "that is known still");
    node.plant("ada", &enabled).await;
    node.lose_changes().await;
    let late = async || {
        let late = Node::start(server.settings(), None).await;
        late.user("ada").unwrap().disabled()
    };
    node.store.catch_up().await.unwrap();
    assert!(node.user("ada").is_none_or(|ada| ada.disabled()));
    let there = async || {
        while !late().await {}
    };
    timeout(SOON, there()).await.unwrap();
}

#[tokio::test]
async fn a_crowd_is_read_and_a_cluster_keeps_users() {
    let Some(servers) = crate::redis::servers::cluster() else {
        return;
    };
    let addresses = servers.iter().map(crate::redis::test_server::address);
    let of_cluster = || settings(Servers::Cluster(addresses.clone().collect()));
    let here = Node::start(of_cluster(), None).await;
    let there = Node::start(of_cluster(), None).await;
    for n in 0..BATCH + 20 {
        here.add(&format!("user{n}")).await;
    }
    there.store.catch_up().await.unwrap();
    assert_eq!(there.store.list().await.unwrap().0.len(), BATCH + 20);
    let late = Node::start(of_cluster(), None).await;
    assert_eq!(late.store.list().await.unwrap().0.len(), BATCH + 20);
    let nodes = Nodes::open(Some(&Arc::new(of_cluster())), &Clock::system()).unwrap();
    let (users, unreadable) = read_once(&nodes, &Clock::system()).await.unwrap();
    assert_eq!((users.len(), unreadable), (BATCH + 20, 0));
}

//! On a real server.

use ::redis::cmd;
use tokio::time::timeout;

use super::super::codec;
use super::super::conformance::{all, conformance_tests, record};
use super::super::disk::Disk;
use super::value::{KIND, tag};
use super::*;
use crate::redis::test_server::{TestServer, address, link, settings};
use crate::redis::{SecretSource, Servers, Settings};
use crate::secret::Secret;

const SOON: Duration = Duration::from_secs(20);

/// A server, or the end of the test where none is installed.
macro_rules! server {
    () => {
        match TestServer::start() {
            Some(server) => server,
            None => return,
        }
    };
}

async fn node(settings: Settings, file: Option<PathBuf>) -> Redis {
    let node = Redis::open(&link(settings), file, &Clock::system()).unwrap();
    let mut generation = node.link.generation();
    let connected = timeout(SOON, generation.wait_for(|now| now.connected)).await;
    connected.unwrap().unwrap();
    node
}

conformance_tests!({
    let server = server!();
    let node = node(server.settings(), None).await;
    (server, Arc::new(node))
});

mod valkey {
    use super::*;
    use crate::redis::servers::Redis as Server;

    conformance_tests!({
        let Some(server) = Server::valkey(&[]).map(TestServer) else {
            return;
        };
        let node = node(server.settings(), None).await;
        (server, Arc::new(node))
    });
}

mod cluster {
    use super::*;

    conformance_tests!({
        let Some(servers) = crate::redis::servers::cluster() else {
            return;
        };
        let of = Servers::Cluster(servers.iter().map(address).collect());
        let node = node(settings(of), None).await;
        (servers, Arc::new(node))
    });
}

/// As the server has it.
async fn value_of(node: &Redis, token: &TokenRecord) -> Vec<u8> {
    let mut command = cmd("HGET");
    command.arg(&node.names.tokens).arg(token.key.as_bytes());
    bytes(node.link.query(&command).await.unwrap()).unwrap()
}

async fn put(node: &Redis, field: &[u8], value: &[u8]) {
    let mut command = cmd("HSET");
    command.arg(&node.names.tokens).arg(field).arg(value);
    node.link.query(&command).await.unwrap();
}

#[tokio::test]
async fn limits_hold_for_all_nodes_together() {
    let server = server!();
    let nodes = [
        Arc::new(node(server.settings(), None).await),
        Arc::new(node(server.settings(), None).await),
    ];
    let inserts = (0..MAX_PER_USER + 20).map(|n| {
        let node = Arc::clone(&nodes[n % 2]);
        tokio::spawn(async move { node.insert(&record(["ada", "ADA"][n % 2])).await })
    });
    let (mut kept, mut refused) = (0, 0);
    for insert in inserts.collect::<Vec<_>>() {
        match insert.await.unwrap() {
            Ok(()) => kept += 1,
            Err(error) => {
                assert_eq!(error, StoreError::TooMany);
                refused += 1;
            }
        }
    }
    assert_eq!((kept, refused), (MAX_PER_USER, 20));
    nodes[1].insert(&record("bob")).await.unwrap();
    // One that is gone makes room, and is counted once.
    let there = all(&*nodes[0]).await;
    let of_ada = there.iter().find(|token| token.account.subject() != "bob");
    let of_ada = of_ada.unwrap().key;
    assert_eq!(nodes[1].remove(&[of_ada, of_ada]).await, Ok(1));
    nodes[0].insert(&record("ada")).await.unwrap();
    let refused = nodes[0].insert(&record("ada")).await;
    assert_eq!(refused, Err(StoreError::TooMany));
    // Where tokens were taken away by hand, the count is set right.
    let mut by_hand = cmd("HDEL");
    by_hand.arg(&nodes[0].names.tokens);
    let there = all(&*nodes[0]).await;
    let ada = |token: &&TokenRecord| token.account.subject() != "bob";
    for token in there.iter().filter(ada).take(2) {
        by_hand.arg(token.key.as_bytes());
    }
    nodes[0].link.query(&by_hand).await.unwrap();
    for _ in 0..2 {
        nodes[0].insert(&record("ada")).await.unwrap();
    }
    let refused = nodes[0].insert(&record("ada")).await;
    assert_eq!(refused, Err(StoreError::TooMany));
    // In all: others fill the place.
    let mut fill = cmd("HSET");
    fill.arg(&nodes[0].names.tokens);
    for n in 0..MAX_TOKENS {
        fill.arg(format!("foreign {n}")).arg("x");
    }
    nodes[0].link.query(&fill).await.unwrap();
    let refused = nodes[0].insert(&record("eve")).await;
    assert_eq!(refused, Err(StoreError::TooMany));
    // What nobody here has written is no token, and too much of it is not read.
    assert_eq!(all(&*nodes[0]).await.len(), MAX_PER_USER + 1);
    let mut fill = cmd("HSET");
    fill.arg(&nodes[0].names.tokens);
    for n in 0..MAX_TOKENS {
        fill.arg(format!("more {n}")).arg("x");
    }
    nodes[0].link.query(&fill).await.unwrap();
    let read = nodes[0].changes(None).await;
    assert_eq!(read, Err(StoreError::Unavailable));
}

#[tokio::test]
async fn sec_84_what_is_damaged_or_foreign_is_refused_one_by_one() {
    let server = server!();
    let node = node(server.settings(), None).await;
    let (ada, bob) = (record("ada"), record("bob"));
    node.insert(&ada).await.unwrap();
    node.insert(&bob).await.unwrap();
    let (of_ada, of_bob) = (value_of(&node, &ada).await, value_of(&node, &bob).await);
    assert!(
        !of_ada.windows(3).any(|part| part == b"ada"),
        "it is sealed"
    );
    let row = codec::encode(&ada);
    let tag_of_ada = tag(&ada.account);
    let newer = String::from_utf8(row.clone()).unwrap();
    let newer = newer.replace("\"v\":1", "\"v\":2");
    let sealed = |key: &TokenKey, tag: &[u8; TAG], row: &[u8]| {
        let sealed = node.link.keys().seal(KIND, &node.place(key, tag), row);
        [&tag[..], &sealed.unwrap()].concat()
    };
    let mut flipped = of_ada.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let bobs_tag = [&of_bob[..TAG], &of_ada[TAG..]].concat();
    let mut later_seal = of_ada.clone();
    later_seal[TAG] = 2;
    let of_another_kind = (node.link.keys()).seal("v", &node.place(&ada.key, &tag_of_ada), &row);
    let of_another_kind = [&tag_of_ada[..], &of_another_kind.unwrap()].concat();
    for (value, expected) in [
        (flipped, "damaged"),
        (bobs_tag, "damaged"),
        (of_bob.clone(), "damaged"),
        (of_another_kind, "damaged"),
        (of_ada[..40].to_vec(), "damaged"),
        (b"x".to_vec(), "damaged"),
        (later_seal, "later version"),
        (
            sealed(&ada.key, &tag_of_ada, newer.as_bytes()),
            "later version",
        ),
        (sealed(&ada.key, &tag_of_ada, b"{}"), "missing field"),
        (vec![0; MOST_BYTES + 1], "too large"),
    ] {
        put(&node, ada.key.as_bytes(), &value).await;
        let read = node.read(&[ada.key, bob.key]).await.unwrap();
        assert_eq!(read.tokens, [(*bob).clone()], "{expected}");
        let [(key, error)] = read.unreadable.as_slice() else {
            panic!("{:?}", read.unreadable);
        };
        assert!(*key == ada.key && error.contains(expected), "{error}");
        assert_eq!(value_of(&node, &ada).await, value, "it is left alone");
    }
    put(&node, ada.key.as_bytes(), &of_ada).await;
    put(&node, b"no key of a token", &of_bob).await;
    assert_eq!(all(&node).await.len(), 2);
    // A last use that is none, and one of nobody.
    for (field, at) in [(&bob.key.as_bytes()[..], "soon"), (b"?", "7")] {
        let mut command = cmd("HSET");
        command.arg(&node.names.used).arg(field).arg(at);
        node.link.query(&command).await.unwrap();
    }
    assert_eq!(node.uses().await, Ok(vec![]));
    let used = vec![(bob.key, Timestamp::from_millis(7_000))];
    node.touch(&used).await.unwrap();
    assert_eq!(node.uses().await, Ok(used));
    // Where something of another type stands, nothing can be done, and nothing breaks.
    for name in [&node.names.tokens, &node.names.users] {
        server.ask(&["DEL", name]);
        server.ask(&["SADD", name, "x"]);
        assert!(node.insert(&record("eve")).await.is_err(), "{name}");
        server.ask(&["DEL", name]);
        node.insert(&record("eve")).await.unwrap();
    }
    server.ask(&["DEL", &node.names.version]);
    server.ask(&["SADD", &node.names.version, "x"]);
    assert_eq!(node.changes(None).await, Err(StoreError::Unavailable));
    node.insert(&record("eve")).await.unwrap();
    assert_eq!(all(&node).await.len(), 3);
}

#[tokio::test]
async fn a_token_of_an_old_key_is_sealed_anew_when_it_is_read() {
    let server = server!();
    let keyed = |keys: &[char]| {
        let lines: Vec<_> = keys.iter().map(|key| key.to_string().repeat(64)).collect();
        let mut settings = server.settings();
        settings.key = SecretSource::Given(Secret::new(lines.join("\n")));
        settings
    };
    let (old, both, new) = (
        node(keyed(&['1']), None).await,
        node(keyed(&['2', '1']), None).await,
        node(keyed(&['2']), None).await,
    );
    let ada = record("ada");
    old.insert(&ada).await.unwrap();
    let sealed = value_of(&old, &ada).await;
    assert_eq!(all(&old).await, [(*ada).clone()]);
    assert_eq!(value_of(&old, &ada).await, sealed, "it is of the first key");
    assert_eq!(all(&new).await, []);
    assert_eq!(all(&both).await, [(*ada).clone()]);
    assert_eq!(all(&new).await, [(*ada).clone()]);
    // The limit counts them by their user, whichever key there is.
    for _ in 1..MAX_PER_USER {
        new.insert(&record("ada")).await.unwrap();
    }
    assert_eq!(new.insert(&record("ada")).await, Err(StoreError::TooMany));
}

#[tokio::test]
async fn whose_tokens_are_is_written_down_many_at_a_time_and_whatever_key_has_sealed_them() {
    let server = server!();
    let keyed = |keys: &[char]| {
        let lines: Vec<_> = keys.iter().map(|key| key.to_string().repeat(64)).collect();
        let mut settings = server.settings();
        settings.key = SecretSource::Given(Secret::new(lines.join("\n")));
        settings
    };
    let old = node(keyed(&['1']), None).await;
    let both = node(keyed(&['2', '1']), None).await;
    let mut users = Vec::new();
    for n in 0..AT_ONCE + 7 {
        let token = TokenRecord {
            user_id: UserId::Unknown,
            ..(*record(&format!("user{n}"))).clone()
        };
        // Reading one of the old key seals it anew, and so takes its value away.
        let node = if n % 50 == 0 { &old } else { &both };
        node.insert(&token).await.unwrap();
        users.push((token.key, UserId::Is(format!("e-{n}").into())));
    }
    server.ask(&["CONFIG", "RESETSTAT"]);
    both.set_users(&users).await.unwrap();
    let said = server.ask(&["INFO", "commandstats"]);
    let calls = said
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls: usize = calls.unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(calls <= 20, "{calls} for {} tokens", users.len());
    let kept = all(&both).await;
    for (key, id) in &users {
        let token = kept.iter().find(|token| token.key == *key);
        assert_eq!(token.unwrap().user_id, *id);
    }
}

#[tokio::test]
async fn times_are_by_the_clock_of_the_store() {
    let server = server!();
    let (right, wrong) = (
        node(server.settings(), None).await,
        node(server.settings(), None).await,
    );
    // Its clock is a century ahead: it would take every token for one that has long expired.
    let century = Duration::from_hours(24 * 36_525);
    let behind = i64::try_from(century.as_millis()).unwrap();
    wrong.link.set_clock_offset(-behind);
    let ada = record("ada");
    right.insert(&ada).await.unwrap();
    let used = vec![(ada.key, Timestamp::from_millis(7_000))];
    right.touch(&used).await.unwrap();
    let there = wrong.read(&[ada.key]).await.unwrap().tokens.remove(0);
    assert_eq!(there.created, ada.created.plus(century));
    assert_eq!(there.expires, ada.expires.plus(century));
    let last = Timestamp::from_millis(7_000).plus(century);
    assert_eq!(there.last_used, Some(last));
    assert_eq!(wrong.uses().await, Ok(vec![(ada.key, last)]));
    let bob = TokenRecord {
        created: there.created,
        expires: there.expires,
        ..(*record("bob")).clone()
    };
    wrong.insert(&bob).await.unwrap();
    let used = vec![(bob.key, last)];
    wrong.touch(&used).await.unwrap();
    let there = right.read(&[bob.key]).await.unwrap().tokens.remove(0);
    assert_eq!((there.created, there.expires), (ada.created, ada.expires));
    assert_eq!(there.last_used, Some(Timestamp::from_millis(7_000)));
}

/// A file as a node leaves it that has shared nothing.
async fn file_of(folder: &tempfile::TempDir, tokens: &[Arc<TokenRecord>]) -> PathBuf {
    let file = folder.path().join("authenticators.redb");
    let disk = Disk::open(&file).unwrap();
    for token in tokens {
        disk.insert_token(Arc::clone(token)).await.unwrap();
    }
    file
}

#[tokio::test]
async fn the_tokens_of_a_file_are_taken_over_once() {
    let server = server!();
    let folder = tempfile::tempdir().unwrap();
    let tokens: Vec<_> = (0..AT_ONCE + 7)
        .map(|n| record(&format!("user{n}")))
        .collect();
    let file = file_of(&folder, &tokens).await;
    let used = vec![(tokens[3].key, Timestamp::from_millis(7_000))];
    let disk = Disk::open(&file).unwrap();
    disk.touch_tokens(used).await.unwrap();
    drop(disk);
    let copy = folder.path().join("copy.redb");
    std::fs::copy(&file, &copy).unwrap();

    let here = node(server.settings(), Some(file.clone())).await;
    let there = all(&here).await;
    assert_eq!(there.len(), tokens.len());
    let used = there.iter().find(|token| token.key == tokens[3].key);
    assert_eq!(used.unwrap().last_used, Some(Timestamp::from_millis(7_000)));
    assert!(!file.exists());
    assert!(
        folder
            .path()
            .join("authenticators.redb.taken-over")
            .exists()
    );
    // What was revoked since does not come back, though the file does.
    assert_eq!(here.remove(&[tokens[0].key]).await, Ok(1));
    std::fs::rename(&copy, &file).unwrap();
    let again = node(server.settings(), Some(file.clone())).await;
    assert_eq!(all(&again).await.len(), tokens.len() - 1);
    assert!(!file.exists());
    // Nothing to take over.
    assert_eq!(
        all(&node(server.settings(), Some(file)).await).await.len(),
        tokens.len() - 1
    );
}

#[tokio::test]
async fn a_file_that_does_not_fit_stays_where_it_is() {
    let server = server!();
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(&folder, &[record("ada")]).await;
    let first = node(server.settings(), None).await;
    let mut others = cmd("HSET");
    others.arg(&first.names.tokens);
    for n in 0..MAX_TOKENS {
        others.arg(format!("foreign {n}")).arg("x");
    }
    first.link.query(&others).await.unwrap();
    let here = node(server.settings(), Some(file.clone())).await;
    assert_eq!(all(&here).await, []);
    assert!(file.exists());
    // As soon as there is room, the next start takes it over.
    server.ask(&["DEL", &first.names.tokens]);
    let here = node(server.settings(), Some(file.clone())).await;
    assert_eq!(all(&here).await.len(), 1);
    assert!(!file.exists());
}

#[tokio::test]
async fn a_revocation_is_worth_the_last_bytes_of_the_memory() {
    let server = server!();
    let node = node(server.settings(), None).await;
    let ada = record("ada");
    node.insert(&ada).await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(
        node.insert(&record("bob")).await,
        Err(StoreError::Unavailable)
    );
    assert_eq!(all(&node).await.len(), 1);
    assert_eq!(node.remove(&[ada.key]).await, Ok(1));
    assert_eq!(all(&node).await, []);
}

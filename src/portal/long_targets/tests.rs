use super::local::ROOM;
use super::*;

const MAX: usize = 8192;

fn target(n: usize) -> ReturnTo {
    ReturnTo::parse(&format!("/{n}?{}", "a".repeat(3000)), MAX)
}

fn client(n: u8) -> IpAddr {
    [192, 0, 2, n].into()
}

fn browser(cookie: &[u8]) -> Owner {
    Owner::browser(cookie)
}

impl LongTargets {
    fn alone(clock: &Clock) -> Self {
        Self::new(clock.clone(), &Nodes::alone())
    }

    /// For the browser with the cookie `mine`.
    async fn mine(&self, n: usize) -> String {
        let kept = self.keep(b"mine", client(1), &target(n)).await;
        kept.unwrap().unwrap()
    }

    async fn finds(&self, owner: Owner, name: &str) -> Option<ReturnTo> {
        self.find_for(&[owner], name).await
    }
}

#[tokio::test]
async fn sec_63_a_target_is_kept_for_one_browser_and_for_an_hour() {
    let clock = Clock::system();
    let targets = LongTargets::alone(&clock);
    let name = targets.mine(1).await;
    assert_eq!(name.len(), NAME);
    assert_eq!(
        targets.finds(browser(b"mine"), &name).await,
        Some(target(1))
    );
    assert_eq!(targets.finds(browser(b"other"), &name).await, None);
    assert_eq!(targets.finds(browser(b"mine"), "name").await, None);
    assert_eq!(targets.mine(1).await, name, "the same once more");
    clock.advance(KEPT_FOR);
    assert_eq!(targets.finds(browser(b"mine"), &name).await, None);
    assert!(targets.local.total() > 0);
    targets.sweep();
    assert_eq!(targets.local.total(), 0);
}

#[tokio::test]
async fn sec_63_the_session_that_begins_has_what_other_tabs_wait_for() {
    let targets = LongTargets::alone(&Clock::system());
    let name = targets.mine(1).await;
    let key = SessionId::generate().unwrap().key();
    targets.hand_over(&[browser(b"mine")], key).await;
    let session = Owner::Session(key);
    assert_eq!(targets.finds(session, &name).await, Some(target(1)));
    assert_eq!(targets.finds(browser(b"mine"), &name).await, None);
}

#[tokio::test]
async fn sec_63_one_browser_has_no_more_than_its_last_eight() {
    let targets = LongTargets::alone(&Clock::system());
    let mut names = Vec::new();
    for n in 0..9 {
        names.push(targets.mine(n).await);
    }
    for (n, name) in names.iter().enumerate() {
        let found = targets.finds(browser(b"mine"), name).await;
        assert_eq!(found.is_some(), n > 0, "{n}");
    }
}

#[tokio::test]
async fn sec_87_no_network_has_room_of_all_others() {
    let targets = LongTargets::alone(&Clock::system());
    let keep = async |n: usize, from| {
        let cookie = n.to_string();
        let target = target(n);
        let kept = targets.keep(cookie.as_bytes(), client(from), &target);
        kept.await.unwrap().is_some()
    };
    let mut refused = 0;
    while keep(refused, 1).await {
        refused += 1;
    }
    assert!(refused > 600, "{refused}");
    assert!(targets.local.total() <= ROOM / 2);
    assert!(keep(refused, 2).await, "another network has its own");
    let owner = Owner::browser(refused.to_string().as_bytes());
    assert_eq!(targets.local.count(owner), 1);
}

#[cfg(feature = "redis")]
mod several_nodes {
    use std::sync::Arc;

    use super::*;
    use crate::redis::test_server::TestServer;

    async fn node(server: &TestServer, clock: &Clock) -> LongTargets {
        let nodes = Nodes::open(Some(&Arc::new(server.settings())), clock).unwrap();
        let mut generation = nodes.link().unwrap().generation();
        let connected = generation.wait_for(|now| now.connected);
        let connected = tokio::time::timeout(Duration::from_secs(20), connected);
        connected.await.unwrap().unwrap();
        LongTargets::new(clock.clone(), &nodes)
    }

    #[tokio::test]
    async fn sec_63_a_target_of_one_node_is_found_on_another() {
        let Some(server) = TestServer::start() else {
            return;
        };
        let clock = Clock::system();
        let (a, b) = (node(&server, &clock).await, node(&server, &clock).await);
        let name = a.mine(1).await;
        assert_eq!(b.finds(browser(b"mine"), &name).await, Some(target(1)));
        assert_eq!(b.finds(browser(b"other"), &name).await, None);
        let other = b.mine(2).await;
        let key = SessionId::generate().unwrap().key();
        b.hand_over(&[browser(b"mine")], key).await;
        for node in [&a, &b] {
            let session = Owner::Session(key);
            assert_eq!(node.finds(session, &name).await, Some(target(1)));
            assert_eq!(node.finds(session, &other).await, Some(target(2)));
        }
        assert_eq!(b.finds(browser(b"mine"), &other).await, None);
        // Nothing of it can be read there, or for long.
        let keys = server.ask(&["KEYS", "*"]);
        assert!(keys.contains(":m:") && !keys.contains(&name), "{keys}");
        for key in keys.lines() {
            let left: i64 = server.ask(&["PTTL", key]).trim().parse().unwrap();
            assert!((1..=3_600_000).contains(&left), "{left} of {key}");
            assert!(!server.ask(&["GET", key]).contains("aaa"), "{key}");
        }
    }

    #[tokio::test]
    async fn sec_63_all_nodes_together_keep_the_last_eight_of_a_browser() {
        let Some(server) = TestServer::start() else {
            return;
        };
        let clock = Clock::system();
        let (a, b) = (node(&server, &clock).await, node(&server, &clock).await);
        let mut names = Vec::new();
        for n in 0..9 {
            let node = if n % 2 == 0 { &a } else { &b };
            names.push(node.mine(n).await);
            // The store has the time in milliseconds.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let fresh = node(&server, &clock).await;
        for (n, name) in names.iter().enumerate() {
            let found = fresh.finds(browser(b"mine"), name).await;
            assert_eq!(found.is_some(), n > 0, "{n}");
        }
    }

    #[tokio::test]
    async fn sec_63_a_tab_that_is_loaded_again_keeps_its_target_longer() {
        let Some(server) = TestServer::start() else {
            return;
        };
        let clock = Clock::system();
        let a = node(&server, &clock).await;
        let name = a.mine(1).await;
        let left = || {
            let key = server.ask(&["KEYS", "vestibule:{targets}:m:*"]);
            let left = server.ask(&["PTTL", key.trim()]);
            left.trim().parse::<u64>().unwrap()
        };
        let key = server.ask(&["KEYS", "vestibule:{targets}:m:*"]);
        server.ask(&["PEXPIRE", key.trim(), "60000"]);
        assert_eq!(a.mine(1).await, name);
        assert!(left() <= 60_000, "the store is not asked each time");
        clock.advance(KEPT_FOR.saturating_sub(Duration::from_mins(10)));
        assert_eq!(a.mine(1).await, name);
        assert!(left() > 60_000);
    }

    #[tokio::test]
    async fn rel_10_without_the_store_a_target_is_good_on_its_node() {
        let Some(mut server) = TestServer::start() else {
            return;
        };
        let clock = Clock::system();
        let (a, b) = (node(&server, &clock).await, node(&server, &clock).await);
        server.kill();
        let name = a.mine(1).await;
        assert_eq!(a.finds(browser(b"mine"), &name).await, Some(target(1)));
        assert_eq!(b.finds(browser(b"mine"), &name).await, None);
        server.start_again();
        let has_it = async {
            while b.finds(browser(b"mine"), &name).await.is_none() {
                assert_eq!(a.mine(1).await, name, "loaded again");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_mins(1), has_it);
        waited.await.unwrap();
    }
}

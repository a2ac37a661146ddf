use std::net::IpAddr;

use rand::TryRng;
use rand::rngs::SysRng;

use super::super::{Attempt, KnownNetworks, LocalThrottle, Throttle};
use super::*;
use crate::clock::Clock;
use crate::redis::test_server::TestServer;

const SETTINGS: Settings = Settings {
    account_failures: 3,
    address_failures: 7,
    window: Duration::from_mins(15),
};

fn node(server: &TestServer) -> Throttle {
    node_with(server, SETTINGS)
}

fn node_with(server: &TestServer, settings: Settings) -> Throttle {
    let clock = Clock::system();
    let known = Arc::new(KnownNetworks::in_memory().unwrap());
    let store = SharedCounts::new(&server.link());
    Throttle::new(settings, known, clock, Some(store))
}

fn alone() -> LocalThrottle {
    let known = Arc::new(KnownNetworks::in_memory().unwrap());
    LocalThrottle::new(SETTINGS, known, Clock::system())
}

fn address(n: u8) -> IpAddr {
    [192, 0, 2, n].into()
}

/// Until the link is there, a node counts by itself.
async fn two_nodes(server: &TestServer) -> [Throttle; 2] {
    let nodes = [node(server), node(server)];
    for node in &nodes {
        connected(node).await;
    }
    nodes
}

async fn connected(node: &Throttle) {
    let mut generation = node.store().link.generation();
    let connected = generation.wait_for(|now| now.connected);
    timeout(Duration::from_secs(20), connected)
        .await
        .unwrap()
        .unwrap();
}

async fn fail(node: &Throttle, account: &str, address: IpAddr) -> Result<Option<Wait>, Wait> {
    node.begin(account, address).await.map(Attempt::failed)
}

#[tokio::test]
async fn sec_59_what_is_counted_on_one_node_counts_on_another() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = &two_nodes(&server).await;
    assert_eq!(fail(a, "ada", address(1)).await, Ok(None));
    assert_eq!(fail(b, "ada", address(1)).await, Ok(None));
    let Ok(Some(Wait(wait))) = fail(a, "ada", address(1)).await else {
        panic!("the third is not the last")
    };
    assert!(wait <= SETTINGS.window && wait > SETTINGS.window / 2);
    let Err(Wait(wait)) = fail(b, "ada", address(1)).await else {
        panic!("no wait on the other node")
    };
    assert!(wait <= SETTINGS.window && wait > SETTINGS.window / 2);
    assert_eq!(fail(b, "ada", address(2)).await, Ok(None), "from elsewhere");
    assert_eq!(fail(b, "bob", address(1)).await, Ok(None), "another user");
}

#[tokio::test]
async fn sec_59_tries_on_two_nodes_at_once_all_count() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = &two_nodes(&server).await;
    let tries = (0..40).map(|n| fail([a, b][n % 2], "ada", address(1)));
    let outcomes = futures_util::future::join_all(tries).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
}

/// The limits, the order in which they count and the waits of one node alone, whatever happens.
#[tokio::test]
async fn sec_59_several_nodes_refuse_what_one_would() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (nodes, alone) = (two_nodes(&server).await, alone());
    let accounts = ["ada", "bob", "cyd", "dan"];
    let networks: Vec<IpAddr> = ["192.0.2.1", "192.0.2.9", "198.51.100.1", "2001:db8::1"]
        .into_iter()
        .chain(["2001:db8:0:1::1", "2001:db8:0:100::1", "2001:db8:7::1"])
        .map(|address| address.parse().unwrap())
        .collect();
    let mut refused = 0;
    for step in 0..1500 {
        let mut random = [0; 4];
        SysRng.try_fill_bytes(&mut random).unwrap();
        let [node, account, network, outcome] = random.map(usize::from);
        let node = &nodes[node % 2];
        let account = accounts[account % accounts.len()];
        let network = networks[network % networks.len()];
        let by_proxy = outcome % 16 == 15;
        let (expected, begun) = if by_proxy {
            let begun = node.begin_behind(account, network).await;
            (alone.begin_behind(account, network), begun)
        } else {
            let begun = node.begin(account, network).await;
            (alone.begin(account, network), begun)
        };
        let case = format!("step {step}: {account} from {network}, {by_proxy}");
        let ended = match (expected, begun) {
            (Ok(expected), Ok(begun)) => match outcome % 10 {
                0 => {
                    expected.succeeded();
                    begun.succeeded().await;
                    continue;
                }
                1 => {
                    expected.withdraw();
                    begun.withdraw().await;
                    continue;
                }
                _ => (expected.failed(), begun.failed()),
            },
            (expected, begun) => {
                refused += 1;
                (expected.err(), begun.err())
            }
        };
        match ended {
            (None, None) => {}
            (Some(Wait(one)), Some(Wait(other))) => {
                let apart = one.max(other).saturating_sub(one.min(other));
                assert!(apart < Duration::from_secs(5), "{case}: {one:?} {other:?}");
            }
            (one, other) => panic!("{case}: {one:?} alone, {other:?} together"),
        }
    }
    assert!(refused > 100, "{refused}");
}

#[tokio::test]
async fn sec_59_a_network_that_is_known_on_one_node_is_known_on_another() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = &two_nodes(&server).await;
    let home = address(200);
    let begun = a.begin("ada", home).await;
    begun.ok().unwrap().succeeded().await;
    for n in 0..60 {
        let _refused = fail(b, "ada", address(n)).await;
    }
    let new = b.begin("ada", address(150)).await;
    assert!(new.is_err(), "the tries of this /24 are taken");
    let begun = b.begin("ada", home).await;
    begun.ok().unwrap().succeeded().await;
    let behind = b.begin_behind("ada", home).await;
    assert!(behind.is_err(), "nobody is known by a proxy");
}

#[tokio::test]
async fn sec_59_a_login_forgets_the_failures_on_every_node() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = &two_nodes(&server).await;
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(fail(a, "ada", address(1)).await, Ok(None));
        }
        let begun = b.begin("ada", address(1)).await;
        begun.ok().unwrap().succeeded().await;
    }
}

#[tokio::test]
async fn sec_59_while_the_store_is_away_the_counters_of_the_node_decide() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let [a, b] = &two_nodes(&server).await;
    assert_eq!(fail(a, "ada", address(1)).await, Ok(None));
    server.stop();
    let started = Clock::stopwatch();
    assert_eq!(fail(a, "ada", address(1)).await, Ok(None));
    assert!(started.elapsed() < Duration::from_millis(900), "it waits");
    let last = fail(a, "ada", address(1)).await;
    assert!(
        matches!(last, Ok(Some(_))),
        "counted before and since: {last:?}"
    );
    assert!(fail(a, "ada", address(1)).await.is_err());
    server.kill();
    assert!(fail(a, "ada", address(1)).await.is_err());
    for n in 0..3 {
        let last = fail(b, "ada", address(1)).await.unwrap().is_some();
        assert_eq!(last, n == 2, "a node of its own");
    }
    // The store comes back with nothing: what a node has counted by itself it still refuses.
    server.start_again();
    connected(a).await;
    assert!(fail(a, "ada", address(1)).await.is_err());
}

#[tokio::test]
async fn sec_84_no_key_and_no_value_tells_a_name_or_an_address_and_each_ends() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, _] = &two_nodes(&server).await;
    let begun = a.begin("adalovelace", address(77)).await;
    begun.ok().unwrap().succeeded().await;
    for n in 0..40 {
        let _refused = fail(a, "adalovelace", address(n)).await;
    }
    let keys = server.ask(&["KEYS", "*"]);
    let keys: Vec<_> = keys.lines().collect();
    let kinds = ["k", "a", "s", "p", "n"].map(|kind| format!("{{throttle}}:{kind}:"));
    for kind in kinds {
        assert!(keys.iter().any(|key| key.contains(&kind)), "{kind}");
    }
    for key in keys {
        let left: i64 = server.ask(&["PTTL", key]).trim().parse().unwrap();
        assert!(left > 0, "{key} does not end");
        let value = match server.ask(&["TYPE", key]).trim() {
            "hash" => server.ask(&["HGETALL", key]),
            _ => server.ask(&["GET", key]),
        };
        for told in [key, &value] {
            let tells = told.contains("lovelace") || told.contains("192.0.2");
            assert!(!tells, "{told}");
        }
    }
}

#[tokio::test]
async fn sec_59_a_network_fills_no_more_of_the_store_than_it_has_tries() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = &two_nodes(&server).await;
    for n in 0..300_u16 {
        let from = format!("2001:db8:0:{n:x}::1").parse().unwrap();
        let _refused = fail([a, b][usize::from(n) % 2], &format!("user{n}"), from).await;
    }
    let keys: usize = server.ask(&["DBSIZE"]).trim().parse().unwrap();
    // Twice seven tries for a /48: each at one account, and at no more than five others.
    assert!(keys <= 14 * 6 + 3, "{keys} keys");
}

#[tokio::test]
async fn sec_59_a_window_ends_and_what_others_wrote_counts_nothing() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let short = Settings {
        window: Duration::from_millis(1500),
        ..SETTINGS
    };
    let (a, b) = (node_with(&server, short.clone()), node_with(&server, short));
    connected(&a).await;
    connected(&b).await;
    for _ in 0..3 {
        fail(&a, "ada", address(1)).await.unwrap();
    }
    let Err(Wait(wait)) = fail(&b, "ada", address(1)).await else {
        panic!("no wait")
    };
    tokio::time::sleep(wait).await;
    assert_eq!(fail(&b, "ada", address(1)).await, Ok(None));
    for key in server.ask(&["KEYS", "*"]).lines() {
        for foreign in [["SET", key, "nonsense"], ["SET", key, "99999999999999:1"]] {
            server.ask(&foreign);
        }
        server.ask(&["DEL", key]);
        server.ask(&["RPUSH", key, "a list"]);
    }
    assert_eq!(fail(&b, "ada", address(1)).await, Ok(None));
    assert!(server.ask(&["KEYS", "*"]).lines().count() > 2);
}

#[tokio::test]
async fn sec_59_a_right_password_takes_back_what_a_slow_store_has_counted() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = &two_nodes(&server).await;
    let keys = |kind| server.ask(&["KEYS", &format!("*:{kind}:*")]);
    for (before, user) in ["ada", "bob", "cyd", "dan"].into_iter().enumerate() {
        server.stop();
        let begun = a.begin(user, address(1)).await;
        server.go_on();
        begun.ok().unwrap().succeeded().await;
        // What takes a try back notes the network of its account.
        for _ in 0..1000 {
            if keys("k").lines().count() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(keys("k").lines().count(), before + 1, "it is taken back");
    }
    assert_eq!(keys("n").trim(), "");
    assert_eq!(fail(b, "ada", address(1)).await, Ok(None));
}

#[tokio::test]
async fn sec_59_a_store_that_loses_its_counters_resets_no_node() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, _] = &two_nodes(&server).await;
    for n in 0..3 {
        server.ask(&["FLUSHALL"]);
        let last = fail(a, "ada", address(1)).await.unwrap().is_some();
        assert_eq!(last, n == 2, "try {n}");
    }
    server.ask(&["FLUSHALL"]);
    assert!(fail(a, "ada", address(1)).await.is_err());
}

#[tokio::test]
async fn sec_59_what_is_refused_for_less_than_a_millisecond_is_refused() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let store = SharedCounts::new(&server.link());
    let named = store
        .names
        .of("ada", crate::network::Network::of(address(1)));
    let answer = Value::Array(vec![0, 0, 0, 0].into_iter().map(Value::Int).collect());
    let claimed = claimed(&answer, named, SETTINGS.window, (false, false));
    let Some(Claimed::Refused(Wait(wait))) = claimed else {
        panic!("it is let through")
    };
    assert!(!wait.is_zero());
}

//! Very many users.

use super::*;

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
    let stored = read_once(&nodes, &Clock::system(), SOON, |_, _| {})
        .await
        .unwrap();
    assert_eq!((stored.users.len(), stored.unreadable()), (BATCH + 20, 0));
}

#[tokio::test]
async fn ten_thousand_users_are_put_back_after_another_server_has_lost_them() {
    const MANY: usize = 10_000;
    let mut server = server!();
    let [here, there] = Node::two(&server).await;
    let hash = hash();
    let crowd: Vec<_> = (0..MANY)
        .map(|n| User::new(format!("user{n}"), hash.clone()))
        .collect();
    for some in crowd.chunks(200) {
        here.store.import(some, false, |_, _| {}).await.unwrap();
    }
    for node in [&here, &there] {
        node.store.catch_up().await.unwrap();
        assert_eq!(node.store.current.load().len(), MANY);
    }
    here.store.remove("user0").await.unwrap();
    assert!(here.store.set_disabled("user1", true).await.unwrap());
    there.store.catch_up().await.unwrap();
    // Both find out, and bring them back together.
    server.restart();
    let key = here.key("sealed");
    let are_back = async {
        while server.ask(&["HLEN", &key]) != format!("{MANY}\n") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let came = timeout(10 * SOON, are_back).await;
    assert!(came.is_ok(), "{}", server.ask(&["HLEN", &key]));
    let late = Node::start(server.settings(), None).await;
    for node in [&here, &there, &late] {
        let caught_up = async { while node.store.catch_up().await.is_err() {} };
        timeout(10 * SOON, caught_up).await.unwrap();
        assert_eq!(node.store.current.load().len(), MANY - 1);
        assert!(node.store.is_gone("user0"), "removed");
        assert!(node.store.is_gone("user1"), "disabled");
        assert_eq!(node.store.list().await.unwrap().1, 0);
    }
    let mut revoked = there.revoked();
    revoked.sort();
    assert_eq!(revoked, ["user0", "user1"], "and nobody else in between");
}

#[tokio::test]
async fn more_users_than_a_node_reads_keep_everybody_out_and_harm_nobody() {
    let server = server!();
    let node = Node::start(server.settings(), None).await;
    let ada = node.add("ada").await;
    let script = "for n = ARGV[1], ARGV[2] do redis.call('HSET', KEYS[1], 'x' .. n, 'y') end";
    let key = node.key("sealed");
    for n in 0..101 {
        let (first, last) = (n * 1000, n * 1000 + 999);
        let numbers = [first, last].map(|number: u32| number.to_string());
        server.ask(&["EVAL", script, "1", &key, &numbers[0], &numbers[1]]);
    }
    let refused = async || {
        // A look that was under way before is none of these.
        while node.store.catch_up().await != Err(StoreFault::Unavailable) {}
    };
    timeout(SOON, refused()).await.unwrap();
    assert_eq!(node.user("ada"), Some(ada));
    assert!(!node.store.is_gone("ada"));
}

#[tokio::test]
async fn who_asks_once_reads_some_at_a_time_and_says_how_far_it_has_come() {
    let server = server!();
    let mut patient = server.settings();
    patient.timeout = Duration::from_secs(20);
    let node = Node::start(patient.clone(), None).await;
    let user = |n| User::new(format!("user{n}"), hash());
    let crowd: Vec<_> = (0..2 * once::AT_ONCE + 9).map(user).collect();
    node.store.import(&crowd, false, |_, _| {}).await.unwrap();
    let nodes = Nodes::open(Some(&Arc::new(patient)), &node.clock).unwrap();
    let read = async |within| {
        let mut told = Vec::new();
        let tell = |looked_at, all| told.push((looked_at, all));
        let stored = read_once(&nodes, &node.clock, within, tell).await.unwrap();
        (stored, told)
    };
    let (whole, told) = read(Duration::from_hours(1)).await;
    assert!(whole.is_whole());
    assert_eq!(whole.users.len(), crowd.len());
    let all = crowd.len();
    assert_eq!(told, [(500, all), (1000, all), (1009, all)]);
    let (part, told) = read(Duration::ZERO).await;
    assert!(!part.is_whole());
    assert_eq!(
        (part.users.len(), part.looked_at, part.all),
        (500, 500, all)
    );
    assert_eq!(told, [(500, all)]);
    node.plant("user7", b"junk that nobody can read").await;
    for (name, expected) in [
        ("USER9", (1, 0)),
        ("user7", (0, 1)),
        ("zoe", (0, 0)),
        ("a  b", (0, 0)),
    ] {
        let one = read_one(&nodes, &node.clock, name).await.unwrap();
        assert_eq!((one.users.len(), one.unreadable()), expected, "{name}");
    }
}

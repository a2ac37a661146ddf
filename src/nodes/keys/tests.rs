//! On a real server.

use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::redis::test_server::TestServer;

/// A node; its rings have not asked the server yet.
fn node(server: &TestServer) -> Nodes {
    Nodes::open(Some(&Arc::new(server.settings())), &Clock::system()).unwrap()
}

async fn ring_of(server: &TestServer, of: RingOf) -> KeyRing {
    let ring = KeyRing::new(&node(server), of).unwrap();
    read(&ring).await;
    ring
}

/// Until the store has answered.
async fn read(ring: &KeyRing) {
    let values = ring.values.as_ref().unwrap();
    let has_read = async {
        while ring.read(values).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), has_read).await.unwrap();
}

/// As if twelve hours had passed.
async fn turn(server: &TestServer, ring: &KeyRing) {
    make_due(ring).await;
    free_the_lease(server);
    read(ring).await;
}

async fn make_due(ring: &KeyRing) {
    let (values, name) = (ring.values.as_ref().unwrap(), ring.of.name());
    let mut keys = turns::kept(&ring.of, values).await.unwrap().unwrap();
    keys.since = Timestamp::default().plus(now().since(Timestamp::default()).saturating_sub(TURN));
    values.put(&RING, name, &keys.encode(), TURN).await.unwrap();
}

fn free_the_lease(server: &TestServer) {
    let leases = server.ask(&["KEYS", "vestibule:v:turn:*"]);
    for key in leases.split_whitespace() {
        server.ask(&["DEL", key]);
    }
}

fn accepts(ring: &KeyRing, key: &RingKey) -> bool {
    ring.keys().accepted().any(|other| other == key)
}

#[tokio::test]
async fn all_nodes_have_the_keys_that_the_first_one_makes() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let rings = futures_util::future::join_all([(); 4].map(|()| ring_of(&server, RingOf::Forms)));
    let rings = rings.await;
    for ring in &rings {
        assert!(ring.is_shared());
        assert_eq!(ring.keys().shared, rings[0].keys().shared);
    }
    let tickets = ring_of(&server, RingOf::Tickets).await;
    assert!(!accepts(&tickets, rings[0].keys().current()));
}

#[tokio::test]
async fn a_key_is_known_to_all_before_it_signs_and_until_it_is_too_old() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (a, b) = (
        ring_of(&server, RingOf::Tickets).await,
        ring_of(&server, RingOf::Tickets).await,
    );
    let first = a.keys().current().clone();
    turn(&server, &a).await;
    let second = a.keys().current().clone();
    assert_ne!(first, second);
    assert!(accepts(&b, &second), "though it has not read of the turn");
    assert!(accepts(&a, &first));
    read(&b).await;
    turn(&server, &b).await;
    assert_ne!(*b.keys().current(), second);
    assert!(accepts(&b, &second) && !accepts(&b, &first));
    read(&a).await;
    assert_eq!(a.keys(), b.keys());
    let before = a.keys();
    read(&a).await;
    assert_eq!(a.keys(), before, "a turn is made once");
    let forms = ring_of(&server, RingOf::Forms).await;
    let first = forms.keys().current().clone();
    for turns in 1..=RingOf::Forms.old() + 1 {
        turn(&server, &forms).await;
        assert_eq!(
            accepts(&forms, &first),
            turns <= RingOf::Forms.old(),
            "{turns}"
        );
    }
}

#[tokio::test]
async fn rel_10_a_node_goes_on_with_its_keys_and_brings_them_back() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let ring = ring_of(&server, RingOf::Forms).await;
    let before = ring.keys();
    server.kill();
    let away = ring.read(ring.values.as_ref().unwrap()).await;
    assert_eq!(away, Err(ValueError::Unavailable));
    let late = KeyRing::new(&node(&server), RingOf::Forms).unwrap();
    let own = late.keys().current().clone();
    assert!(!late.is_shared());
    server.restart();
    read(&ring).await;
    assert_eq!(
        ring.keys(),
        before,
        "a store that was emptied gets them again"
    );
    read(&late).await;
    assert_eq!(late.keys().shared, before.shared);
    assert!(late.keys().current() != &own && accepts(&late, &own));
    let told = server.ask(&["KEYS", "*"]);
    assert!(!told.contains("forms"), "{told}");
}

#[tokio::test]
async fn rel_19_what_a_later_version_has_written_is_left_alone_and_damage_is_mended_once() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let ring = ring_of(&server, RingOf::Forms).await;
    let (before, values) = (ring.keys(), ring.values.as_ref().unwrap());
    let later = Kind::new("keys", 2, 1000);
    let name = RingOf::Forms.name();
    values.put(&later, name, b"later", TURN).await.unwrap();
    assert_eq!(ring.read(values).await, Err(ValueError::Newer));
    assert_eq!(
        values.get(&later, name).await.unwrap().unwrap()[..],
        b"later"[..]
    );
    assert_eq!(ring.keys(), before);
    values.put(&RING, name, b"no keys", TURN).await.unwrap();
    assert_eq!(ring.read(values).await, Ok(()), "it has the ring");
    assert_eq!(ring.keys(), before);
    let other = ring_of(&server, RingOf::Forms).await;
    assert_eq!(other.keys().shared, ring.keys().shared);
}

#[tokio::test]
async fn a_node_with_another_key_takes_no_ring_from_the_others() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let ring = ring_of(&server, RingOf::Forms).await;
    let mut settings = server.settings();
    settings.key = crate::redis::SecretSource::Given(Secret::new("1".repeat(64)));
    let wrong = Nodes::open(Some(&Arc::new(settings)), &Clock::system()).unwrap();
    let wrong = KeyRing::new(&wrong, RingOf::Forms).unwrap();
    free_the_lease(&server);
    let refused = async || {
        let values = wrong.values.as_ref().unwrap();
        match wrong.read(values).await {
            Err(ValueError::Unavailable) => None,
            read => Some(read),
        }
    };
    let refused = async {
        loop {
            if let Some(read) = refused().await {
                return read;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let refused = timeout(Duration::from_secs(30), refused).await.unwrap();
    assert_eq!(refused, Err(ValueError::Damaged));
    assert!(!wrong.is_shared());
    let fresh = ring_of(&server, RingOf::Forms).await;
    assert_eq!(fresh.keys().shared, ring.keys().shared);
}

#[tokio::test]
async fn a_lease_that_is_lost_makes_no_turn() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let ring = ring_of(&server, RingOf::Tickets).await;
    let before = ring.keys();
    free_the_lease(&server);
    read(&ring).await;
    assert_eq!(ring.keys(), before);
}

#[test]
fn rel_08_a_time_that_lies_far_ahead_keeps_no_key_for_ever() {
    let now = now();
    let due = |since| Keys::new_ring(since).unwrap().are_due(now);
    assert!(!due(now) && !due(now.plus(TURN / 2)));
    assert!(due(now.plus(TURN * 2)) && due(Timestamp::default()));
}

#[test]
fn purposes_and_keys_have_nothing_in_common() {
    let (a, b) = (RingKey::new().unwrap(), RingKey::new().unwrap());
    let derived = [
        a.derive::<32>("one", b""),
        a.derive::<32>("two", b""),
        a.derive::<32>("one", b"x"),
        b.derive::<32>("one", b""),
    ];
    for (at, one) in derived.iter().enumerate() {
        assert!(derived[..at].iter().all(|other| other != one), "{at}");
    }
    assert_eq!(a.derive::<32>("one", b""), derived[0]);
}

#[tokio::test]
async fn a_turn_that_took_longer_than_its_lease_takes_the_keys_of_nobody_away() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let (a, b) = (
        ring_of(&server, RingOf::Tickets).await,
        ring_of(&server, RingOf::Tickets).await,
    );
    let values = a.values.as_ref().unwrap();
    make_due(&a).await;
    // Node a has the lease, and then stands still for longer than that.
    let found = turns::there(&a.of, values).await.unwrap().unwrap();
    free_the_lease(&server);
    read(&b).await;
    let turned = turns::turn(&a.of, values, found).await.unwrap();
    assert_eq!(turned.shared, b.keys().shared);
    let kept = turns::kept(&a.of, values).await.unwrap().unwrap();
    assert_eq!(kept.shared, b.keys().shared);
}

use super::memory::Demands;
use super::tuning::MIN_FOR_DELAY;
use super::*;

const CALM: Signals = Signals {
    connections: (900, 1000),
    streams: 0,
    late: false,
    resident: 900,
    ceiling: 1000,
};

pub(crate) fn load(max_under_way: usize) -> Load {
    let ceiling = Ceiling::of(Demands {
        max_connections: 1,
        head: 0,
        sessions: 0,
        forms: 0,
        logs: 0,
        hashing: 0,
        users: 0,
        largest_body: 1,
    });
    Load::new(max_under_way, ceiling, Clock::system())
}

#[test]
fn rel_13_each_signal_has_its_limit() {
    let with = |change: fn(&mut Signals)| {
        let mut signals = CALM;
        change(&mut signals);
        signals.cause()
    };
    let late = |signals: &mut Signals| signals.late = true;
    assert_eq!(CALM.cause(), None);
    assert_eq!(with(|signals| signals.resident += 1), Some(Cause::Memory));
    assert_eq!(
        with(|signals| signals.connections.0 += 1),
        Some(Cause::Connections)
    );
    let few = |signals: &mut Signals| signals.connections = (1, 1);
    assert_eq!(with(few), None, "a tenth of one is none");
    assert_eq!(with(late), Some(Cause::Delay));
    let mut few = Signals {
        connections: (MIN_FOR_DELAY - 1, 1000),
        streams: MIN_FOR_DELAY - 1,
        late: true,
        ..CALM
    };
    assert_eq!(few.cause(), None, "others keep the machine busy");
    few.streams += 1;
    assert_eq!(few.cause(), Some(Cause::Delay), "over few connections");
}

fn stranger(load: &Load, address: &str) -> Arc<Usage> {
    load.usages().of_address(address.parse().unwrap())
}

fn user(load: &Load, name: &str) -> Arc<Usage> {
    load.usages().of(Consumer::User(name.into()))
}

/// Begins requests until one is refused; how many went on, and why the last did not.
fn fill(load: &Load, usage: &Usage) -> (usize, Cause) {
    let mut begun = 0;
    loop {
        match load.begin(usage, || true) {
            Ok(()) => begun += 1,
            Err(cause) => return (begun, cause),
        }
    }
}

#[test]
fn sec_87_nothing_that_strangers_do_triggers_a_limit_for_users() {
    let load = load(1000);
    let networks: Vec<_> = (0..16)
        .map(|n| stranger(&load, &format!("192.0.2.{n}")))
        .collect();
    for network in networks.iter().cycle().take(16 * 200) {
        let _ = load.begin(network, || true);
    }
    let newcomer = stranger(&load, "198.51.100.1");
    let (begun, cause) = fill(&load, &newcomer);
    assert!(begun >= 20, "{begun} of 750 for 17 networks");
    assert_eq!(cause, Cause::Requests);
    let (begun, _) = fill(&load, &user(&load, "ada"));
    assert_eq!(begun, 800, "one alone has four fifths");
    assert!(fill(&load, &user(&load, "bob")).0 > 150);
    let (in_flight, max) = load.requests();
    assert!(in_flight <= max + max / 4 * 3, "{in_flight}");
}

#[test]
fn sec_87_an_answer_that_nobody_takes_holds_its_networks_share_alone() {
    let load = load(1000);
    let crowd = stranger(&load, "192.0.2.1");
    let untaken = (0..1000).filter(|_| load.begin_answer(&crowd)).count();
    assert_eq!(untaken, 375, "half of what strangers may have");
    assert!(!load.is_crowded());
    let other = stranger(&load, "192.0.2.2");
    assert!(load.begin_answer(&other), "others notice nothing");
    assert!(load.is_crowded() && load.begin(&other, || true).is_ok());
    for _ in 0..untaken {
        load.end_answer(&crowd);
    }
    assert!(!load.is_crowded());
}

#[test]
fn rel_13_a_sign_makes_the_shares_of_strangers_small() {
    let load = load(1000);
    let (ada, eve) = (user(&load, "ada"), stranger(&load, "192.0.2.1"));
    let newcomer = stranger(&load, "192.0.2.2");
    for (cause, begun) in [(Cause::Delay, 32), (Cause::Memory, 8)] {
        load.set_pressure(Some(cause));
        // The clock may go on to the next second meanwhile.
        let (first, refused) = fill(&load, &eve);
        assert_eq!(refused, cause);
        assert!((begun..=2 * begun).contains(&first), "{cause}: {first}");
        assert_eq!(load.begin(&newcomer, || true), Ok(()));
        assert_eq!(load.begin(&ada, || true), Ok(()));
        (0..first).for_each(|_| load.end(&eve));
        load.end(&newcomer);
    }
    assert!(load.wants_memory());
    load.set_pressure(Some(Cause::Connections));
    assert_eq!(load.begin(&eve, || false), Err(Cause::Connections));
    assert_eq!(load.begin(&eve, || true), Ok(()));
    assert_eq!(load.begin(&ada, || false), Ok(()));
    let shed = load.shed().map(|(cause, count)| (cause.name(), count));
    let expected = [
        ("connections", 1),
        ("delay", 1),
        ("memory", 1),
        ("requests", 0),
    ];
    assert_eq!(shed, expected);
}

#[test]
fn a_limit_of_one_request_lets_one_through() {
    let load = load(1);
    let (ada, eve) = (user(&load, "ada"), stranger(&load, "192.0.2.1"));
    assert_eq!(fill(&load, &ada), (1, Cause::Requests));
    assert_eq!(fill(&load, &eve), (1, Cause::Requests));
    load.end(&ada);
    assert_eq!(load.begin(&ada, || true), Ok(()));
}

#[test]
fn rel_06_bodies_that_are_read_whole_are_shared_and_given_back() {
    const PIECE: usize = 16 * 1024;
    let load = Arc::new(load(100));
    let user = |name: &str| load.usages().of(Consumer::User(name.into()));
    let (ada, bob) = (user("ada"), user("bob"));
    let fill = |usage: &Arc<Usage>| {
        let mut body = HeldBody::new(Arc::clone(&load), Arc::clone(usage));
        while body.grow(PIECE) {}
        body
    };
    let held = |usage: &Usage| usage.held(Resource::Bodies);
    let of_users = 12 * 1024 * 1024;
    let first = fill(&ada);
    assert!(held(&ada).abs_diff(of_users / 5 * 4) <= 2 * PIECE);
    let second = fill(&bob);
    assert!(held(&bob) > of_users / 8, "there is always a share");
    let stranger = load.usages().of_address([192, 0, 2, 1].into());
    let third = fill(&stranger);
    let half = 2 * 1024 * 1024;
    assert!(held(&stranger).abs_diff(half) <= 2 * PIECE);
    drop((first, second, third));
    assert_eq!([&ada, &bob, &stranger].map(|usage| held(usage)), [0; 3]);
    assert!(HeldBody::new(Arc::clone(&load), bob).grow(of_users / 2));
}

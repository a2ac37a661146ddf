use super::*;
use crate::load::tuning::KEPT_OF_USER;

fn admission(max: usize, max_per_address: usize) -> Arc<Admission> {
    let limits = ConnectionLimits {
        max,
        max_per_address,
    };
    let proxy: IpAddr = "10.0.0.1".parse().unwrap();
    let is_proxy = move |address| address == proxy;
    Admission::new(limits, is_proxy, Arc::default(), &Clock::system())
}

fn admit(admission: &Arc<Admission>, address: &str) -> Option<Admitted> {
    admission.admit(address.parse().unwrap())
}

/// A connection of a stranger with a request in flight.
fn busy(admission: &Arc<Admission>, address: &str) -> Admitted {
    let admitted = admit(admission, address).unwrap();
    admitted.place().begin_request();
    admitted
}

fn idle(admission: &Arc<Admission>, address: &str) -> Admitted {
    let admitted = busy(admission, address);
    admitted.place().end_request();
    admitted
}

fn user(admission: &Arc<Admission>, name: &str) -> Arc<Usage> {
    admission.usages.of(Consumer::User(name.into()))
}

fn evicted(admitted: &[Admitted]) -> Vec<bool> {
    let evicted = |admitted: &Admitted| admitted.place().is_evicted();
    admitted.iter().map(evicted).collect()
}

#[test]
fn sec_28_connections_are_bounded_in_all_and_for_each_address() {
    let admission = admission(3, 2);
    let first = busy(&admission, "192.0.2.1");
    let second = busy(&admission, "192.0.2.1");
    assert!(admit(&admission, "192.0.2.1").is_none(), "two of one");
    let other = busy(&admission, "192.0.2.2");
    assert_eq!((admission.open(), admission.max()), (3, 3));
    assert!(!first.place().is_evicted());
    drop(second);
    assert!(admit(&admission, "192.0.2.3").is_some());
    drop((first, other));
    assert_eq!((admission.open(), admission.refused()), (0, 1));
}

#[test]
fn sec_28_one_ipv6_network_is_one_address() {
    let admission = admission(10, 1);
    let _first = busy(&admission, "2001:db8:1:2::3");
    assert!(admit(&admission, "2001:db8:1:2:ffff::9").is_none());
    assert!(admit(&admission, "2001:db8:1:3::3").is_some());
}

#[test]
fn a_trusted_proxy_is_bound_by_the_total_alone() {
    let admission = admission(3, 1);
    let open: Vec<_> = (0..3).map(|_| busy(&admission, "10.0.0.1")).collect();
    assert!(admit(&admission, "10.0.0.1").is_none());
    assert!(admit(&admission, "192.0.2.1").is_none(), "proxies stay");
    assert_eq!(evicted(&open), [false; 3]);
}

#[test]
fn sec_28_a_client_that_a_load_balancer_names_counts_for_itself() {
    let admission = admission(9, 1);
    let client: IpAddr = "192.0.2.1".parse().unwrap();
    let [mut first, mut second, mut third] = [0; 3].map(|_| busy(&admission, "10.0.0.1"));
    assert!(first.reassign(client, false));
    assert!(!second.reassign(client, false), "two of one client");
    assert_eq!((admission.open(), admission.refused()), (3, 1));
    assert!(second.reassign("192.0.2.2".parse().unwrap(), false));
    assert!(third.reassign(client, true), "for many others");
    drop((first, third));
    assert!(admit(&admission, "192.0.2.1").is_some(), "free again");
    drop(second);
    assert_eq!(admission.open(), 0);
    assert!(admission.lock().groups.is_empty() && admission.lock().of_proxies.is_empty());
    assert!(
        admission
            .usages
            .largest(Resource::Connections, 1, |_| true)
            .is_empty()
    );
}

#[test]
fn sec_87_connections_without_a_request_make_room_the_largest_network_first() {
    let admission = admission(5, 5);
    let silent: Vec<_> = (0..3)
        .map(|_| admit(&admission, "192.0.2.1").unwrap())
        .collect();
    let others = [idle(&admission, "192.0.2.2"), busy(&admission, "192.0.2.3")];
    let newcomer = admit(&admission, "198.51.100.1");
    assert!(newcomer.is_some());
    assert_eq!(evicted(&silent), [true, false, false], "the oldest");
    assert_eq!(evicted(&others), [false, false]);
    assert_eq!(admission.open(), 5);
    drop(silent);
    assert_eq!(admission.open(), 3);
}

#[test]
fn sec_87_then_idle_ones_and_then_those_of_a_larger_network() {
    let admission = admission(4, 4);
    let held: Vec<_> = (0..3).map(|_| busy(&admission, "192.0.2.1")).collect();
    let waits = idle(&admission, "192.0.2.2");
    let first = busy(&admission, "198.51.100.1");
    assert!(waits.place().is_evicted());
    let second = busy(&admission, "198.51.100.2");
    assert_eq!(evicted(&held), [false, false, true], "the newest");
    assert!(admit(&admission, "192.0.2.1").is_none(), "it has most");
    assert!(
        admit(&admission, "198.51.100.1").is_none(),
        "one more than it"
    );
    drop((first, second));
}

#[test]
fn sec_87_a_network_with_more_ends_none_of_one_with_less() {
    let admission = admission(3, 3);
    let _busy = [busy(&admission, "192.0.2.1"), busy(&admission, "192.0.2.1")];
    let waits = idle(&admission, "192.0.2.2");
    assert!(admit(&admission, "192.0.2.1").is_none());
    assert!(!waits.place().is_evicted());
}

#[test]
fn sec_87_silent_strangers_take_no_connection_of_a_user() {
    let admission = admission(100, 20);
    let _strangers: Vec<_> = (0..80)
        .map(|n| admit(&admission, &format!("192.0.2.{}", n / 20)).unwrap())
        .collect();
    let ada = user(&admission, "ada");
    let hers: Vec<_> = (0..30)
        .map(|n| busy(&admission, &format!("198.51.100.{}", n % 2)))
        .collect();
    assert!(hers.iter().all(|one| one.belongs_to(&ada)));
    assert_eq!(admission.open(), 100);
}

#[test]
fn sec_87_users_stay_and_strangers_of_their_network_go() {
    let admission = admission(10, 2);
    let hers = busy(&admission, "192.0.2.1");
    assert!(hers.belongs_to(&user(&admission, "ada")));
    hers.place().end_request();
    let strangers = [idle(&admission, "192.0.2.1"), idle(&admission, "192.0.2.1")];
    let newcomer = admit(&admission, "192.0.2.1");
    assert!(newcomer.is_some(), "who may be a user behind the same NAT");
    assert_eq!(evicted(&strangers), [true, false]);
    assert!(!hers.place().is_evicted());
}

#[test]
fn sec_87_idle_connections_of_a_user_with_many_make_room_last() {
    let max = KEPT_OF_USER + 2;
    let admission = admission(max, max);
    let ada = user(&admission, "ada");
    let hers: Vec<_> = (0..max)
        .map(|_| {
            let admitted = idle(&admission, "192.0.2.1");
            admitted.belongs_to(&ada);
            admitted
        })
        .collect();
    let first = admit(&admission, "198.51.100.1");
    assert!(first.is_some() && hers[0].place().is_evicted());
    drop(first);
    assert_eq!(admission.open(), max - 1);
    assert_eq!(ada.held(Resource::Connections), max - 1);
}

#[test]
fn sec_87_a_whole_ipv6_site_is_one() {
    let admission = admission(20, 10);
    let _of_site: Vec<_> = (0..10)
        .map(|n| busy(&admission, &format!("2001:db8:0:{n:x}::1")))
        .collect();
    let _others: Vec<_> = (0..10)
        .map(|n| busy(&admission, &format!("192.0.2.{n}")))
        .collect();
    assert!(admit(&admission, "2001:db8:0:ff::1").is_none());
    assert!(admit(&admission, "198.51.100.1").is_some());
}

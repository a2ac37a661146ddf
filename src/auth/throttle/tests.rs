use std::net::IpAddr;

use super::attempt::LocalAttempt;
use super::*;

const WINDOW: Duration = Duration::from_mins(15);

pub(super) fn throttle() -> (LocalThrottle, Clock) {
    let clock = Clock::system();
    let settings = Settings {
        account_failures: 10,
        address_failures: 50,
        window: WINDOW,
    };
    let known = Arc::new(KnownNetworks::in_memory().unwrap());
    (LocalThrottle::new(settings, known, clock.clone()), clock)
}

pub(super) fn address(n: u8) -> IpAddr {
    [192, 0, 2, n].into()
}

impl LocalThrottle {
    pub(super) fn begin(&self, account: &str, address: IpAddr) -> Result<LocalAttempt<'_>, Wait> {
        let network = Network::of(address);
        let pair = self.known.pair(account, network);
        self.begin_at(account, network, Some(pair))
    }

    pub(super) fn begin_behind(
        &self,
        account: &str,
        proxy: IpAddr,
    ) -> Result<LocalAttempt<'_>, Wait> {
        self.begin_at(account, Network::of(proxy), None)
    }
}

fn fail(throttle: &LocalThrottle, account: &str, address: IpAddr) -> Option<Wait> {
    throttle.begin(account, address).ok().unwrap().failed()
}

#[test]
fn sec_59_guessing_at_one_account_has_to_wait_and_may_go_on_later() {
    let (throttle, clock) = throttle();
    for n in 0..10 {
        let wait = throttle.begin("ada", address(1)).ok().unwrap().failed();
        assert_eq!(wait.is_some(), n == 9, "try {n}");
    }
    let Err(Wait(wait)) = throttle.begin("ada", address(1)) else {
        panic!("no wait")
    };
    assert!(wait <= WINDOW && wait > WINDOW / 2);
    assert!(
        throttle.begin("ada", address(2)).is_ok(),
        "the user elsewhere signs in"
    );
    assert!(
        throttle.begin("bob", address(1)).is_ok(),
        "others at the address sign in"
    );
    clock.advance(WINDOW);
    assert!(throttle.begin("ada", address(1)).is_ok());
}

#[test]
fn sec_59_tries_at_the_same_time_all_count() {
    let (throttle, _) = throttle();
    let under_way: Vec<_> = (0..20)
        .filter_map(|_| throttle.begin("ada", address(1)).ok())
        .collect();
    assert_eq!(under_way.len(), 10);
}

#[test]
fn sec_59_one_address_may_not_try_many_accounts() {
    let (throttle, _) = throttle();
    for n in 0..50 {
        let _ = throttle
            .begin(&format!("user{n}"), address(1))
            .ok()
            .unwrap()
            .failed();
    }
    assert!(throttle.begin("ada", address(1)).is_err());
}

#[test]
fn sec_59_an_account_under_attack_from_everywhere_is_open_where_its_user_signed_in_before() {
    let (throttle, _) = throttle();
    let home = address(200);
    throttle.begin("ada", home).ok().unwrap().succeeded();
    for n in 0..100 {
        fail(&throttle, "ada", address(n));
    }
    for n in 100..150 {
        let _refused = throttle.begin("ada", address(n)).map(LocalAttempt::failed);
    }
    let Err(Wait(wait)) = throttle.begin("ada", address(150)) else {
        panic!("the try of this /24 is taken");
    };
    assert!(wait <= Duration::from_secs(40), "{wait:?}");
    throttle.begin("ada", home).ok().unwrap().succeeded();
    let elsewhere = [198, 51, 100, 1].into();
    assert!(throttle.begin("ada", elsewhere).is_ok(), "new, and not 429");
}

#[test]
fn sec_59_nobody_is_known_by_the_network_of_a_proxy() {
    let (throttle, _) = throttle();
    let (proxy, home) = (address(200), address(201));
    let behind = throttle.begin_behind("ada", proxy);
    behind.ok().unwrap().succeeded();
    throttle.begin("ada", home).ok().unwrap().succeeded();
    for n in 0..150 {
        let _refused = throttle.begin("ada", address(n)).map(LocalAttempt::failed);
    }
    assert!(throttle.begin("ada", proxy).is_err(), "it was not noted");
    assert!(
        throttle.begin_behind("ada", home).is_err(),
        "nor looked for"
    );
    assert!(throttle.begin("ada", home).is_ok());
}

#[test]
fn sec_59_a_known_network_does_not_wait_for_others_of_the_same_provider() {
    let (throttle, _) = throttle();
    let home = "2001:db8:0:1::1".parse().unwrap();
    throttle.begin("ada", home).ok().unwrap().succeeded();
    for n in 0..300 {
        let neighbour = format!("2001:db8:0:{:x}::1", 0x100 * (1 + n / 3)).parse();
        let name = format!("user{n}");
        let begun = throttle.begin(&name, neighbour.unwrap());
        let _refused = begun.map(LocalAttempt::failed);
    }
    assert!(throttle.begin("bob", home).is_err(), "the /48 waits");
    for n in 0..10 {
        let wait = fail(&throttle, "ada", home);
        assert_eq!(wait.is_some(), n == 9, "try {n}: a counter of its own");
    }
    assert!(throttle.begin("ada", home).is_err());
}

#[test]
fn sec_59_a_known_network_does_not_try_all_its_accounts_without_end() {
    let (throttle, clock) = throttle();
    let (office, home) = (address(1), address(2));
    let names: Vec<_> = (0..200).map(|n| format!("user{n}")).collect();
    for name in &names {
        throttle.begin(name, office).ok().unwrap().succeeded();
    }
    throttle.begin("ada", office).ok().unwrap().succeeded();
    throttle.begin("ada", home).ok().unwrap().succeeded();
    let tries = (0..10).flat_map(|_| &names).filter(|name| {
        let begun = throttle.begin(name, office);
        begun.map(LocalAttempt::failed).is_ok()
    });
    assert_eq!(tries.count(), 500);
    assert!(throttle.begin("ada", office).is_err());
    throttle.begin("ada", home).ok().unwrap().succeeded();
    clock.advance(WINDOW);
    for name in names.iter().chain(&names) {
        throttle.begin(name, office).ok().unwrap().succeeded();
    }
    assert!(
        throttle.begin("ada", office).is_ok(),
        "no failures, no wait"
    );
}

#[test]
fn sec_59_a_customer_of_ipv6_is_one_whatever_addresses_they_use() {
    for (network, limit) in [
        ("2001:db8:0:100::", 50),
        ("2001:db8:0:1%::", 60),
        ("2001:db8:0:%00::", 100),
    ] {
        let (throttle, _) = throttle();
        let tries = (0..500).filter(|n| {
            let part = format!("{:02x}", n % 256);
            let from = network.replace('%', &part) + "1";
            let from = from.parse().unwrap();
            let begun = throttle.begin(&format!("user{n}"), from);
            begun.map(LocalAttempt::failed).is_ok()
        });
        assert_eq!(tries.count(), limit, "{network}");
    }
    let (throttle, _) = throttle();
    let tries = (0..200).filter(|n| {
        let from = format!("2001:db8:0:1{n:02x}::1").parse().unwrap();
        throttle
            .begin("ada", from)
            .map(LocalAttempt::failed)
            .is_ok()
    });
    assert_eq!(tries.count(), 12, "at one account from a /56");
}

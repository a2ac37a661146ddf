use super::*;

#[test]
fn two_of_the_last_three_decide() {
    for (results, decided) in [
        ("", None),
        ("+", None),
        ("-", None),
        ("+-", None),
        ("-+", None),
        ("++", Some(true)),
        ("--", Some(false)),
        ("-+-", Some(false)),
        ("+-+", Some(true)),
        ("--+", Some(false)),
        ("--++", Some(true)),
        ("---+", Some(false)),
        ("+++-", Some(true)),
        ("+++-+-", Some(false)),
    ] {
        let mut noted = Results::default();
        for result in results.chars() {
            noted.note(result == '+');
        }
        assert_eq!(noted.decide(), decided, "{results}");
        assert!(noted.0.len() <= 3);
    }
}

fn checks(registry: &Registry, path: &'static str, interval: u64) -> Checks {
    let settings = HealthCheck {
        path: Uri::from_static(path),
        interval: Duration::from_secs(interval),
    };
    let address = Address::Http {
        host: "10.0.0.1".into(),
        port: 80,
    };
    let host = HeaderValue::from_static("wiki.test");
    Checks::new(&"wiki".into(), &address, host, &settings, registry)
}

fn fail(checks: &Checks) {
    let address = Address::Unix("/run/x".into());
    checks.note(&Err(UpstreamError::ResponseTimeout), &address);
}

#[test]
fn the_verdict_is_of_the_question_and_outlives_a_reload() {
    let registry = Registry::new(Clock::system());
    let before = checks(&registry, "/healthz", 10);
    fail(&before);
    assert!(!before.is_down());
    fail(&before);
    assert!(before.is_down());
    let after = checks(&registry, "/healthz", 20);
    assert!(after.is_down());
    assert_eq!(after.state().is_up, Some(false));
    let other = checks(&registry, "/", 10);
    assert_eq!(other.state(), State::default());
    drop((before, after));
    assert!(!checks(&registry, "/healthz", 10).is_down());
}

#[test]
fn an_address_that_changes_often_is_told_of_once_a_minute() {
    let clock = Clock::system();
    let verdict = Verdict::new(&clock);
    let mut told = Vec::new();
    for second in 0..130_u32 {
        let is_good = second >= 90 || second % 2 == 0;
        if let Some(Change { is_up, changes }) = verdict.note(is_good, "") {
            told.push((second, is_up, changes));
        }
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(
        told,
        [
            (3, false, 1),
            (4, true, 1),
            (63, false, 59),
            (64, true, 1),
            (124, true, 26)
        ]
    );
    // As it is, it is not told of again.
    clock.advance(Duration::from_mins(10));
    assert_eq!(verdict.note(true, ""), None);
    // A change that lasts is told of at once.
    assert_eq!(verdict.note(false, ""), None);
    let change = Change {
        is_up: false,
        changes: 1,
    };
    assert_eq!(verdict.note(false, ""), Some(change));
}

#[test]
fn checks_come_one_at_a_time_and_no_later_than_their_interval() {
    let clock = Clock::system();
    let registry = Registry::new(clock.clone());
    let ours = checks(&registry, "/", 100);
    assert!(ours.is_due(&clock).is_none(), "the first is planned");
    clock.advance(FIRST_WITHIN);
    let asking = ours.is_due(&clock).expect("the first");
    clock.advance(Duration::from_secs(500));
    assert!(ours.is_due(&clock).is_none(), "one is under way");
    drop(asking);
    drop(ours.is_due(&clock).expect("the next"));
    clock.advance(Duration::from_secs(85));
    assert!(ours.is_due(&clock).is_none(), "not so soon");
    clock.advance(Duration::from_secs(15));
    drop(ours.is_due(&clock).expect("one more"));
    clock.advance(Duration::from_secs(20));
    assert!(ours.is_due(&clock).is_none());
    let sooner = checks(&registry, "/", 20);
    drop(
        sooner
            .is_due(&clock)
            .expect("a reload with a shorter interval holds at once"),
    );
}

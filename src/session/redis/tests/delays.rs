//! How long ends take from one node to another.

use std::time::Instant;

use ::redis::cmd;

use super::*;

/// When the end that was told last was made; `None` if nobody says.
async fn made(ends: &mut mpsc::Receiver<End>) -> Option<Instant> {
    let told = tokio::time::timeout(Duration::from_secs(30), ends.recv()).await;
    match told.expect("something is told").unwrap() {
        End::MadeAt(at) => Some(at),
        End::NoMoreUntil(_) => None,
        end => panic!("{end:?}"),
    }
}

#[tokio::test]
async fn an_end_is_told_with_the_time_at_which_it_was_made() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (ada, bob) = (record("ada"), record("bob"));
    let (mut ends, mut own) = (there.ends(), here.ends());
    for (end, record) in [(End::One(ada.key), &ada), (End::One(bob.key), &bob)] {
        let before = Clock::stopwatch();
        here.insert(Arc::clone(record)).await.unwrap();
        here.remove(vec![record.key]).await.unwrap();
        assert_eq!(next(&mut ends).await, end);
        let at = made(&mut ends).await.expect("the time of the end");
        // Clocks are compared once a connection, to the millisecond.
        let earliest = before.checked_sub(Duration::from_secs(1)).unwrap();
        assert!(at > earliest && at <= Clock::stopwatch());
    }
    here.clear().await.unwrap();
    assert_eq!(next(&mut ends).await, End::All);
    assert!(made(&mut ends).await.is_some());
    has_read(&here).await;
    while let Ok(told) = own.try_recv() {
        assert!(matches!(told, End::NoMoreUntil(_)), "its own: {told:?}");
    }
}

#[tokio::test]
async fn rel_19_an_entry_without_a_time_or_with_a_foreign_one_is_an_end_nonetheless() {
    let server = server!();
    let there = node(&server).await;
    let mut ends = there.ends();
    for (fields, has_time) in [
        (&[][..], false), // of an earlier version
        (&["t", "soon"], false),
        (&["t", "-1"], false),
        (&["x", "y", "t", "99999999999999999"], true), // by a clock that is far ahead: now
        (&["t", "18446744073709551615"], true),
    ] {
        let ada = record("ada");
        let stream = there.shared.names.ends(keys::Short::of(&ada.key).shard());
        let mut tell = cmd("XADD");
        tell.arg(stream).arg("0-*");
        tell.arg("k")
            .arg(ada.key.as_bytes())
            .arg("n")
            .arg("another");
        tell.arg(fields);
        there.shared.query(&tell).await.unwrap();
        assert_eq!(next(&mut ends).await, End::One(ada.key), "{fields:?}");
        assert_eq!(made(&mut ends).await.is_some(), has_time, "{fields:?}");
    }
}

#[tokio::test]
async fn times_take_no_room_that_ends_need() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let mut ends = there.ends();
    let count = 800; // with their times, more than are kept
    let keys: Vec<_> = (0..count).map(|_| record("ada").key).collect();
    here.remove(keys.clone()).await.unwrap();
    let mut told = std::collections::HashSet::new();
    while told.len() < count {
        match next(&mut ends).await {
            End::One(key) => told.insert(key),
            end => panic!("{end:?}"),
        };
    }
    assert_eq!(told, keys.into_iter().collect());
}

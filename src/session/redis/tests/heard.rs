//! A look-up of a session takes one trip, and misses no end for it.

use super::*;

/// Of whom each session began long after the nodes have read the streams.
fn later(user: &str) -> Arc<Record> {
    let ada = record(user);
    let created = Clock::system().now().plus(Duration::from_mins(1));
    Arc::new(Record {
        created,
        expires: created.plus(Duration::from_hours(1)),
        ..Arc::unwrap_or_clone(ada)
    })
}

/// How often epochs were asked for since this was asked last.
fn asked(server: &TestServer) -> u64 {
    let stats = server.ask(&["INFO", "commandstats"]);
    server.ask(&["CONFIG", "RESETSTAT"]);
    let calls = stats.lines().find_map(|line| {
        let (calls, _) = line.strip_prefix("cmdstat_hget:calls=")?.split_once(',')?;
        calls.parse().ok()
    });
    calls.unwrap_or(0)
}

#[tokio::test]
async fn a_session_that_began_since_the_node_hears_of_ends_is_looked_up_in_one_trip() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let (old, new) = (record("ada"), later("ada"));
    for record in [&old, &new] {
        here.insert(Arc::clone(record)).await.unwrap();
    }
    has_read(&there).await;
    asked(&server);
    assert_eq!(there.load(new.key).await, Ok(Some(new)));
    assert_eq!(asked(&server), 0);
    assert_eq!(there.load(old.key).await, Ok(Some(old)));
    assert_eq!(
        asked(&server),
        2,
        "it may have ended before the node was there"
    );
    assert_eq!(there.load(record("eve").key).await, Ok(None));
}

#[tokio::test]
async fn sec_46_no_end_is_missed_in_one_trip() {
    let server = server!();
    // Nothing wakes a reader: it hears of an end a quarter of a second later.
    server.ask(&["ACL", "SETUSER", "default", "resetchannels"]);
    let (here, there) = (node(&server).await, node(&server).await);
    let ada = UserKey::of("ada");
    for round in 0..12 {
        has_read(&there).await; // of the last round
        let record = later("ada");
        let began_in = here.shared.epochs_to_begin_in(ada).await.unwrap();
        here.insert(Arc::clone(&record)).await.unwrap();
        let ended = if round % 2 == 0 {
            here.remove_of_user("ada".into(), None).await.unwrap()
        } else {
            Some(here.clear().await.unwrap())
        };
        assert_eq!(ended, Some(Removed::all(1)), "round {round}");
        // As if it could not be deleted: that it is over says only the epoch.
        let write = here.shared.write(&record, began_in, false);
        assert_eq!(write.await, Ok(true));
        assert_eq!(there.load(record.key).await, Ok(None), "round {round}");
        here.remove(vec![record.key]).await.unwrap();
    }
}

#[tokio::test]
async fn rel_18_what_ended_before_a_node_came_or_after_a_gap_has_ended() {
    let server = server!();
    let here = node(&server).await;
    let ada = record("ada");
    here.insert(Arc::clone(&ada)).await.unwrap();
    here.remove_of_user("ada".into(), None).await.unwrap();
    here.shared
        .write(&ada, value::Epochs::default(), false)
        .await
        .unwrap();
    let there = node(&server).await;
    has_read(&there).await;
    assert_eq!(there.load(ada.key).await, Ok(None));
}

#[tokio::test]
async fn something_else_in_the_place_of_a_stream_refuses_no_session() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let ada = later("ada");
    here.insert(Arc::clone(&ada)).await.unwrap();
    has_read(&there).await;
    let stream = here.shared.names.ends(keys::Short::of(&ada.key).shard());
    server.ask(&["SET", &stream, "x"]);
    assert_eq!(there.load(ada.key).await, Ok(Some(ada)));
}

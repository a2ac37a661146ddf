use super::*;
use crate::redis::Servers;
use crate::redis::servers::Slow;

/// Who lists the sessions of a user may meet the name of one that is just being written.
#[tokio::test]
async fn sec_52_a_list_on_another_node_hides_no_session_that_begins_meanwhile() {
    let server = server!();
    let (here, there) = (node(&server).await, node(&server).await);
    let mut lost = 0;
    for _ in 0..200 {
        let begun = record("ada");
        let key = begun.key;
        let mut insertion = here.insert(begun);
        loop {
            tokio::select! {
                biased;
                listed = there.of_user("ada".to_owned()) => drop(listed.unwrap()),
                answer = &mut insertion => break answer.unwrap(),
            }
        }
        let listed = there.of_user("ada".to_owned()).await.unwrap();
        lost += usize::from(listed.iter().all(|record| record.key != key));
        here.remove(vec![key]).await.unwrap();
    }
    assert_eq!(lost, 0, "of 200");
}

/// A server that has lost a session is told of it again while somebody lists it: between each two steps,
/// and the list stops there.
#[tokio::test]
async fn sec_52_a_name_is_in_the_index_wherever_a_list_stops_that_meets_it_without_a_session() {
    let server = server!();
    let here = patient_node(&server).await;
    let slow = Slow::start(&server).await;
    let there = settings(Servers::One(slow_address(&slow)));
    let there = node_of(patient(there)).await;
    let (index, ada) = (here.shared.names.user(UserKey::of("ada")), record("ada"));
    let name = name(&here, &ada.key);
    here.insert(Arc::clone(&ada)).await.unwrap();
    let write = here
        .shared
        .journal()
        .writes
        .all(here.shared.clock.now())
        .remove(0);
    slow.set_delay(Duration::from_millis(150));
    for stops_after in (0..900).step_by(75) {
        server.ask(&["DEL", &name]);
        let (listing, meanwhile) = (
            there.of_user("ada".to_owned()),
            Duration::from_millis(stops_after),
        );
        let again = async || here.shared.write_again(&write).await.unwrap();
        if stops_after % 150 == 0 {
            let _whatever = tokio::time::timeout(meanwhile, listing).await;
            again().await;
        } else {
            let written = async {
                tokio::time::sleep(meanwhile).await;
                again().await;
            };
            let _whatever = tokio::join!(listing, written);
        }
        assert_eq!(
            server.ask(&["SCARD", &index]),
            "1\n",
            "after {stops_after} ms"
        );
        assert_eq!(here.of_user("ada".into()).await, Ok(vec![Arc::clone(&ada)]));
    }
}

#[tokio::test]
async fn sec_52_of_two_who_take_a_name_out_neither_takes_that_of_a_session_that_began_meanwhile() {
    let server = server!();
    let node = node(&server).await;
    let ada = record("ada");
    let names = &node.shared.names;
    let user = UserKey::of("ada");
    let keys = [names.user(user), names.leaving(user)];
    let member = keys::Short::of(&ada.key).to_member();
    let leave = async |by: &str| {
        let args = [by.as_bytes(), b"60000", member.as_bytes()];
        let leave = node.shared.script(&scripts::LEAVE, &keys[1..], &args);
        leave.await.unwrap();
    };
    let take_out = async |by: &str| {
        let args = [by.as_bytes(), member.as_bytes()];
        let taken = node.shared.script(&scripts::TAKE_OUT, &keys, &args);
        taken.await.unwrap()
    };
    server.ask(&["SADD", &keys[0], &member]);
    // Both have met it without a session; the session begins, and only the second one sees that.
    leave("first").await;
    node.insert(Arc::clone(&ada)).await.unwrap();
    leave("second").await;
    assert_eq!(take_out("first").await, 0);
    assert_eq!(node.of_user("ada".into()).await, Ok(vec![Arc::clone(&ada)]));
    node.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(take_out("second").await, 0, "it has begun once more");
    // Nothing is in the way of one that is gone.
    server.ask(&["DEL", &name(&node, &ada.key)]);
    for foreign in [false, true] {
        server.ask(&["SADD", &keys[0], &member]);
        server.ask(&["DEL", &keys[1]]);
        if foreign {
            server.ask(&["SET", &keys[1], "foreign"]);
        }
        assert_eq!(node.of_user("ada".into()).await, Ok(vec![]));
        assert_eq!(server.ask(&["EXISTS", &keys[0], &keys[1]]), "0\n");
    }
}

#[tokio::test]
async fn sec_46_a_session_that_its_index_has_lost_is_listed_again() {
    let server = server!();
    let node = node(&server).await;
    let (ada, bob) = (record("ada"), record("bob"));
    for record in [&ada, &bob] {
        node.insert(Arc::clone(record)).await.unwrap();
    }
    server.ask(&["DEL", &node.shared.names.user(UserKey::of("ada"))]);
    assert_eq!(node.of_user("ada".into()).await, Ok(vec![]));
    assert_eq!(node.relist(ada.key).await, Ok(Some(Arc::clone(&ada))));
    assert_eq!(node.of_user("ada".into()).await, Ok(vec![ada]));
    // One that is over comes back to no list.
    node.remove(vec![bob.key]).await.unwrap();
    assert_eq!(node.relist(bob.key).await, Ok(None));
    assert_eq!(node.of_user("bob".into()).await, Ok(vec![]));
}

#[tokio::test]
async fn rel_10_a_list_that_takes_too_long_ends() {
    let server = server!();
    let slow = Slow::start(&server).await;
    let node = node_of(settings(Servers::One(slow_address(&slow)))).await;
    for _ in 0..1200 {
        node.insert(record("ada")).await.unwrap();
    }
    // Each step is answered in time, and there are many.
    slow.set_delay(Duration::from_millis(150));
    let listed = node.range(Bound::Unbounded, SessionKey::LAST, 10_000);
    let listed = tokio::time::timeout(Duration::from_secs(30), listed).await;
    let error = listed.expect("it ends").unwrap_err();
    assert_eq!(error, StoreError::Slow(Duration::from_secs(10)));
    let said = error.to_string();
    assert!(
        said.contains("10 seconds") && said.contains("`timeout`"),
        "{said}"
    );
    slow.set_delay(Duration::ZERO);
    let listed = node.range(Bound::Unbounded, SessionKey::LAST, 10_000);
    assert_eq!(listed.await.map(|listed| listed.len()), Ok(1200));
}

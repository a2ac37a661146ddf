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

/// A name that leads to no session is taken out of the index, and put back if there is one by then.
#[tokio::test]
async fn sec_52_a_list_that_nobody_waits_for_any_more_loses_no_session() {
    let server = server!();
    let here = node(&server).await;
    let slow = Slow::start(&server).await;
    let there = node_of(settings(Servers::One(slow_address(&slow)))).await;
    let ada = record("ada");
    here.insert(Arc::clone(&ada)).await.unwrap();
    // As on a server that has lost it, and is about to be told again.
    let raw = server.link();
    let there_is = async |command: &str, key: &str| {
        let value = raw.query(::redis::cmd(command).arg(key)).await.unwrap();
        bytes(&value).unwrap().to_vec()
    };
    let (name, index) = (
        name(&here, &ada.key),
        here.shared.names.user(UserKey::of("ada")),
    );
    let value = there_is("GET", &name).await;
    server.ask(&["DEL", &name]);
    slow.set_delay(Duration::from_millis(300));
    let mut listing = there.of_user("ada".to_owned());
    let is_named = || server.ask(&["SCARD", &index]) == "1\n";
    let taken_out = async {
        while is_named() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        listed = &mut listing => panic!("{listed:?} before it was taken out"),
        () = taken_out => {}
    }
    raw.query(::redis::cmd("SET").arg(&name).arg(value))
        .await
        .unwrap();
    drop(listing);
    let put_back = async {
        while !is_named() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let put_back = tokio::time::timeout(Duration::from_secs(30), put_back).await;
    put_back.expect("it is named again");
    assert_eq!(here.of_user("ada".into()).await, Ok(vec![ada]));
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

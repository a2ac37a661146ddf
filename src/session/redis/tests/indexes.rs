use super::*;
use crate::redis::servers::Slow;
use crate::redis::{Address, Servers};

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
    let url = slow.url();
    let address = Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port: url.rsplit_once(':').unwrap().1.parse().unwrap(),
        tls: false,
    };
    let node = node_of(settings(Servers::One(address))).await;
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

use super::*;

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

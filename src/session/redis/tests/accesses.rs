//! Accesses that the store does not take.

use super::*;

/// Scripts that the server has stopped, for a right that is missing.
fn refused(server: &TestServer) -> u32 {
    let errors = server.ask(&["INFO", "errorstats"]);
    let count = errors.split_once("errorstat_ERR:count=");
    count.map_or(0, |(_, count)| {
        count.lines().next().unwrap().parse().unwrap()
    })
}

#[tokio::test]
async fn a_store_that_refuses_accesses_is_asked_less_and_less_often() {
    let server = server!();
    let node = node(&server).await;
    let ada = record("ada");
    node.insert(Arc::clone(&ada)).await.unwrap();
    server.ask(&["ACL", "SETUSER", "default", "-setrange"]);
    let (gather, before) = (Duration::from_millis(50), refused(&server));
    node.gather_accesses_for(gather);
    let begun = Instant::now();
    let at = ada.last_accessed.plus(Duration::from_secs(1));
    node.touch(ada.key, at);
    let tries = async {
        while refused(&server) < before + 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let tries = tokio::time::timeout(Duration::from_mins(1), tries).await;
    tries.expect("it is tried again");
    let waited = 2 + 4 + 8 + 16 + 32;
    assert!(begun.elapsed() >= gather * waited, "{:?}", begun.elapsed());
    server.ask(&["ACL", "SETUSER", "default", "+setrange"]);
    let witness = super::node(&server).await;
    let written = async {
        while witness.load(ada.key).await.unwrap().unwrap().last_accessed < at {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let written = tokio::time::timeout(Duration::from_mins(1), written).await;
    written.expect("it is written once the store takes it");
}

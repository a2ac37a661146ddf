//! Two nodes on a cluster of three masters with a replica each.

use super::*;
use crate::harness::redis::cluster;

/// For the replicas to take over: they wait for the others to agree, and machines are slow.
const LONG: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_sessions_outlive_each_master_of_a_cluster_and_ends_hold() {
    let Some(mut masters) = cluster() else { return };
    let mut replicas = Vec::new();
    for master in &masters {
        replicas.push(master.cluster_replica(&masters));
    }
    let servers = masters.iter().chain(&replicas);
    let addresses: Vec<_> = servers
        .map(|server| format!("{:?}", server.url()))
        .collect();
    let of_cluster = format!(
        "cluster = [{}]\nkey = \"{}\"\nwait_replicas = 0\nstale_for = \"30s\"",
        addresses.join(", "),
        "5a".repeat(32)
    );
    let app = app().await;
    let node = || {
        Vestibule::before(&app)
            .user("ada", PASSWORD)
            .user("bob", PASSWORD)
            .session("store = \"redis\"")
            .config(&format!("[session.redis]\n{of_cluster}"))
    };
    let nodes = [node().start().await, node().start().await];
    let ada = nodes[0].browser().login("ada", PASSWORD).await;
    let of_ada = nodes.each_ref().map(|node| led_to(node, &ada));
    for browser in &of_ada {
        becomes(browser, 200).await;
    }

    for (number, master) in masters.iter_mut().enumerate() {
        master.kill();
        // Signed-in users may get 503 meanwhile, but never the login page.
        let taken_over = async || {
            for browser in &of_ada {
                let status = browser.fetch("/").await.status;
                assert!(matches!(status, 200 | 503), "{status} after {number}");
            }
            let role = replicas[number].ask(&["INFO", "replication"]);
            role.contains("role:master").then_some(())
        };
        some_within(LONG, "the replica to take over", taken_over).await;
        let bob = some_within(LONG, "a login", async || {
            let bob = nodes[0].browser();
            let reply = bob.try_login("bob", PASSWORD).await;
            (reply.status == 303).then_some(bob)
        })
        .await;
        let still_bob = led_to(&nodes[1], &bob);
        becomes(&still_bob, 200).await;
        bob.logout().await.assert_status(303);
        becomes(&still_bob, 401).await;
        for browser in &of_ada {
            becomes(browser, 200).await;
        }
    }
}

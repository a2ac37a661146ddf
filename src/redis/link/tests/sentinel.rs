//! Sentinels name the master.

use super::*;
use crate::redis::servers::Redis;
use crate::redis::test_server::{address, link, settings};
use crate::redis::{Login, Sentinel, Servers};

fn watched_by(sentinels: &[Redis], name: &str) -> Link {
    link(settings(Servers::Sentinel(Sentinel {
        name: name.to_owned(),
        nodes: sentinels.iter().map(address).collect(),
        login: Login::default(),
    })))
}

#[tokio::test]
async fn rel_18_the_master_that_the_sentinels_name_is_followed() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let _replicas = [server.replica(), server.replica()];
    let mut sentinels: Vec<_> = (0..3).map(|_| server.sentinel(2)).collect();
    for sentinel in &sentinels {
        let knows_all = async || {
            let said = sentinel.ask(&["SENTINEL", "MASTER", "main"]);
            let mut words = said.lines();
            let number = |name: &str, words: &mut std::str::Lines<'_>| {
                words.find(|word| *word == name);
                words.next().map(str::to_owned)
            };
            number("num-slaves", &mut words).as_deref() == Some("2")
                && number("num-other-sentinels", &mut words).as_deref() == Some("2")
        };
        until("the sentinels to know each other", knows_all).await;
    }
    let link = watched_by(&sentinels, "main");
    until_it_writes(&link).await;
    let first = link.state().servers[0].clone();
    assert!(first.address.ends_with(&format!(":{}", server.port())));
    // One that hangs keeps nobody waiting, and one is enough to ask.
    sentinels[0].stop();
    server.kill();
    until_it_writes(&link).await;
    let second = link.state().servers[0].clone();
    assert_ne!(second.address, first.address);
    assert_ne!(second.run_id, first.run_id);
    sentinels[0].go_on();
    // The one before comes back as a replica: it is not gone back to, unless it is named again, as on a
    // machine so busy that no other answers the sentinels in time.
    server.start_again();
    sentinels[1].kill();
    let named = || {
        let said = sentinels[2].ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
        format!(":{}", said.lines().nth(1).unwrap_or_default())
    };
    let is_back = async || {
        let info = server.try_ask(&["INFO", "replication"]).unwrap_or_default();
        info.contains("role:slave") || named() == format!(":{}", server.port())
    };
    until("the old master to be a replica", is_back).await;
    let is_that_one = async || {
        let servers = link.state().servers;
        servers
            .first()
            .is_some_and(|it| it.address.ends_with(&named()))
    };
    until("the master that is named", is_that_one).await;
    until_it_writes(&link).await;
}

#[tokio::test]
async fn sentinels_that_know_no_such_master_are_said_to() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let sentinels = [server.sentinel(1)];
    let link = watched_by(&sentinels, "other");
    until_it_says(
        &link,
        "the sentinels name no master: it refuses: ERR No such master",
    )
    .await;
}

#[tokio::test]
async fn rel_18_a_master_that_was_demoted_is_left_though_it_answers_reads() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let _replica = server.replica();
    let sentinels = [server.sentinel(1)];
    let knows_replica = async || {
        let said = sentinels[0].ask(&["SENTINEL", "REPLICAS", "main"]);
        said.contains("slave-priority")
    };
    until("the sentinel to know the replica", knows_replica).await;
    let link = watched_by(&sentinels, "main");
    until_it_writes(&link).await;
    let first = link.state().servers[0].address.clone();
    let begun = async || sentinels[0].ask(&["SENTINEL", "FAILOVER", "main"]) == "OK\n";
    until("the failover to begin", begun).await;
    let read = cmd("GET").arg("vestibule:written").take();
    let is_left = async || {
        let _ = link.query(&read).await; // nothing is written
        let servers = link.state().servers;
        servers
            .first()
            .is_some_and(|server| server.address != first)
    };
    until("the old master to be left", is_left).await;
    until_it_writes(&link).await;
}

/// As often as that costs nothing, and soon after there is one again.
#[tokio::test]
async fn rel_18_the_sentinels_are_asked_about_five_times_a_second_while_there_is_no_master() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let sentinels = [server.sentinel(1)];
    let _link = watched_by(&sentinels, "other");
    // Each question has a connection of its own, and so has the one about that.
    let mut own = 0;
    let mut asked = || {
        own += 1;
        let said = sentinels[0].ask(&["INFO", "stats"]);
        let mut fields = said.lines().filter_map(|line| line.split_once(':'));
        let (_, count) = fields
            .find(|(name, _)| *name == "total_connections_received")
            .unwrap();
        count.trim().parse::<u64>().unwrap() - own
    };
    let first = asked();
    until("the first ones", async || asked() >= first + 5).await;
    let (begun, before) = (Clock::stopwatch(), asked());
    until("thirty more", async || asked() >= before + 30).await;
    let (took, more) = (begun.elapsed(), asked() - before);
    let between = took / u32::try_from(more).unwrap();
    assert!(
        between < Duration::from_millis(400),
        "{between:?} between two"
    );
    assert!(
        between > Duration::from_millis(80),
        "{between:?} between two"
    );
}

//! A login that a load balancer leads from node to node.

use super::*;
use crate::harness::redis::Redis;

async fn node(apps: [&Upstream; 2], redis: &Redis) -> Gate {
    let [wiki, metrics] = apps;
    let (url, key) = (redis.url(), "5a".repeat(32));
    two(wiki, metrics)
        .session("store = \"redis\"")
        .config(&format!(
            "[session.redis]\nurl = \"{url}\"\nkey = \"{key}\"\nwait_replicas = 0"
        ))
        .start()
        .await
}

/// Signs in by the nodes in turn, up to the address with the code, which is for the second one;
/// `None` until the nodes have the same keys.
async fn code(profile: &Profile, [_, second]: &[Gate; 2]) -> Option<String> {
    let (_, login) = leads_to(WIKI, &profile.at(WIKI).get("/page").await);
    let there = profile.at(LOGIN).led_to(second.address());
    let page = there.get(&login).await;
    page.assert_status(200);
    let place = Place {
        host: LOGIN.to_owned(),
        target: login,
        page,
    };
    if !place.page.to_string().contains("name=\"state\"") {
        return None;
    }
    let reply = profile.fill_in(&place, "ada").await;
    let (host, target) = leads_to(LOGIN, &reply);
    (host == WIKI).then_some(target)
}

#[tokio::test]
async fn sec_97_a_login_may_go_from_node_to_node_and_its_code_is_good_once() {
    let Some(redis) = Redis::start() else { return };
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let apps = [&wiki, &metrics];
    let nodes = [node(apps, &redis).await, node(apps, &redis).await];
    let (profile, back) = eventually_some("a login by two nodes", async || {
        let profile = Profile::new(&nodes[0]);
        let code = code(&profile, &nodes).await?;
        Some((profile, code))
    })
    .await;
    let here = profile.at(WIKI);
    let there = here.led_to(nodes[1].address());
    let thief = nodes[0].browser_for(WIKI).cookie(&here.cookies());
    let opened = there.get(&back).await;
    opened.assert_redirects_to("/page");
    assert!(sets_session(&opened), "{opened}");
    assert!(!sets_session(&thief.get(&back).await), "a second time");
    for browser in [&here, &there] {
        browser.get("/page").await.assert_status(200);
    }
    assert_eq!(wiki.last().value("x-forwarded-user"), Some("ada"));
}

//! A login that a load balancer leads from node to node.

use super::*;
use crate::harness::redis::Redis;

async fn node(apps: [&Upstream; 2], redis: &Redis) -> Gate {
    node_with(apps, redis, "").start().await
}

/// With more keys of `[login]`.
fn node_with([wiki, metrics]: [&Upstream; 2], redis: &Redis, login: &str) -> Vestibule {
    let (url, key) = (redis.url(), "5a".repeat(32));
    two(wiki, metrics)
        .login(login)
        .session("store = \"redis\"")
        .config(&format!(
            "[session.redis]\nurl = \"{url}\"\nkey = \"{key}\"\nwait_replicas = 0"
        ))
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

/// Until a page of an app leads to the login, whichever node is asked.
async fn are_out(profile: &Profile, nodes: &[Gate; 2]) {
    for (host, node) in [WIKI, METRICS]
        .into_iter()
        .flat_map(|host| nodes.each_ref().map(|node| (host, node)))
    {
        let browser = profile.at(host).led_to(node.address());
        let asked = async || {
            let reply = browser.get("/page").await;
            assert!([200, 303].contains(&reply.status), "{reply}");
            (reply.status == 303).then_some(())
        };
        eventually_some("the end of the session", asked).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_sec_51_what_one_node_does_to_a_user_or_a_session_holds_on_every_host_of_all() {
    let Some(redis) = Redis::start() else { return };
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let start = || {
        let login = "users = \"store\"";
        node_with([&wiki, &metrics], &redis, login).start()
    };
    let mut nodes = [start().await, start().await];
    let signed_in = async |node: &Gate| {
        let profile = Profile::new(node);
        let asked = async || {
            let login = profile.load(WIKI, "/page").await;
            if login.host == WIKI {
                return Some(());
            }
            // Nodes that have just started have other keys for a moment.
            let reply = profile.fill_in(&login, "ada").await;
            profile.follow(LOGIN, SIGN_IN, reply).await;
            None
        };
        eventually_some("a login", asked).await;
        profile
            .load(METRICS, "/page")
            .await
            .assert_is(METRICS, "/page");
        profile
    };
    let command = |node: &mut Gate, args: &[&str]| {
        let (code, said, error) = run(node.files(), args);
        assert_eq!(code, Some(0), "{args:?}: {said}{error}");
    };
    let profile = signed_in(&nodes[0]).await;
    for host in [WIKI, METRICS] {
        let there = profile.at(host).led_to(nodes[1].address());
        there.get("/page").await.assert_status(200);
    }
    command(&mut nodes[1], &["user", "disable", "ada"]);
    are_out(&profile, &nodes).await;
    for node in &nodes {
        let there = profile.at(LOGIN).led_to(node.address());
        let page = there.get("/.vestibule/logout").await;
        page.assert_status(200);
    }
    // Without a wait: a login asks whether there is anything new.
    command(&mut nodes[0], &["user", "enable", "ada"]);
    let profile = signed_in(&nodes[1]).await;
    let there = profile.at(LOGIN).led_to(nodes[0].address());
    there.logout().await.assert_status(303);
    are_out(&profile, &nodes).await;
}

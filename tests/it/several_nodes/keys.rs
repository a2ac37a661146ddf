//! What one node has signed or sealed is good on every other.

use std::sync::Arc;

use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, HandshakeKind};

use super::*;

const LOGIN: &str = "/.vestibule/login";

/// Two nodes that have the keys of the store.
pub(super) async fn two(app: &Upstream, redis: &Redis) -> [Gate; 2] {
    let nodes = [
        node(app, redis).start().await,
        node(app, redis).start().await,
    ];
    let have_the_same = async || {
        let browser = nodes[0].browser();
        let page = browser.get(LOGIN).await;
        let there = browser.led_to(nodes[1].address());
        let token = page.hidden("csrf");
        (send(&there, &token, "wrong").await != 403).then_some(())
    };
    eventually_some("nodes with the same keys", have_the_same).await;
    nodes
}

/// Sends the login form as a browser that says nothing of where it comes from: its token decides.
async fn send(browser: &Browser, token: &str, user: &str) -> u16 {
    let fields = [("username", user), ("password", PASSWORD), ("csrf", token)];
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let reply = browser.request(hyper::Method::POST, LOGIN, &headers, form.into());
    reply.await.status
}

#[tokio::test]
async fn sec_54_a_form_of_one_node_may_come_back_to_another() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = Box::pin(two(&app, &redis)).await;
    let browser = first.browser();
    let token = browser.get(LOGIN).await.hidden("csrf");
    let there = browser.led_to(second.address());
    let stranger = second.browser();
    stranger.get(LOGIN).await;
    assert_eq!(send(&stranger, &token, "ada").await, 403, "another browser");
    assert_eq!(send(&there, &token, "ada").await, 303);
    let account = there.get("/.vestibule/logout").await.hidden("csrf");
    let out = browser
        .post_form("/.vestibule/logout", &[("csrf", &*account)])
        .await;
    out.assert_status(303);
    assert_eq!(there.get("/").await.status, 303, "signed out on both");
}

#[tokio::test]
async fn rel_10_nodes_that_have_lost_the_store_still_take_their_forms() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = Box::pin(two(&app, &redis)).await;
    let browser = first.browser();
    let token = browser.get(LOGIN).await.hidden("csrf");
    redis.stop();
    let there = browser.led_to(second.address());
    // Not 403: it is ours. The session is what cannot be kept.
    assert_eq!(send(&there, &token, "ada").await, 503);
}

async fn resumes(config: &Arc<ClientConfig>, node: &Gate) -> bool {
    let stream = tls::connect_by(config, node.tcp().await, tls::HOST).await;
    let stream = stream.unwrap();
    let kind = stream.get_ref().1.handshake_kind();
    let mut raw = Raw::new(stream);
    // Tickets come with the first bytes that the client reads.
    raw.send("GET /.vestibule/login HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        .await;
    raw.response().await.assert_status(200);
    kind == Some(HandshakeKind::Resumed)
}

#[tokio::test]
async fn sec_78_a_tls_session_of_one_node_resumes_on_another() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = Box::pin(two(&app, &redis)).await;
    for version in ALL_VERSIONS {
        let resumed = async || {
            let config = Arc::new(tls::client_config(&["http/1.1"], &[version]));
            assert!(!resumes(&config, &first).await, "{version:?}");
            (resumes(&config, &second).await && resumes(&config, &first).await).then_some(())
        };
        eventually_some("a connection that resumes elsewhere", resumed).await;
        // Of a node that shares nothing: a full handshake, and no failure.
        let alone = Vestibule::before(&app).user("ada", PASSWORD).start().await;
        let config = Arc::new(tls::client_config(&["http/1.1"], &[version]));
        assert!(!resumes(&config, &alone).await && !resumes(&config, &first).await);
    }
}

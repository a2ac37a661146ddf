use super::*;

/// An answer with 503 leads to no login: whoever is signed in would come back at once, and so on.
#[tokio::test(flavor = "multi_thread")]
async fn rel_13_with_too_much_to_do_strangers_are_turned_away_without_a_way_to_the_login() {
    let app = Upstream::silent_but_for("/quick").await;
    let gate = before(&app).server("max_connections = 40").start().await;
    let to = gate.auth_address();
    let ada = cookies(&gate, "ada").await;
    // Strangers wait for the app, as many as may, from the address of the clients below.
    let mut strangers = gate.raw_http2().await;
    let mut waiting = 0;
    some_within(PATIENCE, "a refusal", async || {
        let stream = 1 + 2 * waiting;
        strangers
            .headers(stream, &RawHttp2::get("/public"), true)
            .await;
        waiting += 1;
        let came = || app.requests() >= usize::try_from(waiting).unwrap();
        some_within(PATIENCE, "the app or a refusal", async || {
            if came() {
                return Some(None);
            }
            strangers.has_status(stream).await.then_some(Some(()))
        })
        .await
    })
    .await;
    for proxy in PROXIES {
        let ask = async |target, more: &str| {
            let asked = auth_request(proxy, "GET", target, more);
            ask(to, asked.replace("203.0.113.7", "127.0.0.1")).await
        };
        for (target, more) in [("/", PAGE_LOAD), ("/", ""), ("/public", "")] {
            let reply = ask(target, more).await;
            reply.assert_status(503);
            assert!(reply.value("retry-after").is_some(), "{reply}");
            assert_eq!(reply.value("location"), None, "{reply}");
            assert_eq!(told_user(&reply), None, "{reply}");
        }
        // Those who are signed in come first.
        let reply = ask("/", &ada).await;
        reply.assert_status(200);
        assert_eq!(told_user(&reply), Some("ada"), "{reply}");
    }
}

fn told_user(reply: &Reply) -> Option<&str> {
    reply.value("x-forwarded-user")
}

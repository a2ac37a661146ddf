//! Session data for apps without state of their own.

use std::sync::Arc;

use crate::harness::*;

/// Answers with the session headers that the query asks for: `/?set=count%3D1&unset=x`.
pub(crate) async fn app() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            let query = exchange
                .target()
                .split_once('?')
                .map_or("", |(_, query)| query)
                .to_owned();
            let fields: Vec<_> = form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| (format!("X-Session-{name}"), value.into_owned()))
                .collect();
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (&**name, &**value))
                .collect();
            exchange.reply("200 OK", &fields, "done").await;
        })
    })
    .await
}

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app)
        .app("session_data = true")
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .start()
        .await
}

/// What the app is told at the next request.
async fn told(browser: &Browser, app: &Upstream) -> Option<String> {
    browser.get("/").await.assert_status(200);
    app.last().value("x-session-data").map(str::to_owned)
}

/// Has that app set this.
pub(crate) fn query(set: &str) -> String {
    format!(
        "/?set={}",
        form_urlencoded::byte_serialize(set.as_bytes()).collect::<String>()
    )
}

#[tokio::test]
async fn what_an_app_sets_it_is_told_at_the_next_request() {
    let app = app().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    assert_eq!(told(&ada, &app).await, None);
    let reply = ada.get(&query("count=3, theme=\"dark\", flag")).await;
    for name in ["x-session-set", "x-session-unset", "x-session-data"] {
        assert_eq!(reply.value(name), None, "{name} goes no further: {reply}");
    }
    assert_eq!(
        told(&ada, &app).await.as_deref(),
        Some("count=3, theme=\"dark\", flag")
    );
    ada.get(&query("count=4")).await;
    assert_eq!(
        told(&ada.clone().over_http2(), &app).await.as_deref(),
        Some("count=4, theme=\"dark\", flag")
    );
    ada.get("/?unset=theme%2C+flag%2C+nothing").await;
    assert_eq!(told(&ada, &app).await.as_deref(), Some("count=4"));
    ada.get("/?set=a%3D1&unset=count%2C+a").await;
    assert_eq!(
        told(&ada, &app).await.as_deref(),
        Some("a=1"),
        "what is set is not unset"
    );

    let other = gate.browser().login("ada", PASSWORD).await;
    assert_eq!(
        told(&other, &app).await,
        None,
        "the data of one session only"
    );
    ada.logout().await;
    let again = ada.login("ada", PASSWORD).await;
    assert_eq!(told(&again, &app).await, None);
}

#[tokio::test]
async fn answers_at_the_same_time_lose_nothing_of_each_other() {
    let app = app().await;
    let gate = gate(&app).await;
    let ada = Arc::new(gate.browser().login("ada", PASSWORD).await);
    let visits: Vec<_> = (0..30)
        .map(|n| {
            let ada = Arc::clone(&ada);
            tokio::spawn(async move { ada.get(&query(&format!("k{n}={n}"))).await.status })
        })
        .collect();
    for visit in visits {
        assert_eq!(visit.await.unwrap(), 200);
    }
    let data = told(&ada, &app).await.unwrap();
    let mut keys: Vec<_> = data.split(", ").collect();
    keys.sort_unstable();
    let mut expected: Vec<_> = (0..30).map(|n| format!("k{n}={n}")).collect();
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn of_an_answer_that_says_too_much_or_nonsense_nothing_is_kept() {
    let app = app().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get(&query("kept=1")).await;
    let many: Vec<_> = (0..32).map(|n| format!("k{n}")).collect();
    for set in [
        "Not A Dictionary",
        "a=1, b=",
        "a=\"unclosed",
        "a=1, \u{e4}=2",
        &many.join(", "),
        &format!("kept=2, big=\"{}\"", "x".repeat(4096)),
    ] {
        ada.get(&query(set)).await.assert_status(200);
        assert_eq!(
            told(&ada, &app).await.as_deref(),
            Some("kept=1"),
            "{set:.40}"
        );
    }
}

#[tokio::test]
async fn a_visitor_can_neither_send_nor_see_session_data() {
    let app = app().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for name in [
        "x-session-data",
        "x-session-set",
        "X_Session_Data",
        "x.session.set",
    ] {
        ada.clone()
            .header(name, "admin")
            .get("/")
            .await
            .assert_status(200);
        gate.browser()
            .header(name, "admin")
            .get("/public")
            .await
            .assert_status(200);
    }
    let heads = app.received();
    assert!(
        heads.iter().all(|one| !one.head.contains("admin")),
        "{heads:?}"
    );
    assert_eq!(told(&ada, &app).await, None);
    // Somebody without a session has nowhere to keep it.
    let reply = gate
        .browser()
        .get(&format!("/public{}", &query("a=1")[1..]))
        .await;
    assert_eq!(reply.value("x-session-set"), None);
}

#[tokio::test]
async fn without_the_setting_none_of_the_headers_passes() {
    let app = app().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let reply = ada
        .clone()
        .header("x-session-data", "a=1")
        .get("/?set=a%3D1&unset=b&data=c")
        .await;
    for name in ["x-session-set", "x-session-unset", "x-session-data"] {
        assert_eq!(reply.value(name), None, "{name}: {reply}");
    }
    assert_eq!(told(&ada, &app).await, None);
}

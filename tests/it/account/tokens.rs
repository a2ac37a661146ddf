//! API tokens on the account page.

use hyper::Method;

use super::*;

async fn gate_with_tokens(app: &Upstream, other: &Upstream) -> Gate {
    let section = format!(
        "[[app]]\nname = \"other\"\nhost = \"other.test\"\nupstream = \"{}\"\ntokens = true\n\
         [[app.rule]]\npath = \"/\"\nallow = {{ users = [\"bob\"] }}\n\
         [login.throttle]\naccount_failures = 3\n",
        other.url()
    );
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .app("name = \"wiki\"\nhost = \"gate.test\"\ntokens = true")
        .config(&section)
        .start()
        .await
}

/// The form as the page has it, with other values for some of its fields.
async fn make(browser: &Browser, changed: &[(&str, &str)]) -> Reply {
    let usual = [
        ("action", "make-token"),
        ("name", "phone"),
        ("app-0", "wiki"),
        ("days", "90"),
        ("methods", "any"),
        ("paths", ""),
        ("networks", ""),
        ("password", PASSWORD),
    ];
    let fields: Vec<_> = usual
        .into_iter()
        .map(|(name, value)| {
            let change = changed.iter().find(|(other, _)| *other == name);
            (name, change.map_or(value, |(_, value)| *value))
        })
        .collect();
    send(browser, &fields).await
}

fn token_in(page: &Reply) -> Option<String> {
    let text = page.text();
    let at = text.find("<code>vst_")? + "<code>".len();
    Some(text[at..at + 53].to_owned())
}

async fn by_token(gate: &Gate, method: Method, target: &str, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let browser = gate.browser();
    let reply = browser.request(method, target, &headers, Bytes::new());
    reply.await.status
}

#[tokio::test]
async fn a_token_is_made_shown_once_and_revoked() {
    let (app, other) = (Upstream::echo().await, Upstream::echo().await);
    let gate = gate_with_tokens(&app, &other).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let page = ada.get(ACCOUNT).await;
    assert!(page.text().contains("value=\"wiki\" checked"), "{page}");
    assert!(
        !page.text().contains("value=\"other\""),
        "not for ada: {page}"
    );

    let made = make(&ada, &[]).await;
    made.assert_status(200);
    let token = token_in(&made).unwrap();
    assert_eq!(made.value("cache-control"), Some("no-store"));
    assert_eq!(by_token(&gate, Method::PUT, "/x", &token).await, 200);
    assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));
    let page = ada.get(ACCOUNT).await;
    assert_eq!(token_in(&page), None);
    for part in [
        "<h3>phone ",
        "<p>wiki</p>",
        "Last used just now",
        "ends in ",
    ] {
        assert!(page.text().contains(part), "{part} in {page}");
    }

    let limits = [("methods", "read"), ("paths", "/api, /dav"), ("days", "7")];
    let narrow = token_in(&make(&ada, &limits).await).unwrap();
    assert_eq!(by_token(&gate, Method::GET, "/api/x", &narrow).await, 200);
    assert_eq!(by_token(&gate, Method::PUT, "/api/x", &narrow).await, 403);
    assert_eq!(by_token(&gate, Method::GET, "/x", &narrow).await, 403);

    let page = ada.get(ACCOUNT).await;
    let key = keys(&page)[0].clone();
    send(&ada, &[("action", "revoke-token"), ("key", &key)])
        .await
        .assert_status(303);
    assert_eq!(by_token(&gate, Method::GET, "/api/x", &narrow).await, 401);
    assert_eq!(by_token(&gate, Method::GET, "/x", &token).await, 200);
}

#[tokio::test]
async fn sec_96_a_token_takes_a_fresh_proof_and_what_the_page_offers() {
    let (app, other) = (Upstream::echo().await, Upstream::echo().await);
    let gate = gate_with_tokens(&app, &other).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for (change, status, said) in [
        (("app-0", "other"), 400, "Choose at least one app"),
        (("app-0", ""), 400, "Choose at least one app"),
        (("name", ""), 400, "has 1 to 64 characters"),
        (("paths", "api"), 400, "That is no path"),
        (("networks", "home"), 400, "That is no network"),
        (("days", "36500"), 400, "No token can have these limits"),
        (("methods", "all"), 400, ""),
        (("days", "x"), 400, ""),
        (("password", "wrong"), 403, "not right"),
        (("password", "wrong"), 403, "not right"),
        (("password", "wrong"), 429, "Too many wrong passwords"),
        (("password", PASSWORD), 429, "Too many wrong passwords"),
    ] {
        let reply = make(&ada, &[change]).await;
        assert_eq!(reply.status, status, "{change:?}: {reply}");
        assert!(reply.text().contains(said), "{said} in {reply}");
        assert_eq!(token_in(&reply), None);
    }
    let forged = [("action", "make-token"), ("csrf", "x"), ("name", "x")];
    ada.post_form(ACCOUNT, &forged).await.assert_status(403);
    assert!(!ada.get(ACCOUNT).await.text().contains("<h3>phone"));
}

#[tokio::test]
async fn nobody_revokes_the_tokens_of_others() {
    let (app, other) = (Upstream::echo().await, Upstream::echo().await);
    let gate = gate_with_tokens(&app, &other).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let token = token_in(&make(&ada, &[]).await).unwrap();
    let key = keys(&ada.get(ACCOUNT).await)[0].clone();
    let bob = gate.browser().login("bob", PASSWORD).await;
    assert!(!bob.get(ACCOUNT).await.text().contains(&key[..8]));
    send(&bob, &[("action", "revoke-token"), ("key", &key)])
        .await
        .assert_status(303);
    assert_eq!(by_token(&gate, Method::GET, "/", &token).await, 200);
}

#[tokio::test]
async fn without_an_app_that_takes_tokens_the_page_says_nothing_of_them() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let page = ada.get(ACCOUNT).await.text();
    assert!(!page.contains("token"), "{page}");
    let refused = make(&ada, &[]).await;
    refused.assert_status(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_wrong_passwords_for_what_they_were() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .app("name = \"wiki\"\ntokens = true")
        .config("[login.throttle]\naccount_failures = 2")
        .spawn()
        .await;
    let ada = service.browser().login("ada", PASSWORD).await;
    for status in [403, 429, 429] {
        let reply = make(&ada, &[("password", "wrong-one")]).await;
        reply.assert_status(status);
    }
    let audit = || {
        let log = service.program.log().into_iter();
        let audit = log.filter(|line| line["target"] == "audit");
        audit
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    eventually("four events", || audit().len() >= 4).await;
    let refused = "new API token refused";
    assert_eq!(
        audit(),
        ["login", refused, refused, "new API token throttled"]
    );
    assert!(!service.program.stdout().contains("wrong-one"));
}

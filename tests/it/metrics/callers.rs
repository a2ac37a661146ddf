//! Who sends the requests: people, programs, strangers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_who_sent_them() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .config("[login.throttle]\naccount_failures = 3")
        .rule("/public", "everyone")
        .app("tokens = true\nbasic = true")
        .admin(ON);
    let mut gate = gate.start().await;
    let mut command = |args: &[&str]| {
        let (code, stdout, stderr) = run(gate.files(), args);
        assert_eq!(code, Some(0), "{stderr}");
        stdout
    };
    let token = command(&["token", "add", "ada"]);
    let revoked = command(&["token", "add", "ada", "--name", "old"]);
    let tokens: Value = serde_json::from_str(&command(&["token", "list", "--json"])).unwrap();
    let mut tokens = tokens.as_array().unwrap().iter();
    let old = tokens.find(|one| one["name"] == "old").unwrap();
    command(&["token", "revoke", old["key"].as_str().unwrap()]);
    let encoded = |password: &str| format!("Basic {}", STANDARD.encode(format!("ada:{password}")));
    let bearer = |token: &str| format!("Bearer {}", token.trim_end());

    let ada = gate.browser().login("ada", PASSWORD).await;
    for target in ["/a", "/b", "/public", "/.vestibule/account"] {
        ada.get(target).await.assert_status(200);
    }
    let program = gate.browser();
    let ask = async |authorization: &str| {
        let fields = [("authorization", authorization)];
        let reply = program.request(Method::GET, "/", &fields, "".into()).await;
        reply.status
    };
    assert_eq!(ask(&bearer(&token)).await, 200);
    assert_eq!(ask(&encoded(token.trim_end())).await, 200);
    assert_eq!(ask(&encoded(PASSWORD)).await, 200);
    assert_eq!(ask(&bearer(&revoked)).await, 401);
    assert_eq!(ask(&encoded("wrong")).await, 401);
    // The throttle looks at no further one.
    let wrong = |password: &str| format!("Basic {}", STANDARD.encode(format!("bob:{password}")));
    for (password, status) in [("one", 401), ("two", 401), ("three", 429)] {
        assert_eq!(ask(&wrong(password)).await, status, "{password}");
    }
    gate.browser().get("/public").await.assert_status(200);
    gate.browser().get("/secret").await.assert_status(303);

    let counted = [
        ("anonymous", 2),
        ("basic", 1),
        ("refused", 5),
        ("session", 3),
        ("token", 2),
    ];
    let scrape = Scrape::of(gate.metrics_address()).await;
    for (caller, requests) in counted {
        let series =
            format!("vestibule_requests_by_caller_total{{app=\"app\",caller=\"{caller}\"}}");
        scrape.assert(&[(&series, f64::from(requests))]);
    }
    let (_, stdout, _) = run(gate.files(), &["status", "--json"]);
    let status: Value = serde_json::from_str(&stdout).unwrap();
    let expected: BTreeMap<_, _> = counted.into_iter().collect();
    assert_eq!(status["apps"][0]["callers"], json!(expected));
    let (_, text, _) = run(gate.files(), &["status"]);
    let line = "callers      app: 2 anonymous, 1 basic, 5 refused, 3 session, 2 token\n";
    assert!(text.contains(line), "{text}");
}

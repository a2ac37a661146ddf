//! The identity token: an app that verifies it knows for whom a request is, and that it came through
//! Vestibule.

/// Nobody else's token, and nobody's where nobody has signed in.
mod attacks;
/// Issuers, audiences and paths.
mod hosts;
/// Keys are published, take turns, and are nobody else's.
mod keys;
/// Programs, late forms, WebSockets.
mod requests;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::*;

const ON: &str = "identity_token = true";
const KEYS: &str = "/.vestibule/jwks.json";
pub(crate) const HEADER: &str = "x-vestibule-token";

fn before(app: &Upstream) -> Vestibule {
    Vestibule::before(app)
        .app(ON)
        .account(
            User::new("ada", PASSWORD)
                .groups(&["staff", "Größe"])
                .email("ada@example.org"),
        )
        .user("bob", PASSWORD)
}

fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

/// Verifies a token with the keys that are published, and gives its claims.
pub(crate) fn verify(keys: &Value, token: &str) -> Value {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(header["alg"], "ES256");
    let mut keys = keys["keys"].as_array().unwrap().iter();
    let key = keys.find(|key| key["kid"] == header["kid"]);
    let key = key.unwrap_or_else(|| panic!("the key of {header} is not published"));
    let [x, y] = ["x", "y"].map(|name| decode(key[name].as_str().unwrap()));
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], x, y].concat());
    key.verify(signed.as_bytes(), &decode(signature)).unwrap();
    serde_json::from_slice(&decode(claims)).unwrap()
}

/// The claims of the only token in a request that an app has got.
fn claims(keys: &Value, request: &Received) -> Value {
    verify(keys, request.value(HEADER).expect("a token"))
}

async fn keys(gate: &Gate) -> Value {
    gate.browser().get(KEYS).await.assert_status(200).json()
}

fn seconds_since_1970() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    now.as_secs()
}

#[tokio::test]
async fn an_app_is_told_for_whom_a_request_is_in_a_way_that_it_can_verify() {
    let app = Upstream::echo().await;
    let gate = before(&app)
        .app("[app.identity]\n\"X-User\" = \"{user}\"\n\"X-Session\" = \"{session}\"")
        .start()
        .await;
    let keys = keys(&gate).await;
    let before = seconds_since_1970();
    let ada = gate.browser().login("ada", PASSWORD).await;
    for browser in [ada.clone(), ada.over_http2()] {
        browser.get("/b%7e;v=1/?q=secret").await.assert_status(200);
        let request = app.last();
        assert_eq!(request.target(), "/b~;v=1/?q=secret");
        assert_eq!(request.value("x-user"), Some("ada"));
        let claims = claims(&keys, &request);
        let (issued, signed_in) = (&claims["iat"], &claims["auth_time"]);
        for time in [issued, signed_in] {
            let range = before..=seconds_since_1970();
            assert!(range.contains(&time.as_u64().unwrap()), "{claims}");
        }
        let expected = json!({
            "iss": "https://gate.test",
            "aud": "https://gate.test",
            "sub": "users-file/ada",
            "name": "ada",
            "email": "ada@example.org",
            "groups": ["staff", "Größe"],
            "amr": ["pwd"],
            "auth_time": signed_in,
            "sid": request.value("x-session"),
            "iat": issued,
            "exp": issued.as_u64().unwrap() + 60,
            "htm": "GET",
            "htu": "https://gate.test/b~;v=1/",
        });
        assert_eq!(claims, expected);
    }
}

#[tokio::test]
async fn header_audience_and_lifetime_can_be_others() {
    let app = Upstream::echo().await;
    let token = "{ header = \"X-Wiki-Token\", audience = \"wiki\", lifetime = \"90s\" }";
    let gate = Vestibule::before(&app)
        .app(&format!("identity_token = {token}"))
        .user("ada", PASSWORD)
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.clone()
        .header("x_wiki_token", "forged")
        .get("/")
        .await
        .assert_status(200);
    let request = app.last();
    assert!(!request.head.contains("forged"), "{}", request.head);
    assert_eq!(request.value(HEADER), None);
    let claims = verify(&keys(&gate).await, request.value("x-wiki-token").unwrap());
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("https://gate.test"), &json!("wiki"))
    );
    let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(lifetime, 90);
}

#[tokio::test]
async fn the_next_request_says_what_the_users_file_says_by_then() {
    let app = Upstream::echo().await;
    let mut gate = before(&app).start().await;
    let keys = keys(&gate).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let sid = claims(&keys, &app.last())["sid"].clone();
    gate.files().change_user("ada", |ada| {
        ada.groups = vec!["admins".to_owned()];
        ada.email = None;
    });
    let claims = eventually_some("the new group", async || {
        ada.get("/").await.assert_status(200);
        let claims = claims(&keys, &app.last());
        (claims["groups"] == json!(["admins"])).then_some(claims)
    })
    .await;
    assert_eq!((claims.get("email"), &claims["sid"]), (None, &sid));
}

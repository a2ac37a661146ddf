use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use hyper::Method;
use rustix::process::Signal;

use super::*;

const FILE: &str = "identity-token-keys.json";

/// How long a key signs.
const TURN: Duration = Duration::from_hours(30 * 24);

/// The names of the keys that are published.
fn ids(keys: &Value) -> Vec<&str> {
    let keys = keys["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_keys_are_public_and_nothing_of_their_secret_is() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    for browser in [gate.browser(), gate.browser().over_http2()] {
        let reply = browser.request(Method::GET, KEYS, &[], bytes::Bytes::new());
        let reply = reply.await;
        reply
            .assert_status(200)
            .assert_header("content-type", "application/jwk-set+json")
            .assert_header("cache-control", "public, max-age=300")
            .assert_header("x-content-type-options", "nosniff");
        assert!(reply.values("set-cookie").is_empty());
        let keys = reply.json();
        assert_eq!(ids(&keys).len(), 2, "the next one, too");
        for key in keys["keys"].as_array().unwrap() {
            let names: Vec<_> = key.as_object().unwrap().keys().collect();
            assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
            let kind = [&key["alg"], &key["crv"], &key["kty"], &key["use"]];
            assert_eq!(kind, ["ES256", "P-256", "EC", "sig"]);
        }
        let head = browser.request(Method::HEAD, KEYS, &[], bytes::Bytes::new());
        let head = head.await;
        head.assert_status(200);
        assert!(head.body.is_empty());
        let post = browser.request(Method::POST, KEYS, &[], bytes::Bytes::new());
        post.await
            .assert_status(405)
            .assert_header("allow", "GET, HEAD");
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn without_an_identity_token_there_are_no_keys() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    gate.browser().get(KEYS).await.assert_status(404);
    assert!(!gate.files().path(FILE).exists());
    // A reload makes them.
    let add = |text: &str| text.replacen("[[app]]\n", &format!("[[app]]\n{ON}\n"), 1);
    gate.reload(add).unwrap();
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    claims(&keys(&gate).await, &app.last());
    // What was promised to be published stays.
    gate.reload(|text| text.replace(ON, "")).unwrap();
    ada.get("/").await.assert_status(200);
    assert_eq!(app.last().value(HEADER), None);
    keys(&gate).await;
}

#[tokio::test]
async fn a_reload_a_restart_and_a_crash_keep_the_keys() {
    let app = Upstream::echo().await;
    let mut gate = before(&app).start().await;
    let first = keys(&gate).await;
    gate.reload(str::to_owned).unwrap();
    assert_eq!(keys(&gate).await, first);
    let file = gate.files().path(FILE);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let gate = gate.restart().await;
    assert_eq!(keys(&gate).await, first);
    drop(gate); // as a crash does

    let service = before(&app).spawn().await;
    let first = service.browser().get(KEYS).await.json();
    let service = service.crash().await;
    assert_eq!(service.browser().get(KEYS).await.json(), first);
}

#[tokio::test]
async fn in_memory_a_restart_makes_others() {
    let app = Upstream::echo().await;
    let mut gate = before(&app).session("store = \"memory\"").start().await;
    let first = keys(&gate).await;
    gate.reload(str::to_owned).unwrap();
    assert_eq!(keys(&gate).await, first);
    assert!(!gate.files().path(FILE).exists());
    let gate = gate.restart().await;
    let second = keys(&gate).await;
    assert!(ids(&first).iter().all(|id| !ids(&second).contains(id)));
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_long_after() {
    let app = Upstream::echo().await;
    let mut gate = before(&app).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let first = keys(&gate).await;
    let old = app.last().value(HEADER).unwrap().to_owned();
    gate.advance(TURN + Duration::from_secs(1));
    let second = eventually_some("the next key", async || {
        let keys = keys(&gate).await;
        (ids(&keys).len() == 3).then_some(keys)
    })
    .await;
    assert_eq!(ids(&second)[1..], ids(&first)[..]);
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let new = app.last().value(HEADER).unwrap().to_owned();
    // Whoever has fetched the keys before knows that of a new token, and after, that of an old one.
    for keys in [&first, &second] {
        verify(keys, &old);
        verify(keys, &new);
    }
    assert_ne!(old.split('.').next(), new.split('.').next());
    gate = gate.restart().await;
    assert_eq!(keys(&gate).await, second);
    gate.advance(TURN + Duration::from_secs(1));
    eventually_some("the key after it", async || {
        let keys = keys(&gate).await;
        (ids(&keys)[1..] == ids(&second)[..2]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sec_79_keys_that_others_can_read_or_that_are_damaged_keep_it_from_starting() {
    let app = Upstream::echo().await;
    let mut gate = before(&app).start().await;
    let whole = fs::read_to_string(gate.files().path(FILE)).unwrap();
    for (content, mode, expected) in [
        (&*whole, 0o640, "chmod 600"),
        (&whole, 0o604, "chmod 600"),
        ("{}", 0o600, "is damaged"),
        ("", 0o600, "is damaged"),
    ] {
        let again = before(&app).prepare(|files| {
            files.write(FILE, content, mode);
        });
        let Err(error) = again.try_start().await else {
            panic!("it starts with {content:?} and {mode:o}");
        };
        let said = error.to_string();
        assert!(said.contains(expected) && said.contains(FILE), "{said}");
    }
}

#[tokio::test]
async fn sec_80_a_reload_that_finds_no_usable_keys_changes_nothing() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let path = gate.files().write(FILE, "no keys", 0o600);
    let add = |text: &str| text.replacen("[[app]]\n", &format!("[[app]]\n{ON}\n"), 1);
    let refused = gate.reload(add).unwrap_err().to_string();
    assert!(refused.contains("is damaged"), "{refused}");
    let ada = gate.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    assert_eq!(fs::read_to_string(path).unwrap(), "no keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_start_at_once_one_serves_and_its_keys_are_those_of_the_file() {
    let app = Upstream::echo().await;
    let files = before(&app).write();
    let start = || {
        let mut command = command();
        command.args(["serve", "--config"]);
        command.arg(files.path("config.toml"));
        Program::spawn(command)
    };
    // The files of sessions are there; it is about the keys.
    let mut first = start();
    eventually("keys", || files.path(FILE).exists()).await;
    first.signal(Signal::TERM);
    assert!(first.exit().await.success());
    fs::remove_file(files.path(FILE)).unwrap();
    let mut started = vec![start(), start()];
    eventually("one to serve and one to end", || {
        let ended = started
            .iter_mut()
            .filter_map(|one| (!one.is_running()).then_some(()));
        ended.count() == 1 && files.path(FILE).exists()
    })
    .await;
    started.retain_mut(Program::is_running);
    assert_eq!(started.len(), 1);
    let kept: Value = serde_json::from_slice(&fs::read(files.path(FILE)).unwrap()).unwrap();
    assert_eq!(kept["version"], 1);
}

#[tokio::test]
async fn a_credential_of_systemd_takes_the_place_of_the_file() {
    let app = Upstream::echo().await;
    let vestibule = before(&app).prepare(|files| {
        let key = || {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
            key.unwrap().serialize_pem()
        };
        files.write("identity-token-keys", &(key() + &key()), 0o400);
    });
    let mut command = command();
    command.env(
        "CREDENTIALS_DIRECTORY",
        vestibule.path("identity-token-keys").parent().unwrap(),
    );
    let service = vestibule.spawn_by(command).await;
    let ada = service.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    let keys = ada.get(KEYS).await.json();
    claims(&keys, &app.last());
    assert_eq!(ids(&keys).len(), 2);
    assert!(!service.files.path(FILE).exists());
}

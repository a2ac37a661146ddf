use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::principal::{AccountRef, AuthContext, Identity, Methods};
use crate::request::HostPattern;

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Verifies a token as an app does, and gives its claims.
fn verify(signer: &Signer, token: &HeaderValue) -> Value {
    let token = token.to_str().unwrap();
    let (unsigned, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = unsigned.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("ES256"), &json!("JWT"))
    );
    let set: Value = serde_json::from_slice(&signer.published().unwrap()).unwrap();
    let mut keys = set["keys"].as_array().unwrap().iter();
    let key = keys.find(|key| key["kid"] == header["kid"]).unwrap();
    let [x, y] = ["x", "y"].map(|name| decode(key[name].as_str().unwrap()));
    let point = [&[4][..], &x, &y].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(unsigned.as_bytes(), &decode(signature)).unwrap();
    serde_json::from_slice(&decode(claims)).unwrap()
}

fn signer() -> Arc<Signer> {
    let signer = Signer::new(KeySource::Memory, Clock::system(), None);
    signer.open().unwrap();
    Arc::new(signer)
}

fn settings() -> Settings {
    Settings {
        header: HEADER,
        audience: None,
        lifetime: Settings::LIFETIME,
    }
}

fn user(name: &str, methods: &str) -> Principal {
    let groups = vec!["staff".to_owned(), "Größe, \"M\"".to_owned()];
    let email = Some("ada@example.org".to_owned());
    let identity = Identity::new(name.to_owned(), groups, email);
    let at = Timestamp::from_millis(1_764_000_000_999);
    let context = AuthContext::new(Methods::parse(methods), at);
    Principal::new(
        AccountRef::of_users_file(name),
        identity.into(),
        context.into(),
    )
}

fn authority(text: &str) -> Authority {
    Authority::parse(&HeaderValue::from_str(text).unwrap()).unwrap()
}

#[test]
fn a_token_says_who_a_request_is_for_and_which() {
    let signer = signer();
    let issuer = Issuer::new(settings(), Origins::default(), Arc::clone(&signer));
    let authority = authority("wiki.example.org");
    let request = Request {
        method: &Method::PUT,
        authority: &authority,
        path: "/a/J%C3%BCrgen",
    };
    let before = Clock::wall().as_secs();
    let token = issuer.token(&user("Jürgen", "password+totp"), Some(&"0123abcd"), request);
    let token = token.unwrap();
    assert!(token.is_sensitive());
    let claims = verify(&signer, &token);
    let at = claims["iat"].as_u64().unwrap();
    assert!((before..=Clock::wall().as_secs()).contains(&at));
    let expected = json!({
        "iss": "https://wiki.example.org",
        "aud": "https://wiki.example.org",
        "sub": "users-file/Jürgen",
        "name": "Jürgen",
        "email": "ada@example.org",
        "groups": ["staff", "Größe, \"M\""],
        "amr": ["pwd", "otp", "mfa"],
        "auth_time": 1_764_000_000,
        "sid": "0123abcd",
        "iat": at,
        "exp": at + 60,
        "htm": "PUT",
        "htu": "https://wiki.example.org/a/J%C3%BCrgen",
    });
    assert_eq!(claims, expected);
}

#[test]
fn sec_96_nobody_has_signed_in_for_an_api_token() {
    let signer = signer();
    let issuer = Issuer::new(settings(), Origins::default(), Arc::clone(&signer));
    let authority = authority("wiki.example.org");
    let request = Request {
        method: &Method::OPTIONS,
        authority: &authority,
        path: "*",
    };
    let token = issuer
        .token(&user("ada", "API token"), None, request)
        .unwrap();
    let claims = verify(&signer, &token);
    for absent in ["amr", "auth_time", "sid"] {
        assert_eq!(claims.get(absent), None, "{absent}");
    }
    assert_eq!(
        claims["htu"], "https://wiki.example.org",
        "of the whole server"
    );
}

/// Issuer, audience and address of a token for a host.
fn origins_of(issuer: &Issuer, host: &str) -> [String; 3] {
    let authority = authority(host);
    let request = Request {
        method: &Method::GET,
        authority: &authority,
        path: "/",
    };
    let token = issuer.token(&user("ada", "password"), None, request);
    let claims = verify(&issuer.signer, &token.unwrap());
    ["iss", "aud", "htu"].map(|name| claims[name].as_str().unwrap().to_owned())
}

#[test]
fn issuer_and_audience_are_origins_as_browsers_have_them() {
    let signer = signer();
    let hosts = ["wiki.test", "*.apps.test"].map(|host| HostPattern::parse(host).unwrap());
    let login = Some((Host::parse("Login.test").unwrap(), Hosts::new(hosts.into())));
    let (wiki, port) = ("https://wiki.test", "https://wiki.test:8443");
    for (host, login, public_port, issuer, audience) in [
        ("wiki.test", None, None, wiki, wiki),
        ("WIKI.test.:443", None, None, wiki, wiki),
        ("wiki.test:8443", None, None, port, port),
        ("wiki.test:8443", None, Some(443), wiki, wiki),
        ("wiki.test", None, Some(8443), port, port),
        ("[::1]:1", None, None, "https://[::1]:1", "https://[::1]:1"),
        ("wiki.test", login.clone(), None, "https://login.test", wiki),
        (
            "Wiki.test:8443",
            login.clone(),
            None,
            "https://login.test:8443",
            port,
        ),
        (
            "a.apps.test",
            login.clone(),
            None,
            "https://login.test",
            "https://a.apps.test",
        ),
        (
            "own.test",
            login,
            None,
            "https://own.test",
            "https://own.test",
        ),
    ] {
        let origins = Origins { login, public_port };
        let issues = Issuer::new(settings(), origins.clone(), Arc::clone(&signer));
        let address = format!("{audience}/");
        assert_eq!(
            origins_of(&issues, host),
            [issuer, audience, &address],
            "{host}"
        );
        let fixed = Settings {
            audience: Some("wiki".into()),
            ..settings()
        };
        let issues = Issuer::new(fixed, origins, Arc::clone(&signer));
        assert_eq!(
            origins_of(&issues, host),
            [issuer, "wiki", &address],
            "{host}"
        );
    }
}

#[test]
fn users_in_very_many_groups_have_a_token_that_names_each() {
    let signer = signer();
    let issuer = Issuer::new(settings(), Origins::default(), Arc::clone(&signer));
    let groups: Vec<_> = (0..5000).map(|n| format!("group {n}")).collect();
    let ada = user("ada", "password");
    let identity = Identity::new("ada".to_owned(), groups.clone(), None);
    let ada = Principal::new(
        ada.account().clone(),
        identity.into(),
        AuthContext::new(Methods::parse("password"), Timestamp::default()).into(),
    );
    let authority = authority("wiki.test");
    let request = Request {
        method: &Method::GET,
        authority: &authority,
        path: "/",
    };
    for _ in 0..2 {
        let claims = verify(&signer, &issuer.token(&ada, None, request).unwrap());
        assert_eq!(claims["groups"], json!(groups));
        assert_eq!(claims.get("email"), None);
    }
}

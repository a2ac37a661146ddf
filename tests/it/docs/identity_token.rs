//! Each verifier of the page takes a token of the server, and none of those that attackers make.

#[expect(
    dead_code,
    unreachable_pub,
    reason = "it stands there as it stands on the page"
)]
mod verifier;

use std::fs;
use std::path::Path;
use std::process::Command;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::desk::Desk;
use super::page::Page;
use crate::harness::*;

const PATH: &str = "/page/J%C3%BCrgen;v=1";

/// What a verifier is shown, and whether it is to take it.
struct Trial {
    what: &'static str,
    method: &'static str,
    path: &'static str,
    token: String,
    is_good: bool,
}

/// Of an attacker who knows all that is public, and has the key of another server.
struct Forger {
    right: Value,
    header: Value,
    own: EcdsaKeyPair,
    stranger: EcdsaKeyPair,
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

fn decode(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn es256(key: &EcdsaKeyPair, text: &str) -> Vec<u8> {
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    signature.as_ref().to_vec()
}

impl Forger {
    fn new(token: &str, kept: &Value) -> Self {
        let own = STANDARD.decode(kept["current"].as_str().unwrap()).unwrap();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let parts: Vec<_> = token.split('.').collect();
        Self {
            right: decode(parts[1]),
            header: decode(parts[0]),
            own: EcdsaKeyPair::from_pkcs8(algorithm, &own).unwrap(),
            stranger: EcdsaKeyPair::generate(algorithm).unwrap(),
        }
    }

    /// A token that the server itself might have signed, had it said that.
    fn signed(&self, claims: &Value) -> String {
        Self::made(&self.header, claims, |text| es256(&self.own, text))
    }

    fn made(header: &Value, claims: &Value, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
        let text = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(&text));
        format!("{text}.{signature}")
    }

    /// The right claims with another value for one; `None` leaves it out.
    fn with(&self, name: &str, value: Option<Value>) -> String {
        let mut claims = self.right.clone();
        match value {
            Some(value) => claims[name] = value,
            None => drop(claims.as_object_mut().unwrap().remove(name)),
        }
        self.signed(&claims)
    }

    /// The right claims signed in another way.
    fn by(&self, algorithm: &str, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
        let mut header = self.header.clone();
        header["alg"] = json!(algorithm);
        Self::made(&header, &self.right, sign)
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn trials(right: &str, forger: &Forger) -> Vec<Trial> {
    let trial = |what, token: String| Trial {
        what,
        method: "GET",
        path: PATH,
        token,
        is_good: false,
    };
    let good = |what, token| Trial {
        is_good: true,
        ..trial(what, token)
    };
    let of = |what, method, path| Trial {
        method,
        path,
        ..trial(what, right.to_owned())
    };
    let with = |name, value: Value| forger.with(name, Some(value));
    let public = forger.own.public_key().as_ref().to_vec();
    let hs256 = |key: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        forger.by("HS256", |text| {
            hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
        })
    };
    let mut spki = vec![
        0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 3, 1, 7, 3, 0x42, 0,
    ];
    spki.extend(&public);
    let pem = STANDARD.encode(&spki);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n");
    let rs256 = |text: &str| {
        let key = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        let random = SystemRandom::new();
        let signed = key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature);
        signed.unwrap();
        signature
    };
    let mut strange = forger.header.clone();
    strange["kid"] = json!("bm9ib2R5");
    let mut unnamed = forger.header.clone();
    unnamed.as_object_mut().unwrap().remove("kid");
    let (text, signature) = right.rsplit_once('.').unwrap();
    let (header, _) = text.split_once('.').unwrap();
    let mut altered = forger.right.clone();
    altered["name"] = json!("root");
    let stranger = |text: &str| es256(&forger.stranger, text);
    vec![
        good("a token of the server", right.to_owned()),
        good("the same, signed here", forger.signed(&forger.right)),
        of("of another method", "POST", PATH),
        of("of another path", "GET", "/page"),
        of("of no path", "GET", ""),
        trial("no audience", forger.with("aud", None)),
        trial(
            "another audience",
            with("aud", json!("https://metrics.example.org")),
        ),
        trial(
            "a longer audience",
            with("aud", json!("https://wiki.example.org.evil.test")),
        ),
        trial("no issuer", forger.with("iss", None)),
        trial("another issuer", with("iss", json!("https://evil.test"))),
        trial("no method", forger.with("htm", None)),
        trial("another method", with("htm", json!("DELETE"))),
        trial("no address", forger.with("htu", None)),
        trial(
            "another host",
            with("htu", json!(format!("https://evil.test{PATH}"))),
        ),
        trial(
            "another path",
            with("htu", json!("https://wiki.example.org/")),
        ),
        trial("expired", with("exp", json!(now() - 60))),
        trial("no end", forger.with("exp", None)),
        trial("of the future", with("iat", json!(now() + 3600))),
        trial("not signed", forger.by("none", |_| vec![])),
        trial("not signed, in capitals", forger.by("None", |_| vec![])),
        trial(
            "not signed, with the right name",
            forger.by("ES256", |_| vec![]),
        ),
        trial("HS256 with the public key in PEM", hs256(pem.as_bytes())),
        trial("HS256 with the public key", hs256(&public)),
        trial("RS256", forger.by("RS256", rs256)),
        trial(
            "RS256 with the signature of ES256",
            forger.by("RS256", |text| es256(&forger.own, text)),
        ),
        trial("another key", forger.by("ES256", stranger)),
        trial(
            "a key that is not published",
            Forger::made(&strange, &forger.right, stranger),
        ),
        trial("no key", Forger::made(&unnamed, &forger.right, stranger)),
        trial("r and s are zero", forger.by("ES256", |_| vec![0; 64])),
        trial(
            "altered",
            format!("{header}.{}.{signature}", encode(&altered)),
        ),
        trial("cut", text.to_owned()),
        trial("with one more part", format!("{right}.{signature}")),
        trial("nothing", String::new()),
        trial("no token", "a.b.c".to_owned()),
    ]
}

/// What is published, where each verifier fetches it.
async fn published(keys: &Reply) -> Upstream {
    let length = keys.body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    Upstream::raw_then_close([head.as_bytes(), &keys.body].concat()).await
}

/// Shows each token to a program of the page.
fn hold(language: &str, program: &Command, trials: &[Trial]) {
    for trial in trials {
        let mut command = Command::new(program.get_program());
        command.args(program.get_args());
        command.args([trial.method, trial.path, &trial.token]);
        let (code, stdout, stderr) = run_to_end(&mut command, "");
        let expected = if trial.is_good {
            (Some(0), "ada\n")
        } else {
            (Some(1), "")
        };
        let what = format!("{language}: {}: {stderr}", trial.what);
        assert_eq!((code, stdout.as_str()), expected, "{what}");
        assert_eq!(stderr.contains("refused: "), !trial.is_good, "{what}");
    }
}

/// The server of the page, with somebody signed in.
struct Scene {
    app: Upstream,
    gate: Gate,
    wiki: Browser,
    keys: Reply,
}

impl Scene {
    async fn of(page: &mut Page) -> Self {
        let app = Upstream::echo().await;
        let text = page.next("toml");
        let text = text.replace("http://127.0.0.1:3000", &app.url());
        let (login, section) = text.split_once("[[app]]").unwrap();
        let gate = Vestibule::before_app(&format!("[[app]]{section}"))
            .login(login.trim_start_matches("[login]\n"))
            .user("ada", PASSWORD);
        let gate = gate.start().await;
        let login = gate.browser_for("login.example.org");
        let login = login.login("ada", PASSWORD).await;
        let wiki = gate.browser_for("wiki.example.org");
        let mut reply = wiki.get("/").await;
        while let Some(to) = reply.value("location") {
            let (browser, target) = match to.strip_prefix("https://login.example.org") {
                Some(target) => (&login, target),
                None => (&wiki, to.trim_start_matches("https://wiki.example.org")),
            };
            reply = browser.get(target).await;
        }
        Self {
            app,
            gate,
            wiki,
            keys: login.get("/.vestibule/jwks.json").await,
        }
    }

    /// Of now: a token is good for a minute, and a machine may be slow.
    async fn trials(&mut self) -> Vec<Trial> {
        self.wiki.get(PATH).await.assert_status(200);
        let request = self.app.last();
        let right = request.value("x-vestibule-token").unwrap();
        let kept = fs::read(self.gate.files().path("identity-token-keys.json")).unwrap();
        trials(
            right,
            &Forger::new(right, &serde_json::from_slice(&kept).unwrap()),
        )
    }
}

/// The interpreter of a language, with what it needs to verify a signature.
fn interpreter(language: &str, has_all: &[&str]) -> Option<Command> {
    let interpreter = real::find(language)?;
    if run_to_end(Command::new(&interpreter).args(has_all), "").0 != Some(0) {
        real::missing(&format!("what {language} needs to verify a signature"));
        return None;
    }
    Some(Command::new(interpreter))
}

/// Compiles a program of the page with nothing but the standard library.
fn compiled(go: &Path, built: &Path) -> Option<Command> {
    let mut compiler = Command::new(real::find("go")?);
    compiler.args(["build", "-o"]).args([built, go]);
    for (name, value) in [("GO111MODULE", "off"), ("CGO_ENABLED", "0")] {
        compiler.env(name, value);
    }
    for name in ["GOCACHE", "GOPATH"] {
        compiler.env(name, Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    }
    let (code, _, stderr) = run_to_end(&mut compiler, "");
    assert_eq!(code, Some(0), "{stderr}");
    Some(Command::new(built))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verifier_takes_a_right_token_and_no_other() {
    let mut page = Page::open("identity-token.md");
    let mut scene = Box::pin(Scene::of(&mut page)).await;
    let another = page.gate(&scene.app.url()).user("ada", PASSWORD);
    let another = another.start().await;
    let ada = another.browser().login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    assert!(scene.app.last().value("x-wiki-token").is_some());

    let mut desk = Desk::new("wiki.example.org");
    let published = published(&scene.keys).await;
    let url = format!("{}/jwks.json", published.url());
    desk.place("https://login.example.org/.vestibule/jwks.json", url);
    for (language, name, program, has_all) in [
        (
            "python",
            "verify.py",
            "python3",
            &["-c", "import jwt, cryptography"][..],
        ),
        ("js", "verify.mjs", "node", &["--version"]),
        (
            "php",
            "verify.php",
            "php",
            &["-r", "exit((int) !extension_loaded('openssl'));"],
        ),
        ("go", "verify.go", "go", &[]),
    ] {
        let file = desk.write(name, &page.next(language));
        let command = || match language {
            "go" => compiled(&file, &desk.path("verify")),
            _ => interpreter(program, has_all).map(|mut command| {
                command.arg(&file);
                command
            }),
        };
        if let Some(command) = tokio::task::block_in_place(command) {
            let trials = scene.trials().await;
            tokio::task::block_in_place(|| hold(language, &command, &trials));
        }
    }
    let here = include_str!("identity_token/verifier.rs");
    assert_eq!(page.next("rust"), here);
    let keys: verifier::Keys = serde_json::from_slice(&scene.keys.body).unwrap();
    for trial in scene.trials().await {
        let verified = verifier::verify(trial.method, trial.path, &trial.token, &keys);
        let name = verified.map(|claims| claims.name);
        assert_eq!(name.is_ok(), trial.is_good, "{}: {name:?}", trial.what);
    }
    own_keys(&mut page, &desk, &scene.app).await;
}

/// Keys of the operator's own.
async fn own_keys(page: &mut Page, desk: &Desk, app: &Upstream) {
    if real::find("openssl").is_none() {
        page.skip("sh", "there is no openssl");
        page.skip("ini", "there is no openssl");
        return;
    }
    desk.run(&page.next("sh")).await;
    let made = fs::read_to_string(desk.path("/etc/vestibule/identity-token-keys.pem"));
    let credential = desk.write_secret("identity-token-keys", &made.unwrap());
    let unit = page.next("ini");
    let (_, given) = unit.split_once("LoadCredential=").unwrap();
    assert_eq!(given.split(':').next(), Some("identity-token-keys"));
    let mut command = command();
    command.env("CREDENTIALS_DIRECTORY", credential.parent().unwrap());
    let service = Vestibule::before(app).app("identity_token = true");
    let service = service.spawn_by(command).await;
    let keys = service.browser().get("/.vestibule/jwks.json").await;
    assert_eq!(keys.json()["keys"].as_array().unwrap().len(), 1);
}

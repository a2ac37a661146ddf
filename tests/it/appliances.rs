//! https apps with certificates of their own, and names that differ.

mod odd_certificates;

use sha2::{Digest, Sha256};

use crate::harness::tls::Certificate;
use crate::harness::*;

fn pin(certificate: &Certificate) -> String {
    let hash = Sha256::digest(&certificate.cert);
    let digits = hash.iter().map(|byte| format!("{byte:02X}"));
    format!("sha256:{}", digits.collect::<Vec<_>>().join(":"))
}

async fn appliance(certificate: &Certificate) -> Upstream {
    Upstream::tls_with(&certificate.cert_pem, &certificate.key_pem).await
}

/// The status that a visitor gets of an app at 127.0.0.1 with these keys, and this file of
/// authorities.
async fn status(app: &Upstream, keys: &str, authorities: &str) -> u16 {
    let url = app.url().replace("localhost", "127.0.0.1");
    status_of(&url, keys, authorities).await
}

async fn status_of(url: &str, keys: &str, authorities: &str) -> u16 {
    let gate = Vestibule::before_url(url)
        .prepare(|files| {
            files.write("ca.pem", authorities, 0o644);
        })
        .app(keys)
        .public()
        .start()
        .await;
    gate.browser().get("/").await.status
}

#[tokio::test]
async fn the_very_certificate_of_an_app_is_enough_whatever_it_says() {
    for (what, certificate) in [
        ("another name", Certificate::generate(&["appliance.local"])),
        ("no name", Certificate::generate(&[])),
        ("an authority", Certificate::of_authority(&["127.0.0.1"])),
        ("ended", Certificate::ended()),
    ] {
        let app = appliance(&certificate).await;
        let ca = "upstream_ca = \"ca.pem\"";
        let both = Certificate::generate(&["x.test"]).cert_pem + &certificate.cert_pem;
        assert_eq!(status(&app, ca, &both).await, 200, "{what}");
        let pinned = format!("upstream_pin = \"{}\"", pin(&certificate));
        assert_eq!(status(&app, &pinned, "").await, 200, "{what}");
    }
}

#[tokio::test]
async fn another_certificate_than_the_one_that_is_named_is_refused() {
    let ours = Certificate::generate(&["127.0.0.1"]);
    let forged = Certificate::generate(&["127.0.0.1"]);
    let app = appliance(&forged).await;
    let ca = "upstream_ca = \"ca.pem\"";
    assert_eq!(status(&app, ca, &ours.cert_pem).await, 502);
    let pinned = format!("upstream_pin = \"{}\"", pin(&ours));
    assert_eq!(status(&app, &pinned, "").await, 502);
    assert_eq!(app.requests(), 0);
    let change = format!("upstream_pin = [\"{}\", \"{}\"]", pin(&ours), pin(&forged));
    assert_eq!(
        status(&app, &change, "").await,
        200,
        "for the time of a change"
    );

    // What an authority has signed has to fit, as before: only the authority itself is in the file.
    let signed = Certificate::signed(&["elsewhere.test"]);
    let app = Upstream::tls_with(&signed.cert, &signed.key).await;
    assert_eq!(status(&app, ca, &signed.authority).await, 502);
    let named = format!("{ca}\nupstream_server_name = \"elsewhere.test\"");
    assert_eq!(status(&app, &named, &signed.authority).await, 200);
    assert_eq!(app.server_name().as_deref(), Some("elsewhere.test"));
}

#[tokio::test]
async fn the_log_says_what_is_wrong_with_a_certificate_and_what_to_write() {
    let certificate = Certificate::generate(&["appliance.local"]);
    let app = appliance(&certificate).await;
    let service = Vestibule::before(&app)
        .public()
        .app("upstream_ca = \"cert.pem\"")
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    service.browser().get("/").await.assert_status(502);
    let pin = pin(&certificate).to_lowercase();
    let wanted = format!("upstream_pin = \"sha256:{}\"", pin[7..].replace(':', ""));
    eventually("the line", || {
        let log = service.program.log();
        let mut errors = log.iter().filter_map(|line| line["error"].as_str());
        errors.any(|error| error.contains(&wanted))
    })
    .await;
}

#[tokio::test]
async fn an_app_gets_the_names_that_it_wants_in_tls_and_in_host() {
    let certificate = Certificate::generate(&["127.0.0.1"]);
    let app = Upstream::tls_scripted(&certificate.cert_pem, &certificate.key_pem, |exchange| {
        Box::pin(async {
            let host = exchange.header("host").unwrap();
            exchange
                .reply(
                    "421 Misdirected Request",
                    &[("Location", &format!("http://{host}/x"))],
                    "",
                )
                .await;
        })
    })
    .await;
    let service = Vestibule::before_url(&app.url().replace("localhost", "127.0.0.1"))
        .public()
        .app(&format!("upstream_pin = \"{}\"", pin(&certificate)))
        .app("upstream_server_name = \"wiki.internal\"\nupstream_host = \"wiki.internal:81\"")
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    let reply = service.browser().get("/").await;
    reply
        .assert_status(421)
        .assert_header("location", "https://gate.test/x");
    assert_eq!(app.server_name().as_deref(), Some("wiki.internal"));
    assert_eq!(app.last().value("host"), Some("wiki.internal:81"));
    assert_eq!(app.last().value("x-forwarded-host"), Some("gate.test"));
    eventually("the line that names the key", || {
        let log = service.program.log();
        let mut lines = log.iter().filter_map(|line| line["message"].as_str());
        lines.any(|line| line.contains("upstream_server_name"))
    })
    .await;
}

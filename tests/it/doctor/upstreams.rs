//! Applications that are dialled: a dead one keeps nobody from starting, and is told.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tls::Certificate;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{Checked, before};
use crate::harness::*;

/// As `upstream_pin` has it.
fn fingerprint(certificate: &[u8]) -> String {
    let hash = Sha256::digest(certificate);
    let digits = hash.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

/// One app, with these keys.
fn app(url: &str, keys: &str) -> Files {
    Vestibule::before_url(url)
        .app(&format!("name = \"wiki\"\nhost = \"gate.test\"\n{keys}"))
        .user("ada", PASSWORD)
        .write()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_is_down_is_a_warning() {
    let gone = held_port();
    Checked::of(&app(&format!("http://{gone}"), "")).is_ok(&[&format!(
        "config.toml:11: warning: app wiki: nothing listens at http://{gone}\n      help: start the \
         application, or correct `upstream`; until then visitors get 502\n"
    )]);
    Checked::of(&app("unix:/no/such.sock", "")).is_ok(&[
        "config.toml:11: warning: app wiki: there is no socket at unix:/no/such.sock\n      help: start \
         the application, or correct `upstream`\n",
    ]);
    let files = app("http://no-such-host.invalid:80", "");
    let mut check = command();
    check.env("RES_OPTIONS", "timeout:1 attempts:1"); // where no name server answers
    check
        .args(["check", "--config"])
        .arg(files.path("config.toml"));
    Checked::by(&files, &mut check).is_ok(&[
        "config.toml:11: warning: app wiki: the host of http://no-such-host.invalid:80 is not known: ",
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_92_an_app_is_asked_by_the_host_that_it_gets_from_visitors() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let host = exchange.header("host").unwrap();
            let fields = [("WWW-Authenticate", "NTLM"), ("X-Host", &*host)];
            exchange.reply("401 Unauthorized", &fields, "").await;
        })
    })
    .await;
    let own = app.authority();
    for (key, host) in [
        ("", "gate.test"),
        ("preserve_host = false", &*own),
        ("upstream_host = \"wiki.internal:81\"", "wiki.internal:81"),
    ] {
        let files = Vestibule::before_url(&app.url())
            .app(&format!("host = \"gate.test\"\n{key}"))
            .server("trusted_proxies = [\"10.0.0.1\"]")
            .user("ada", PASSWORD)
            .write();
        let (_, said, _) = run(&files, &["check"]);
        assert!(said.contains("asks for NTLM or Negotiate"), "{key}: {said}");
        assert_eq!(app.last().value("host"), Some(host), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_92_ntlm_behind_trusted_proxies_is_a_warning() {
    let asks = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\", NTLM\r\n\
                Content-Length: 0\r\n\r\n";
    let (windows, other) = (
        Upstream::raw(asks).await,
        Upstream::raw(asks.replace(", NTLM", "")).await,
    );
    let warning = format!(
        "warning: app wiki: {} asks for NTLM or Negotiate",
        windows.url()
    );
    let proxies = "trusted_proxies = [\"10.0.0.1\"]";
    for (app, proxies, expected) in [
        (&windows, proxies, true),
        (&windows, "", false),
        (&other, proxies, false),
    ] {
        let files = Vestibule::before_url(&app.url())
            .app("name = \"wiki\"\nhost = \"gate.test\"")
            .server(proxies)
            .user("ada", PASSWORD)
            .write();
        let (code, said, _) = run(&files, &["check"]);
        assert_eq!(
            (code, said.contains(&warning)),
            (Some(0), expected),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_address_of_each_app_is_dialled() {
    let (up, gone) = (Upstream::echo().await, [held_port(), held_port()]);
    let files = Vestibule::before_url(&up.url())
        .app("name = \"wiki\"\nhost = \"gate.test\"")
        .user("ada", PASSWORD)
        .config(&format!(
            "[[app]]\nname = \"git\"\nhost = \"other.test\"\n\
             upstream = [\"http://{}\", \"{}\", \"http://{}\"]",
            gone[0],
            up.url(),
            gone[1]
        ))
        .write();
    Checked::of(&files).is_ok(
        &gone
            .map(|gone| format!("warning: app git: nothing listens at http://{gone}\n"))
            .each_ref()
            .map(String::as_str),
    );
    let asked = up.received();
    let hosts: Vec<_> = asked.iter().map(|asked| asked.value("host")).collect();
    assert_eq!(hosts.len(), 2, "one of each app: {hosts:?}");
    assert!(hosts.contains(&Some("gate.test")) && hosts.contains(&Some("other.test")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_to_an_application_is_tried_to_its_end() {
    let up = Upstream::tls().await;
    let url = up.url();
    let warning = |what: &str, fix: &str| {
        format!("config.toml:11: warning: app wiki: {what}\n      help: {fix}\n")
    };
    Checked::of(&app(&url, "upstream_ca = \"cert.pem\"")).is_ok(&[]);

    let pin = fingerprint(&tls::certificate().cert);
    let this_one = format!(
        "to trust this very certificate, put it into the file of `upstream_ca`, or compare its \
         fingerprint and write upstream_pin = \"{pin}\""
    );
    let files = app(&url, "upstream_ca = \"ca.pem\"");
    files.write(
        "ca.pem",
        &Certificate::generate(&["x.test"]).cert_pem,
        0o644,
    );
    Checked::of(&files).is_ok(&[&warning(
        &format!("no authority that is trusted here has signed the certificate of {url}"),
        &format!("name the file with its authority in `upstream_ca`; {this_one}"),
    )]);
    // What it says helps.
    Checked::of(&app(&url, &format!("upstream_pin = \"{pin}\""))).is_ok(&[]);
    let other = format!("sha256:{}", "0".repeat(64));
    let files = app(&url, &format!("upstream_pin = \"{other}\""));
    Checked::of(&files).is_ok(&[&warning(
        &format!("the certificate of {url} is not the one of `upstream_pin`"),
        &format!(
            "if the app has a new one, compare its fingerprint and write upstream_pin = \"{pin}\""
        ),
    )]);

    let signed = Certificate::signed(&["wiki.internal", "10.0.0.9"]);
    let up = Upstream::tls_with(&signed.cert, &signed.key).await;
    let elsewhere = up.url();
    let keys = "upstream_ca = \"ca.pem\"";
    let files = app(&elsewhere, keys);
    files.write("ca.pem", &signed.authority, 0o644);
    Checked::of(&files).is_ok(&[
        &format!("the certificate of {elsewhere} is for another name: wiki.internal, 10.0.0.9\n      help: write upstream_server_name = \"wiki.internal\"; to trust this very certificate"),
    ]);
    let files = app(
        &elsewhere,
        &format!("{keys}\nupstream_server_name = \"wiki.internal\""),
    );
    files.write("ca.pem", &signed.authority, 0o644);
    Checked::of(&files).is_ok(&[]);

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let refused = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(refused).await.unwrap();
        stream // stays open
    });
    let checked = Checked::of(&app(&url, "upstream_ca = \"cert.pem\""));
    let said = format!("{url} does not speak TLS as it should: ");
    checked.is_ok(&[&said]);
    let fix = "help: write http:// if it speaks plain HTTP\n";
    assert!(checked.stdout.contains(fix), "{}", checked.stdout);
    drop(answering.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_says_nothing_is_not_waited_for() {
    // It takes connections, and never says a word of TLS.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let files = app(
        &url,
        "upstream_ca = \"cert.pem\"\nconnect_timeout = \"300ms\"",
    );
    Checked::of(&files).is_ok(&[&format!(
        "config.toml:11: warning: app wiki: {url} has not answered within 300ms\n"
    )]);
    let files = app(
        &url,
        "upstream_ca = \"cert.pem\"\nconnect_timeout = \"10m\"",
    );
    let begin = Instant::now();
    Checked::of(&files).is_ok(&[&format!("{url} has not answered within 5s\n")]);
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_at_a_terminal_is_told_for_what() {
    let Some(script) = real::find("script") else {
        return;
    };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let files = app(&url, "upstream_ca = \"cert.pem\"\nconnect_timeout = \"2s\"");
    let program = env!("CARGO_BIN_EXE_vestibule");
    let config = files.path("config.toml");
    let check = format!("{program} check --config {}", config.display());
    let mut at_a_terminal = std::process::Command::new(script);
    at_a_terminal.args(["-qec", &check, "/dev/null"]);
    let (code, shown, _) = run_to_end(&mut at_a_terminal, "");
    assert_eq!(code, Some(0), "{shown}");
    let said = shown.find("connecting to the applications, for 5 seconds at most");
    assert!(
        said < shown.find("has not answered within 2s") && said.is_some(),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_that_cannot_be_read_are_an_error() {
    let files = app("https://127.0.0.1:1", "upstream_ca = \"none.pem\"");
    Checked::of(&files)
        .is_refused(&["config.toml:11: error: app wiki: cannot read the certificates in none.pem"]);
    let (code, _, said) = run(&files, &["serve"]);
    assert_eq!(code, Some(78), "and so it does not start: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_authority_that_this_system_knows_is_whole() {
    let up = Upstream::echo().await;
    let files = before(&up).write();
    let certificate = Certificate::signed(&["gate.test"]);
    files.write("cert.pem", &certificate.cert, 0o644);
    files.write("key.pem", &certificate.key, 0o600);
    let known = files.write("known.pem", &certificate.authority, 0o644);
    let other = files.write("other.pem", &tls::certificate().cert_pem, 0o644);
    let check = |authorities: &std::path::Path| {
        let mut program = command();
        program
            .env("SSL_CERT_FILE", authorities)
            .env_remove("SSL_CERT_DIR");
        let config = files.path("config.toml");
        run_to_end(program.args(["check", "--config"]).arg(config), "")
    };
    let (code, stdout, _) = check(&known);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(
        stdout.contains("; signed by \"the authority\"\n"),
        "{stdout}"
    );
    assert!(stdout.ends_with(": ok\n"), "{stdout}");

    let (code, stdout, _) = check(&other);
    assert_eq!(code, Some(0), "{stdout}");
    let said = "the chain is not complete: \"the authority\" has signed its last certificate, and is \
                neither in the file nor an authority that this system knows\n      help: of a public \
                authority, take the file with the whole chain (fullchain.pem); of your own, append \
                its certificate\n";
    assert!(stdout.contains(said), "{stdout}");
    assert!(stdout.ends_with(": ok, 1 warning\n"), "{stdout}");

    // With its authority in the file it is whole, whoever knows that one.
    let whole = certificate.cert.clone() + &certificate.authority;
    files.write("cert.pem", &whole, 0o644);
    let (_, stdout, _) = check(&other);
    let said =
        "of the authority \"the authority\", which this system does not know: browsers have to\n";
    assert!(
        stdout.contains(said) && stdout.ends_with(": ok\n"),
        "{stdout}"
    );
}

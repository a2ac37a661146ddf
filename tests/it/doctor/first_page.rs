//! `check` asks each app for its first page, and says what visitors will get.

mod redirects;

use std::fs;
use std::process::Command;

use tokio::net::TcpListener;

use super::Checked;
use crate::harness::*;

fn files(url: &str, keys: &str) -> Files {
    Vestibule::before_url(url)
        .app(&format!("name = \"wiki\"\nhost = \"gate.test\"\n{keys}"))
        .server("public_port = 443")
        .user("ada", PASSWORD)
        .write()
}

/// An app that gives this answer to the host of visitors, and that one to any other.
async fn app(visitors: &str, own: &str) -> Upstream {
    let (visitors, own) = (visitors.to_owned(), own.to_owned());
    Upstream::scripted(move |exchange| {
        let (visitors, own) = (visitors.clone(), own.clone());
        Box::pin(async move {
            let is_visitors = exchange.header("host").as_deref() == Some("gate.test");
            let answer = if is_visitors { visitors } else { own };
            exchange
                .send(answer.replace("HOST", &exchange.header("host").unwrap()))
                .await;
        })
    })
    .await
}

fn answer(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n")
}

/// The only finding there is about this app: what it says, and its help.
#[track_caller]
fn only_finding(checked: &Checked) -> (String, String) {
    assert_eq!(
        checked.code,
        Some(0),
        "{}{}",
        checked.stdout,
        checked.stderr
    );
    checked.says(&["warning: app wiki: "]);
    let (_, said) = checked.stdout.split_once("warning: app wiki: ").unwrap();
    let (said, rest) = said.split_once("\n      help: ").unwrap();
    (said.to_owned(), rest.lines().next().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_app_is_asked_once_and_for_nobody() {
    let up = Upstream::echo().await;
    Checked::of(&files(&up.url(), "")).is_ok(&[]);
    let [asked] = &up.received()[..] else {
        panic!("{} requests", up.requests());
    };
    assert_eq!(asked.target(), "/");
    for (name, value) in [
        ("host", "gate.test"),
        ("user-agent", "vestibule-check"),
        ("x-forwarded-host", "gate.test"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "00000000-000000"),
    ] {
        assert_eq!(asked.values(name), [value], "{name}");
    }
    for name in [
        "x-forwarded-user",
        "x-forwarded-groups",
        "cookie",
        "authorization",
    ] {
        assert_eq!(asked.value(name), None, "{name}");
    }

    let keys = "path = \"/wiki/\"\nstrip_path = true\nupstream_host = \"wiki.internal\"";
    Checked::of(&files(&up.url(), keys)).is_ok(&[]);
    let asked = up.last();
    assert_eq!(
        (asked.target(), asked.value("host")),
        ("/", Some("wiki.internal"))
    );
    assert_eq!(asked.value("x-forwarded-prefix"), Some("/wiki"));
    Checked::of(&files(&up.url(), "path = \"/wiki/\"")).is_ok(&[]);
    assert_eq!(up.last().target(), "/wiki/");

    let keys = "[app.request_headers]\nset = { \"Authorization\" = \"Basic YTpi\" }";
    Checked::of(&files(&up.url(), keys)).is_ok(&[]);
    assert_eq!(up.last().value("authorization"), Some("Basic YTpi"));

    // Browsers say a port that is not the usual one.
    let other = files(&up.url(), "");
    let text = fs::read_to_string(other.path("config.toml")).unwrap();
    let text = text.replace("public_port = 443", "public_port = 8443");
    other.write("config.toml", &text, 0o644);
    Checked::of(&other).is_ok(&[]);
    assert_eq!(up.last().value("host"), Some("gate.test:8443"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_does_not_know_the_host_of_visitors_is_told_with_the_keys_that_help() {
    let fine = answer("200 OK", "");
    for (status, own, said) in [
        (
            "421 Misdirected Request",
            &*fine,
            "answers 421 to the host gate.test, and 200 to its own name: it does not know the other one",
        ),
        (
            "400 Bad Request",
            &fine,
            "answers 400 to the host gate.test, and 200 to its own name",
        ),
        (
            "403 Forbidden",
            &fine,
            "answers 403 to the host gate.test, and 200 to its own name",
        ),
        (
            "404 Not Found",
            &answer("302 Found", "Location: /login\r\n"),
            "answers 404 to the host gate.test, and 302 to its own name",
        ),
        (
            "421 Misdirected Request",
            &answer("421 Misdirected Request", ""),
            "answers 421: it does not serve the host gate.test",
        ),
        (
            "400 Bad Request",
            &answer("400 Bad Request", ""),
            "answers 400 to a request like those of visitors",
        ),
    ] {
        let up = app(&answer(status, ""), own).await;
        let (message, help) = only_finding(&Checked::of(&files(&up.url(), "")));
        assert!(message.contains(said), "{message}");
        assert_eq!(
            help,
            "write preserve_host = false, or upstream_host = \"...\" with a name that it knows; or \
             let the application take the host gate.test (allowed or trusted hosts)"
        );
        assert_eq!(up.requests(), 2, "{status}");
        // What it says helps.
        if own == fine {
            Checked::of(&files(&up.url(), "preserve_host = false")).is_ok(&[]);
            Checked::of(&files(&up.url(), "upstream_host = \"wiki\"")).is_ok(&[]);
        }
    }
    // An app need not have a page there.
    for status in ["404 Not Found", "403 Forbidden"] {
        let up = app(&answer(status, ""), &answer(status, "")).await;
        Checked::of(&files(&up.url(), "")).is_ok(&[]);
    }
    let down = app(&answer("503 Service Unavailable", ""), &answer("503 x", "")).await;
    let (message, help) = only_finding(&Checked::of(&files(&down.url(), "")));
    assert!(
        message.ends_with(" answers 503 to its first page"),
        "{message}"
    );
    assert_eq!(help, "look at the log of the application");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_with_a_sign_in_of_its_own_is_told() {
    for (challenge, said, help) in [
        (
            "Basic realm=\"a\"",
            "asks for a name and a password of its own (Basic), after the login here",
            "[app.request_headers]",
        ),
        (
            "NTLM",
            "once more after the login here, by NTLM or Negotiate",
            "nothing, if that is meant",
        ),
    ] {
        let asks = answer(
            "401 Unauthorized",
            &format!("WWW-Authenticate: {challenge}\r\n"),
        );
        let up = app(&asks, &asks).await;
        let (message, told) = only_finding(&Checked::of(&files(&up.url(), "")));
        assert!(message.contains(said), "{message}");
        assert!(told.contains(help), "{told}");
        assert_eq!(up.requests(), 1);
    }
    let asks = answer("401 Unauthorized", "WWW-Authenticate: Bearer\r\n");
    Checked::of(&files(&app(&asks, &asks).await.url(), "")).is_ok(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_scheme_is_told_with_the_right_address() {
    let (tls, plain) = (Upstream::tls().await, Upstream::echo().await);
    let (secure, open) = (tls.url(), plain.url());
    let wrong = secure.replacen("https:", "http:", 1);
    let (message, help) = only_finding(&Checked::of(&files(&wrong, "")));
    assert_eq!(
        message,
        format!("{wrong} speaks TLS: it does not take plain HTTP")
    );
    assert_eq!(help, format!("write upstream = \"{secure}\""));
    assert_eq!(tls.requests(), 0);

    let raw = Upstream::raw("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    for url in [open, raw.url()] {
        let wrong = url.replacen("http:", "https:", 1);
        let pin = format!("upstream_pin = \"sha256:{}\"", "0".repeat(64));
        let checked = Checked::of(&files(&wrong, &pin));
        if checked.stdout.contains("has not answered within") {
            continue; // it waits for the end of a line that never comes
        }
        let (message, help) = only_finding(&checked);
        assert_eq!(message, format!("{wrong} speaks plain HTTP, not TLS"));
        assert_eq!(help, format!("write upstream = \"{url}\""));
    }
}

/// Its pages are somewhere else, and nobody would get to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_does_not_know_its_path_is_told() {
    let (fine, missing) = (answer("200 OK", ""), answer("404 Not Found", ""));
    for (own, said) in [
        (
            &missing,
            "answers 404 to /wiki/: it may not know that it is below /wiki/",
        ),
        (
            &fine,
            "answers 404 to the host gate.test, and 200 to its own name",
        ),
    ] {
        let up = app(&missing, own).await;
        let (message, help) = only_finding(&Checked::of(&files(&up.url(), "path = \"/wiki/\"")));
        assert!(message.contains(said), "{message}");
        assert_eq!(
            help.contains(
                "tell the application that it is below /wiki/ (base path), or write strip_path = true"
            ),
            own == &missing,
            "{help}"
        );
    }
    // It need not have a page at the top, where it is told so.
    let up = app(&missing, &missing).await;
    for keys in ["", "path = \"/wiki/\"\nstrip_path = true"] {
        Checked::of(&files(&up.url(), keys)).is_ok(&[]);
    }
}

/// Another request than that of a visitor would get another answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_not_asked_without_a_header_that_cannot_be_read() {
    let refuses = answer("400 Bad Request", "");
    let up = app(&refuses, &refuses).await;
    let keys = "[app.request_headers]\nset_file = { \"X-Api-Key\" = \"app.token\" }";
    let files = files(&up.url(), keys);
    let checked = Checked::of(&files);
    assert_eq!(up.requests(), 0, "{}", checked.stdout);
    files.write("app.token", "s3cr3t\n", 0o600);
    only_finding(&Checked::of(&files));
    assert_eq!(up.last().value("x-api-key"), Some("s3cr3t"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_without_an_answer_is_told_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (message, _) = only_finding(&Checked::of(&files(&url, "")));
    let said = format!("{url} takes connections, and has not answered within ");
    let waited = message
        .strip_prefix(&said)
        .and_then(|rest| rest.strip_suffix('s'));
    let waited: f32 = waited.expect(&message).parse().unwrap();
    assert!((2.0..=3.1).contains(&waited), "{message}");

    for (raw, said) in [
        ("220 mail.test ESMTP\r\n", "no answer from the application"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "the application's answer is ambiguous: more than one Content-Length",
        ),
    ] {
        let up = Upstream::raw_then_close(raw).await;
        let (message, help) = only_finding(&Checked::of(&files(&up.url(), "")));
        assert!(message.contains(said), "{message}");
        assert!(help.contains("HTTP/1.1"), "{help}");
    }
    // A body without end is not read to it.
    let endless = Upstream::raw("HTTP/1.1 400 Bad Request\r\n\r\nx").await;
    let (message, _) = only_finding(&Checked::of(&files(&endless.url(), "")));
    assert!(message.contains("answers 400"), "{message}");
}

/// nginx and Apache say on their ports for TLS what was sent there, and Apache compares the host
/// with the name in TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nginx_and_apache_say_of_tls_is_understood() {
    let Some(nginx) = real::find("nginx") else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let certificate = tls::certificate();
    let with_pair = |folder: &tempfile::TempDir| {
        fs::write(folder.path().join("cert.pem"), &certificate.cert_pem).unwrap();
        fs::write(folder.path().join("key.pem"), &certificate.key_pem).unwrap();
        folder.path().display().to_string()
    };
    let at = with_pair(&folder);
    let config = format!(
        "daemon off; master_process off; error_log stderr; pid {at}/pid;\nevents {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/t; proxy_temp_path {at}/t;\n\
         fastcgi_temp_path {at}/t; uwsgi_temp_path {at}/t; scgi_temp_path {at}/t;\n\
         server {{ listen {address} ssl; ssl_certificate {at}/cert.pem;\n\
         ssl_certificate_key {at}/key.pem; location / {{ return 200; }} }} }}\n"
    );
    fs::write(folder.path().join("conf"), config).unwrap();
    let mut command = Command::new(nginx);
    command
        .args(["-p", &at, "-c"])
        .arg(folder.path().join("conf"));
    let server = real::App::start(command, address, folder).await;
    is_told_of_tls(&server);

    let folder = tempfile::tempdir().unwrap();
    with_pair(&folder);
    let config = "SSLEngine on\nSSLCertificateFile FOLDER/cert.pem\n\
                  SSLCertificateKeyFile FOLDER/key.pem\nSSLStrictSNIVHostCheck off\n\
                  DocumentRoot FOLDER\n<Location />\nRequire all granted\n</Location>";
    let modules = ["ssl", "socache_shmcb"];
    if let Some(server) = real::apache(&modules, config, folder).await {
        is_told_of_tls(&server);
    }
}

#[track_caller]
fn is_told_of_tls(server: &real::App) {
    let (message, help) = only_finding(&Checked::of(&files(&server.url(), "")));
    assert_eq!(
        message,
        format!("{} speaks TLS: it does not take plain HTTP", server.url())
    );
    let https = server.url().replacen("http:", "https:", 1);
    assert_eq!(help, format!("write upstream = \"{https}\""));
}

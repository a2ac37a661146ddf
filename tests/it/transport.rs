//! TLS, certificates, plain HTTP and files, SEC-77 to SEC-79, REL-16.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tokio::net::TcpStream;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::harness::*;

/// The certificate that a gate shows to who asks for a host.
async fn certificate_for(gate: &Gate, host: &str) -> Vec<u8> {
    let stream = tls::connect(gate.tcp().await, host, &[]).await.unwrap();
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn sec_77_plain_http_is_sent_to_https_and_nothing_else() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("host = \"gate.test\"")
        .server("redirect_http = [\"127.0.0.1:0\"]")
        .public()
        .start()
        .await;
    for (request, status, location) in [
        (
            "GET /a?b=c HTTP/1.1\r\nHost: gate.test\r\n",
            308,
            Some("/a?b=c"),
        ),
        ("HEAD / HTTP/1.1\r\nHost: GATE.test:80\r\n", 308, Some("/")),
        (
            "POST /a HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 0\r\n",
            403,
            None,
        ),
        (
            "PUT /a HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 0\r\n",
            403,
            None,
        ),
        ("GET /a HTTP/1.1\r\nHost: evil.test\r\n", 403, None),
        (
            "GET //evil.test/ HTTP/1.1\r\nHost: gate.test\r\n",
            308,
            Some("//evil.test/"),
        ),
        (
            "GET https://evil.test/ HTTP/1.1\r\nHost: gate.test\r\n",
            403,
            None,
        ),
    ] {
        let stream = TcpStream::connect(gate.redirect_address()).await.unwrap();
        let mut raw = Raw::new(stream);
        raw.send(format!("{request}\r\n")).await;
        let reply = raw.response_to_head().await;
        assert_eq!(reply.status, status, "{request:?}: {reply}");
        let expected = location.map(|target| format!("https://gate.test{target}"));
        assert_eq!(reply.value("location"), expected.as_deref(), "{request:?}");
        assert_eq!(reply.value("set-cookie"), None);
        assert_eq!(
            reply.value("strict-transport-security"),
            None,
            "RFC 6797 §7.2"
        );
    }
    assert_eq!(app.requests(), 0);
}

/// `Strict-Transport-Security` in every kind of answer of a host: of its apps, which send `max-age=1`
/// themselves, of the login page, and of errors.
async fn hsts(gate: &Gate, host: &str) -> Option<String> {
    let mut seen = Vec::new();
    for target in ["/", "/wiki/x", "/.vestibule/login", "/%zz", "/closed"] {
        let mut raw = gate.raw().await;
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        let reply = raw.response().await;
        let values = reply.values("strict-transport-security");
        assert!(values.len() < 2, "{values:?}");
        if host == "gate.test" {
            let http2 = gate.browser().over_http2().get(target).await;
            assert_eq!(http2.values("strict-transport-security"), values);
        }
        seen.push((target, values.first().map(ToString::to_string)));
    }
    assert!(
        seen.iter().all(|(_, value)| value == &seen[0].1),
        "{seen:?}"
    );
    seen.pop().unwrap().1
}

#[tokio::test]
async fn sec_77_every_answer_over_tls_asks_for_tls_as_the_host_has_it() {
    let app = Upstream::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nStrict-Transport-Security: max-age=1\r\n\r\n",
    )
    .await;
    let closed = "[[app.rule]]\npath = \"/closed\"\nallow = \"nobody\"\n";
    let mut gate = Vestibule::before(&app)
        .app("host = \"gate.test\"")
        .public()
        .config(&format!(
            "{closed}[[app]]\nhost = \"gate.test\"\npath = \"/wiki/\"\nupstream = \"{url}\"\n#hsts\n\
             [[app.rule]]\npath = \"/\"\nallow = \"everyone\"\n",
            url = app.url()
        ))
        .start()
        .await;
    let year = Some("max-age=31536000".to_owned());
    assert_eq!(hsts(&gate, "gate.test").await, year);
    assert_eq!(hsts(&gate, "gate.test:443").await, year);
    assert_eq!(hsts(&gate, "gate.test:8443").await, None);
    gate.reload(|text| text.replace("[server]", "[server]\npublic_port = 443"))
        .unwrap();
    assert_eq!(hsts(&gate, "gate.test:8443").await, year);
    for (set, expected) in [("0s", None), ("30d", Some("max-age=2592000".to_owned()))] {
        gate.reload(|text| {
            let begin = text.find("#hsts").or_else(|| text.find("hsts =")).unwrap();
            let end = begin + text[begin..].find('\n').unwrap();
            format!("{}hsts = \"{set}\"{}", &text[..begin], &text[end..])
        })
        .unwrap();
        assert_eq!(hsts(&gate, "gate.test:8443").await, expected);
    }
}

#[tokio::test]
async fn sec_78_tls_1_2_and_1_3_are_spoken() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for version in [&TLS12, &TLS13] {
        for alpn in ["h2", "http/1.1"] {
            let stream = tls::connect_with(gate.tcp().await, tls::HOST, &[alpn], &[version])
                .await
                .unwrap();
            let (_, connection) = stream.get_ref();
            assert_eq!(
                connection.alpn_protocol(),
                Some(alpn.as_bytes()),
                "{version:?}"
            );
            let suite = format!(
                "{:?}",
                connection.negotiated_cipher_suite().unwrap().suite()
            );
            assert!(
                suite.contains("GCM") || suite.contains("CHACHA20"),
                "{suite}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_78_old_tls_and_weak_ciphers_are_refused() {
    let Some(openssl) = real::find("openssl") else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    let address = gate.address().to_string();
    for (options, spoken) in [
        (&["-tls1_3"][..], true),
        (&["-tls1_2"], true),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (
            &[
                "-tls1_2",
                "-cipher",
                "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0",
            ],
            false,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
            false,
        ),
        (
            &[
                "-tls1_2",
                "-cipher",
                "DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0",
            ],
            false,
        ),
    ] {
        let mut command = Command::new(&openssl);
        command
            .args(["s_client", "-connect", &address, "-servername", "gate.test"])
            .args(options);
        let mut program = Program::spawn(command);
        let succeeded = program.exit().await.success();
        assert_eq!(
            succeeded,
            spoken,
            "{options:?}:\n{}{}",
            program.stdout(),
            program.stderr()
        );
    }
}

#[tokio::test]
async fn sec_78_the_host_of_a_request_is_the_one_of_its_tls() {
    let (wiki, git) = (Upstream::echo().await, Upstream::echo().await);
    let gate = Vestibule::before(&wiki)
        .app("host = \"gate.test\"")
        .public()
        .config(&format!(
            "[[app]]\nhost = \"other.test\"\nupstream = \"{}\"\n[[app.rule]]\npath = \"/\"\nallow = \"everyone\"",
            git.url()
        ))
        .start()
        .await;
    gate.browser_for("gate.test")
        .get("/")
        .await
        .assert_status(200);
    gate.browser_for("other.test")
        .get("/")
        .await
        .assert_status(200);
    assert_eq!((wiki.requests(), git.requests()), (1, 1));
    for (asked, host) in [
        ("gate.test", "other.test"),
        ("other.test", "gate.test"),
        ("gate.test", "third.test"),
    ] {
        let browser = gate.browser_for(asked).header("host", host);
        browser.get("/").await.assert_status(421);
    }
    // Browsers put hosts of one certificate on one HTTP/2 connection (RFC 9113 §9.1.1).
    let mut http2 = gate.raw_http2().await;
    let mut fields = RawHttp2::get("/");
    fields[2].1 = "other.test";
    http2.headers(1, &fields, true).await;
    assert_eq!(http2.outcome(1).await.status, Some(421));
    // A client that names no host in TLS is served by the host of its request.
    let stream = tls::connect(gate.tcp().await, "127.0.0.1", &["http/1.1"])
        .await
        .unwrap();
    let mut raw = Raw::new(stream);
    raw.send("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    raw.response().await.assert_status(200);
    assert_eq!((wiki.requests(), git.requests()), (1, 2));
}

#[tokio::test]
async fn each_host_gets_its_own_certificate() {
    let app = Upstream::echo().await;
    let extra = tls::Certificate::generate(&["git.test", "*.wild.test"]);
    let gate = Vestibule::before(&app)
        .prepare(|files| {
            files.write("git.pem", &extra.cert_pem, 0o644);
            files.write("git.key", &extra.key_pem, 0o600);
        })
        .config("[[tls.extra]]\ncert = \"git.pem\"\nkey = \"git.key\"")
        .start()
        .await;
    let (first, extra) = (tls::certificate().cert.to_vec(), extra.cert.to_vec());
    for (host, expected) in [
        ("gate.test", &first),
        ("git.test", &extra),
        ("GIT.test", &extra),
        ("a.wild.test", &extra),
        ("a.b.wild.test", &first),
        ("unknown.test", &first),
        ("127.0.0.1", &first),
    ] {
        assert!(certificate_for(&gate, host).await == *expected, "{host}");
    }
}

#[tokio::test]
async fn sec_78_a_new_certificate_is_used_without_a_drop_and_a_broken_one_is_not() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).public().start().await;
    let mut open = gate.raw().await;
    let old = certificate_for(&gate, "gate.test").await;
    let new = tls::Certificate::generate(&["gate.test"]);
    gate.files().set_certificate(&new);
    let gate_ref = &gate;
    eventually_some("the new certificate", async || {
        (certificate_for(gate_ref, "gate.test").await != old).then_some(())
    })
    .await;
    assert!(certificate_for(&gate, "gate.test").await == new.cert.to_vec());
    open.send("GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n").await;
    open.response().await.assert_status(200);

    // REL-16: the key of another certificate, then no certificate at all.
    let third = tls::Certificate::generate(&["gate.test"]);
    gate.files().write("cert.pem", &third.cert_pem, 0o644);
    for _ in 0..30 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(certificate_for(&gate, "gate.test").await == new.cert.to_vec());
    }
    gate.files().write("cert.pem", "nonsense", 0o644);
    gate.browser().get("/").await.assert_status(200);
    gate.files().set_certificate(&third);
    let gate_ref = &gate;
    eventually_some("the certificate that fits again", async || {
        (certificate_for(gate_ref, "gate.test").await == third.cert.to_vec()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sec_79_secrets_that_others_can_read_are_no_start() {
    for (name, mode, starts) in [
        ("key.pem", 0o644, false),
        ("key.pem", 0o604, false),
        ("key.pem", 0o660, false),
        ("key.pem", 0o640, true),
        ("key.pem", 0o400, true),
        ("users.toml", 0o644, false),
        ("users.toml", 0o602, false),
        ("users.toml", 0o600, true),
    ] {
        let app = Upstream::echo().await;
        let started = Vestibule::before(&app)
            .user("ada", PASSWORD)
            .prepare(|files| {
                let permissions = fs::Permissions::from_mode(mode);
                fs::set_permissions(files.path(name), permissions).unwrap();
            })
            .try_start()
            .await;
        let error = started.as_ref().err().map(ToString::to_string);
        assert_eq!(started.is_ok(), starts, "{name} {mode:o}: {error:?}");
        if let Some(error) = error {
            assert!(error.contains(name), "{error}");
        }
    }
}

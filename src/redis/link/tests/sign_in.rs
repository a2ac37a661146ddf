//! Users, passwords and TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::redis::servers::Redis;
use crate::redis::test_server::{address, link, settings};
use crate::redis::{Address, Login, SecretSource, Servers, TlsFiles};
use crate::secret::Secret;

fn write_secret(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_password_is_read_again_for_each_connection() {
    let Some(server) = Redis::start_with(&["--requirepass", "correct"]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    write_secret(&file, "wrong\n");
    let mut with_file = settings(Servers::One(address(&server)));
    with_file.login.password = Some(SecretSource::File {
        path: file.clone(),
        may_be_credential: false,
    });
    let link = link(with_file);
    until_it_says(&link, "WRONGPASS").await;
    write_secret(&file, "correct\n");
    until_it_writes(&link).await;
}

#[tokio::test]
async fn without_a_password_a_server_that_wants_one_is_said_to() {
    let Some(server) = Redis::start_with(&["--requirepass", "correct"]) else {
        return;
    };
    let link = link(settings(Servers::One(address(&server))));
    until_it_says(&link, "NOAUTH").await;
}

#[tokio::test]
async fn sec_84_what_the_acl_forbids_is_refused_and_a_user_that_is_removed_is_out() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let rules = ["~vestibule:*", "+info", "+time", "+set", "+get"];
    let set_user = |rules: &[&str]| {
        let user = ["ACL", "SETUSER", "vestibule", "on", ">correct"];
        assert_eq!(server.ask(&[&user[..], rules].concat()), "OK\n");
    };
    set_user(&rules);
    let mut as_user = server.settings();
    as_user.login = Login {
        username: Some("vestibule".to_owned()),
        password: Some(SecretSource::Given(Secret::new("correct".to_owned()))),
    };
    let link = link(as_user);
    until_it_writes(&link).await;
    for refused in [
        cmd("DEL").arg("vestibule:a").take(),
        cmd("GET").arg("other:a").take(),
    ] {
        let said = link.query(&refused).await;
        assert!(
            matches!(&said, Err(LinkError::Refused(said)) if said.starts_with("NOPERM")),
            "{said:?}"
        );
    }
    assert!(link.state().connected);
    server.ask(&["ACL", "DELUSER", "vestibule"]);
    until_it_says(&link, "WRONGPASS").await;
    set_user(&["~vestibule:*", "+set"]);
    until_it_says(&link, "NOPERM").await;
    set_user(&rules);
    until_it_writes(&link).await;
}

/// An authority, and what it has signed: a server at 127.0.0.1, and a client.
struct Certificates {
    ca: String,
    server: (String, String),
    client: (String, String),
}

fn certificates() -> Certificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "the authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    Certificates {
        ca: authority.pem(),
        server: signed("127.0.0.1"),
        client: signed("vestibule"),
    }
}

#[tokio::test]
async fn sec_84_tls_is_verified_and_shows_our_certificate_where_the_server_asks() {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificates());
    let path = |name: &str| folder.path().join(name);
    for (name, content) in [
        ("ca", &made.ca),
        ("other-ca", &certificates().ca),
        ("server", &made.server.0),
        ("server-key", &made.server.1),
        ("client", &made.client.0),
        ("client-key", &made.client.1),
    ] {
        write_secret(&path(name), content);
    }
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    drop(held);
    let text = |name: &str| path(name).display().to_string();
    let options = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &text("server"),
        "--tls-key-file",
        &text("server-key"),
        "--tls-ca-cert-file",
        &text("ca"),
    ];
    let Some(_server) = Redis::start_with(&options) else {
        return;
    };
    let open = |ca: Option<&str>, with_client: bool| {
        let mut with_tls = settings(Servers::One(Address::Tcp {
            host: "127.0.0.1".to_owned(),
            port,
            tls: true,
        }));
        with_tls.tls = TlsFiles {
            ca: ca.map(path),
            client: with_client.then(|| (path("client"), path("client-key"))),
        };
        link(with_tls)
    };
    until_it_writes(&open(Some("ca"), true)).await;
    for ca in [Some("other-ca"), None] {
        until_it_says(&open(ca, true), "TLS: ").await;
    }
    let without_certificate = open(Some("ca"), false);
    until("the server to refuse", async || {
        let state = without_certificate.state();
        !state.connected && state.error.is_some()
    })
    .await;

    let mut settings = settings(Servers::One(Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
        tls: true,
    }));
    for (client, key) in [
        ("client", "server-key"),
        ("client", "ca"),
        ("nothing", "client-key"),
    ] {
        settings.tls.client = Some((path(client), path(key)));
        let refused = Link::open(&Arc::new(settings.clone()), &Clock::system());
        assert!(refused.is_err(), "{client} {key}");
    }
}

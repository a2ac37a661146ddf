//! TLS: with one server, with sentinels, and with a cluster.

use std::path::Path;
use std::sync::Arc;

use ::redis::Value;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::sign_in::write_secret;
use super::*;
use crate::redis::servers::{Redis, tls_cluster};
use crate::redis::test_server::{link, settings};
use crate::redis::{Address, Login, Sentinel, Servers, TlsFiles};

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

/// All of them, in a folder.
fn files() -> TempDir {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificates());
    for (name, content) in [
        ("ca", &made.ca),
        ("server", &made.server.0),
        ("server-key", &made.server.1),
        ("client", &made.client.0),
        ("client-key", &made.client.1),
    ] {
        write_secret(&folder.path().join(name), content);
    }
    folder
}

fn by_tls(server: &Redis) -> Address {
    Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port: server.tls_port(),
        tls: true,
    }
}

fn open(servers: Servers, files: &Path, with_client: bool) -> Link {
    let path = |name: &str| files.join(name);
    let mut settings = settings(servers);
    settings.tls = TlsFiles {
        ca: Some(path("ca")),
        client: with_client.then(|| (path("client"), path("client-key"))),
    };
    link(settings)
}

async fn is_refused(link: &Link) {
    until("the server to refuse", async || {
        let state = link.state();
        !state.connected && state.error.is_some()
    })
    .await;
}

#[tokio::test]
async fn sec_84_sentinels_and_the_master_that_they_name_are_spoken_to_by_tls() {
    let folder = files();
    let Some(mut master) = Redis::start_tls(folder.path()) else {
        return;
    };
    let Some(replica) = Redis::start_tls(folder.path()) else {
        return;
    };
    replica.follow_by_tls(&master);
    let sentinel = master.tls_sentinel(folder.path());
    let own = replica.tls_port().to_string();
    until("the sentinel to know the replica", async || {
        sentinel
            .ask(&["SENTINEL", "REPLICAS", "main"])
            .lines()
            .any(|line| line == own)
    })
    .await;
    let servers = Servers::Sentinel(Sentinel {
        name: "main".to_owned(),
        nodes: vec![by_tls(&sentinel)],
        login: Login::default(),
    });
    let link = open(servers.clone(), folder.path(), true);
    until_it_writes(&link).await;
    let first = link.state().servers[0].clone();
    assert!(first.address.ends_with(&format!(":{}", master.tls_port())));
    is_refused(&open(servers, folder.path(), false)).await;
    master.kill();
    until_it_writes(&link).await;
    let second = link.state().servers[0].clone();
    assert!(second.address.ends_with(&format!(":{own}")), "{second:?}");
}

#[tokio::test]
async fn sec_84_each_node_of_a_cluster_is_spoken_to_by_tls() {
    let folder = files();
    let Some(servers) = tls_cluster(folder.path()) else {
        return;
    };
    let one = Servers::Cluster(vec![by_tls(&servers[0])]);
    let link = open(one.clone(), folder.path(), true);
    until_it_writes(&link).await;
    for number in 0..30 {
        let key = format!("vestibule:{number}");
        until("each node to be reached", async || {
            link.query(&cmd("SET").arg(&key).arg(number).take()).await == Ok(Value::Okay)
        })
        .await;
    }
    for server in &servers {
        assert_ne!(server.ask(&["DBSIZE"]), "0\n", "it has some of them");
        let mut connected = server.ask(&["CLIENT", "LIST"]);
        connected.retain(|letter| letter != '\r');
        let at = format!("laddr=127.0.0.1:{}", server.tls_port());
        assert!(connected.contains(&at), "{at}: {connected}");
    }
    is_refused(&open(one, folder.path(), false)).await;
}

#[tokio::test]
async fn sec_84_tls_is_verified_and_shows_our_certificate_where_the_server_asks() {
    let folder = files();
    let path = |name: &str| folder.path().join(name);
    write_secret(&path("other-ca"), &certificates().ca);
    let Some(server) = Redis::start_tls(folder.path()) else {
        return;
    };
    let port = server.tls_port();
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
    is_refused(&open(Some("ca"), false)).await;

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

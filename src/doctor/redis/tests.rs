use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::doctor::Severity;
use crate::redis::test_server::{TestServer, address, settings};
use crate::redis::{Login, SecretSource, Servers};
use crate::secret::Secret;

/// What is found.
async fn ask(settings: &Settings) -> Vec<Finding> {
    super::ask(settings).await.1
}

fn words(findings: &[Finding]) -> Vec<(Severity, String)> {
    let words = |finding: &Finding| {
        let said = format!("{}; {}", finding.message, finding.help);
        (finding.severity, said)
    };
    findings.iter().map(words).collect()
}

fn assert_found(findings: &[Finding], severity: Severity, expected: &[&str]) {
    let found = words(findings);
    let is_it = |(of, said): &&(Severity, String)| {
        *of == severity && expected.iter().all(|words| said.contains(words))
    };
    assert!(
        found.iter().any(|it| is_it(&it)),
        "{expected:?} of {found:#?}"
    );
}

#[tokio::test]
async fn a_server_that_loses_sessions_is_warned_of_and_one_that_does_not_is_not() {
    let Some(server) = TestServer::start() else {
        return;
    };
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let found = ask(&server.settings()).await;
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_found(
        &found,
        Severity::Warning,
        &["`appendonly no`", "CONFIG SET appendonly yes"],
    );
    let eviction = [
        "`maxmemory-policy allkeys-lru`",
        "maxmemory-policy noeviction",
    ];
    assert_found(&found, Severity::Warning, &eviction);
    assert!(found[0].subject.contains("(Redis "), "{}", found[0].subject);
    // As the help says.
    server.ask(&["CONFIG", "SET", "appendonly", "yes"]);
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert_eq!(ask(&server.settings()).await, []);
}

#[tokio::test]
async fn what_each_server_is_is_said_and_wait_replicas_is_held_against_it() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let mut wanting = server.settings();
    wanting.wait_replicas = Some(1);
    let (servers, found) = super::ask(&wanting).await;
    let [said] = servers.as_slice() else {
        panic!("{servers:?}");
    };
    let said = said.to_string();
    let role = ", master, 0 replicas, appendonly no, noeviction, clock ";
    assert!(
        said.starts_with(&format!("{} Redis ", server.url())) && said.contains(role),
        "{said}"
    );
    assert_found(
        &found,
        Severity::Warning,
        &[
            "it has 0 replicas",
            "`wait_replicas` is 1",
            "lower `wait_replicas`",
        ],
    );
    let _replica = server.replica();
    let (servers, found) = super::ask(&wanting).await;
    assert!(
        servers[0].to_string().contains(", master, 1 replica, "),
        "{servers:?}"
    );
    let waits = |found: &[Finding]| {
        let waits = |(_, said): &(Severity, String)| said.contains("wait_replicas");
        words(found).iter().any(waits)
    };
    assert!(!waits(&found), "{found:#?}");
    // Without a word of the configuration, one is waited for where there are any.
    let unset = Settings {
        wait_replicas: None,
        ..server.settings()
    };
    let found = ask(&unset).await;
    assert!(!waits(&found), "{found:#?}");
    let found = ask(&server.settings()).await;
    assert_found(
        &found,
        Severity::Warning,
        &[
            "it has replicas, and `wait_replicas` is 0",
            "take `wait_replicas` out",
        ],
    );
    // And without replicas there is nothing to wait for.
    let Some(alone) = TestServer::start() else {
        return;
    };
    for wait_replicas in [None, Some(0)] {
        let settings = Settings {
            wait_replicas,
            ..alone.settings()
        };
        let found = ask(&settings).await;
        assert!(!waits(&found), "{found:#?}");
    }
}

#[tokio::test]
async fn replicas_that_sentinels_know_of_are_looked_at_like_the_master() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let replica = server.replica();
    let sentinel = server.sentinel(1);
    for server in [&*server, &replica] {
        server.ask(&["CONFIG", "SET", "appendonly", "yes"]);
    }
    crate::redis::servers::eventually("the sentinel to know the replica", || {
        let known = sentinel.ask(&["SENTINEL", "REPLICAS", "main"]);
        known.contains("slave-priority")
    });
    let watched = Settings {
        wait_replicas: None,
        ..settings(Servers::Sentinel(crate::redis::Sentinel {
            name: "main".to_owned(),
            nodes: vec![address(&sentinel)],
            login: Login::default(),
        }))
    };
    let (servers, found) = super::ask(&watched).await;
    assert_eq!(found, []);
    let roles: Vec<_> = servers.iter().map(|server| server.is_master).collect();
    assert_eq!(roles, [true, false]);
    replica.ask(&["CONFIG", "SET", "appendonly", "no"]);
    replica.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    replica.ask(&["ACL", "SETUSER", "default", "-xadd"]);
    let found = ask(&watched).await;
    assert_found(&found, Severity::Error, &["it lacks +xadd"]);
    assert_found(&found, Severity::Warning, &["`appendonly no`"]);
    assert_found(&found, Severity::Warning, &["allkeys-lru"]);
    let of_replica = format!(":{} (", replica.port());
    assert!(
        found.iter().all(|one| one.subject.contains(&of_replica)),
        "{found:#?}"
    );
    // A sentinel that does not say which there are.
    sentinel.ask(&["ACL", "SETUSER", "default", "-sentinel|replicas"]);
    let found = ask(&watched).await;
    assert_found(
        &found,
        Severity::Warning,
        &["are not looked at", "+sentinel|replicas"],
    );
}

#[tokio::test]
async fn every_node_of_a_cluster_is_looked_at_and_a_replica_is_as_good_as_a_master() {
    let Some(servers) = crate::redis::servers::cluster() else {
        return;
    };
    let replica = servers[0].cluster_replica(&servers);
    for server in servers.iter().chain([&replica]) {
        server.ask(&["CONFIG", "SET", "appendonly", "yes"]);
    }
    let cluster = Settings {
        wait_replicas: None,
        ..settings(Servers::Cluster(vec![address(&replica)]))
    };
    let (seen, found) = super::ask(&cluster).await;
    assert_eq!(found, []);
    assert_eq!(seen.len(), 4, "{seen:?}");
    servers[2].ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert_found(&ask(&cluster).await, Severity::Warning, &["allkeys-lru"]);
}

#[tokio::test]
async fn rights_that_are_missing_are_named_and_the_command_of_the_help_gives_them() {
    let Some(server) = TestServer::start() else {
        return;
    };
    server.ask(&["CONFIG", "SET", "appendonly", "yes"]);
    let mut as_user = server.settings();
    as_user.login = Login {
        username: Some("vestibule".to_owned()),
        password: Some(SecretSource::Given(Secret::new("correct".to_owned()))),
    };
    let user = [
        "ACL",
        "SETUSER",
        "vestibule",
        "on",
        ">correct",
        "resetchannels",
    ];
    server.ask(&[&user[..], &["+info", "+time", "+set", "+hset", "~other:*"]].concat());
    for _ in 0..3 {
        // Keys and channels are looked at after the command.
        let found = ask(&as_user).await;
        let Some(finding) = found.first() else {
            break;
        };
        assert_eq!(finding.severity, Severity::Error);
        let command = finding.help.split('`').nth(1).unwrap();
        let command = command.replace("NAME", "vestibule");
        let command: Vec<_> = command.split(' ').collect();
        assert_eq!(server.ask(&command), "OK\n", "{command:?}");
    }
    assert_eq!(ask(&as_user).await, []);
    let rules = server.ask(&["ACL", "GETUSER", "vestibule"]);
    for right in [
        "+script|load",
        "+xadd",
        "+subscribe",
        "+wait",
        "~vestibule:*",
        "&vestibule:*",
    ] {
        assert!(rules.contains(right), "{right} of {rules}");
    }
    assert!(!rules.contains("+config"), "{rules}");
    assert_eq!(server.ask(&["EXISTS", "vestibule:check"]), "0\n");
}

#[tokio::test]
async fn a_server_that_is_away_is_a_warning_and_one_that_refuses_an_error() {
    let (Some(mut server), Some(replica)) = (TestServer::start(), TestServer::start()) else {
        return;
    };
    replica.ask(&["REPLICAOF", "127.0.0.1", &server.port().to_string()]);
    let of_replica = ask(&settings(Servers::One(address(&replica)))).await;
    assert_found(
        &of_replica,
        Severity::Error,
        &["it is a replica", "let `sentinel` find it"],
    );
    server.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let refused = ask(&server.settings()).await;
    assert_found(
        &refused,
        Severity::Error,
        &["NOAUTH", "set `username` and `password_file`"],
    );
    server.kill();
    let away = ask(&server.settings()).await;
    assert_found(&away, Severity::Warning, &["refused", "start the server"]);
}

#[test]
fn the_wire_and_files_are_looked_at_without_asking_anybody() {
    let mut plain = settings(Servers::One(Address::Tcp {
        host: "10.0.0.5".to_owned(),
        port: 6379,
        tls: false,
    }));
    let found = examine_addresses(&plain);
    assert_found(&found, Severity::Warning, &["without TLS", "rediss://"]);
    assert_found(&found, Severity::Warning, &["there is no password"]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, content: &str, mode| {
        fs::write(path(name), content).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let file = |path: &Path, may_be_credential| SecretSource::File {
        path: path.to_owned(),
        may_be_credential,
    };
    plain.login.password = Some(file(&path("password"), false));
    assert_eq!(examine_addresses(&plain).len(), 1);
    let examine = |settings: &Settings| examine_files(settings, Perspective::Person);
    let missing = examine(&plain);
    assert_found(
        &missing,
        Severity::Error,
        &["it cannot be read", "[session.redis]"],
    );
    plain.login.password = Some(file(&path("password"), true));
    assert_found(
        &examine(&plain),
        Severity::Warning,
        &["you do not see it", "LoadCredential=", "put it there"],
    );
    for (content, mode, expected) in [
        ("secret", 0o644, "chmod 600"),
        ("", 0o600, "not one line of text"),
        ("a\nb", 0o600, "not one line of text"),
    ] {
        write("password", content, mode);
        assert_found(&examine(&plain), Severity::Error, &[expected]);
    }
    write("password", "secret\r\n", 0o600);
    assert_eq!(examine(&plain), []);
    write("key", "c2hvcnQ=\n", 0o600);
    plain.key = file(&path("key"), false);
    let short = ["has 5 bytes instead of 32", "correct line 1"];
    assert_found(&examine(&plain), Severity::Error, &short);
    let said = words(&examine(&plain)).remove(0).1;
    assert!(
        !said.contains("openssl"),
        "it would overwrite the file: {said}"
    );
    let make = format!("openssl rand -base64 32 > {}", path("missing").display());
    plain.key = file(&path("missing"), false);
    assert_found(&examine(&plain), Severity::Error, &[&make]);
    write("empty", "# nothing\n", 0o600);
    plain.key = file(&path("empty"), false);
    assert_found(
        &examine(&plain),
        Severity::Error,
        &["there is no key", "openssl"],
    );
    write("key", &format!("{}\n", "0".repeat(64)), 0o600);
    plain.key = file(&path("key"), false);
    plain.servers = Servers::One(Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 6379,
        tls: true,
    });
    write("ca", "nothing", 0o600);
    plain.tls.ca = Some(path("ca"));
    assert_found(
        &examine(&plain),
        Severity::Error,
        &["there is no certificate in it"],
    );
}

//! Users and passwords.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::redis::servers::Redis;
use crate::redis::test_server::{address, link, settings};
use crate::redis::{Login, SecretSource, Servers};
use crate::secret::Secret;

pub(super) fn write_secret(path: &Path, content: &str) {
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

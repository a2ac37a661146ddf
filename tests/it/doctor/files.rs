//! Files and folders, and the users in one of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{Checked, before};
use crate::harness::*;

fn set_mode(files: &Files, name: &str, mode: u32) {
    fs::set_permissions(files.path(name), Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn sec_79_what_others_can_read_or_change_is_told_with_its_mend() {
    let app = Upstream::echo().await;
    let files = before(&app).write();
    files.write("sessions.redb", "", 0o600);
    Checked::of(&files).is_ok(&[]);
    let folder = files
        .path("")
        .to_str()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    for (name, mode) in [
        ("key.pem", 0o644),
        ("users.toml", 0o640),
        ("sessions.redb", 0o666),
    ] {
        set_mode(&files, name, mode);
        let checked = Checked::of(&files);
        assert_eq!(checked.code, Some(78), "{name}");
        let mend = format!("(mode {mode:04o})\n      help: chmod 600 {name}\n");
        assert!(checked.stdout.contains(&mend), "{name}: {}", checked.stdout);
        set_mode(&files, name, 0o600);
    }
    set_mode(&files, "config.toml", 0o666);
    set_mode(&files, "", 0o777);
    Checked::of(&files).is_ok(&[
        "warning: config.toml: everybody on this machine can change it (mode 0666)\n      help: chmod \
         o-w config.toml\n",
        &format!(
            "warning: {folder}: everybody on this machine can replace files in this folder (mode \
             0777)\n      help: chmod o-w {folder}\n"
        ),
    ]);
    set_mode(&files, "", 0o1777); // as /tmp is
    set_mode(&files, "config.toml", 0o644);
    Checked::of(&files).is_ok(&[]);
}

#[tokio::test]
async fn folders_that_are_missing_are_told() {
    let app = Upstream::echo().await;
    let files = before(&app)
        .session("path = \"state/sessions.redb\"")
        .admin("socket = \"run/deep/admin.sock\"")
        .config("[log]\naudit_file = \"log/audit.log\"")
        .write();
    let folder = files.path("").to_str().unwrap().to_owned();
    Checked::of(&files).is_refused(&[
        "config.toml:7: error: state: the folder of the sessions file is missing\n      help: make it for \
         the user of the service: mkdir -m 700 state\n",
        "config.toml:17: error: log: the folder of the audit file is missing\n      help: make it for the \
         user of the service: mkdir -m 700 log\n",
        "config.toml:9: warning: run/deep/admin.sock: its folder run/deep is missing, and you may not \
         make it\n      help: make it for the user of the service; RuntimeDirectory= of a unit does so \
         at the start\n",
    ]);
    for made in ["state", "log", "run"] {
        fs::create_dir(files.path(made)).unwrap();
    }
    Checked::of(&files).is_ok(&[]);
    fs::create_dir(files.path("log/audit.log")).unwrap();
    fs::create_dir(files.path("run/deep")).unwrap();
    files.write("run/deep/admin.sock", "no socket", 0o600);
    Checked::of(&files).is_refused(&[
        "config.toml:17: error: log/audit.log: this is no regular file\n",
        "config.toml:9: error: run/deep/admin.sock: something else than a socket is in its place\n",
    ]);
    let (code, _, said) = run(&files, &["serve"]);
    assert_ne!(code, Some(0), "and so it does not start: {said}");
    assert!(said.contains(&folder), "{said}");
}

#[tokio::test]
async fn users_who_cannot_sign_in_are_told() {
    let app = Upstream::echo().await;
    let mut files = before(&app).write();
    files.change_user("ada", |user| user.disabled = true);
    Checked::of(&files).is_ok(&[
        "warning: users.toml: every user is disabled: nobody can sign in\n      help: vestibule user \
         enable NAME\n",
    ]);
    files.remove_user("ada");
    Checked::of(&files).is_ok(&[
        "warning: users.toml: there are no users: nobody can sign in\n      help: vestibule user add \
         NAME\n",
    ]);
    let user = |name: &str, password: &str| format!("[user.{name}]\npassword = \"{password}\"\n");
    let unusable = [
        user("locked", "!"),
        user("empty", ""),
        user("des", "rEK1ecacw.7.c"),
        "[user.none]\n".to_owned(),
    ];
    files.write("users.toml", &unusable.concat(), 0o600);
    Checked::of(&files).is_refused(&[
        "error: users.toml:2:12: user \"locked\": the password is not hashed\n      help: do `vestibule \
         user passwd locked`\n",
        "error: users.toml:4:12: user \"empty\": the password is not hashed\n",
        "error: users.toml:6:12: user \"des\": ",
        "error: users.toml:7:7: user \"none\": no `password`\n      help: do `vestibule user passwd \
         none`, or paste what `vestibule hash-password` prints\n",
    ]);
    fs::remove_file(files.path("users.toml")).unwrap();
    Checked::of(&files).is_refused(&[
        "error: users.toml: there is no users file\n      help: vestibule user add NAME\n",
    ]);
}

#[tokio::test]
async fn a_logo_that_cannot_be_shown_is_refused() {
    let app = Upstream::echo().await;
    let files = before(&app).login("logo = \"logo.svg\"").write();
    Checked::of(&files).is_refused(&["error: the pages: login.logo: cannot read logo.svg"]);
}

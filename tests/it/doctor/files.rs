//! Files and folders, and the users in one of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use super::{Checked, before};
use crate::harness::*;

pub(super) fn set_mode(files: &Files, name: &str, mode: u32) {
    fs::set_permissions(files.path(name), Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
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
        let fix = format!("(mode {mode:04o})\n      help: chmod 600 {name}\n");
        assert!(checked.stdout.contains(&fix), "{name}: {}", checked.stdout);
        set_mode(&files, name, 0o600);
    }
    set_mode(&files, "config.toml", 0o666);
    set_mode(&files, "", 0o777);
    Checked::of(&files).is_refused(&[
        "warning: config.toml: everybody on this machine can change it (mode 0666)\n      help: chmod \
         o-w config.toml\n",
        &format!(
            "error: {folder}: everybody on this machine can replace files in this folder (mode \
             0777)\n      help: chmod o-w {folder}\n"
        ),
    ]);
    set_mode(&files, "", 0o1777); // as /tmp is
    set_mode(&files, "config.toml", 0o644);
    Checked::of(&files).is_ok(&[]);
}

/// Whoever owns the users file, or may replace it, lets in whom they like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_98_files_of_other_users_are_refused_with_the_command_that_mends_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let app = Upstream::echo().await;
    let files = before(&app).session("path = \"sessions.redb\"").write();
    let refused = |said: &str, fix: &str| {
        let (code, _, error) = run(&files, &["serve"]);
        assert_eq!(code, Some(78), "{error}");
        assert!(
            error.contains(said) && error.contains(&format!("do `{fix}`")),
            "{error}"
        );
        let help = fix.replace(
            &format!(
                "{}/",
                files.path("").display().to_string().trim_end_matches('/')
            ),
            "",
        );
        let checked = Checked::of(&files);
        assert_eq!(checked.code, Some(78), "{}", checked.stdout);
        assert!(
            checked.stdout.contains(said) && checked.stdout.contains(&format!("help: {help}\n")),
            "{said}: {}",
            checked.stdout
        );
    };
    for name in ["users.toml", "cert.pem", "key.pem"] {
        let path = files.path(name);
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let fix = format!("chown 0 {}", path.display());
        refused("it belongs to another user (65534)", &fix);
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    let folder = files.path("");
    let shown = folder.display().to_string();
    let shown = shown.trim_end_matches('/');
    set_mode(&files, "", 0o777);
    refused(
        "everybody on this machine can replace files in this folder (mode 0777)",
        &format!("chmod o-w {shown}"),
    );
    set_mode(&files, "", 0o775);
    let group = "a group can replace files in this folder (mode 0775)\n      help: chmod g-w";
    Checked::of(&files).is_ok(&[&format!("warning: {shown}: {group} {shown}\n")]);
    set_mode(&files, "", 0o755);
    Checked::of(&files).is_ok(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
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

/// Runs `check` as a user who has nothing, which only root can.
fn check_as_nobody(files: &Files) -> Option<Checked> {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can run a program as another user");
        return None;
    }
    let mut program = command();
    program
        .args(["check", "--config"])
        .arg(files.path("config.toml"));
    Some(Checked::by(files, program.uid(NOBODY).gid(NOBODY)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_user_may_not_do_is_told() {
    let app = Upstream::echo().await;
    let files = before(&app)
        .session("path = \"sessions.redb\"")
        .config("[log]\naudit_file = \"audit.log\"")
        .write();
    set_mode(&files, "", 0o755);
    let Some(checked) = check_as_nobody(&files) else {
        return;
    };
    let folder = files.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let guess = "nothing to do where the unit of the service gives it another folder, as with \
                 StateDirectory=; else name one that the user of the service may write to\n";
    let denied = "in this folder: Permission denied (os error 13)\n      help: ";
    // The keys are plain file names: systemd may hand over others.
    checked.is_refused(&[
        "config.toml:3: warning: key.pem: you may not read it\n      help: check as root; the unit of the \
         service has to hand it over with LoadCredential=\n",
        "error: users.toml: you may not read it\n      help: check as the user of the service; if that is \
         you, do as root: chown 65534 users.toml\n",
        &format!("config.toml:7: warning: {folder}: you cannot make the sessions file {denied}{guess}"),
        &format!("config.toml:17: warning: {folder}: you cannot make the audit file {denied}{guess}"),
        &format!("config.toml:9: error: {folder}: you cannot make the admin socket {denied}check as"),
    ]);
    assert!(
        !checked.stdout.contains("checked as   root"),
        "{}",
        checked.stdout
    );

    // What belongs to somebody else.
    files.write("sessions.redb", "", 0o600);
    files.write("audit.log", "", 0o600);
    let checked = check_as_nobody(&files).unwrap();
    let said = "sessions.redb: it belongs to another user (0)\n      help: check as the user of the \
                service; if that is you, do as root: chown 65534 sessions.redb\n";
    assert!(checked.stdout.contains(said), "{}", checked.stdout);
    let said = "audit.log: you may not write to it\n      help: check as the user of the service; if \
                that is you, do as root: chown 65534 audit.log\n";
    assert!(checked.stdout.contains(said), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_never_ends_is_not_waited_for() {
    let app = Upstream::echo().await;
    for name in ["cert.pem", "key.pem", "users.toml"] {
        let files = before(&app).write();
        files.replace_by_pipe(name);
        Checked::of(&files).is_refused(&["it is no regular file"]);
    }
    let files = Vestibule::before_url("https://127.0.0.1:1")
        .app("name = \"wiki\"\nhost = \"gate.test\"\nupstream_ca = \"ca.pem\"")
        .login("logo = \"logo.svg\"")
        .user("ada", PASSWORD)
        .write();
    for name in ["logo.svg", "ca.pem"] {
        files.write(name, "", 0o644);
        files.replace_by_pipe(name);
    }
    Checked::of(&files).is_refused(&[
        "error: the pages: login.logo: cannot read logo.svg: it is no regular file\n",
        "error: app wiki: cannot read the certificates in ca.pem: ",
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_never_ends_is_not_waited_for() {
    let app = Upstream::echo().await;
    let files = before(&app).write();
    files.replace_by_pipe("config.toml");
    for command in ["check", "serve", "status"] {
        let (code, _, said) = run(&files, &[command]);
        assert_eq!(code, Some(78), "{command}: {said}");
        let path = files.path("config.toml");
        let expected = format!(
            "{}: cannot read this file: it is no regular file\n      help: name the file with \
             --config FILE\n",
            path.display()
        );
        assert_eq!(said, expected, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logo_that_cannot_be_shown_is_refused() {
    let app = Upstream::echo().await;
    let files = before(&app).login("logo = \"logo.svg\"").write();
    Checked::of(&files).is_refused(&["error: the pages: login.logo: cannot read logo.svg"]);
}

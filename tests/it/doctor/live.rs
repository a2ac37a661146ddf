//! The same of a server that runs: `status`.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use super::files::set_mode;
use super::{Checked, before};
use crate::harness::*;

/// What `status` finds, severity and words of each.
fn found(service: &Service) -> Vec<String> {
    let (code, stdout, stderr) = run(&service.files, &["status", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let status: Value = serde_json::from_str(&stdout).unwrap();
    let findings = status["findings"].as_array().unwrap().iter();
    let words = |finding: &Value, field| finding[field].as_str().unwrap().to_owned();
    let folder = service.files.path("").to_str().unwrap().to_owned();
    findings
        .map(|one| {
            let [severity, subject, message] =
                ["severity", "subject", "message"].map(|field| words(one, field));
            assert!(!words(one, "help").is_empty(), "{one}");
            format!("{severity} {subject}: {message}").replace(&folder, "")
        })
        .collect()
}

/// The admin socket is opened after the addresses.
async fn answers(service: &Service) {
    let socket = service.files.path("admin.sock");
    eventually("the admin socket", || socket.exists()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_says_what_is_wrong_with_it() {
    let mut app = Upstream::echo().await;
    let service = before(&app).config("# rules").spawn().await;
    answers(&service).await;
    assert_eq!(found(&service), [""; 0]);

    app.stop().await;
    fs::remove_file(service.files.path("key.pem")).unwrap();
    service.reload(|text| {
        format!("{text}[[app.rule]]\npath = \"/x\"\nallow = {{ groups = [\"no\"] }}\n")
    });
    // The reload fails for want of the key: the old configuration stays.
    let failed = || {
        run(&service.files, &["status"])
            .1
            .contains("reload       failed at ")
    };
    eventually("the reload", failed).await;
    let url = app.url();
    let gone = format!("warning app wiki: nothing listens at {url}");
    let key = "error key.pem: there is no such file".to_owned();
    eventually("another look", || {
        found(&service) == [key.clone(), gone.clone()]
    })
    .await;
    let (_, text, _) = run(&service.files, &["status"]);
    let certificate =
        "cert.pem: for gate.test, other.test, localhost, 127.0.0.1; until 4096-01-01 (";
    let certificate = text.lines().find(|line| line.contains(certificate));
    assert!(
        certificate.is_some_and(|line| line.starts_with("certificate  /")),
        "{text}"
    );
    let line = format!(
        "warning      app wiki: nothing listens at {url}; start the application, or correct `upstream`; \
         until then visitors get 502\n"
    );
    assert!(text.contains(&line), "{text}");

    service.files.set_certificate(tls::certificate());
    let (code, _, said) = run(&service.files, &["reload"]);
    assert_eq!(code, Some(0), "{said}");
    let rule =
        "warning app wiki, rule /x: no user is in the group \"no\": it lets nobody in".to_owned();
    assert_eq!(found(&service), [gone, rule], "at once after a reload");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_again_and_again_has_nobody_dialled_more_often() {
    let app = Upstream::echo().await;
    let service = before(&app).spawn().await;
    answers(&service).await;
    let begin = Instant::now();
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let config = service.files.path("config.toml");
            std::thread::spawn(move || {
                run_to_end(command().args(["status", "--config"]).arg(config), "").0
            })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.join().unwrap(), Some(0));
    }
    let looks = 1 + usize::try_from(begin.elapsed().as_secs() / 5).unwrap();
    eventually("the first connection", || app.connections() > 0).await;
    let dialled = app.connections();
    assert!(dialled <= looks, "{dialled} in {looks} looks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_knows_the_addresses_of_the_server_that_runs() {
    let app = Upstream::echo().await;
    let metrics = held_port();
    let service = before(&app)
        .admin(&format!("socket = \"admin.sock\"\nmetrics = \"{metrics}\""))
        .spawn()
        .await;
    answers(&service).await;
    let checked = Checked::of(&service.files);
    checked.is_ok(&[]);
    for (address, key) in [
        (service.address, "server.listen"),
        (metrics, "admin.metrics"),
    ] {
        let fact =
            format!("address      {address} ({key}), where the running server listens already\n");
        assert!(checked.stdout.contains(&fact), "{fact}: {}", checked.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_takes_a_server_that_does_not_answer_for_no_stranger() {
    let app = Upstream::echo().await;
    let service = before(&app).spawn().await;
    answers(&service).await;
    service.program.signal(Signal::STOP);
    let begin = Instant::now();
    let (address, process) = (service.address, service.program.id());
    Checked::of(&service.files).is_ok(&[&format!(
        "config.toml:2: warning: server.listen: {address} is in use by vestibule (process \
         {process}), which does not say so itself\n      help: if that is the server of this \
         configuration, all is well; else stop it, or choose another address\n"
    )]);
    assert!(begin.elapsed() < PATIENCE / 3, "{:?}", begin.elapsed());

    service.program.signal(Signal::CONT);
    let checked = Checked::of(&service.files);
    checked.is_ok(&[]);
    let fact = format!(
        "address      {address} (server.listen), where the running server listens already\n"
    );
    assert!(checked.stdout.contains(&fact), "{}", checked.stdout);
}

/// Waits until `status` finds just this, and its text says so with the fix of each.
async fn comes_to_say(service: &Service, expected: &[(String, String)]) {
    let messages: Vec<_> = expected.iter().map(|(said, _)| said.clone()).collect();
    eventually("another look", || found(service) == messages).await;
    let (_, text, _) = run(&service.files, &["status"]);
    let folder = service.files.path("").to_str().unwrap().to_owned();
    let text = text.replace(&folder, "");
    for (said, fix) in expected {
        let (severity, said) = said.split_once(' ').unwrap();
        let line = format!("{severity:<12} {said}; {fix}\n");
        assert!(text.contains(&line), "{line:?} is not in:\n{text}");
    }
}

fn said(words: &str, fix: &str) -> (String, String) {
    (words.to_owned(), fix.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_79_what_others_can_read_or_change_meanwhile_is_told_with_its_mend() {
    let app = Upstream::echo().await;
    let service = before(&app)
        .config("[log]\naudit_file = \"audit.log\"")
        .spawn()
        .await;
    answers(&service).await;
    let files = &service.files;
    assert_eq!(found(&service), [""; 0], "what it has made is well");

    let folder = files.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let modes = [
        ("users.toml", 0o644, 0o600),
        ("sessions.redb", 0o640, 0o600),
        ("authenticators.redb", 0o604, 0o600),
        ("config.toml", 0o666, 0o644),
        ("", 0o777, 0o700),
    ];
    for (name, open, _) in modes {
        set_mode(files, name, open);
    }
    comes_to_say(
        &service,
        &[
            said(
                "error users.toml: others can read or change it (mode 0644)",
                "chmod 600 users.toml",
            ),
            said(
                "error sessions.redb: others can read or change it (mode 0640)",
                "chmod 600 sessions.redb",
            ),
            said(
                "error authenticators.redb: others can read or change it (mode 0604)",
                "chmod 600 authenticators.redb",
            ),
            said(
                &format!(
                    "error {folder}: everybody on this machine can replace files in this folder \
                     (mode 0777)"
                ),
                &format!("chmod o-w {folder}"),
            ),
            said(
                "warning config.toml: everybody on this machine can change it (mode 0666)",
                "chmod o-w config.toml",
            ),
        ],
    )
    .await;
    for (name, _, closed) in modes {
        set_mode(files, name, closed);
    }
    comes_to_say(&service, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_that_a_running_server_has_are_looked_at_and_no_others() {
    let app = Upstream::echo().await;
    let gate = before(&app).prepare(|files| {
        fs::create_dir(files.path("state")).unwrap();
        // In the place where the sessions are without StateDirectory=.
        files.write("sessions.redb", "", 0o666);
    });
    let mut program = command();
    program.env("STATE_DIRECTORY", gate.path("state"));
    let service = gate.spawn_by(program).await;
    answers(&service).await;
    assert_eq!(found(&service), [""; 0]);

    // A new path needs a restart; until then the old one counts, at the line of the new.
    let text = fs::read_to_string(service.files.path("config.toml")).unwrap();
    let text = text.replace("[session]\n", "[session]\n\npath = \"other.redb\"\n");
    service.files.write("config.toml", &text, 0o644);
    service.files.write("state/other.redb", "", 0o666);
    set_mode(&service.files, "state/sessions.redb", 0o604);
    let (code, _, failed) = run(&service.files, &["reload"]);
    assert_eq!(code, Some(0), "{failed}");
    let open = "error state/sessions.redb: others can read or change it (mode 0604)";
    assert_eq!(found(&service), [open], "at once after a reload");
    let (_, json, _) = run(&service.files, &["status", "--json"]);
    let status: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["findings"][0]["line"], 8, "{json}");

    fs::remove_file(service.files.path("state/sessions.redb")).unwrap();
    comes_to_say(
        &service,
        &[said(
            "warning state/sessions.redb: somebody has removed it: the next restart signs \
             everybody out",
            "find out who did, and restart the service at a time when few are signed in",
        )],
    )
    .await;

    fs::write(service.files.path("state/sessions.redb"), "").unwrap();
    set_mode(&service.files, "state/sessions.redb", 0o600);
    fs::remove_file(service.files.path("state/authenticators.redb")).unwrap();
    comes_to_say(
        &service,
        &[said(
            "warning state/authenticators.redb: somebody has removed it: the next restart loses \
             all API tokens",
            "find out who did; after a restart, tokens have to be made anew",
        )],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sessions_file_that_was_given_away_is_told_by_a_server_of_root_too() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a file to another user");
        return;
    }
    let app = Upstream::echo().await;
    let service = before(&app).spawn().await;
    answers(&service).await;
    chown(service.files.path("sessions.redb"), Some(65534), None).unwrap();
    comes_to_say(
        &service,
        &[said(
            "error sessions.redb: it belongs to another user (65534)",
            "as root: chown 0 sessions.redb",
        )],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_user_of_the_service_may_not_do_any_more_is_told() {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can run a program as another user");
        return;
    }
    let app = Upstream::echo().await;
    let gate = before(&app)
        .config("[log]\naudit_file = \"audit.log\"")
        .prepare(|files| {
            for name in ["", "cert.pem", "key.pem", "users.toml"] {
                chown(files.path(name), Some(NOBODY), None).unwrap();
            }
        });
    let mut program = command();
    program.uid(NOBODY).gid(NOBODY);
    let service = gate.spawn_by(program).await;
    answers(&service).await;
    assert_eq!(found(&service), [""; 0]);

    for name in ["", "key.pem", "users.toml", "audit.log"] {
        chown(service.files.path(name), Some(0), Some(0)).unwrap();
    }
    set_mode(&service.files, "", 0o755);
    let folder = service.files.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let denied = "in this folder: Permission denied (os error 13)";
    let socket = format!("{folder}: the service cannot make the admin socket {denied}");
    let expected = [
        ("key.pem: the service may not read it", "key.pem"),
        (&socket, folder),
        ("audit.log: the service may not write to it", "audit.log"),
        ("users.toml: the service may not read it", "users.toml"),
    ]
    .map(|(words, path)| {
        said(
            &format!("error {words}"),
            &format!("as root: chown {NOBODY} {path}"),
        )
    });
    comes_to_say(&service, &expected).await;
}

/// Has a program see this folder in place of the control groups.
fn with_groups(groups: &Path) -> Option<Command> {
    let unshare = real::find("unshare")?;
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if !own.lines().any(|line| line.starts_with("0::/")) {
        real::missing("version 2 of control groups");
        return None;
    }
    let mut command = Command::new(unshare);
    command.args(["--mount", "sh", "-e", "-c"]);
    command.arg("mount --bind \"$0\" /sys/fs/cgroup; exec \"$@\"");
    command.arg(groups);
    let (code, _, said) = run_to_end(&mut command, "");
    if code != Some(0) {
        real::missing(&format!("the right to mount a folder ({})", said.trim()));
        return None;
    }
    Some(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rel_06_a_unit_that_allows_less_memory_than_the_ceiling_is_told() {
    let groups = tempfile::tempdir().unwrap();
    let Some(mut program) = with_groups(groups.path()) else {
        return;
    };
    let limit = groups.path().join("memory.max");
    fs::write(&limit, "268435456\n").unwrap();
    program.arg(env!("CARGO_BIN_EXE_vestibule"));
    let app = Upstream::echo().await;
    let service = before(&app).spawn_by(program).await;
    answers(&service).await;
    let checked = Checked::of(&service.files);
    checked.is_ok(&[]); // whoever checks is somewhere else
    let (_, ceiling) = checked.stdout.split_once("memory       at most ").unwrap();
    let (ceiling, _) = ceiling.split_once(" MiB: ").unwrap();
    comes_to_say(
        &service,
        &[said(
            &format!(
                "warning memory: the configuration may ask for {ceiling} MiB, and the unit, or what \
                 is around it, allows 256 MiB: there the kernel ends the service"
            ),
            &format!(
                "raise MemoryMax= above {ceiling} MiB, or lower `max_connections`, `max_sessions`, \
                 `kept_forms` or `buffer_requests`"
            ),
        )],
    )
    .await;
    fs::write(&limit, "max\n").unwrap();
    comes_to_say(&service, &[]).await;
}

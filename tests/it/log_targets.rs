//! Where logs go: standard output in all its states, the journal, the audit file.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::harness::*;

/// A pipe with a name, which is read when a test says so.
struct Fifo {
    path: PathBuf,
    /// Keeps the pipe open without reading it.
    open: File,
    _folder: tempfile::TempDir,
}

impl Fifo {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let open = File::options().read(true).write(true).open(&path).unwrap();
        Self {
            path,
            open,
            _folder: folder,
        }
    }

    /// The lines of it from now on.
    fn read(&self) -> Arc<Mutex<Vec<String>>> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (kept, reader) = (
            Arc::clone(&lines),
            BufReader::new(self.open.try_clone().unwrap()),
        );
        thread::spawn(move || {
            for line in reader.lines() {
                kept.lock().unwrap().push(line.unwrap());
            }
        });
        lines
    }
}

/// The program with its standard output there.
fn writing_to(path: &Path) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("exec \"$0\" \"$@\" > '{}'", path.display());
    shell.args(["-c", &script]).arg(command().get_program());
    shell
        .env_remove("JOURNAL_STREAM")
        .env_remove("LOGS_DIRECTORY");
    shell.env_remove("STATE_DIRECTORY");
    shell
}

/// Sends so many requests on one connection, each with a long line in the access log.
async fn requests(service: &Service, count: usize) {
    const AT_ONCE: usize = 50;
    let request = format!(
        "GET /{} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "long".repeat(150)
    );
    let mut raw = service.raw().await;
    for _ in 0..count / AT_ONCE {
        raw.send(request.repeat(AT_ONCE)).await;
        for _ in 0..AT_ONCE {
            raw.response().await.assert_status(401);
        }
    }
}

#[tokio::test]
async fn rel_09_a_pipe_that_nobody_reads_costs_lines_which_are_counted_and_no_time() {
    let (app, pipe) = (Upstream::echo().await, Fifo::new());
    let vestibule = Vestibule::before(&app).user("ada", PASSWORD);
    let gate = vestibule.spawn_by(writing_to(&pipe.path)).await;

    let started = Instant::now();
    requests(&gate, 2000).await;
    let first = started.elapsed();
    assert!(
        first < Duration::from_secs(20),
        "2000 requests in {first:?}"
    );
    requests(&gate, 10_000).await; // more than the queue takes
    gate.browser().try_login("ada", "wrong").await;

    let lines = pipe.read();
    let message = |wanted: &str| {
        let lines = lines.lock().unwrap();
        lines.iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["message"] == wanted).then_some(line)
        })
    };
    eventually("the count of dropped lines", || {
        message("log lines dropped").is_some()
    })
    .await;
    let note = message("log lines dropped").unwrap();
    let dropped = usize::try_from(note["dropped"].as_u64().unwrap()).unwrap();
    let access = || {
        let lines = lines.lock().unwrap();
        let access = lines.iter().filter(|line| line.contains("\"access\""));
        access.count()
    };
    // The form and its answer are requests, too.
    assert_eq!(access() + dropped, 12_002, "{note}");
    assert!(message("login failed").is_some(), "audit has its reserve");
    requests(&gate, 50).await;
    eventually("the log to go on", || access() + dropped >= 12_052).await;
}

#[tokio::test]
async fn rel_09_a_log_that_is_not_read_holds_up_no_end() {
    let (app, pipe) = (Upstream::echo().await, Fifo::new());
    let vestibule = Vestibule::before(&app);
    let mut gate = vestibule.spawn_by(writing_to(&pipe.path)).await;
    requests(&gate, 200).await;
    let started = Instant::now();
    gate.program.signal(Signal::TERM);
    assert!(gate.program.exit().await.success());
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn rel_09_a_full_disk_under_the_log_and_a_reader_that_is_gone_stop_nothing() {
    let app = Upstream::echo().await;
    for target in ["/dev/full", "a pipe"] {
        let pipe = Fifo::new();
        let path = match target {
            "a pipe" => &pipe.path,
            path => Path::new(path),
        };
        let vestibule = Vestibule::before(&app).user("ada", PASSWORD);
        let mut gate = vestibule.spawn_by(writing_to(path)).await;
        drop(pipe);
        requests(&gate, 200).await;
        let ada = gate.browser().login("ada", PASSWORD).await;
        ada.get("/").await.assert_status(200);
        gate.program.signal(Signal::TERM);
        assert!(gate.program.exit().await.success(), "{target}");
        assert_eq!(gate.program.stderr(), "", "{target}");
    }
}

#[tokio::test]
async fn what_was_logged_before_the_end_is_written() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app).spawn().await;
    requests(&gate, 100).await;
    gate.program.signal(Signal::TERM);
    gate.program.exit().await;
    let text = gate.program.stdout_at_end().await;
    assert_eq!(text.matches("\"access\"").count(), 100);
    assert!(
        text.trim_end().lines().last().unwrap().contains("stopped"),
        "{text}"
    );
}

/// The program with `$JOURNAL_STREAM` set by this shell expression.
fn under_the_journal(stream: &str) -> Command {
    let mut shell = Command::new("sh");
    let script =
        format!("exec 3>&1; stream={stream}; JOURNAL_STREAM=$stream exec \"$0\" \"$@\" 3>&-");
    shell.args(["-c", &script]).arg(command().get_program());
    shell
}

#[tokio::test]
async fn the_journal_gets_priorities_and_no_second_time() {
    const OURS: &str = "$(stat -L -c %d:%i /dev/fd/3)";
    let app = Upstream::echo().await;
    for (stream, format, starts) in [
        (OURS, "text", ["<6> INFO ", "<4> WARN "]),
        (OURS, "json", ["<6>{\"timestamp\":", "<4>{\"timestamp\":"]),
        ("1:1", "json", ["{\"timestamp\":", "{\"timestamp\":"]),
        ("1:1", "text", ["20", "20"]),
    ] {
        let gate = Vestibule::before(&app)
            .config(&format!("[log]\nformat = \"{format}\""))
            .spawn_by(under_the_journal(stream))
            .await;
        gate.browser().try_login("ada", "wrong").await;
        let text = || gate.program.stdout();
        let line = |of: &str| {
            text()
                .lines()
                .find(|line| line.contains(of))
                .map(str::to_owned)
        };
        eventually("a failed login", || line("login failed").is_some()).await;
        let lines = [line("listening"), line("login failed")].map(Option::unwrap);
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{stream} {format}: {line}");
        }
    }
}

#[tokio::test]
async fn the_audit_trail_goes_to_a_file_of_its_own_which_can_be_rotated() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .config("[log]\nlevel = \"error\"\nformat = \"text\"\naudit_file = \"audit.log\"")
        .spawn()
        .await;
    let (path, old) = (gate.files.path("audit.log"), gate.files.path("audit.log.1"));
    let messages = |path: &Path| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .map(|line: Value| {
                assert_eq!(
                    (&line["target"], &line["user"]),
                    (&"audit".into(), &"ada".into())
                );
                line["message"].as_str().unwrap().to_owned()
            })
            .collect()
    };
    let soon = async |path: &Path, expected: &[&str]| {
        eventually(&format!("{expected:?}"), || messages(path) == expected).await;
    };
    gate.browser().try_login("ada", "wrong").await;
    gate.browser().login("ada", PASSWORD).await;
    soon(&path, &["login failed", "login"]).await;
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    fs::rename(&path, &old).unwrap();
    gate.browser().login("ada", PASSWORD).await;
    soon(&path, &["login"]).await;
    assert_eq!(messages(&old), ["login failed", "login"]);

    fs::rename(&path, &old).unwrap();
    gate.program.signal(Signal::HUP);
    eventually("a new file", || path.exists()).await;
    gate.browser().try_login("ada", "wrong").await;
    soon(&path, &["login failed"]).await;
    assert_eq!(gate.program.stdout(), "", "only errors go there");

    let gate = gate.crash().await;
    gate.browser().login("ada", PASSWORD).await;
    soon(&path, &["login failed", "login"]).await;
}

#[tokio::test]
async fn a_service_that_cannot_keep_its_audit_trail_does_not_start() {
    for path in ["missing/audit.log", "."] {
        let app = Upstream::echo().await;
        let files = Vestibule::before(&app)
            .config(&format!("[log]\naudit_file = \"{path}\""))
            .write();
        let (code, _, said) = run(&files, &["serve"]);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("cannot write to the audit file"), "{said}");
    }
}

#[tokio::test]
async fn a_relative_audit_file_is_where_systemd_keeps_the_logs_of_the_service() {
    let app = Upstream::echo().await;
    let logs = tempfile::tempdir().unwrap();
    let mut program = command();
    program.env("LOGS_DIRECTORY", logs.path());
    let _gate = Vestibule::before(&app)
        .config("[log]\naudit_file = \"audit.log\"")
        .spawn_by(program)
        .await;
    assert!(logs.path().join("audit.log").is_file());
}

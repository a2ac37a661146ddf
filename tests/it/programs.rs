//! Programs sign in, each in its own way, with an API token or with a person's password, to the apps
//! that they are made for. The app sees neither.

mod calendars;
mod curl;
mod git;
mod npm;
mod python_packages;
mod registry;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::*;

/// The folder of a person who uses programs.
struct Home {
    folder: tempfile::TempDir,
    certificate: String,
}

impl Home {
    fn of(gate: &Gate) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            certificate: gate.certificate(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that nobody else may read.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The line for a host that curl, Git and Python know.
    fn write_netrc(&self, user: &str, password: &str) {
        let line = format!("machine localhost login {user} password \"{password}\"\n");
        self.write(".netrc", line);
    }

    /// A program that trusts the certificate, and has no settings but those of this folder.
    fn start(&self, program: &Path, args: &[&str]) -> Program {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.folder.path());
        command.env_clear();
        for (name, value) in [
            ("PATH", std::env::var_os("PATH").unwrap_or_default()),
            ("HOME", self.folder.path().into()),
            ("CURL_CA_BUNDLE", self.certificate.as_str().into()),
            ("GIT_SSL_CAINFO", self.certificate.as_str().into()),
            ("PIP_CERT", self.certificate.as_str().into()),
            ("REQUESTS_CA_BUNDLE", self.certificate.as_str().into()),
            ("GIT_ASKPASS", "echo".into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
            ("LC_ALL", "C.UTF-8".into()),
            ("NO_PROXY", "*".into()),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1".into()),
            ("npm_config_update_notifier", "false".into()),
        ] {
            command.env(name, value);
        }
        Program::spawn(command)
    }

    /// Runs it to its end; gives whether it did well, and what it says.
    async fn run(&self, program: &Path, args: &[&str]) -> (bool, String) {
        let mut program = self.start(program, args);
        some_within(4 * PATIENCE, "the end of a program", async || {
            (!program.is_running()).then_some(())
        })
        .await;
        let status = program.exit().await;
        let said = program.stdout_at_end().await + &program.stderr();
        (status.success(), said)
    }

    async fn done(&self, program: &Path, args: &[&str]) -> String {
        let (done, said) = self.run(program, args).await;
        assert!(done, "{args:?}: {said}");
        said
    }
}

/// An app that takes tokens and passwords.
fn before(url: &str) -> Vestibule {
    taking(Vestibule::before_url(url))
}

fn taking(gate: Vestibule) -> Vestibule {
    gate.user("ada", PASSWORD)
        .user("bob", PASSWORD)
        .app("tokens = true\nbasic = true")
}

/// Of this machine, as programs call it.
fn origin(gate: &Gate) -> String {
    format!("https://{}", host(gate))
}

fn host(gate: &Gate) -> String {
    format!("localhost:{}", gate.address().port())
}

/// With name and password in front of the host.
fn url_for(gate: &Gate, user: &str, password: &str) -> String {
    format!(
        "https://{user}:{}@{}",
        password.replace(' ', "%20"),
        host(gate)
    )
}

fn command_done(gate: &mut Gate, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(gate.files(), args);
    assert_eq!(code, Some(0), "{args:?}: {stdout}{stderr}");
    stdout
}

/// A token of ada, with these further arguments.
fn token(gate: &mut Gate, args: &[&str]) -> String {
    let made = command_done(gate, &[&["token", "add", "ada"], args].concat());
    made.trim_end().to_owned()
}

/// Ends all tokens of ada.
fn revoke(gate: &mut Gate) {
    command_done(gate, &["token", "revoke", "--user", "ada"]);
}

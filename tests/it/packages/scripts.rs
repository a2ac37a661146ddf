//! The scripts that dpkg and rpm run, on a machine that is only a folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::*;

/// Each with the arguments of an upgrade.
const UPGRADES: [(&str, &[&str]); 2] = [
    ("deb/postinst", &["configure", "0.1.0-1"]),
    ("rpm/post.sh", &["2"]),
];

const RESTARTED: [&str; 2] = ["deb-systemd-invoke restart", "systemctl restart"];

/// A root with systemd, in which `calls` are written down.
struct Scene(TempDir);

impl Scene {
    /// One where this is the program: shell code that looks at `$1`.
    fn with_program(program: &str) -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        for folder in ["bin", "run/systemd/system", "var/lib"] {
            fs::create_dir_all(scene.path(folder)).unwrap();
        }
        for name in [
            "deb-systemd-helper",
            "deb-systemd-invoke",
            "install",
            "systemctl",
            "systemd-sysusers",
        ] {
            scene.stand_in(name, "");
        }
        scene.stand_in("vestibule", program);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes down that it was called, and does this.
    fn stand_in(&self, name: &str, code: &str) {
        let path = self.path("bin").join(name);
        let calls = self.path("calls");
        let calls = calls.display();
        let text = format!("#!/bin/sh\necho \"{name} $*\" >>'{calls}'\n{code}\n");
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    fn has_state(&self) {
        fs::create_dir_all(self.path("var/lib/vestibule")).unwrap();
    }

    /// Runs a script of `packaging/` to its end, which has to be a good one; gives all it says.
    fn run(&self, script: &str, arguments: &[&str]) -> String {
        let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
        let mut text = fs::read_to_string(packaging.join(script)).unwrap();
        for folder in ["/var/lib/", "/run/systemd/"] {
            let inside = format!("{}{folder}", self.0.path().display());
            text = text.replace(folder, &inside);
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &text, script]).args(arguments);
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let ran = run_to_end(shell.env("PATH", path), "");
        assert_eq!(ran.0, Some(0), "{script}: {ran:?}");
        ran.1 + &ran.2
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    fn has_called(&self, what: &[&str]) -> bool {
        let calls = self.calls();
        calls
            .lines()
            .any(|call| what.iter().any(|what| call.starts_with(what)))
    }
}

/// What a program does that ends so for `--version` and for `check`.
fn program(version: u8, check: u8) -> String {
    format!("if [ \"$1\" = --version ]; then exit {version}; fi\nexit {check}")
}

#[test]
fn an_upgrade_restarts_only_what_runs_and_takes_the_configuration() {
    for (script, upgrade) in UPGRADES {
        for (version, check, restarts) in [
            (0, 0, true),
            (0, 1, true), // what may fix itself
            (0, 78, false),
            (127, 127, false), // a library is missing
            (132, 132, false), // built for another processor
            (126, 0, false),
        ] {
            let scene = Scene::with_program(&program(version, check));
            scene.has_state();
            let said = scene.run(script, upgrade);
            let case = format!("{script} {version} {check}: {said}{}", scene.calls());
            assert_eq!(scene.has_called(&RESTARTED), restarts, "{case}");
            assert_eq!(
                said.contains("still runs the old version"),
                !restarts,
                "{case}"
            );
        }
    }
}

#[test]
fn an_upgrade_starts_nothing_that_was_stopped() {
    for (script, upgrade) in UPGRADES {
        for check in [0, 78] {
            let scene = Scene::with_program(&program(0, check));
            scene.has_state();
            scene.stand_in("systemctl", "[ \"$2\" != is-active ]");
            assert_eq!(scene.run(script, upgrade), "");
            assert!(scene.has_called(&["systemctl --quiet is-active vestibule.service"]));
            assert!(!scene.has_called(&RESTARTED), "{}", scene.calls());
        }
    }
}

#[test]
fn a_first_installation_starts_only_what_is_complete() {
    const STARTED: [&str; 2] = ["deb-systemd-helper enable", "deb-systemd-invoke start"];
    for (version, check, starts) in [(0, 0, true), (0, 78, false), (127, 127, false)] {
        let scene = Scene::with_program(&program(version, check));
        let said = scene.run("deb/postinst", &["configure", ""]);
        assert_eq!(scene.has_called(&STARTED), starts, "{}", scene.calls());
        assert_eq!(said.contains("not started"), !starts, "{said}");
        let state = scene.path("var/lib/vestibule");
        let made = format!(
            "install -d -m 700 -o vestibule -g vestibule {}",
            state.display()
        );
        assert!(scene.has_called(&[&made]), "{}", scene.calls());
    }
    let scene = Scene::with_program(&program(0, 0));
    let said = scene.run("rpm/post.sh", &["1"]);
    assert!(said.contains("not started"), "{said}");
    assert!(!scene.has_called(&["systemctl start", "systemctl enable"]));
}

/// Users, sessions, and a folder below.
fn keep_state(folder: &Path) {
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    for name in ["users.toml", "sessions.redb", "deep/er/.hidden"] {
        fs::write(folder.join(name), "state").unwrap();
    }
}

#[test]
fn a_purge_deletes_the_state_and_nothing_that_it_leads_to() {
    let scene = Scene::with_program("");
    let (state, outside) = (scene.path("var/lib/vestibule"), scene.path("outside"));
    keep_state(&state);
    keep_state(&outside);
    symlink(&outside, state.join("deep/link")).unwrap();
    symlink(outside.join("users.toml"), state.join("link")).unwrap();
    for kept in ["remove", "upgrade", "abort-install"] {
        assert_eq!(scene.run("deb/postrm", &[kept]), "");
        assert!(state.join("users.toml").exists(), "{kept}");
    }
    assert_eq!(scene.run("deb/postrm", &["purge"]), "");
    assert!(!state.exists());
    for name in ["users.toml", "deep/er/.hidden"] {
        assert!(outside.join(name).exists(), "{name}");
    }
    assert_eq!(
        scene.run("deb/postrm", &["purge"]),
        "",
        "nothing is left to do"
    );
}

#[test]
fn a_purge_deletes_the_state_of_a_dynamic_user_and_follows_no_other_link() {
    let scene = Scene::with_program("");
    let state = scene.path("var/lib/vestibule");
    keep_state(&scene.path("var/lib/private/vestibule"));
    symlink("private/vestibule", &state).unwrap();
    assert_eq!(scene.run("deb/postrm", &["purge"]), "");
    assert!(!scene.path("var/lib/private/vestibule").exists());
    assert!(state.symlink_metadata().is_err(), "the link");

    let outside = scene.path("outside");
    keep_state(&outside);
    symlink(&outside, &state).unwrap();
    let said = scene.run("deb/postrm", &["purge"]);
    let (state, outside) = (state.display(), outside.display());
    let told = format!("{state} was a link: delete the state in {outside} yourself\n");
    assert_eq!(said, told);
    assert!(scene.path("outside/users.toml").exists());
    assert!(scene.path("var/lib/vestibule").symlink_metadata().is_err());
}

/// Something mounted, until this is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(words: &[&str], folder: PathBuf) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            real::missing("the right to mount a folder");
            return None;
        }
        let (code, _, said) = run_to_end(Command::new("mount").args(words).arg(&folder), "");
        if code != Some(0) {
            real::missing(&format!("the right to mount a folder ({})", said.trim()));
            return None;
        }
        Some(Self(folder))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_purge_deletes_nothing_that_is_mounted_in_the_state() {
    let scene = Scene::with_program("");
    let (state, outside) = (scene.path("var/lib/vestibule"), scene.path("outside"));
    keep_state(&state);
    keep_state(&outside);
    let inside = state.join("deep/er");
    let outside = outside.to_str().unwrap();
    // Of the same file system, by which nothing can be told.
    let Some(mount) = Mount::new(&["--bind", outside], inside.clone()) else {
        return;
    };
    let said = scene.run("deb/postrm", &["purge"]);
    let told = format!(
        "{} stays, because {} is mounted in it: unmount that, and delete it\n",
        state.display(),
        inside.display()
    );
    assert_eq!(said, told);
    assert!(scene.path("outside/users.toml").exists());
    drop(mount);
    assert_eq!(scene.run("deb/postrm", &["purge"]), "");
    assert!(!state.exists());

    // A disk of its own is state from its root on.
    fs::create_dir(&state).unwrap();
    let words = ["-t", "tmpfs", "-o", "size=1m", "tmpfs"];
    let Some(disk) = Mount::new(&words, state.clone()) else {
        return;
    };
    keep_state(&state);
    assert_eq!(scene.run("deb/postrm", &["purge"]), "");
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0, "emptied");
    drop(disk);
}

//! A Debian of its own, booted with systemd in a container of systemd-nspawn.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use super::program::{Program, Ran, run_to_end};
use super::{PATIENCE, real, some_within};

/// The root of a machine that is not booted yet.
pub(crate) struct Root(TempDir);

/// A booted machine, which shares only the network with this one; gone when dropped.
pub(crate) struct Machine {
    /// Its first process.
    init: Pid,
    root: Root,
    nspawn: Program,
}

/// Alone it takes some four seconds, beside all other tests more.
const BOOT: Duration = Duration::from_mins(2);

/// Made once, kept for the next time.
const DEBIAN: &str = "debian-bookworm-systemd";

impl Root {
    /// `None` where there can be no such machine.
    pub(crate) async fn new() -> Option<Self> {
        for part in ["systemd-nspawn", "nsenter", "debootstrap", "apt-get"] {
            real::find(part)?;
        }
        if !rustix::process::geteuid().is_root() {
            real::missing("the right to start a container");
            return None;
        }
        let debian = in_background(debian).await;
        let root = tempfile::tempdir().unwrap();
        let mut copy = Command::new("cp");
        copy.args(["--archive", "--reflink=auto"]);
        copy.arg(debian.join(".")).arg(root.path());
        done(&in_background(move || run_to_end(&mut copy, "")).await);
        Some(Self(root))
    }

    /// A path within the machine, as seen from outside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, inside: &str, text: &str, mode: u32) {
        self.put(inside, mode, |path| fs::write(path, text).unwrap());
    }

    pub(crate) fn copy(&self, file: impl AsRef<Path>, inside: &str, mode: u32) {
        self.put(inside, mode, |path| {
            fs::copy(file, path).unwrap();
        });
    }

    fn put(&self, inside: &str, mode: u32, make: impl FnOnce(&Path)) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        make(&path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Waits until systemd has started everything.
    pub(crate) async fn boot(self) -> Machine {
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn.args(["--quiet", "--register=no", "--keep-unit", "--boot"]);
        nspawn.arg("--directory").arg(self.0.path());
        let nspawn = Program::spawn(nspawn);
        let children = format!("/proc/{0}/task/{0}/children", nspawn.id());
        // Its first child only makes the container, and is gone soon.
        let init = some_within(BOOT, "the machine to boot", async || {
            let children = fs::read_to_string(&children).unwrap();
            let init = Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)?;
            let (_, state, _) = run_in(init, &["systemctl", "is-system-running"], "").await;
            let booted = ["running\n", "degraded\n"].contains(&&*state);
            booted.then_some(init)
        })
        .await;
        Machine {
            init,
            root: self,
            nspawn,
        }
    }
}

impl Machine {
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Runs a command within the machine to its end, as root.
    pub(crate) async fn run(&self, words: &[&str], input: &str) -> Ran {
        run_in(self.init, words, input).await
    }

    /// The same, and gives what it prints; it has to succeed.
    pub(crate) async fn prints(&self, words: &[&str]) -> String {
        let ran = self.run(words, "").await;
        assert_eq!(ran.0, Some(0), "{words:?}: {ran:?}");
        ran.1
    }

    /// What systemd knows of a unit.
    pub(crate) async fn property(&self, unit: &str, name: &str) -> String {
        let show = ["systemctl", "show", "--value", "--property", name, unit];
        self.prints(&show).await.trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- console\n{}", self.nspawn.stdout());
        }
        let _ = kill_process(self.init, Signal::KILL); // and with it everything within
        // Left to itself, nspawn cleans up.
        let deadline = Instant::now() + PATIENCE;
        while self.nspawn.is_running() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

async fn run_in(init: Pid, words: &[&str], input: &str) -> Ran {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &init.as_raw_nonzero().to_string()]);
    nsenter.args(["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"]);
    nsenter.args(words).env("LC_ALL", "C.UTF-8");
    let input = input.to_owned();
    in_background(move || run_to_end(&mut nsenter, &input)).await
}

/// The system that every root is a copy of.
fn debian() -> PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty());
    let cache = cache.map_or_else(|| Path::new(&home).join(".cache"), PathBuf::from);
    let cache = cache.join("vestibule-ci");
    let debian = cache.join(DEBIAN);
    if debian.is_dir() {
        return debian;
    }
    fs::create_dir_all(&cache).unwrap();
    let making = tempfile::tempdir_in(&cache).unwrap();
    let root = making.path().join("root");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", "--include=systemd,dbus", "bookworm"]);
    debootstrap.arg(&root).args(mirror());
    done(&run_to_end(&mut debootstrap, ""));
    // Whoever was faster has made the same.
    let _ = fs::rename(&root, &debian);
    assert!(debian.is_dir(), "{} was not made", debian.display());
    debian
}

/// Where this machine has its own packages from; else debootstrap's default.
fn mirror() -> Option<String> {
    let mut ask = Command::new("apt-get");
    ask.args(["indextargets", "--format", "$(REPO_URI)"]);
    let (_, answer, _) = run_to_end(ask.args(["Created-By: Packages", "Codename: bookworm"]), "");
    answer.lines().next().map(str::to_owned)
}

fn done(ran: &Ran) {
    assert_eq!(ran.0, Some(0), "{}{}", ran.1, ran.2);
}

/// Upstreams of the test go on meanwhile.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

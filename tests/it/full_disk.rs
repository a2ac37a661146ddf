//! A full disk keeps nobody from working, and nobody signed in who signed out: REL-09.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::*;

/// A small file system of its own; gone with this value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` for who may not mount one.
    fn mount(size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            real::missing("the right to mount a small file system");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        let (code, _, said) = run_to_end(mount.arg(folder.path()), "");
        if code != Some(0) {
            real::missing(&format!("a small file system ({})", said.trim()));
            return None;
        }
        Some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room there is, but for so many bytes.
    fn fill(&self, but_for: u64) -> PathBuf {
        let disk = rustix::fs::statvfs(self.path()).unwrap();
        let free = disk.f_bavail * disk.f_frsize - but_for;
        let path = self.path().join("ballast");
        fs::write(&path, vec![1; usize::try_from(free).unwrap()]).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

async fn gate(app: &Upstream, disk: &SmallDisk) -> Service {
    let path = disk.path().join("sessions.redb");
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .session(&format!("path = '{}'", path.display()))
        .spawn()
        .await
}

#[tokio::test]
async fn rel_09_when_the_disk_is_nearly_full_logins_say_so_and_all_else_goes_on() {
    let Some(disk) = SmallDisk::mount("40m") else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = gate(&app, &disk).await;
    let (stays, leaves) = (
        gate.browser().login("ada", PASSWORD).await,
        gate.browser().login("ada", PASSWORD).await,
    );
    let stolen = leaves.session_cookie();
    let ballast = disk.fill(8 * 1024 * 1024);

    let refused = gate.browser().try_login("ada", PASSWORD).await;
    refused.assert_status(503);
    assert!(refused.text().contains("could not be saved"), "{refused}");
    stays.get("/").await.assert_status(200);
    leaves.logout().await.assert_status(303);

    let gate = gate.crash().await;
    stays.get("/").await.assert_status(200);
    gate.browser()
        .cookie(&stolen)
        .get("/")
        .await
        .assert_status(303);
    fs::remove_file(ballast).unwrap();
    gate.browser().login("ada", PASSWORD).await;
}

#[tokio::test]
async fn rel_09_when_the_disk_has_no_byte_left_who_signs_out_stays_out() {
    let Some(disk) = SmallDisk::mount("40m") else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = gate(&app, &disk).await;
    let mut others = Vec::new();
    for _ in 0..12 {
        others.push(gate.browser().login("ada", PASSWORD).await);
    }
    let stays = gate.browser().login("ada", PASSWORD).await;
    let ballast = disk.fill(0);
    gate.browser()
        .try_login("ada", PASSWORD)
        .await
        .assert_status(503);
    let (mut unsaved, mut cookies) = (0, Vec::new());
    for browser in &others {
        let cookie = browser.session_cookie();
        cookies.push(cookie.clone());
        let reply = browser.logout().await;
        if reply.status != 303 {
            reply.assert_status(503);
            assert!(
                reply.text().contains("sign-out could not be saved"),
                "{reply}"
            );
            unsaved += 1;
        }
        assert!(!browser.is_signed_in(), "the cookie goes in any case");
        gate.browser()
            .cookie(&cookie)
            .get("/")
            .await
            .assert_status(303);
        stays.get("/").await.assert_status(200);
    }
    fs::remove_file(ballast).unwrap();
    // What could not be saved is, as soon as there is room: a crash changes nothing any more.
    eventually_some("logins to be kept again", async || {
        let browser = gate.browser();
        let reply = browser.try_login("ada", PASSWORD).await;
        (reply.status == 303).then_some(())
    })
    .await;
    println!("{unsaved} of {} logouts had to wait for room", others.len());
    let gate = gate.crash().await;
    stays.get("/").await.assert_status(200);
    for cookie in &cookies {
        let browser = gate.browser().cookie(cookie);
        browser.get("/").await.assert_status(303);
    }
}

/// From now on every write to a file fails for the program, or none does.
fn limit_writes(gate: &Service, limit: &str) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &gate.program.id().to_string()]);
    let (code, _, said) = run_to_end(prlimit.arg(format!("--fsize={limit}:unlimited")), "");
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn rel_09_while_nothing_can_be_written_a_logout_holds_and_is_not_said_to_be_saved() {
    if real::find("prlimit").is_none() {
        return;
    }
    let app = Upstream::echo().await;
    let mut program = Command::new("env");
    program.args(["--ignore-signal=XFSZ", "NO_COLOR=1"]);
    program.arg(command().get_program());
    let vestibule = Vestibule::before(&app).user("ada", PASSWORD);
    let gate = vestibule.spawn_by(program).await;
    let stays = gate.browser().login("ada", PASSWORD).await;
    let leaves = gate.browser().login("ada", PASSWORD).await;
    let stolen = gate.browser().cookie(&leaves.session_cookie());

    limit_writes(&gate, "0");
    let reply = leaves.logout().await;
    reply.assert_status(503);
    let page = reply.text();
    assert!(page.contains("Your sign-out could not be saved"), "{page}");
    assert!(!leaves.is_signed_in(), "the cookie goes all the same");
    stolen.get("/").await.assert_status(303);
    stays.get("/").await.assert_status(200);
    let refused = gate.browser().try_login("ada", PASSWORD).await;
    refused.assert_status(503);
    assert!(refused.text().contains("could not be saved"), "{refused}");

    limit_writes(&gate, "unlimited");
    eventually_some("logins to be kept again", async || {
        let reply = gate.browser().try_login("ada", PASSWORD).await;
        (reply.status == 303).then_some(())
    })
    .await;
    let gate = gate.crash().await;
    gate.browser()
        .cookie(&stolen.session_cookie())
        .get("/")
        .await
        .assert_status(303);
    stays.get("/").await.assert_status(200);
    let log = gate.files.path("sessions.redb.damaged-1");
    assert!(!log.exists(), "nothing was damaged by it");
}

#[tokio::test]
async fn rel_09_an_audit_file_on_a_full_disk_is_spoken_of_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount("1m") else {
        return;
    };
    let app = Upstream::echo().await;
    let path = disk.path().join("audit.log");
    let vestibule = Vestibule::before(&app).user("ada", PASSWORD);
    let log = format!("[log]\naudit_file = '{}'", path.display());
    let gate = vestibule.config(&log).spawn().await;
    gate.browser().login("ada", PASSWORD).await;
    let audit = || fs::read_to_string(&path).unwrap();
    eventually("the login", || audit().lines().count() == 1).await;
    // Room for the rest of the file's page, which the next lines fill.
    let ballast = disk.fill(0);
    let said = || {
        let log = gate.program.log();
        log.iter()
            .filter(|line| line["message"] == "cannot write to the audit file")
            .count()
    };
    for _ in 0..40 {
        gate.browser().try_login("nobody", "wrong").await;
    }
    eventually("the error to be spoken of", || said() == 1).await;
    fs::remove_file(ballast).unwrap();
    gate.browser().login("ada", PASSWORD).await;
    eventually("a whole line of the login", || {
        audit().ends_with('\n') && audit().matches("\"message\":\"login\"").count() == 2
    })
    .await;
    let dropped = |line: &serde_json::Value| line["message"] == "log lines dropped";
    eventually("the count of lost lines", || {
        let log = gate.program.log();
        log.iter()
            .any(|line| dropped(line) && line["log"] == "audit file")
    })
    .await;
    assert_eq!(said(), 1, "once a minute is enough");
}

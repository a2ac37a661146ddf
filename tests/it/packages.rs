//! The packages that `packaging/build` makes of this program, in a Debian of their own.

mod pages;
mod scripts;

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::harness::machine::{Machine, Root};
use crate::harness::*;

const README: &str = include_str!("../../packaging/README.md");
const INSTALL: &str = include_str!("../../docs/install.md");
const SERVICE: &str = "vestibule.service";
const CONFIG: &str = "/etc/vestibule/config.toml";
const USERS: &str = "/var/lib/vestibule/users.toml";
const PROGRAM: &str = env!("CARGO_BIN_EXE_vestibule");

/// Revisions of one version.
struct Packages {
    folder: TempDir,
    kind: &'static str,
}

impl Packages {
    /// `None` where they cannot be made.
    async fn build(kind: &'static str, revisions: &[&str]) -> Option<Self> {
        for part in [
            "bash",
            "cargo-deb",
            "cargo-generate-rpm",
            "dpkg-shlibdeps",
            "gzip",
            "strip",
        ] {
            real::find(part)?;
        }
        let folder = tempfile::tempdir().unwrap();
        let packages = Self { folder, kind };
        for revision in revisions {
            let mut build = Command::new("bash");
            build.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/build"));
            build.args(["--fast", "--only", kind, "--binary", PROGRAM]);
            build.args(["--revision", revision, "--output"]);
            build.arg(packages.folder.path().join(revision));
            let ran = tokio::task::spawn_blocking(move || run_to_end(&mut build, "")).await;
            let (code, stdout, stderr) = ran.unwrap();
            assert_eq!(code, Some(0), "{stdout}{stderr}");
            let file = packages.file(revision);
            assert_eq!(
                stdout.trim(),
                file.to_str().unwrap(),
                "it says what it made"
            );
        }
        Some(packages)
    }

    fn file(&self, revision: &str) -> PathBuf {
        let made = fs::read_dir(self.folder.path().join(revision)).unwrap();
        let made: Vec<_> = made.map(|entry| entry.unwrap().path()).collect();
        let [file] = &made[..] else {
            panic!("one package, and nothing else: {made:?}")
        };
        assert_eq!(file.extension().unwrap(), self.kind);
        file.clone()
    }
}

/// How the page says to install: the commands for Debian and for RPM distributions.
fn commands() -> [&'static str; 2] {
    let (_, text) = INSTALL.split_once("\n## From a package\n").unwrap();
    let block = |nth| {
        let block = text.split("```sh\n").nth(nth).unwrap();
        block.split_once("\n```").unwrap().0
    };
    assert!(README.contains(&format!("```sh\n{}\n```", block(1))));
    [block(1), block(2)]
}

/// What the README says to do after the installation.
fn steps() -> impl Iterator<Item = &'static str> {
    let (_, text) = README.split_once("\n## From a package\n").unwrap();
    let block = text.split("```sh\n").nth(2).unwrap();
    block.split_once("```").unwrap().0.lines()
}

/// The configuration of the package, as its comments say to finish it.
fn finished(config: &str, app: &Upstream) -> String {
    let commented = "#[[app]]\n#upstream = \"http://127.0.0.1:3000\"\n";
    assert!(config.contains(commented), "{config}");
    let app = format!("[[app]]\nupstream = \"{}\"\n", app.url());
    config.replace(commented, &app)
}

#[tokio::test]
async fn the_debian_package_comes_serves_is_replaced_and_goes() {
    let Some(packages) = Packages::build("deb", &["1", "2"]).await else {
        return;
    };
    let Some(root) = Root::new().await else {
        return;
    };
    let app = Upstream::echo().await;
    let (https, http) = (held_port(), held_port());
    for revision in ["1", "2"] {
        let file = packages.file(revision);
        let name = file.file_name().unwrap().to_str().unwrap();
        let inside = format!("/usr/src/{revision}/{name}");
        root.copy(&file, &inside, 0o644);
    }
    for (unit, address) in [("vestibule", https), ("vestibule-http", http)] {
        let path = format!("/etc/systemd/system/{unit}.socket.d/address.conf");
        let text = format!("[Socket]\nListenStream=\nListenStream={address}\n");
        root.write(&path, &text, 0o644);
    }
    let machine = root.boot().await;
    let before = files(&machine).await;

    installed_it_waits_for_its_configuration(&machine).await;
    let ada = configured_it_serves(&machine, &app, https).await;
    rel_02_an_upgrade_under_load_refuses_nobody(&machine, &ada, &app).await;
    an_upgrade_that_does_not_take_the_configuration_leaves_the_old_one_running(&machine, &ada)
        .await;
    removed_it_keeps_state_and_configuration(&machine, &ada, https).await;
    what_the_operator_has_stopped_stays_so(&machine).await;
    purged_it_leaves_nothing(&machine, &before).await;
}

async fn installed_it_waits_for_its_configuration(machine: &Machine) {
    let said = install(machine, "1").await;
    assert!(said.contains("not started"), "{said}");
    for step in steps().skip(1) {
        assert!(said.contains(step), "{step:?} in:\n{said}");
    }
    for unit in [SERVICE, "vestibule.socket", "vestibule-http.socket"] {
        assert_eq!(machine.property(unit, "ActiveState").await, "inactive");
        assert_eq!(machine.property(unit, "UnitFileState").await, "disabled");
    }
    let (code, _, stderr) = machine.run(&["vestibule", "check"], "").await;
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("there is no [[app]]"), "{stderr}");

    let user = machine.prints(&["getent", "passwd", "vestibule"]).await;
    assert!(user.ends_with("/nologin\n"), "{user}");
    let state = machine
        .prints(&["stat", "--format=%U:%G %a", "/var/lib/vestibule"])
        .await;
    assert_eq!(state, "vestibule:vestibule 700\n");
    for file in [
        "/usr/share/man/man1/vestibule.1.gz",
        "/usr/share/man/man1/vestibule-user-import.1.gz",
        "/usr/share/bash-completion/completions/vestibule",
        "/usr/share/zsh/vendor-completions/_vestibule",
        "/usr/share/fish/vendor_completions.d/vestibule.fish",
        "/usr/share/doc/vestibule/copyright",
        "/usr/share/doc/vestibule/changelog.Debian.gz",
        "/usr/share/doc/vestibule/config.example.toml",
    ] {
        assert!(machine.root().path(file).is_file(), "{file}");
    }
    let page = ["zcat", "/usr/share/man/man1/vestibule-check.1.gz"];
    assert!(machine.prints(&page).await.contains(".SH SYNOPSIS"));
    let conffiles = ["dpkg-query", "--show", "--showformat=${Conffiles}"];
    let conffiles = machine
        .prints(&[&conffiles[..], &["vestibule"]].concat())
        .await;
    let names: Vec<_> = conffiles.split_whitespace().step_by(2).collect();
    assert_eq!(names, [CONFIG]);
}

async fn configured_it_serves(machine: &Machine, app: &Upstream, https: SocketAddr) -> Browser {
    let root = machine.root();
    let certificate = tls::certificate();
    root.write("/etc/vestibule/cert.pem", &certificate.cert_pem, 0o600);
    root.write("/etc/vestibule/key.pem", &certificate.key_pem, 0o600);
    let config = fs::read_to_string(root.path(CONFIG)).unwrap();
    root.write(CONFIG, &finished(&config, app), 0o644);
    for (n, step) in steps().enumerate() {
        let mut words: Vec<_> = step.split_whitespace().collect();
        if n == 0 {
            words.push("--password-stdin"); // in place of being asked
        }
        let ran = machine.run(&words, &format!("{PASSWORD}\n")).await;
        assert_eq!(ran.0, Some(0), "{step}: {ran:?}");
    }
    assert_eq!(machine.property(SERVICE, "ActiveState").await, "active");
    let anybody = Browser::new(https, tls::HOST);
    let page = anybody.get("/.vestibule/login").await;
    page.assert_status(200);
    let ada = Browser::new(https, tls::HOST).login("ada", PASSWORD).await;
    ada.get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-groups"), Some("admins"));
    ada
}

async fn rel_02_an_upgrade_under_load_refuses_nobody(
    machine: &Machine,
    ada: &Browser,
    app: &Upstream,
) {
    let config = fs::read_to_string(machine.root().path(CONFIG)).unwrap();
    let id = machine.property(SERVICE, "MainPID").await;
    let enough = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = (0..3)
        .map(|_| {
            let (ada, enough) = (ada.clone(), Arc::clone(&enough));
            tokio::spawn(async move {
                while !enough.load(Ordering::Relaxed) {
                    ada.get("/").await.assert_status(200);
                }
            })
        })
        .collect();
    let before = app.requests();
    eventually("visitors to come", || app.requests() > before + 20).await;
    install(machine, "2").await;
    let before = app.requests();
    eventually("visitors to come again", || app.requests() > before + 20).await;
    enough.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await.expect("nobody is turned away or signed out");
    }
    assert_ne!(machine.property(SERVICE, "MainPID").await, id);
    let version = [
        "dpkg-query",
        "--show",
        "--showformat=${Version}",
        "vestibule",
    ];
    let version = machine.prints(&version).await;
    assert_eq!(version, format!("{}-2", env!("CARGO_PKG_VERSION")));
    let kept = fs::read_to_string(machine.root().path(CONFIG)).unwrap();
    assert_eq!(kept, config, "what the operator has written");
}

async fn an_upgrade_that_does_not_take_the_configuration_leaves_the_old_one_running(
    machine: &Machine,
    ada: &Browser,
) {
    let config = fs::read_to_string(machine.root().path(CONFIG)).unwrap();
    let id = machine.property(SERVICE, "MainPID").await;
    let broken = format!("max_conections = 1\n{config}");
    machine.root().write(CONFIG, &broken, 0o644);
    let said = install(machine, "2").await;
    assert!(said.contains("still runs the old version"), "{said}");
    assert_eq!(machine.property(SERVICE, "MainPID").await, id);
    ada.get("/").await.assert_status(200);
    machine.root().write(CONFIG, &config, 0o644);
}

async fn removed_it_keeps_state_and_configuration(
    machine: &Machine,
    ada: &Browser,
    https: SocketAddr,
) {
    machine.prints(&["dpkg", "--remove", "vestibule"]).await;
    assert_eq!(machine.property(SERVICE, "ActiveState").await, "inactive");
    assert!(TcpStream::connect(https).is_err(), "the socket is closed");
    for (file, there) in [(CONFIG, true), (USERS, true), ("/usr/bin/vestibule", false)] {
        assert_eq!(machine.root().path(file).exists(), there, "{file}");
    }
    install(machine, "2").await;
    assert_eq!(machine.property(SERVICE, "ActiveState").await, "active");
    ada.get("/").await.assert_status(200);
}

async fn what_the_operator_has_stopped_stays_so(machine: &Machine) {
    let stop: Vec<_> = steps().last().unwrap().split_whitespace().collect();
    let stop = [&["systemctl", "disable"], &stop[2..]].concat();
    machine.prints(&stop).await;
    install(machine, "2").await;
    for unit in [SERVICE, "vestibule.socket", "vestibule-http.socket"] {
        assert_eq!(machine.property(unit, "ActiveState").await, "inactive");
        assert_eq!(machine.property(unit, "UnitFileState").await, "disabled");
    }
}

async fn purged_it_leaves_nothing(machine: &Machine, before: &BTreeSet<String>) {
    let enable: Vec<_> = steps().last().unwrap().split_whitespace().collect();
    machine.prints(&enable).await;
    machine.prints(&["dpkg", "--purge", "vestibule"]).await;
    let after = files(machine).await;
    let left: Vec<_> = after.difference(before).map(String::as_str).collect();
    let of_the_operator = [
        "/etc/vestibule",
        "/etc/vestibule/cert.pem",
        "/etc/vestibule/key.pem",
    ];
    assert_eq!(left, of_the_operator);
    let gone: Vec<_> = before.difference(&after).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

/// Gives what was said.
async fn install(machine: &Machine, revision: &str) -> String {
    let [command, _] = commands();
    // Nothing has to be fetched for it.
    let here = "apt-get install --yes --reinstall --no-install-recommends";
    let command = command.replace("apt install", here);
    let command = format!("cd /usr/src/{revision} && {command}");
    let ran = machine.run(&["sh", "-c", &command], "").await;
    assert_eq!(ran.0, Some(0), "{ran:?}");
    ran.1 + &ran.2
}

/// All files and folders but logs, those of dpkg and apt, and the traces of a new user, which stays.
async fn files(machine: &Machine) -> BTreeSet<String> {
    let list = "find / -xdev \\( -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/apt \
                -o -path /var/cache \\) -prune -o -print";
    let list = machine.prints(&["sh", "-c", list]).await;
    let of_users = ["/etc/.pwd.lock", "/etc/group-", "/etc/passwd-"];
    let of_users = [&of_users[..], &["/etc/gshadow-", "/etc/shadow-"]].concat();
    let kept = list.lines().filter(|file| !of_users.contains(file));
    kept.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_rpm_package_brings_the_same_and_keeps_what_the_operator_wrote() {
    let Some(rpm) = real::find("rpm") else {
        return;
    };
    let Some(packages) = Packages::build("rpm", &["1", "2"]).await else {
        return;
    };
    let Some(root) = Root::new().await else {
        return;
    };
    let ask = |what: &str| {
        let mut ask = Command::new(&rpm);
        ask.args(["--query", what, "--package"]);
        answer(ask.arg(packages.file("1")))
    };
    assert_eq!(ask("--configfiles"), format!("{CONFIG}\n"));
    assert!(ask("--requires").contains("systemd >= 252\n"));
    let list = ask("--list");
    for file in [
        "/usr/bin/vestibule",
        "/usr/lib/systemd/system/vestibule.service",
        "/usr/share/man/man1/vestibule-user-add.1.gz",
        "/usr/share/licenses/vestibule/LICENSE",
    ] {
        assert!(list.lines().any(|line| line == file), "{file} in:\n{list}");
    }

    // The packages that it requires are there, but not known to rpm.
    let change = |words: &[&str]| {
        let mut change = Command::new(&rpm);
        change.arg("--root").arg(root.path("/"));
        answer(change.arg("--nodeps").args(words))
    };
    let file = |revision| packages.file(revision).to_str().unwrap().to_owned();
    let [_, command] = commands();
    let (command, _) = command.split_once(" ./").unwrap();
    let words = command.strip_prefix("rpm ").unwrap();
    let said = change(&[words, &file("1")]);
    assert!(said.contains("vestibule user add NAME"), "{said}");
    let users = fs::read_to_string(root.path("/etc/passwd")).unwrap();
    assert!(users.contains("\nvestibule:"), "{users}");
    let state = fs::metadata(root.path("/var/lib/vestibule")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700);
    let id = users.lines().find(|line| line.starts_with("vestibule:"));
    let id = id.unwrap().split(':').nth(2).unwrap();
    assert_eq!(state.uid().to_string(), id);

    pages::lead_somewhere(&root.path("/"));

    let app = "\n[[app]]\nupstream = \"http://127.0.0.1:3000\"\n";
    let config = fs::read_to_string(root.path(CONFIG)).unwrap() + app;
    root.write(CONFIG, &config, 0o644);
    root.write(USERS, "", 0o600);
    change(&["--upgrade", &file("2")]);
    assert_eq!(fs::read_to_string(root.path(CONFIG)).unwrap(), config);

    change(&["--erase", "vestibule"]);
    assert!(!root.path("/usr/bin/vestibule").exists());
    assert!(
        !root
            .path("/usr/lib/systemd/system/vestibule.service")
            .exists()
    );
    let saved = fs::read_to_string(root.path(&format!("{CONFIG}.rpmsave")));
    assert_eq!(saved.unwrap(), config);
    assert!(root.path(USERS).exists(), "no state goes with the package");
}

/// What a command prints, which has to succeed.
fn answer(command: &mut Command) -> String {
    let (code, stdout, stderr) = run_to_end(command, "");
    assert_eq!(code, Some(0), "{command:?}: {stdout}{stderr}");
    stdout
}

#[test]
fn the_program_needs_no_more_of_the_system_than_the_readme_says() {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !system.contains("VERSION_CODENAME=bookworm\n") {
        real::missing("Debian 12, whose glibc the README speaks of,");
        return;
    }
    let Some(objdump) = real::find("objdump") else {
        return;
    };
    let headers = answer(Command::new(objdump).arg("--private-headers").arg(PROGRAM));
    let needed: BTreeSet<_> = headers
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("NEEDED"))
        .filter_map(|library| library.trim().split(['.', '-']).next())
        .collect();
    let known = BTreeSet::from(["ld", "libc", "libgcc_s", "libm"]);
    assert!(needed.is_subset(&known), "{needed:?}");
    let versions = headers.split_whitespace().filter_map(|word| {
        let (major, minor) = word.strip_prefix("GLIBC_")?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    let (major, minor): (u32, u32) = versions.max().expect("it needs a glibc");
    let said =
        format!("glibc {major}.{minor} or later (`libc`, `libm` and its loader) and `libgcc_s`");
    assert!(README.contains(&said), "{said}");
}

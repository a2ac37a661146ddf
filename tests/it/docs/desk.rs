//! Where the commands of a page are run: a folder of its own in place of the system's.
//!
//! What differs from the page, and nothing else: files below `/etc` are in the folder; addresses
//! are free ones; a password is given where it would be asked for; the server has its admin socket
//! in the folder.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::page::Page;
use crate::harness::tls::Certificate;
use crate::harness::*;

pub(super) struct Desk {
    folder: TempDir,
    /// What the page says, and what it is here.
    places: Vec<(String, String)>,
}

/// A server that a page has started.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    _program: Program,
}

/// Adds what the reader of a page has by default or is asked for.
const VESTIBULE: &str = "#!/bin/sh
config=FOLDER/etc/vestibule/config.toml
case \"$1 $2\" in
'user add' | 'user passwd') echo 'PASSWORD' | PROGRAM \"$@\" --password-stdin --config $config ;;
*) exec PROGRAM \"$@\" --config $config ;;
esac
";

impl Desk {
    /// With a certificate for this host name where the pages have it.
    pub(super) fn new(host: &str) -> Self {
        Self::new_for(&[host])
    }

    /// The same for several.
    pub(super) fn new_for(hosts: &[&str]) -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
            places: Vec::new(),
        };
        let vestibule = VESTIBULE
            .replace("FOLDER", desk.folder.path().to_str().unwrap())
            .replace("PASSWORD", PASSWORD)
            .replace("PROGRAM", env!("CARGO_BIN_EXE_vestibule"));
        desk.put("bin/vestibule", &vestibule, 0o755);
        let certificate = Certificate::generate(hosts);
        desk.put("etc/vestibule/cert.pem", &certificate.cert_pem, 0o644);
        desk.put("etc/vestibule/key.pem", &certificate.key_pem, 0o600);
        desk
    }

    /// A file as a page names it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name.trim_start_matches('/'))
    }

    /// From now on the page's `documented` is this.
    pub(super) fn place(&mut self, documented: &str, here: impl Into<String>) {
        self.places.push((documented.to_owned(), here.into()));
    }

    /// Gives a free address to what the page has at this one.
    pub(super) fn free(&mut self, documented: &str) -> SocketAddr {
        let address = held_port();
        self.place(documented, address.to_string());
        address
    }

    /// Writes a file of the page.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        self.put(name, &self.here(text), 0o644)
    }

    /// The same for a file that its owner alone may read.
    pub(super) fn write_secret(&self, name: &str, text: &str) -> PathBuf {
        self.put(name, text, 0o600)
    }

    /// For programs that serve as somebody else.
    pub(super) fn let_everybody_in(&self) {
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Has the commands of the page run a program with these options.
    pub(super) fn program(&self, name: &str, options: &str) {
        self.program_of(name, name, options);
    }

    /// The same where the program has another name here.
    pub(super) fn program_of(&self, name: &str, here: &str, options: &str) {
        let program = real::find(here).unwrap();
        let options = self.here(options);
        let text = format!("#!/bin/sh\nexec {} {options} \"$@\"\n", program.display());
        self.put(&format!("bin/{name}"), &text, 0o755);
    }

    fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// What the page says, as it is here.
    pub(super) fn here(&self, text: &str) -> String {
        let etc = format!("{}/etc/", self.folder.path().display());
        let text = text.replace("/etc/", &etc);
        let places = self.places.iter();
        places.fold(text, |text, (documented, here)| {
            text.replace(documented, here)
        })
    }

    /// Runs a block of the page to its end; gives what it prints.
    pub(super) async fn run(&self, block: &str) -> String {
        let (code, out, said) = self.try_run(block).await;
        assert_eq!(code, Some(0), "{block}\n{out}\n{said}");
        out
    }

    /// The same with its exit code and standard error.
    pub(super) async fn try_run(&self, block: &str) -> (Option<i32>, String, String) {
        let mut shell = self.shell(block);
        let run = move || run_to_end(&mut shell, "");
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Starts a block of the page, which goes on.
    pub(super) fn start(&self, block: &str) -> Program {
        Program::spawn(self.shell(block))
    }

    fn shell(&self, block: &str) -> Command {
        let mut shell = Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args(["-e", "-c", &self.here(block)])
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("NO_COLOR", "1");
        for given_by_systemd in ["JOURNAL_STREAM", "LOGS_DIRECTORY", "STATE_DIRECTORY"] {
            shell.env_remove(given_by_systemd);
        }
        shell
    }

    /// Writes the page's next block as the configuration, for an address of this machine.
    pub(super) fn configure(&self, page: &mut Page) -> SocketAddr {
        self.configure_as(page.next("toml"))
    }

    /// The same of a block that was taken before.
    pub(super) fn configure_as(&self, mut text: String) -> SocketAddr {
        let address = held_port();
        if !text.contains("[tls]") {
            text.insert_str(0, "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\n");
        }
        let text = with_keys(&text, "admin", "socket = \"admin.sock\"");
        let text = with_keys(&text, "server", &format!("listen = [\"{address}\"]"));
        self.write("/etc/vestibule/config.toml", &text);
        address
    }

    /// Starts the server.
    pub(super) async fn serve(&self, address: SocketAddr) -> Served {
        let mut program = self.start("exec vestibule serve");
        program.wait_for_port(address).await;
        Served {
            address,
            _program: program,
        }
    }
}

impl Served {
    pub(super) fn browser(&self, host: &str) -> Browser {
        Browser::new(self.address, host)
    }
}

/// More keys of a section, which may be there already; a key that is there is replaced.
fn with_keys(text: &str, section: &str, keys: &str) -> String {
    let key = keys.split(" = ").next().unwrap();
    let others = text
        .lines()
        .filter(|line| !line.starts_with(&format!("{key} = ")));
    let text: String = others.flat_map(|line| [line, "\n"]).collect();
    let header = format!("[{section}]\n");
    if text.contains(&header) {
        text.replacen(&header, &format!("{header}{keys}\n"), 1)
    } else {
        format!("{header}{keys}\n{text}")
    }
}

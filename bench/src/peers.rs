//! The proxies that are compared. Each is one file: where its program is, how it signs visitors in,
//! and the configuration that has it do the same work as the others.

mod apache;
mod caddy;
mod envoy;
mod h2o;
mod haproxy;
mod nginx;
mod vestibule;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use self::vestibule::hash;

/// A proxy that can take part.
pub(crate) struct Peer {
    /// As options and raw figures name it.
    pub(crate) name: &'static str,
    /// As tables and plots name it.
    pub(crate) title: &'static str,
    /// The program, in a folder of `PATH` or of the system's.
    pub(crate) program: &'static str,
    /// The option that has it say its version.
    pub(crate) version: &'static str,
    pub(crate) login: Login,
    /// Writes the configuration, and gives the command that serves with it.
    pub(crate) prepare: Prepare,
    /// The same for one that answers a proxy which asks by forward auth, or for what answers the
    /// same to everything.
    pub(crate) answers: Option<Prepare>,
}

pub(crate) type Prepare = fn(&Site, &Path) -> io::Result<Command>;

/// How visitors show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// They do not: everybody may ask for everything.
    None,
    /// With a cookie that never changes.
    Cookie(&'static str),
    /// With the session of a login at this path.
    Form(&'static str),
}

/// The one user, wherever there is a login.
pub(crate) const USER: &str = "ada";
pub(crate) const PASSWORD: &str = "four quiet rounds of figures";

/// What a proxy is given.
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// Where proxies ask.
    pub(crate) questions: u16,
    pub(crate) app: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// All of them, the one that the others are compared with first.
pub(crate) const ALL: [Peer; 10] = [
    nginx::NGINX,
    nginx::CURRENT,
    nginx::AUTH_REQUEST,
    haproxy::HAPROXY,
    h2o::H2O,
    envoy::ENVOY,
    caddy::CADDY,
    apache::APACHE,
    vestibule::VESTIBULE,
    vestibule::ACCESS_LOG,
];

impl Site {
    /// Writes a file into the folder, readable for its owner alone, as keys have to be.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        io::Write::write_all(&mut options.open(&path)?, text.as_bytes())?;
        Ok(path)
    }

    /// Writes the certificate, the key and a configuration in which names in braces are replaced.
    pub(crate) fn configure(&self, name: &str, template: &str) -> io::Result<PathBuf> {
        self.write("cert.pem", &self.cert)?;
        self.write("key.pem", &self.key)?;
        self.write(name, &self.fill(template))
    }

    fn fill(&self, template: &str) -> String {
        let folder = self.folder.display().to_string();
        let values = [
            ("<folder>", folder.as_str()),
            ("<port>", &self.port.to_string()),
            ("<questions>", &self.questions.to_string()),
            ("<app>", &self.app.to_string()),
            ("<app-port>", &self.app.port().to_string()),
            ("<workers>", &self.workers.to_string()),
        ];
        let fill = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
        values.iter().fold(template.to_owned(), fill)
    }
}

/// Programs that start as root want to be told to stay it, or who else to be.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program that can be run, by its name.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let folders = std::env::split_paths(&path).chain(system);
    folders
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_configuration_is_filled_in_completely() {
        let folder = tempfile::tempdir().unwrap();
        let site = Site {
            folder: folder.path().to_owned(),
            port: 8443,
            questions: 9091,
            app: "127.0.0.1:3000".parse().unwrap(),
            workers: 2,
            cert: String::new(),
            key: String::new(),
        };
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|peer| peer.name).collect();
        assert_eq!(names.len(), ALL.len());
        for peer in ALL.iter().filter(|peer| peer.program != "vestibule") {
            for prepare in peer.answers.into_iter().chain([peer.prepare]) {
                prepare(&site, Path::new(peer.program)).unwrap();
            }
        }
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert!(files.len() > 7, "{files:?}");
        for file in files.iter().filter(|file| file.path().is_file()) {
            let text = fs::read_to_string(file.path()).unwrap();
            let left = [
                "<folder>",
                "<port>",
                "<questions>",
                "<app",
                "<workers>",
                "<user>",
            ];
            assert!(!left.iter().any(|name| text.contains(name)), "{text}");
        }
    }
}

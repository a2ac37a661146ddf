//! The folder of one Vestibule: certificate, users file, configuration.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use tempfile::TempDir;

use super::tls::{self, Certificate};

/// One table of the users file.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) hash: String,
    pub(crate) groups: Vec<String>,
    pub(crate) email: Option<String>,
    pub(crate) disabled: bool,
}

impl User {
    pub(crate) fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            hash: hash(password),
            groups: Vec::new(),
            email: None,
            disabled: false,
        }
    }

    pub(crate) fn groups(mut self, groups: &[&str]) -> Self {
        self.groups = groups.iter().map(|&group| group.to_owned()).collect();
        self
    }

    pub(crate) fn email(mut self, email: &str) -> Self {
        self.email = Some(email.to_owned());
        self
    }

    pub(crate) fn disabled(mut self) -> Self {
        self.disabled = true;
        self
    }
}

/// Argon2id as Vestibule itself makes it; once for each password, because it costs what it must.
pub(crate) fn hash(password: &str) -> String {
    static HASHES: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);
    let mut hashes = HASHES.lock().unwrap();
    let made = hashes.entry(password.to_owned()).or_insert_with(|| {
        let made = Argon2::default().hash_password(password.as_bytes());
        made.unwrap().to_string()
    });
    made.clone()
}

/// A temporary folder, gone with this value.
pub(crate) struct Files {
    folder: TempDir,
    users: Vec<User>,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
            users: Vec::new(),
        };
        files.set_certificate(tls::certificate());
        files.write_users();
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file whole: nobody sees a half of it.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let (path, temporary) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&temporary, text).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(&temporary, &path).unwrap();
        path
    }

    /// Puts a named pipe in the place of a file: whoever reads it may wait for ever.
    pub(crate) fn replace_by_pipe(&self, name: &str) {
        let path = self.path(name);
        fs::remove_file(&path).unwrap();
        let made = Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(path)
            .status();
        assert!(made.unwrap().success());
    }

    pub(crate) fn set_certificate(&self, certificate: &Certificate) {
        self.write("cert.pem", &certificate.cert_pem, 0o644);
        self.write("key.pem", &certificate.key_pem, 0o600);
    }

    pub(crate) fn add_user(&mut self, user: User) {
        self.users.push(user);
        self.write_users();
    }

    /// Changes one user, as `vestibule user` or an editor would.
    pub(crate) fn change_user(&mut self, name: &str, change: impl FnOnce(&mut User)) {
        let user = self.users.iter_mut().find(|user| user.name == name);
        change(user.expect("a user of that name"));
        self.write_users();
    }

    pub(crate) fn remove_user(&mut self, name: &str) {
        self.users.retain(|user| user.name != name);
        self.write_users();
    }

    fn write_users(&self) {
        let mut text = String::new();
        for user in &self.users {
            let User {
                name,
                hash,
                groups,
                email,
                disabled,
            } = user;
            write!(text, "[user.\"{name}\"]\npassword = \"{hash}\"\ngroups = {groups:?}\ndisabled = {disabled}\n").unwrap();
            if let Some(email) = email {
                writeln!(text, "email = \"{email}\"").unwrap();
            }
        }
        self.write("users.toml", &text, 0o600);
    }
}

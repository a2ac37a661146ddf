//! Files and folders: can whoever runs this use them, and can others?

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::fs::{Access, access};

use super::{Finding, shell};
use crate::auth::authenticators;
use crate::regular_file::{Owners, shared_with_a_group, trust, trust_folders};
use crate::session;

/// What is written to, or decides who gets in.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) perspective: Perspective,
    /// The folder with the responses to ACME challenges.
    pub(crate) challenges: Option<OwnFile>,
    pub(crate) config: PathBuf,
    /// What decides who may sign in, or did before they were taken over.
    pub(crate) users_file: Option<PathBuf>,
    /// Certificates, keys, and values of headers.
    pub(crate) secrets: Vec<PathBuf>,
    pub(crate) sessions: Option<OwnFile>,
    /// The admin socket, where somebody insists on it.
    pub(crate) socket: Option<OwnFile>,
    pub(crate) audit: Option<OwnFile>,
}

/// Whose rights are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Perspective {
    /// Somebody who runs a command, perhaps as another user than the service.
    Person,
    /// The service itself, which has made its files.
    Service,
}

/// A file that the service makes.
#[derive(Clone, Debug)]
pub(crate) struct OwnFile {
    pub(crate) path: PathBuf,
    /// In the configuration.
    pub(crate) line: Option<usize>,
    /// Whether the service has it in the same folder; else that is a guess.
    pub(crate) is_certain: bool,
}

impl Files {
    /// These files with the lines of a configuration that was read again: they are used until a
    /// restart, wherever it says now that they are.
    pub(crate) fn at_the_lines_of(&self, new: &Self) -> Self {
        let at_line = |place: &Option<OwnFile>, new: &Option<OwnFile>| {
            let line = new.as_ref().and_then(|new| new.line);
            place.clone().map(|place| OwnFile { line, ..place })
        };
        Self {
            sessions: at_line(&self.sessions, &new.sessions),
            socket: at_line(&self.socket, &new.socket),
            audit: at_line(&self.audit, &new.audit),
            challenges: new.challenges.clone(),
            ..self.clone()
        }
    }
}

pub(super) fn examine(files: &Files) -> Vec<Finding> {
    let perspective = files.perspective;
    let mut findings = Vec::new();
    findings.extend(open_to_others(&files.config));
    let mut folders = vec![folder_of(&files.config)];
    folders.extend(files.users_file.as_deref().map(folder_of));
    if let Some(place) = &files.sessions {
        folders.push(folder_of(&place.path));
        let found = sessions(place, perspective).into_iter();
        let found = found.chain(authenticators(&place.path, perspective));
        findings.extend(found.map(|finding| finding.at(place.line)));
    }
    if let Some(place) = &files.socket {
        folders.push(folder_of(&place.path));
        findings.extend(socket(place, perspective).map(|finding| finding.at(place.line)));
    }
    if let Some(place) = &files.audit {
        folders.push(folder_of(&place.path));
        findings.extend(audit(place, perspective).map(|finding| finding.at(place.line)));
    }
    if let Some(place) = &files.challenges {
        findings.extend(challenges(&place.path, perspective).map(|found| found.at(place.line)));
    }
    findings.extend(untrusted(files));
    folders.sort();
    folders.dedup();
    let warned = folders.iter().filter_map(|folder| replaceable(folder));
    for finding in warned.collect::<Vec<_>>() {
        if !findings
            .iter()
            .any(|other| other.subject == finding.subject)
        {
            findings.push(finding);
        }
    }
    findings
}

/// What another user could have written, or could replace (SEC-98), once each.
fn untrusted(files: &Files) -> Vec<Finding> {
    let owners = owners(files);
    let read: Vec<_> = files.secrets.iter().chain(&files.users_file).collect();
    let made = files.sessions.iter().chain(&files.socket);
    let made: Vec<_> = made.map(|place| &place.path).collect();
    let distrusted = read.iter().map(|path| trust(path, &owners));
    let distrusted = distrusted.chain(made.iter().map(|path| trust_folders(path, &owners)));
    let errors = distrusted.filter_map(|judged| Some(Finding::untrusted(&judged.err()?)));
    let mut findings: Vec<_> = errors.collect();
    for (folder, mode) in read
        .iter()
        .chain(&made)
        .flat_map(|path| shared_with_a_group(path))
    {
        let message = format!("a group can replace files in this folder (mode {mode:04o})");
        let fix = format!("chmod g-w {}", shell(&folder));
        findings.push(Finding::warning(folder.display().to_string(), message, fix));
    }
    let mut told = HashSet::new();
    findings.retain(|finding| told.insert(finding.subject.clone()));
    findings
}

/// Whose files the service trusts. Root who checks does not know whose the service's user is; the
/// one who owns its state is.
fn owners(files: &Files) -> Owners {
    let own = Owners::own();
    if files.perspective == Perspective::Service || !is_root() {
        return own;
    }
    // A relative path may be in another folder for the service.
    let sessions = files.sessions.as_ref().filter(|place| place.is_certain);
    let sessions = sessions.map(|place| [place.path.clone(), folder_of(&place.path)]);
    let state = sessions.into_iter().flatten();
    let users = files.users_file.as_deref().map(folder_of);
    let state: Vec<_> = state.chain(users).collect();
    own.or_of(state.iter().map(PathBuf::as_path))
}

impl Perspective {
    /// The fix where the user may not do what the service has to; of a person, the service
    /// perhaps may.
    pub(super) fn to_own(self, path: &Path) -> String {
        let user = rustix::process::geteuid().as_raw();
        let chown = format!("chown {user} {}", shell(path));
        match self {
            Self::Person => {
                format!("check as the user of the service; if that is you, do as root: {chown}")
            }
            Self::Service => format!("as root: {chown}"),
        }
    }
}

impl fmt::Display for Perspective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Person => "you",
            Self::Service => "the service",
        })
    }
}

/// Whoever runs this as root may do everything, and learns nothing of what others may.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn sessions(place: &OwnFile, perspective: Perspective) -> Vec<Finding> {
    let path = place.path.as_path();
    let shown = path.display().to_string();
    let mut findings = Vec::new();
    match fs::metadata(path) {
        Ok(found) => findings.extend(for_us_alone(path, &found, perspective)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = writable_folder(place, "the sessions file", perspective);
            let lost = (perspective == Perspective::Service).then(|| lost_sessions(path));
            findings.extend(folder.or(lost));
        }
        Err(error) => findings.push(Finding::error(
            &shown,
            format!("it cannot be looked at: {error}"),
            "check as the user of the service, or set `path` in [session]",
        )),
    }
    // A running service says so together with what comes of it.
    if perspective == Perspective::Person && !session::has_room(path) {
        findings.push(Finding::warning(
            shown,
            "less than 16 MiB of the disk are free: logins are refused",
            "make room, or set `path` in [session] to another disk",
        ));
    }
    findings
}

/// That of the API tokens is beside that of the sessions; a start makes it.
fn authenticators(sessions: &Path, perspective: Perspective) -> Option<Finding> {
    let path = sessions.with_file_name(authenticators::FILE);
    match fs::metadata(&path) {
        Ok(found) => for_us_alone(&path, &found, perspective),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (perspective == Perspective::Service).then(|| {
                Finding::warning(
                    path.display().to_string(),
                    "somebody has removed it: the next restart loses all API tokens",
                    "find out who did; after a restart, tokens have to be made anew",
                )
            })
        }
        Err(_) => None, // the folder's fault, which is told with the sessions
    }
}

/// The service goes on with a file that has no name any more, and that ends with it.
fn lost_sessions(path: &Path) -> Finding {
    Finding::warning(
        path.display().to_string(),
        "somebody has removed it: the next restart signs everybody out",
        "find out who did, and restart the service at a time when few are signed in",
    )
}

/// A file that no server starts with if others may open it (SEC-79).
fn for_us_alone(path: &Path, found: &Metadata, perspective: Perspective) -> Option<Finding> {
    let shown = path.display().to_string();
    let mode = found.mode() & 0o7777;
    let user = rustix::process::geteuid().as_raw();
    if mode & 0o077 != 0 {
        let message = format!("others can read or change it (mode {mode:04o})");
        return Some(Finding::error(
            shown,
            message,
            format!("chmod 600 {}", shell(path)),
        ));
    }
    // Root who checks does not know whose the service's user is.
    if found.uid() != user && (perspective == Perspective::Service || !is_root()) {
        let message = format!("it belongs to another user ({})", found.uid());
        let help = perspective.to_own(path);
        return Some(Finding::error(shown, message, help));
    }
    None
}

/// The server has to be able to make its socket there.
fn socket(place: &OwnFile, perspective: Perspective) -> Option<Finding> {
    let path = place.path.as_path();
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let message = "something else than a socket is in its place";
            let help = "move it away, or set `socket` in [admin]";
            return Some(Finding::error(path.display().to_string(), message, help));
        }
        _ => {}
    }
    let folder = folder_of(path);
    if folder.exists() {
        return writable_folder(place, "the admin socket", perspective);
    }
    let parent = folder_of(&folder);
    let may_be_made = access(&parent, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    (!may_be_made).then(|| {
        Finding::warning(
            path.display().to_string(),
            format!(
                "its folder {} is missing, and {perspective} may not make it",
                folder.display()
            ),
            "make it for the user of the service; RuntimeDirectory= of a unit does so at the start",
        )
    })
}

fn audit(place: &OwnFile, perspective: Perspective) -> Option<Finding> {
    let path = place.path.as_path();
    let shown = path.display().to_string();
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Some(Finding::error(
            shown,
            "this is no regular file",
            "move it away, or set `audit_file` in [log]",
        )),
        Ok(_) if access(path, Access::WRITE_OK).is_err() => Some(Finding::error(
            shown,
            format!("{perspective} may not write to it"),
            perspective.to_own(path),
        )),
        Ok(_) => None,
        Err(_) => writable_folder(place, "the audit file", perspective),
    }
}

/// The ACME client may make the folder when it needs it.
fn challenges(folder: &Path, perspective: Perspective) -> Option<Finding> {
    let shown = folder.display().to_string();
    let (message, help) = match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (
            "there is no such folder: unless the ACME client makes it, each challenge gets 404"
                .to_owned(),
            format!("mkdir -p {}", shell(folder)),
        ),
        Err(error) => (
            format!("{perspective} cannot look at this folder: {error}"),
            "let the user of the service enter it and the folders above it".to_owned(),
        ),
        Ok(found) if !found.is_dir() => (
            "this is no folder: each challenge gets 404".to_owned(),
            "correct `acme_challenges`".to_owned(),
        ),
        Ok(_) if access(folder, Access::EXEC_OK).is_err() => (
            format!("{perspective} may not open files in this folder"),
            format!("chmod a+x {}", shell(folder)),
        ),
        Ok(_) => return None,
    };
    Some(Finding::warning(shown, message, help))
}

/// The folder of a file that is to be made.
fn writable_folder(place: &OwnFile, what: &str, perspective: Perspective) -> Option<Finding> {
    let folder = folder_of(&place.path);
    let subject = folder.display().to_string();
    if !folder.is_dir() {
        let message = format!("the folder of {what} is missing");
        let help = format!(
            "make it for the user of the service: mkdir -m 700 {}",
            shell(&folder)
        );
        return Some(Finding::error(subject, message, help));
    }
    let error = access(&folder, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let message = format!("{perspective} cannot make {what} in this folder: {error}");
    if !place.is_certain {
        let help = "nothing to do where the unit of the service gives it another folder, as with \
                    StateDirectory=; else name one that the user of the service may write to";
        return Some(Finding::warning(subject, message, help));
    }
    let help = perspective.to_own(&folder);
    Some(Finding::error(subject, message, help))
}

/// Who can write the configuration can let anybody in.
fn open_to_others(path: &Path) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.mode() & 0o7777;
    (mode & 0o002 != 0).then(|| {
        Finding::warning(
            path.display().to_string(),
            format!("everybody on this machine can change it (mode {mode:04o})"),
            format!("chmod o-w {}", shell(path)),
        )
    })
}

/// In such a folder everybody can put another file in the place of ours; a sticky bit, as of
/// /tmp, keeps them from it.
fn replaceable(folder: &Path) -> Option<Finding> {
    let mode = fs::metadata(folder).ok()?.mode() & 0o7777;
    (mode & 0o1002 == 0o002).then(|| {
        Finding::warning(
            folder.display().to_string(),
            format!("everybody on this machine can replace files in this folder (mode {mode:04o})"),
            format!("chmod o-w {}", shell(folder)),
        )
    })
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

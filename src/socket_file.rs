//! Socket files: ours alone or a group's, never taken from a server that lives, gone with its server.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use rand::TryRng;
use rand::rngs::SysRng;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use crate::regular_file::{self, Distrust, Owners};

/// Clients that wait to be accepted.
const BACKLOG: i32 = 128;

/// What a socket file is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    /// As in "the admin socket".
    name: &'static str,
    setting: &'static str,
    mode: u32,
    /// Of the folder, where it has to be made.
    folder_mode: u32,
}

/// The owner may connect, nobody else.
pub(crate) static ADMIN: Purpose = Purpose {
    name: "admin socket",
    setting: "`socket` in [admin]",
    mode: 0o600,
    folder_mode: 0o700,
};

/// So may the group: it has the proxies that ask by forward auth.
pub(crate) static AUTH: Purpose = Purpose {
    name: "socket for forward auth",
    setting: "`auth_listen` in [server]",
    mode: 0o660,
    folder_mode: 0o750,
};

/// Why there is no socket.
#[derive(Debug)]
pub(crate) struct BindError {
    purpose: &'static Purpose,
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// The folder of the socket is missing and cannot be made.
    Folder(io::Error),
    /// A server answers there.
    InUse,
    Io(io::Error),
    /// There is something else, which is not ours to remove.
    NoSocket,
    /// Another user could put a socket of their own in its place (SEC-98).
    Untrusted(Distrust),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let Purpose { name, setting, .. } = self.purpose;
        match &self.cause {
            Cause::Folder(error) => write!(
                f,
                "cannot make the folder of the {name} {path}: {error}; make it, or set {setting}"
            ),
            Cause::InUse => write!(
                f,
                "another server answers at the {name} {path}; stop it, or give this one a socket of \
                 its own: {setting}"
            ),
            Cause::Io(error) => {
                write!(f, "cannot bind the {name} {path}: {error}; see {setting}")
            }
            Cause::Untrusted(distrust) => write!(f, "the {name}: {distrust}"),
            Cause::NoSocket => write!(
                f,
                "{path} is in the way of the {name} and is none; move it, or set {setting}"
            ),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Folder(error) | Cause::Io(error) => Some(error),
            Cause::InUse | Cause::NoSocket | Cause::Untrusted(_) => None,
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The name of a bound socket; removes it when dropped, if it is still this one.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: Inode,
}

/// Device and number: two files with the same are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode(u64, u64);

impl Inode {
    fn of(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|metadata| Self(metadata.dev(), metadata.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Inode::of(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A second name of a file, gone with this value.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Binds the socket. One that a dead server has left is replaced; whatever else is there stays.
pub(crate) fn bind(
    path: &Path,
    purpose: &'static Purpose,
) -> Result<(UnixListener, SocketFile), BindError> {
    let bound = try_bind(path, purpose);
    bound.map_err(|cause| BindError {
        purpose,
        path: path.to_owned(),
        cause,
    })
}

fn try_bind(path: &Path, purpose: &Purpose) -> Result<(UnixListener, SocketFile), Cause> {
    make_folder(path, purpose.folder_mode)?;
    regular_file::trust_folders(path, &Owners::own()).map_err(Cause::Untrusted)?;
    // Bound under another name, it gets its own as a whole: with its mode, and listening.
    let temporary = beside(path)?;
    let socket = listen(&temporary.0, purpose.mode)?;
    claim(&temporary, path)?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: Inode::of(&temporary.0)?,
    };
    let listener = UnixListener::from_std(socket.into())?;
    Ok((listener, file))
}

/// In a folder that is there; nobody else may look into ours.
fn make_folder(path: &Path, mode: u32) -> Result<(), Cause> {
    let Some(folder) = path.parent().filter(|folder| !is_empty(folder)) else {
        return Ok(());
    };
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Cause::Folder(error)),
        _ => Ok(()),
    }
}

fn is_empty(folder: &Path) -> bool {
    folder.as_os_str().is_empty()
}

/// A name in the same folder that nobody has.
fn beside(path: &Path) -> io::Result<Temporary> {
    let number = SysRng.try_next_u32().map_err(io::Error::other)?;
    Ok(Temporary(path.with_file_name(format!(".{number:08x}"))))
}

/// Until it listens, nobody can connect, so nobody can before its mode says who may.
fn listen(path: &Path, mode: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Gives the socket its name; of two servers that start at the same moment one gets it.
fn claim(socket: &Temporary, path: &Path) -> Result<(), Cause> {
    for _ in 0..3 {
        match fs::hard_link(&socket.0, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return Ok(linked?),
        }
        match remove_dead(path) {
            Ok(()) => {}
            Err(Cause::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(Cause::InUse)
}

/// Removes a socket at which nobody listens any more.
fn remove_dead(path: &Path) -> Result<(), Cause> {
    let found = fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() {
        return Err(Cause::NoSocket);
    }
    if answers(path)? {
        return Err(Cause::InUse);
    }
    // Another server may have done the same meanwhile, and have put its own there: what is moved
    // aside is looked at again, and put back if it is not what was found dead.
    let aside = beside(path)?;
    fs::rename(path, &aside.0)?;
    if Inode::of(&aside.0)? == Inode(found.dev(), found.ino()) {
        return Ok(());
    }
    fs::hard_link(&aside.0, path)?;
    Err(Cause::InUse)
}

fn answers(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?; // a full queue would keep us waiting, and is one of a server
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn the_socket_is_ours_alone_and_gone_with_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.sock");
        let (_listener, file) = bind(&path, &ADMIN).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "no other name is left");
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn sec_95_the_socket_for_forward_auth_is_for_its_group_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/auth.sock");
        let (_listener, _file) = bind(&path, &AUTH).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o750);
        let refused = bind(&path, &AUTH).unwrap_err().to_string();
        assert!(refused.contains("`auth_listen` in [server]"), "{refused}");
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (listener, file) = bind(&path, &ADMIN).unwrap();
        let refused = bind(&path, &ADMIN).unwrap_err();
        assert!(matches!(refused.cause, Cause::InUse), "{refused}");
        UnixStream::connect(&path).unwrap();
        drop(listener);
        std::mem::forget(file); // as a crash does
        assert!(UnixStream::connect(&path).is_err());
        let (_listener, _file) = bind(&path, &ADMIN).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn of_two_that_find_a_dead_socket_at_once_one_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let path = folder.path().join(format!("{round}.sock"));
            drop(listen(&path, ADMIN.mode).unwrap()); // dead
            let both: Vec<_> = (0..2)
                .map(|_| {
                    let path = path.clone();
                    tokio::task::spawn_blocking(move || bind(&path, &ADMIN))
                })
                .collect();
            let mut bound = Vec::new();
            for attempt in both {
                match attempt.await.unwrap() {
                    Ok(socket) => bound.push(socket),
                    Err(error) => assert!(matches!(error.cause, Cause::InUse), "{error}"),
                }
            }
            assert_eq!(bound.len(), 1, "round {round}");
            UnixStream::connect(&path).unwrap();
        }
    }

    #[tokio::test]
    async fn what_another_server_has_put_there_is_not_removed_with_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (_ours, file) = bind(&path, &ADMIN).unwrap();
        fs::remove_file(&path).unwrap();
        let (_others, _file) = bind(&path, &ADMIN).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn what_is_no_socket_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        fs::write(&path, "mine").unwrap();
        let refused = bind(&path, &ADMIN).unwrap_err();
        assert!(matches!(refused.cause, Cause::NoSocket), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let target = folder.path().join("target");
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let refused = bind(&link, &ADMIN).unwrap_err();
        assert!(matches!(refused.cause, Cause::NoSocket), "{refused}");
        assert!(!target.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_and_a_path_that_is_too_long_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("no/such/admin.sock");
        let refused = bind(&deep, &ADMIN).unwrap_err();
        assert!(matches!(refused.cause, Cause::Folder(..)), "{refused}");
        let long = folder.path().join("x".repeat(120));
        let refused = bind(&long.join("admin.sock"), &ADMIN).unwrap_err();
        assert!(matches!(refused.cause, Cause::Io(..)), "{refused}");
    }
}

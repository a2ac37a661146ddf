//! The socket file: ours alone, never taken from a server that lives, gone with its server.

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

/// The owner may connect, nobody else.
const MODE: u32 = 0o600;

/// Why there is no socket.
#[derive(Debug)]
pub(crate) enum BindError {
    /// The folder of the socket is missing and cannot be made.
    Folder(PathBuf, io::Error),
    /// A server answers there.
    InUse(PathBuf),
    Io(PathBuf, io::Error),
    /// There is something else, which is not ours to remove.
    NoSocket(PathBuf),
    /// Another user could put a socket of their own in its place (SEC-98).
    Untrusted(Distrust),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path, error) => write!(
                f,
                "cannot make the folder of the admin socket {}: {error}; make it, or set `socket` \
                 in [admin]",
                path.display()
            ),
            Self::InUse(path) => write!(
                f,
                "another server answers at the admin socket {}; stop it, or give this one a \
                 `socket` of its own in [admin]",
                path.display()
            ),
            Self::Io(path, error) => write!(
                f,
                "cannot bind the admin socket {}: {error}; see `socket` in [admin]",
                path.display()
            ),
            Self::Untrusted(distrust) => write!(f, "the admin socket: {distrust}"),
            Self::NoSocket(path) => write!(
                f,
                "{} is in the way of the admin socket and is none; move it, or set `socket` in \
                 [admin]",
                path.display()
            ),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder(_, error) | Self::Io(_, error) => Some(error),
            Self::InUse(_) | Self::NoSocket(_) | Self::Untrusted(_) => None,
        }
    }
}

/// The name of a bound socket; removes it when dropped, if it is still this one.
#[derive(Debug)]
pub(super) struct SocketFile {
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
pub(super) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    make_folder(path)?;
    regular_file::trust_folders(path, &Owners::own()).map_err(BindError::Untrusted)?;
    let failed = |error| BindError::Io(path.to_owned(), error);
    // Bound under another name, it gets its own as a whole: with its mode, and listening.
    let temporary = beside(path).map_err(failed)?;
    let socket = listen(&temporary.0).map_err(failed)?;
    claim(&temporary, path)?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: Inode::of(&temporary.0).map_err(failed)?,
    };
    let listener = UnixListener::from_std(socket.into()).map_err(failed)?;
    Ok((listener, file))
}

/// In a folder that is there; nobody else may look into ours.
fn make_folder(path: &Path) -> Result<(), BindError> {
    let Some(folder) = path.parent().filter(|folder| !is_empty(folder)) else {
        return Ok(());
    };
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(BindError::Folder(path.to_owned(), error))
        }
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
fn listen(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Gives the socket its name; of two servers that start at the same moment one gets it.
fn claim(socket: &Temporary, path: &Path) -> Result<(), BindError> {
    let failed = |error| BindError::Io(path.to_owned(), error);
    for _ in 0..3 {
        match fs::hard_link(&socket.0, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return linked.map_err(failed),
        }
        match remove_dead(path) {
            Ok(()) => {}
            Err(BindError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(BindError::InUse(path.to_owned()))
}

/// Removes a socket at which nobody listens any more.
fn remove_dead(path: &Path) -> Result<(), BindError> {
    let failed = |error| BindError::Io(path.to_owned(), error);
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.file_type().is_socket() {
        return Err(BindError::NoSocket(path.to_owned()));
    }
    if answers(path).map_err(failed)? {
        return Err(BindError::InUse(path.to_owned()));
    }
    // Another server may have done the same meanwhile, and have put its own there: what is moved
    // aside is looked at again, and put back if it is not what was found dead.
    let aside = beside(path).map_err(failed)?;
    fs::rename(path, &aside.0).map_err(failed)?;
    if Inode::of(&aside.0).map_err(failed)? == Inode(found.dev(), found.ino()) {
        return Ok(());
    }
    fs::hard_link(&aside.0, path).map_err(failed)?;
    Err(BindError::InUse(path.to_owned()))
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
        let (_listener, file) = bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "no other name is left");
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (listener, file) = bind(&path).unwrap();
        let refused = bind(&path).unwrap_err();
        assert!(matches!(refused, BindError::InUse(_)), "{refused}");
        UnixStream::connect(&path).unwrap();
        drop(listener);
        std::mem::forget(file); // as a crash does
        assert!(UnixStream::connect(&path).is_err());
        let (_listener, _file) = bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn of_two_that_find_a_dead_socket_at_once_one_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let path = folder.path().join(format!("{round}.sock"));
            drop(listen(&path).unwrap()); // dead
            let both: Vec<_> = (0..2)
                .map(|_| {
                    let path = path.clone();
                    tokio::task::spawn_blocking(move || bind(&path))
                })
                .collect();
            let mut bound = Vec::new();
            for attempt in both {
                match attempt.await.unwrap() {
                    Ok(socket) => bound.push(socket),
                    Err(error) => assert!(matches!(error, BindError::InUse(_)), "{error}"),
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
        let (_ours, file) = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let (_others, _file) = bind(&path).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn what_is_no_socket_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        fs::write(&path, "mine").unwrap();
        let refused = bind(&path).unwrap_err();
        assert!(matches!(refused, BindError::NoSocket(_)), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let target = folder.path().join("target");
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let refused = bind(&link).unwrap_err();
        assert!(matches!(refused, BindError::NoSocket(_)), "{refused}");
        assert!(!target.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_and_a_path_that_is_too_long_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("no/such/admin.sock");
        let refused = bind(&deep).unwrap_err();
        assert!(matches!(refused, BindError::Folder(..)), "{refused}");
        let long = folder.path().join("x".repeat(120));
        let refused = bind(&long.join("admin.sock")).unwrap_err();
        assert!(matches!(refused, BindError::Io(..)), "{refused}");
    }
}

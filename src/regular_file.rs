//! Files that are read whole while others wait, and whether they can be trusted.

mod trust;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

pub(crate) use trust::{Distrust, Owners, shared_with_a_group, shell, trust, trust_folders};

/// More than a users file of a hundred thousand users.
const MAX: u64 = 64 * 1024 * 1024;

/// Opens a file for reading. A pipe or a device in its place is an error, and not waited for: it
/// may never say anything, and whoever reads it would stop the service.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(invalid("it is a folder"));
    }
    if !kind.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    Ok(file)
}

/// The content of one that was opened so; more than 64 MiB is an error.
pub(crate) fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX {
        return Err(invalid("it has more than 64 MiB"));
    }
    Ok(content)
}

/// The content of the one at `path`, which has to be UTF-8.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let content = read(&open(path)?)?;
    String::from_utf8(content).map_err(|_| invalid("it is no UTF-8 text"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn said<T: std::fmt::Debug>(opened: io::Result<T>) -> String {
        opened.unwrap_err().to_string()
    }

    #[test]
    fn only_a_file_that_ends_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "content").unwrap();
        assert_eq!(read(&open(&path).unwrap()).unwrap(), b"content");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&open(&link).unwrap()).unwrap(), b"content");
        assert_eq!(text(&path).unwrap(), "content");
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(said(text(&path)), "it is no UTF-8 text");
        assert_eq!(said(open(folder.path())), "it is a folder");
        assert_eq!(said(open(Path::new("/dev/zero"))), "it is no regular file");
        let large = File::create(&path).unwrap();
        large.set_len(MAX + 1).unwrap();
        let refused = read(&open(&path).unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), "it has more than 64 MiB");
        large.set_len(MAX).unwrap();
        assert_eq!(read(&open(&path).unwrap()).unwrap().len() as u64, MAX);
    }
}

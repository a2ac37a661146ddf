//! Files that are read whole while others wait, and whether they can be trusted.

mod replace;
mod secret;
mod trust;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

pub(crate) use replace::{create, replace};
pub(crate) use secret::{SecretError, secret};
pub(crate) use trust::{
    Distrust, Owners, operand, quoted, shared_with_a_group, shell, trust, trust_folders,
};

/// More than a users file of a hundred thousand users.
const MAX: u64 = 64 * 1024 * 1024;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Opens a file for reading. A pipe or a device in its place is an error, and not waited for: it
/// may never say anything, and whoever reads it would stop the service.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::NONBLOCK)
}

/// The same, but a symbolic link in its place is an error.
pub(crate) fn open_itself(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::NONBLOCK | OFlags::NOFOLLOW)
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
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
    decode(read(&open(path)?)?, path)
}

/// A text without the byte order mark that Windows programs put in front; of another encoding it
/// is said how to convert it.
pub(crate) fn decode(content: Vec<u8>, path: &Path) -> io::Result<String> {
    if is_utf16(&content) {
        return Err(utf16(path));
    }
    let mut text = String::from_utf8(content)
        .map_err(|_| foreign("it is no UTF-8 text", "ISO-8859-1", path))?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

/// By the byte order mark.
pub(crate) fn is_utf16(content: &[u8]) -> bool {
    matches!(content, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

pub(crate) fn utf16(path: &Path) -> io::Error {
    foreign("it is UTF-16 text", "UTF-16", path)
}

fn foreign(what: &str, encoding: &str, path: &Path) -> io::Error {
    let command = to_utf8(encoding, path);
    let what = format!("{what}; convert it with `{command}`");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The command that converts a file, for people.
pub(crate) fn to_utf8(encoding: &str, path: &Path) -> String {
    let mut new = path.as_os_str().to_owned();
    new.push(".utf8");
    let (old, new) = (shell(path), shell(Path::new(&new)));
    format!("iconv -f {encoding} -t UTF-8 {old} > {new}")
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
        let refused = open_itself(&link).unwrap_err();
        assert_eq!(
            refused.raw_os_error(),
            Some(rustix::io::Errno::LOOP.raw_os_error())
        );
        assert_eq!(read(&open_itself(&path).unwrap()).unwrap(), b"content");
        assert_eq!(text(&path).unwrap(), "content");
        fs::write(&path, "\u{feff}content").unwrap();
        assert_eq!(text(&path).unwrap(), "content");
        let shown = path.display();
        for (bytes, said_of_it, encoding) in [
            (&b"J\xfcrgen"[..], "it is no UTF-8 text", "ISO-8859-1"),
            (b"\xff\xfea\0", "it is UTF-16 text", "UTF-16"),
            (b"\xfe\xff\0a", "it is UTF-16 text", "UTF-16"),
        ] {
            fs::write(&path, bytes).unwrap();
            let expected = format!(
                "{said_of_it}; convert it with `iconv -f {encoding} -t UTF-8 {shown} > {shown}.utf8`"
            );
            assert_eq!(said(text(&path)), expected);
        }
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

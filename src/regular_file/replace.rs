//! Writes files whole: whoever reads one, or finds it after a crash or on a full disk, has all of the
//! old content or all of the new one (REL-09). Only the owner may read or write them.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Makes a file, which is an error where there is one.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let (new, folder) = write_beside(path, content)?;
    new.persist_noclobber(path)?;
    folder.sync_all()
}

/// Makes a file, or replaces the one that is there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (new, folder) = write_beside(path, content)?;
    new.persist(path)?;
    folder.sync_all()
}

/// The file under another name, and its folder, which has to be synced for the name to last.
fn write_beside(path: &Path, content: &[u8]) -> io::Result<(NamedTempFile, File)> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut new = tempfile::Builder::new()
        .prefix(&format!(".{name}-"))
        .suffix(".tmp")
        .tempfile_in(folder)?;
    new.write_all(content)?;
    new.as_file().sync_all()?;
    Ok((new, File::open(folder)?))
}

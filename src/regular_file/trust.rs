//! Whether a file is ours: only then what it says can be trusted (SEC-98).

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

/// Who else could have written what a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// The file, or a folder above it, belongs to another user.
    Owner { path: PathBuf, owner: u32 },
    /// Everybody may put another file in its place.
    Writable { folder: PathBuf, mode: u32 },
}

/// Users whose files are trusted; root is one of them in any case.
#[derive(Clone, Debug)]
pub(crate) struct Owners(Vec<u32>);

impl Owners {
    /// The user that this process runs as.
    pub(crate) fn own() -> Self {
        Self(vec![rustix::process::geteuid().as_raw()])
    }

    /// Adds the owner of the first of these paths that exists.
    pub(crate) fn or_of<'a>(mut self, paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut found = paths.into_iter().filter_map(|path| fs::metadata(path).ok());
        self.0.extend(found.next().map(|found| found.uid()));
        self
    }

    fn have(&self, file: &Metadata) -> bool {
        file.uid() == 0 || self.0.contains(&file.uid())
    }
}

/// Judges a file, where links lead, and the folders above it, those of its links among them. What
/// is missing is nobody's.
pub(crate) fn trust(path: &Path, owners: &Owners) -> Result<(), Distrust> {
    if let Ok(found) = fs::metadata(path)
        && !owners.have(&found)
    {
        return Err(Distrust::Owner {
            path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            owner: found.uid(),
        });
    }
    trust_folders(path, owners)
}

/// Judges only the folders above a file. In one with a sticky bit, as /tmp has, others can make
/// files, and neither remove nor rename one of ours: its owner is what tells.
pub(crate) fn trust_folders(path: &Path, owners: &Owners) -> Result<(), Distrust> {
    for (folder, found) in folders(path) {
        let mode = found.mode() & 0o7777;
        if !owners.have(&found) {
            return Err(Distrust::Owner {
                path: folder,
                owner: found.uid(),
            });
        }
        if mode & 0o1002 == 0o002 {
            return Err(Distrust::Writable { folder, mode });
        }
    }
    Ok(())
}

/// Folders above a file in which a group may put another one in its place, with their modes.
pub(crate) fn shared_with_a_group(path: &Path) -> Vec<(PathBuf, u32)> {
    let modes = folders(path).map(|(folder, found)| (folder, found.mode() & 0o7777));
    modes.filter(|(_, mode)| mode & 0o1020 == 0o020).collect()
}

/// The folders above a file, by its name and by where links lead, up to the root.
fn folders(path: &Path) -> impl Iterator<Item = (PathBuf, Metadata)> {
    let named = absolute(path).unwrap_or_else(|_| path.to_owned());
    let parent = named.parent().map(Path::to_owned);
    let real = fs::canonicalize(path).or_else(|_| {
        fs::canonicalize(parent.unwrap_or_default()).map(|folder| folder.join("file"))
    });
    let above = |path: &Path| {
        path.ancestors()
            .skip(1)
            .map(Path::to_owned)
            .collect::<Vec<_>>()
    };
    let mut folders = above(&named);
    for folder in real.map(|real| above(&real)).unwrap_or_default() {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
        .into_iter()
        .filter_map(|folder| fs::metadata(&folder).ok().map(|found| (folder, found)))
}

impl Distrust {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Owner { path, .. } => path,
            Self::Writable { folder, .. } => folder,
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Owner { owner, .. } => format!("it belongs to another user ({owner})"),
            Self::Writable { mode, .. } => format!(
                "everybody on this machine can replace files in this folder (mode {mode:04o})"
            ),
        }
    }

    /// A command.
    pub(crate) fn fix(&self) -> String {
        match self {
            Self::Owner { path, .. } => {
                let user = rustix::process::geteuid().as_raw();
                format!("chown {user} {}", shell(path))
            }
            Self::Writable { folder, .. } => format!("chmod o-w {}", shell(folder)),
        }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, message, fix) = (self.path().display(), self.message(), self.fix());
        write!(f, "{path} cannot be trusted: {message}; do `{fix}`")
    }
}

impl std::error::Error for Distrust {}

/// As in `chmod 600 PATH`, but with what a shell would take apart in quotes.
pub(crate) fn shell(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A word of a command, in quotes where a shell would take it apart.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@:,".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The same for a word that a command must not take for an option; no option can follow it.
pub(crate) fn operand(word: &str) -> String {
    let end_of_options = if word.starts_with('-') { "-- " } else { "" };
    format!("{end_of_options}{}", quoted(word))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    const NOBODY: u32 = 65534;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_word_stays_one_word_and_no_option() {
        for (word, expected) in [
            ("ada", "ada"),
            ("$(touch y)", "'$(touch y)'"),
            ("O'Brien", r"'O'\''Brien'"),
            ("-x", "-- -x"),
            ("-x y", "-- '-x y'"),
        ] {
            assert_eq!(operand(word), expected);
        }
    }

    /// A folder with a file in a folder.
    fn scene() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().canonicalize().unwrap().join("inner");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("file");
        fs::write(&file, "").unwrap();
        (outer, inner, file)
    }

    #[test]
    fn sec_98_a_folder_that_everybody_may_write_is_refused_unless_it_is_sticky() {
        let (outer, inner, file) = scene();
        let judged = || trust(&file, &Owners::own());
        assert_eq!(judged(), Ok(()));
        for folder in [&inner, &outer.path().canonicalize().unwrap()] {
            set_mode(folder, 0o777);
            let refused = judged().unwrap_err();
            assert_eq!(
                refused,
                Distrust::Writable {
                    folder: folder.clone(),
                    mode: 0o777
                }
            );
            let said = refused.to_string();
            let fix = format!("do `chmod o-w {}`", folder.display());
            assert!(said.ends_with(&fix), "{said}");
            set_mode(folder, 0o1777);
            assert_eq!(judged(), Ok(()));
            set_mode(folder, 0o775);
            assert_eq!(judged(), Ok(()));
            assert_eq!(shared_with_a_group(&file), [(folder.clone(), 0o775)]);
            set_mode(folder, 0o755);
        }
    }

    #[test]
    fn sec_98_folders_count_by_the_name_and_where_links_lead() {
        let (_outer, inner, file) = scene();
        let (_elsewhere, links, _) = scene();
        let link = links.join("link");
        symlink(&file, &link).unwrap();
        let judged = || trust(&link, &Owners::own());
        assert_eq!(judged(), Ok(()));
        for folder in [&inner, &links] {
            set_mode(folder, 0o707);
            assert_eq!(judged().unwrap_err().path(), folder);
            set_mode(folder, 0o755);
        }
        let missing = links.join("missing");
        set_mode(&links, 0o707);
        assert!(trust(&missing, &Owners::own()).is_err());
    }

    #[test]
    fn sec_98_files_and_folders_of_other_users_are_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let (_outer, inner, file) = scene();
        let (_elsewhere, links, _) = scene();
        let link = links.join("link");
        symlink(&file, &link).unwrap();
        for foreign in [&file, &inner] {
            chown(foreign, Some(NOBODY), None).unwrap();
            for name in [&file, &link] {
                let refused = trust(name, &Owners::own()).unwrap_err();
                let said = format!(
                    "{0} cannot be trusted: it belongs to another user (65534); do `chown 0 {0}`",
                    foreign.display()
                );
                assert_eq!(refused.to_string(), said);
            }
            let owners = Owners::own().or_of([Path::new("/missing"), foreign]);
            assert_eq!(trust(&file, &owners), Ok(()));
            chown(foreign, Some(0), None).unwrap();
        }
    }

    #[test]
    fn a_command_can_be_pasted() {
        for (path, expected) in [
            ("/etc/key.pem", "/etc/key.pem"),
            ("/etc/my key", "'/etc/my key'"),
            ("/it's", r"'/it'\''s'"),
            ("/a;b", "'/a;b'"),
        ] {
            assert_eq!(shell(path.as_ref()), expected);
        }
    }
}

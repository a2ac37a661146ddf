//! `vestibule user import`: takes over the users of Apache or nginx.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::{check_groups, say, warn_of_problems};
use crate::auth::htpasswd;
use crate::auth::users_file::edit::{self, NewUser};
use crate::cli::{ConfigFile, Failure};
use crate::regular_file;

/// Larger password files are a mistake.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// A password file of Apache or nginx, as `htpasswd` writes it
    file: PathBuf,
    /// A group for new users; can be given more than once
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Give existing users the password in the file, and keep their groups
    #[arg(long)]
    replace: bool,
    /// Skip lines that cannot be imported, instead of importing nobody
    #[arg(long)]
    skip_invalid: bool,
    #[command(flatten)]
    pub(super) config: ConfigFile,
}

/// Imports all or nobody, but for lines that `--skip-invalid` leaves out.
pub(super) fn import(
    users_file: &Path,
    args: &Import,
    out: &mut impl Write,
) -> Result<(), Failure> {
    check_groups(&args.groups)?;
    let (entries, refused) = htpasswd::parse(&read(&args.file)?);
    let file = args.file.display();
    for line in &refused {
        eprintln!("vestibule: {}", line.explain(&args.file));
    }
    if !refused.is_empty() && !args.skip_invalid {
        return Err(Failure::Failed(format!(
            "nobody was imported; fix the lines above ({}), or skip them with --skip-invalid",
            refused.len()
        )));
    }
    if entries.is_empty() {
        return Err(Failure::Failed(format!("{file} has no users to import")));
    }
    let users: Vec<_> = entries
        .iter()
        .map(|entry| NewUser {
            name: &entry.name,
            password: &entry.hash,
            groups: &args.groups,
            email: None,
        })
        .collect();
    let imported = edit::import(users_file, &users, args.replace)?;
    for name in &imported.added {
        say(out, format_args!("added {name}"))?;
    }
    for name in &imported.replaced {
        say(out, format_args!("{name} has the password of {file} now"))?;
    }
    for name in &imported.kept {
        say(
            out,
            format_args!(
                "kept {name}, who exists already; --replace takes the password in the file"
            ),
        )?;
    }
    warn_of_problems(users_file);
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = path.display();
    let cannot_read = |error| Failure::Failed(format!("cannot read {file}: {error}"));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(cannot_read(error)),
        Ok(size) if size as u64 > MAX_SIZE => Err(Failure::Failed(format!(
            "{file} is larger than 64 MiB, which no password file is"
        ))),
        // Of another encoding it is told which line is in it; there are none in this one.
        Ok(_) if regular_file::is_utf16(&bytes) => Err(cannot_read(regular_file::utf16(path))),
        Ok(_) => Ok(bytes),
    }
}

//! `vestibule user import`: takes over the users of Apache or nginx, or of another users file.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::{check_groups, say, warn_of_problems};
use crate::auth::htpasswd::{self, Entry};
use crate::auth::incarnation::UserId;
use crate::auth::users_file::edit::{self, NewUser};
use crate::auth::users_file::{self, User};
use crate::cli::{ConfigFile, Failure};
use crate::random::NoRandomness;
use crate::regular_file;

/// Larger password files are a mistake.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// A password file of Apache or nginx, as `htpasswd` writes it; or a users file of Vestibule,
    /// whose name ends in `.toml`
    file: PathBuf,
    /// A group for new users; can be given more than once
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Give existing users the password in the file, and keep their groups
    #[arg(long)]
    pub(super) replace: bool,
    /// Skip lines that cannot be imported, instead of importing nobody
    #[arg(long)]
    skip_invalid: bool,
    #[command(flatten)]
    pub(super) config: ConfigFile,
}

/// Imports all or nobody, but for lines that `--skip-invalid` leaves out.
pub(super) fn into_file(
    users_file: &Path,
    args: &Import,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let users = users(args)?;
    let new: Vec<_> = users.iter().map(NewUser::from).collect();
    let imported = edit::import(users_file, &new, args.replace)?;
    say_imported(
        (&imported.added, &imported.replaced, &imported.kept),
        args,
        out,
    )?;
    warn_of_problems(users_file);
    Ok(())
}

/// Those of the file, with the groups that were asked for.
pub(super) fn users(args: &Import) -> Result<Vec<User>, Failure> {
    check_groups(&args.groups)?;
    let in_groups = |user: User| {
        let mut groups = user.groups().to_vec();
        let more = args
            .groups
            .iter()
            .filter(|group| !user.groups().contains(group));
        groups.extend(more.cloned());
        user.in_groups(groups)
    };
    let users: Vec<_> = if args.file.extension().is_some_and(|end| end == "toml") {
        let users = users_file::read(&args.file);
        let users = users.map_err(|error| Failure::Failed(error.to_string()))?;
        users.iter().cloned().map(in_groups).collect()
    } else {
        let entries = of_htpasswd(args)?.into_iter();
        let users = entries.map(|entry| {
            let id = UserId::generate().map_err(|NoRandomness| {
                Failure::Failed("the system gives no random bytes".to_owned())
            })?;
            Ok(in_groups(User::new(entry.name, entry.hash).with_id(id)))
        });
        users.collect::<Result<_, Failure>>()?
    };
    if users.is_empty() {
        let file = args.file.display();
        return Err(Failure::Failed(format!("{file} has no users to import")));
    }
    Ok(users)
}

fn of_htpasswd(args: &Import) -> Result<Vec<Entry>, Failure> {
    let (entries, refused) = htpasswd::parse(&read(&args.file)?);
    for line in &refused {
        eprintln!("vestibule: {}", line.explain(&args.file));
    }
    if !refused.is_empty() && !args.skip_invalid {
        return Err(Failure::Failed(format!(
            "nobody was imported; fix the lines above ({}), or skip them with --skip-invalid",
            refused.len()
        )));
    }
    Ok(entries)
}

/// Who was added, has another password now, and was kept.
pub(super) fn say_imported<N: std::fmt::Display>(
    (added, replaced, kept): (&[N], &[N], &[N]),
    args: &Import,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let file = args.file.display();
    for name in added {
        say(out, format_args!("added {name}"))?;
    }
    for name in replaced {
        say(out, format_args!("{name} has the password of {file} now"))?;
    }
    for name in kept {
        say(
            out,
            format_args!(
                "kept {name}, who exists already; --replace takes the password in the file"
            ),
        )?;
    }
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

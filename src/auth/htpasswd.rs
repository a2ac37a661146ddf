//! Password files of Apache and nginx: `name:hash`, a line each.

use std::collections::HashMap;
use std::path::Path;

use super::password::{HashError, StoredHash};
use super::users_file::canonical;

/// One line that can be taken over.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) hash: StoredHash,
}

/// One line that cannot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    line: usize,
    /// As it stands there.
    name: String,
    cause: Cause,
}

#[derive(Debug, PartialEq, Eq)]
enum Cause {
    Hash(HashError),
    Name,
    NoColon,
    NoPassword,
    /// Names are the same in any case; this is the line of the first.
    SameName(usize),
}

impl Refused {
    /// What is wrong, and how to fix it in `file`. Never shows the password of a line, hashed or
    /// not.
    pub(crate) fn explain(&self, file: &Path) -> String {
        let (file, Self { line, name, cause }) = (file.display(), self);
        let anew = || {
            format!(
                "set a new one with `htpasswd -B {file} {name}`, or remove the line and do \
                 `vestibule user add {name}`"
            )
        };
        let reason = match cause {
            Cause::NoColon => return format!("{file}:{line}: no `:`; a line is `name:hash`"),
            Cause::Name => "no valid name; a name is 1 to 64 letters and digits of ASCII, and any \
                            of `._@+-`"
                .to_owned(),
            Cause::SameName(first) => format!(
                "the same name as in line {first}, because upper and lower case count as equal; \
                 remove one"
            ),
            Cause::NoPassword => format!("no password; {}", anew()),
            Cause::Hash(HashError::NotAHash) => {
                format!("the password is DES crypt or not hashed at all; {}", anew())
            }
            Cause::Hash(error) => format!("{error}; {}", anew()),
        };
        format!("{file}:{line}: user {name:?}: {reason}")
    }
}

/// Judges each line. As in Apache, spaces around a line, empty lines and those that begin with
/// `#` are nothing; what follows a second `:` is a comment, as in nginx.
pub(crate) fn parse(text: &str) -> (Vec<Entry>, Vec<Refused>) {
    let (mut entries, mut refused) = (Vec::new(), Vec::new());
    let mut seen = HashMap::new();
    for (line, text) in (1..).zip(text.lines().map(str::trim)) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (name, password) = text.split_once(':').unwrap_or((text, ""));
        let found = if text.contains(':') {
            judge(name, password, line, &mut seen)
        } else {
            Err(Cause::NoColon)
        };
        match found {
            Ok(hash) => entries.push(Entry {
                name: name.to_owned(),
                hash,
            }),
            Err(cause) => refused.push(Refused {
                line,
                name: name.to_owned(),
                cause,
            }),
        }
    }
    (entries, refused)
}

/// `seen` has the line of each name so far.
fn judge(
    name: &str,
    password: &str,
    line: usize,
    seen: &mut HashMap<String, usize>,
) -> Result<StoredHash, Cause> {
    let canonical = canonical(name).ok_or(Cause::Name)?;
    let first = *seen.entry(canonical.into_owned()).or_insert(line);
    if first != line {
        return Err(Cause::SameName(first));
    }
    match password.split(':').next().unwrap_or_default() {
        "" => Err(Cause::NoPassword),
        hash => StoredHash::parse(hash).map_err(Cause::Hash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq";

    #[test]
    fn each_line_is_taken_or_refused_with_its_reason() {
        for (line, expected) in [
            (format!("ada:{BCRYPT}"), Ok("ada")),
            (format!("  ada:{BCRYPT}\r"), Ok("ada")),
            (format!("ada:{BCRYPT}:a comment: of nginx"), Ok("ada")),
            ("ada".to_owned(), Err("f:1: no `:`;")),
            (
                format!("a b:{BCRYPT}"),
                Err("f:1: user \"a b\": no valid name;"),
            ),
            (
                format!("zo\u{eb}:{BCRYPT}"),
                Err("f:1: user \"zo\u{eb}\": no valid name;"),
            ),
            (format!(":{BCRYPT}"), Err("f:1: user \"\": no valid name;")),
            (
                "ada:".to_owned(),
                Err("f:1: user \"ada\": no password; set a new one with `htpasswd -B f ada`"),
            ),
            (
                "ada:$apr1$x$y".to_owned(),
                Err("f:1: user \"ada\": Apache MD5 (apr1) password hashes are not supported; set"),
            ),
            (
                "ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(),
                Err("f:1: user \"ada\": unsalted SHA-1 password hashes"),
            ),
            (
                "ada:{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(),
                Err("f:1: user \"ada\": SHA-1 password hashes"),
            ),
            (
                "ada:rqXexS6ZhobKA".to_owned(),
                Err("f:1: user \"ada\": the password is DES crypt or not"),
            ),
            (
                "ada:geheim".to_owned(),
                Err("f:1: user \"ada\": the password is DES crypt or not"),
            ),
            (
                format!("ada:{}", BCRYPT.replace("$05$", "$16$")),
                Err("f:1: user \"ada\": the password hash costs too much"),
            ),
            (
                format!("ada:{}", &BCRYPT[..40]),
                Err("f:1: user \"ada\": the password is no complete bcrypt hash"),
            ),
        ] {
            let (entries, refused) = parse(&line);
            assert_eq!(entries.len() + refused.len(), 1, "{line}");
            match expected {
                Ok(name) => assert_eq!(
                    (entries[0].name.as_str(), entries[0].hash.as_str()),
                    (name, BCRYPT)
                ),
                Err(start) => {
                    let explained = refused[0].explain(Path::new("f"));
                    assert!(explained.starts_with(start), "{explained}");
                    let secret = line.split_once(':').map_or("", |(_, secret)| secret);
                    assert!(
                        secret.is_empty() || !explained.contains(secret),
                        "{explained}"
                    );
                }
            }
        }
        assert_eq!(parse("# ada:x\n\n  \n #\n"), (vec![], vec![]));
    }

    #[test]
    fn a_name_counts_once_in_any_case() {
        let (entries, refused) =
            parse(&format!("# first\nAda:{BCRYPT}\nada:{BCRYPT}\nbo:{BCRYPT}"));
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["Ada", "bo"]);
        let explained = refused[0].explain(Path::new("f"));
        assert!(
            explained.starts_with("f:3: user \"ada\": the same name as in line 2"),
            "{explained}"
        );
    }
}

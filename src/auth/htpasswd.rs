//! Password files of Apache and nginx: `name:hash`, a line each.

use std::collections::HashMap;
use std::path::Path;

use super::password::{HashError, StoredHash};
use crate::principal::user_name::{self, canonical, spelling};
use crate::regular_file::{operand, quoted, shell, to_utf8};

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
    /// No UTF-8.
    Encoding,
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
        let (path, file, Self { line, name, cause }) = (file, file.display(), self);
        let anew = || {
            format!(
                "set a new one with `htpasswd -B {} {name}`, or remove the line and do \
                 `vestibule user add {}`",
                shell(path),
                operand(name),
                name = quoted(name)
            )
        };
        let reason = match cause {
            Cause::Encoding => {
                return format!(
                    "{file}:{line}: no UTF-8 text; convert the file with `{}`, and import that one",
                    to_utf8("ISO-8859-1", path)
                );
            }
            Cause::NoColon => return format!("{file}:{line}: no `:`; a line is `name:hash`"),
            Cause::Name => format!("no valid name; {}", user_name::RULE),
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
pub(crate) fn parse(content: &[u8]) -> (Vec<Entry>, Vec<Refused>) {
    let marked = content.strip_prefix("\u{feff}".as_bytes());
    let content = marked.unwrap_or(content);
    let (mut entries, mut refused) = (Vec::new(), Vec::new());
    let mut seen = HashMap::new();
    let lines = content.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    for (line, bytes) in (1..).zip(lines) {
        if bytes.is_empty() || bytes.starts_with(b"#") {
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        let (name, password) = text.split_once(':').unwrap_or((&text, ""));
        let found = match str::from_utf8(bytes) {
            Err(_) => Err(Cause::Encoding),
            Ok(text) if !text.contains(':') => Err(Cause::NoColon),
            Ok(_) => judge(name, password, line, &mut seen),
        };
        match found {
            Ok((name, hash)) => entries.push(Entry { name, hash }),
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
) -> Result<(String, StoredHash), Cause> {
    let canonical = canonical(name).ok_or(Cause::Name)?;
    let spelling = spelling(name).ok_or(Cause::Name)?;
    let first = *seen.entry(canonical.into_owned()).or_insert(line);
    if first != line {
        return Err(Cause::SameName(first));
    }
    match password.split(':').next().unwrap_or_default() {
        "" => Err(Cause::NoPassword),
        hash => match StoredHash::parse(hash) {
            Ok(hash) => Ok((spelling.into_owned(), hash)),
            Err(error) => Err(Cause::Hash(error)),
        },
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
            (format!("Ada Lovelace:{BCRYPT}"), Ok("Ada Lovelace")),
            (format!("zo\u{eb}:{BCRYPT}"), Ok("zo\u{eb}")),
            (format!("zoe\u{308}:{BCRYPT}"), Ok("zo\u{eb}")),
            (format!("CORP\\ada:{BCRYPT}"), Ok("CORP\\ada")),
            (
                format!("a  b:{BCRYPT}"),
                Err("f:1: user \"a  b\": no valid name;"),
            ),
            (
                format!("ad\u{430}:{BCRYPT}"),
                Err("f:1: user \"ad\u{430}\": no valid name;"),
            ),
            (
                "a b:".to_owned(),
                Err("f:1: user \"a b\": no password; set a new one with `htpasswd -B f 'a b'`"),
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
            let (entries, refused) = parse(line.as_bytes());
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
        assert_eq!(parse(b"# ada:x\n\n  \n #\n"), (vec![], vec![]));
    }

    #[test]
    fn a_line_in_another_encoding_is_told_with_the_command_that_converts_the_file() {
        let mut file = format!("\u{feff}ada:{BCRYPT}\n").into_bytes();
        file.extend(b"# J\xfcrgen\nj\xfcrgen:x\n");
        let (entries, refused) = parse(&file);
        assert_eq!((entries.len(), refused.len()), (1, 1));
        assert_eq!(
            refused[0].explain(Path::new("/a b")),
            "/a b:3: no UTF-8 text; convert the file with `iconv -f ISO-8859-1 -t UTF-8 '/a b' > \
             '/a b.utf8'`, and import that one"
        );
    }

    #[test]
    fn a_name_counts_once_in_any_case() {
        let (entries, refused) =
            parse(format!("# first\nAda:{BCRYPT}\nada:{BCRYPT}\nbo:{BCRYPT}").as_bytes());
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["Ada", "bo"]);
        let explained = refused[0].explain(Path::new("f"));
        assert!(
            explained.starts_with("f:3: user \"ada\": the same name as in line 2"),
            "{explained}"
        );
    }
}

//! The user of quickstart: made once, with a password that a person can type.

use std::fs;
use std::io;
use std::path::Path;

use rand::TryRng;
use rand::rngs::SysRng;

use super::{Failure, write_private};
use crate::auth::password::Hasher;
use crate::auth::users_file::{self, edit};

pub(super) const USER: &str = "admin";
pub(super) const USERS: &str = "quickstart-users.toml";
pub(super) const PASSWORD: &str = "quickstart-password.txt";

/// No letter or digit that looks like another.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
const GROUPS: usize = 4;
const GROUP_LENGTH: usize = 5;

/// The password, as far as quickstart knows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Password {
    /// Somebody gave the user another one, or removed the user.
    Changed,
    Kept(String),
}

/// Makes what is missing, and leaves alone what is there: the users file may have been edited.
pub(super) fn ensure(folder: &Path) -> Result<Password, Failure> {
    let (users, kept) = (folder.join(USERS), folder.join(PASSWORD));
    let password = match fs::read_to_string(&kept) {
        Ok(text) => Some(text.trim().to_owned()).filter(|password| !password.is_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let message = format!("cannot read {}: {error}", kept.display());
            return Err(Failure::Failed(message));
        }
    };
    if users.exists() {
        return known(&users, password);
    }
    let password = match password {
        Some(password) => password,
        None => generate()?,
    };
    write_private(&kept, format!("{password}\n").as_bytes())?;
    let hash = Hasher::default()
        .hash(password.as_bytes())
        .map_err(|error| Failure::Failed(error.to_string()))?;
    edit::add(
        &users,
        &edit::NewUser {
            name: USER,
            password: &hash,
            groups: &["admins".to_owned()],
            email: None,
            disabled: false,
            id: None,
        },
    )?;
    Ok(Password::Kept(password))
}

fn known(users: &Path, password: Option<String>) -> Result<Password, Failure> {
    let users = users_file::read(users).map_err(|error| Failure::Failed(error.to_string()))?;
    let right = users
        .get(USER)
        .filter(|user| !user.disabled())
        .zip(password)
        .filter(|(user, kept)| Hasher::default().verify(user.password(), kept.as_bytes()));
    Ok(right.map_or(Password::Changed, |(_, kept)| Password::Kept(kept)))
}

/// 99 bits.
fn generate() -> Result<String, Failure> {
    // Above the largest multiple of the alphabet's length the first letters would come up more often.
    let fair = u8::MAX - u8::MAX % 31;
    let mut password = String::new();
    let mut length = 0;
    while length < GROUPS * GROUP_LENGTH {
        let mut byte = [0];
        SysRng
            .try_fill_bytes(&mut byte)
            .map_err(|error| Failure::Failed(format!("no random bytes for a password: {error}")))?;
        if byte[0] >= fair {
            continue;
        }
        if length > 0 && length % GROUP_LENGTH == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
        length += 1;
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_password_has_four_groups_of_five_and_is_never_the_same() {
        let passwords = [generate().unwrap(), generate().unwrap()];
        assert_ne!(passwords[0], passwords[1]);
        for password in passwords {
            let groups: Vec<_> = password.split('-').collect();
            assert_eq!(groups.len(), GROUPS, "{password}");
            for group in groups {
                assert_eq!(group.len(), GROUP_LENGTH, "{password}");
                assert!(
                    group.bytes().all(|byte| ALPHABET.contains(&byte)),
                    "{password}"
                );
            }
        }
    }

    #[test]
    fn sec_79_the_second_start_shows_the_password_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = ensure(folder.path()).unwrap();
        assert!(matches!(first, Password::Kept(_)));
        assert_eq!(ensure(folder.path()).unwrap(), first);
        for file in [USERS, PASSWORD] {
            let mode = fs::metadata(folder.path().join(file))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let users = users_file::read(&folder.path().join(USERS)).unwrap();
        assert_eq!(users.get(USER).unwrap().groups(), ["admins"]);
    }

    #[test]
    fn a_lost_users_file_is_made_again_with_the_kept_password() {
        let folder = tempfile::tempdir().unwrap();
        let first = ensure(folder.path()).unwrap();
        fs::remove_file(folder.path().join(USERS)).unwrap();
        assert_eq!(ensure(folder.path()).unwrap(), first);
    }

    #[test]
    fn a_password_that_somebody_changed_is_not_shown_and_not_reset() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path()).unwrap();
        let users = folder.path().join(USERS);
        let hash = Hasher::default().hash(b"another password").unwrap();
        edit::set_password(&users, USER, &hash).unwrap();
        let before = fs::read(&users).unwrap();
        assert_eq!(ensure(folder.path()).unwrap(), Password::Changed);
        assert_eq!(fs::read(&users).unwrap(), before);
        fs::remove_file(folder.path().join(PASSWORD)).unwrap();
        assert_eq!(ensure(folder.path()).unwrap(), Password::Changed);
    }
}

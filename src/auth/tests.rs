use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::auth::password::MAX_LENGTH;

fn file(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

fn of_file(path: &Path) -> Result<Accounts, UsersFileError> {
    let home = UsersHome::File(path.to_owned());
    Accounts::open(&home, &Nodes::alone(), &Clock::system())
}

fn secret(password: &[u8]) -> Secret<Vec<u8>> {
    Secret::new(password.to_vec())
}

fn own() -> crate::network::Network {
    crate::network::Network::of([192, 0, 2, 1].into())
}

#[tokio::test]
async fn sec_57_passwords_have_1_to_1024_bytes() {
    let longest = [b'x'; MAX_LENGTH];
    let hash = Hasher::default().hash(&longest).unwrap();
    let (_folder, path) = file(
        &format!("[user.ada]\npassword = \"{}\"", hash.as_str()),
        0o600,
    );
    let accounts = of_file(&path).unwrap();
    let verdict = accounts
        .verify(own(), "ada", secret(&longest))
        .await
        .unwrap();
    let Verdict::SignedIn(signed_in) = verdict else {
        panic!("1024 bytes are not too many");
    };
    assert_eq!(signed_in.methods().names(), "password");
    let ada = AccountRef::of_users_file("ada");
    assert_eq!(accounts.active(&ada).as_ref(), Some(signed_in.account()));
    for wrong in [&b""[..], &[b'x'; MAX_LENGTH + 1]] {
        let verdict = accounts.verify(own(), "ada", secret(wrong)).await.unwrap();
        assert!(matches!(verdict, Verdict::Refused));
    }
}

#[tokio::test]
async fn sec_56_beside_old_hashes_every_refusal_waits_for_the_interval() {
    let bcrypt = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let (_folder, path) = file(&format!("[user.old]\npassword = \"{bcrypt}\""), 0o600);
    let accounts = of_file(&path).unwrap();
    let interval = accounts.users.timing().unwrap();
    for name in ["old", "nobody"] {
        let started = Clock::stopwatch();
        let verdict = accounts
            .verify(own(), name, secret(b"wrong"))
            .await
            .unwrap();
        assert!(matches!(verdict, Verdict::Refused));
        assert!(started.elapsed() >= interval, "{name}");
    }
    let verdict = accounts.verify(own(), "old", secret(b"U*U")).await.unwrap();
    assert!(matches!(verdict, Verdict::SignedIn(_)));
    assert_eq!(accounts.users.timing(), None, "the last old hash is gone");
}

#[tokio::test]
async fn sec_56_beside_old_hashes_each_login_takes_its_thread_for_the_interval() {
    let bcrypt = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let own_hash = Hasher::default().hash(b"ada's").unwrap();
    let (_folder, path) = file(
        &format!(
            "[user.old]\npassword = \"{bcrypt}\"\n[user.ada]\npassword = \"{}\"",
            own_hash.as_str()
        ),
        0o600,
    );
    let accounts = of_file(&path).unwrap();
    let interval = accounts.users.timing().unwrap();
    let threads = hashing::threads();
    for (name, password) in [("old", "wrong"), ("nobody", "wrong"), ("ada", "ada's")] {
        let started = Clock::stopwatch();
        let before =
            (0..threads).map(|_| accounts.verify(own(), name, secret(password.as_bytes())));
        let before = futures_util::future::join_all(before);
        let behind = accounts.verify(own(), "ghost", secret(b"wrong"));
        let (_, behind) = tokio::join!(before, behind);
        assert!(matches!(behind, Ok(Verdict::Refused)));
        assert!(started.elapsed() >= 2 * interval, "behind {name}");
    }
}

#[test]
fn sec_79_sec_80_a_users_file_that_is_missing_open_or_invalid_stops_the_start() {
    for (mode, refused) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        let (_folder, path) = file("", mode);
        let opened = of_file(&path);
        assert_eq!(opened.is_err(), refused, "{mode:o}");
        if let Err(error) = opened {
            let message = error.to_string();
            assert!(message.contains(&format!("mode {mode:04o}")), "{message}");
            assert!(message.contains("chmod 600"), "{message}");
        }
    }
    let (folder, invalid) = file("[users]", 0o600);
    let error = of_file(&invalid).err().unwrap();
    assert!(error.to_string().contains("users.toml:1:2: "), "{error}");
    let error = of_file(&folder.path().join("none")).err();
    let message = error.unwrap().to_string();
    assert!(message.contains("vestibule user add NAME"), "{message}");
}

#[tokio::test]
async fn sec_96_a_proof_is_of_the_user_who_gave_it_and_not_of_the_next_with_the_name() {
    let bcrypt = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let text = |lines: &str| format!("[user.ada]\npassword = \"{bcrypt}\"\n{lines}");
    let (_folder, path) = file(&text("id = \"7\"\n"), 0o600);
    let accounts = of_file(&path).unwrap();
    let verdict = accounts.verify(own(), "ada", secret(b"U*U")).await;
    let Ok(Verdict::SignedIn(proof)) = verdict else {
        panic!("{verdict:?}");
    };
    // With the hash that has just taken the place of the old one.
    let now = accounts.still(&proof).unwrap();
    assert_eq!(now.incarnation().id.text(), Some("7"));
    let stored = fs::read_to_string(&path).unwrap();
    let changes = [
        (stored.replace("\"7\"", "\"8\""), false),
        (stored.replace("id = \"7\"\n", ""), false),
        (format!("{stored}disabled = true\n"), false),
        (text("id = \"7\"\n"), false), // another hash
        ("# nobody\n".to_owned(), false),
        (format!("{stored}groups = [\"a\"]\n"), true),
    ];
    for (text, is_same) in changes {
        fs::write(&path, &text).unwrap();
        accounts.users.refresh_now();
        assert_eq!(accounts.still(&proof).is_some(), is_same, "{text}");
    }
}

//! Password hashes of other programs sign in, and become argon2id when they do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::*;

/// Test vectors of those who invented the schemes: name, hash, password.
const FOREIGN: [(&str, &str, &str); 5] = [
    // Solar Designer's crypt_blowfish.
    (
        "bcrypt-b",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "U*U",
    ),
    (
        "bcrypt-a",
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK",
        "U*U*",
    ),
    (
        "bcrypt-y",
        "$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a",
        "U*U*U",
    ),
    // Ulrich Drepper's SHA-crypt.
    (
        "sha512-rounds",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        "Hello world!",
    ),
    (
        "sha256",
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "Hello world!",
    ),
];

/// Of 72 times `x`; of a longer password bcrypt would look at no more.
const BCRYPT_OF_72: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.D7RDOYXakZhsFmh/LdqQNx0kQ424AFS";

fn foreign(name: &str, hash: &str) -> User {
    User {
        hash: hash.to_owned(),
        ..User::new(name, PASSWORD)
    }
}

/// The hash of a user as the file has it now.
fn stored(gate: &mut Gate, name: &str) -> String {
    let text = fs::read_to_string(gate.files().path("users.toml")).unwrap();
    let table = text.split_once(&format!("[user.\"{name}\"]")).unwrap().1;
    table.split('"').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn each_scheme_opens_for_its_password_and_is_replaced_in_place() {
    for (name, hash, password) in FOREIGN {
        let app = Upstream::echo().await;
        let vestibule = Vestibule::before(&app).user("ada", PASSWORD);
        let mut gate = vestibule.account(foreign(name, hash)).start().await;
        let path = gate.files().path("users.toml");
        let before = fs::read_to_string(&path).unwrap();
        let before = format!("# Kept by hand.\n{before}# The end.\n");
        gate.files().write("users.toml", &before, 0o600);

        let wrong = gate.browser().try_login(name, "wrong").await;
        wrong.assert_status(401);
        assert_eq!(stored(&mut gate, name), hash, "by a wrong password");
        let browser = gate.browser().login(name, password).await;
        browser.get("/").await.assert_status(200);
        let upgraded = stored(&mut gate, name);
        assert!(upgraded.starts_with("$argon2id$"), "{upgraded}");
        let after = fs::read_to_string(&path).unwrap();
        assert_eq!(after, before.replace(hash, &upgraded));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        // The session that upgraded stays, and so does one that comes later.
        let again = gate.browser().login(name, password).await;
        again.get("/").await.assert_status(200);
        browser.get("/").await.assert_status(200);
        assert_eq!(stored(&mut gate, name), upgraded, "once is enough");
    }
}

#[tokio::test]
async fn sec_57_bcrypt_lets_nobody_in_by_the_part_that_it_looks_at() {
    let app = Upstream::echo().await;
    let long = foreign("long", BCRYPT_OF_72);
    let gate = Vestibule::before(&app).account(long).start().await;
    let full = "x".repeat(72);
    for wrong in [format!("{full}x"), format!("{full}\0"), "x".repeat(71)] {
        let reply = gate.browser().try_login("long", &wrong).await;
        reply.assert_status(401);
    }
    gate.browser().login("long", &full).await;
}

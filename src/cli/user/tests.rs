use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    user: Args,
}

fn new_user(line: &[&str]) -> Add {
    let line = ["user", "add"].iter().chain(line);
    match Line::try_parse_from(line).unwrap().user.action {
        Action::Add(add) => add,
        other => panic!("{other:?}"),
    }
}

fn secret(password: &str) -> Secret<Vec<u8>> {
    Secret::new(password.as_bytes().to_vec())
}

/// What it printed, or its exit code and message.
fn outcome(command: impl FnOnce(&mut Vec<u8>) -> Result<(), Failure>) -> String {
    let mut out = Vec::new();
    match command(&mut out) {
        Ok(()) => String::from_utf8(out).unwrap(),
        Err(Failure::Failed(message)) => format!("1: {message}"),
        Err(Failure::Usage(message)) => format!("2: {message}"),
        Err(Failure::Config(error)) => format!("78: {error}"),
        Err(Failure::NoServer(message)) => format!("3: {message}"),
        Err(Failure::Invalid(message)) => format!("78: {message}"),
    }
}

#[test]
fn a_user_is_added_listed_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.toml");
    let password = secret("a long enough password");
    let ada = new_user(&[
        "ada",
        "--group",
        "a",
        "--group",
        "b",
        "--email",
        "ada@example.org",
    ]);
    let added = outcome(|out| add(&file, &ada, &password, out));
    assert_eq!(added, format!("added ada to {}\n", file.display()));
    let again = outcome(|out| add(&file, &ada, &password, out));
    assert!(
        again.starts_with("1: there is a user \"ada\" already; "),
        "{again}"
    );
    outcome(|out| add(&file, &new_user(&["Bo"]), &password, out));
    let disabled = outcome(|out| set_disabled(&file, "bo", true, out));
    assert_eq!(disabled, "bo is disabled\n");
    let disabled = outcome(|out| set_disabled(&file, "bo", true, out));
    assert_eq!(disabled, "bo is already disabled\n");
    assert_eq!(
        outcome(|out| list(&file, false, out)),
        "NAME  STATE     PASSWORD  GROUPS  EMAIL\n\
         ada   enabled   argon2id  a,b     ada@example.org\n\
         Bo    disabled  argon2id  -       -\n"
    );
    let json = outcome(|out| list(&file, true, out));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json,
        serde_json::json!([
            {"name": "ada", "groups": ["a", "b"], "email": "ada@example.org", "disabled": false, "scheme": "argon2id"},
            {"name": "Bo", "groups": [], "email": null, "disabled": true, "scheme": "argon2id"},
        ])
    );
    let changed = outcome(|out| passwd(&file, "ada", &secret("another long password"), out));
    assert_eq!(changed, "ada has a new password\n");
    let users = users_file::read(&file).unwrap();
    let stored = users.get("ada").unwrap().password();
    assert!(Hasher::default().verify(stored, b"another long password"));
    assert_eq!(outcome(|out| remove(&file, "ada", out)), "removed ada\n");
    let gone = outcome(|out| remove(&file, "ada", out));
    assert!(gone.starts_with("1: there is no user \"ada\""), "{gone}");
}

#[test]
fn names_groups_addresses_and_passwords_are_checked_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.toml");
    for (line, expected) in [
        (&["a  b"][..], "2: \"a  b\" is no name"),
        (&["ada", "--group", "a,b"], "2: \"a,b\" is no group"),
        (
            &["ada", "--email", "ada"],
            "2: \"ada\" is no e-mail address",
        ),
    ] {
        let refused = outcome(|_| new_user(line).check());
        assert!(refused.starts_with(expected), "{refused}");
    }
    let ada = new_user(&["ada.lovelace"]);
    for password in ["short", "password123", "Ada.Lovelace"] {
        let refused = outcome(|out| add(&file, &ada, &secret(password), out));
        assert!(refused.starts_with("1: the password "), "{refused}");
    }
    assert!(!file.exists());
    let missing = outcome(|out| list(&file, false, out));
    assert!(
        missing.contains("`vestibule user add NAME` makes it"),
        "{missing}"
    );
}

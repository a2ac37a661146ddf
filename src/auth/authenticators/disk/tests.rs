use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::super::conformance::{conformance_tests, record};
use super::*;

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authenticators.redb");
    (folder, path)
}

conformance_tests!({
    let (folder, path) = place();
    (folder, Arc::new(Disk::open(&path).unwrap()))
});

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart_and_a_crash() {
    let (folder, path) = place();
    let disk = Disk::open(&path).unwrap();
    let (ada, bob) = (record("ada"), record("bob"));
    disk.insert_token(Arc::clone(&ada)).await.unwrap();
    disk.insert_token(Arc::clone(&bob)).await.unwrap();
    let used = vec![(ada.key, Timestamp::from_millis(7_000))];
    disk.touch_tokens(used).await.unwrap();
    disk.remove_tokens(vec![bob.key]).await.unwrap();
    // What a crash leaves at this moment.
    let crashed = folder.path().join("crashed.redb");
    fs::copy(&path, &crashed).unwrap();
    disk.close().await.unwrap();
    assert_eq!(disk.tokens(), Err(StoreError::Unavailable), "it is closed");
    for path in [path, crashed] {
        let mut kept = (*ada).clone();
        kept.last_used = Some(Timestamp::from_millis(7_000));
        let disk = Disk::open(&path).unwrap();
        assert_eq!(disk.tokens().unwrap(), [kept]);
    }
}

#[test]
fn sec_79_nobody_else_reads_the_file() {
    let (_folder, path) = place();
    drop(Disk::open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let error = Disk::open(&path).err().unwrap();
    assert!(error.is_invalid());
    let said = error.to_string();
    assert!(said.contains("(mode 0640)"), "{said}");
    assert!(said.contains("chmod 600"), "{said}");
}

#[test]
fn a_file_is_opened_once() {
    let (_folder, path) = place();
    let _first = Disk::open(&path).unwrap();
    let error = Disk::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert!(!error.is_invalid(), "it may be over soon");
}

#[tokio::test]
async fn a_damaged_file_stays_where_it_is_and_says_how_to_go_on() {
    let (_folder, path) = place();
    let disk = Disk::open(&path).unwrap();
    disk.insert_token(record("ada")).await.unwrap();
    disk.close().await.unwrap();
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    for byte in &mut torn[4096..] {
        *byte = 0xa5;
    }
    for damaged in [&b""[..], b"no database at all", &whole[..5000], &torn] {
        fs::write(&path, damaged).unwrap();
        let error = Disk::open(&path).err().unwrap();
        assert!(error.is_invalid(), "{error}");
        let said = error.to_string();
        assert!(said.contains("is damaged"), "{said}");
        assert!(
            said.contains(&format!("mv {0} {0}.damaged", path.display())),
            "{said}"
        );
        assert_eq!(fs::read(&path).unwrap().len(), damaged.len(), "left alone");
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(Disk::open(&path).unwrap().tokens().unwrap().len(), 1);
}

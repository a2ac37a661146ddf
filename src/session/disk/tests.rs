use std::fs::{self, Permissions};
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::ReadableDatabase;

use super::super::data::SET;
use super::super::id::SessionKey;
use super::super::record::Record;
use super::super::record::tests::record;
use super::super::store::conformance::{change, conformance_tests};
use super::super::store::{OpenError, SessionStore};
use super::Disk;
use super::tables::{OF_USER, SESSIONS};
use crate::clock::Timestamp;

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    (folder, path)
}

conformance_tests!({
    let (folder, path) = place();
    (folder, Arc::new(Disk::open(&path).unwrap()))
});

async fn with(path: &Path, records: &[Arc<Record>]) {
    let disk = Disk::open(path).unwrap();
    for record in records {
        disk.insert(Arc::clone(record)).await.unwrap();
    }
    disk.close().await.unwrap();
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart_whole() {
    let (_folder, path) = place();
    let mut ada = Arc::unwrap_or_clone(record("ada"));
    ada.email = Some("ada@example.org".to_owned());
    ada.user_agent = "\"quoted\" \u{1f980} \\".to_owned();
    ada.remembered = true;
    let (ada, bob) = (Arc::new(ada), record("bob"));
    let disk = Disk::open(&path).unwrap();
    disk.insert(Arc::clone(&ada)).await.unwrap();
    disk.insert(Arc::clone(&bob)).await.unwrap();
    disk.change_data(bob.key, "wiki".into(), change(&SET, "n=1, s=\"x\""))
        .await
        .unwrap();
    disk.touch(bob.key, Timestamp::from_millis(77_000));
    disk.close().await.unwrap();
    assert!(disk.load(ada.key).await.is_err(), "it is closed");
    assert!(disk.remove(vec![ada.key]).await.is_err(), "it is closed");

    let disk = Disk::open(&path).unwrap();
    assert_eq!(disk.count().await, Ok(2));
    assert_eq!(disk.latest(), Timestamp::from_millis(77_000));
    assert_eq!(disk.load(ada.key).await.unwrap(), Some(ada));
    let bob = disk.load(bob.key).await.unwrap().unwrap();
    assert_eq!(bob.data.header("wiki").unwrap(), "n=1, s=\"x\"");
    assert_eq!(bob.last_accessed, Timestamp::from_millis(77_000));
}

#[tokio::test]
async fn sec_46_what_was_removed_is_gone_after_a_crash() {
    let (folder, path) = place();
    let (ada, bob) = (record("ada"), record("bob"));
    let disk = Disk::open(&path).unwrap();
    disk.insert(Arc::clone(&ada)).await.unwrap();
    disk.insert(Arc::clone(&bob)).await.unwrap();
    disk.remove(vec![ada.key]).await.unwrap();
    // What a crash leaves at this moment.
    let crashed = folder.path().join("crashed.redb");
    fs::copy(&path, &crashed).unwrap();
    let after = Disk::open(&crashed).unwrap();
    assert_eq!(after.load(ada.key).await.unwrap(), None);
    assert_eq!(after.load(bob.key).await.unwrap(), Some(bob));
    assert_eq!(after.of_user("ada".into()).await.unwrap(), []);
    assert_eq!(after.count().await, Ok(1));
}

#[tokio::test]
async fn a_page_is_full_though_deletes_before_it_are_pending() {
    let (_folder, path) = place();
    let disk = Disk::open(&path).unwrap();
    let mut records: Vec<_> = (0..9).map(|_| record("ada")).collect();
    for record in &records {
        disk.insert(Arc::clone(record)).await.unwrap();
    }
    records.sort_by_key(|record| record.key);
    let pending = records[..5].iter().map(|record| record.key);
    disk.shared.pending_deletes().keys.extend(pending); // as long as the disk takes no writes
    let page = disk.range(Bound::Unbounded, SessionKey::LAST, 3).await;
    assert_eq!(page.unwrap(), records[5..8]);
}

#[tokio::test]
async fn rel_09_a_damaged_file_is_moved_aside_and_kept() {
    let records: Vec<_> = (0..200).map(|_| record("ada")).collect();
    let (_folder, good) = place();
    with(&good, &records).await;
    let good = fs::read(&good).unwrap();
    let mut flipped = good.clone();
    // In every copy of a record: some are on pages that are free again and that nobody reads.
    let copies = (0..good.len() - 16).filter(|at| good[*at..].starts_with(b"{\"u\":\"ada\""));
    copies.for_each(|at| flipped[at + 7] ^= 1);
    assert_ne!(flipped, good);
    for (case, bytes) in [
        ("text", b"hello\n".repeat(1000)),
        ("one byte", vec![0]),
        ("half a header", good[..40].to_vec()),
        ("cut short", good[..good.len() / 2].to_vec()),
        ("zeros", vec![0; good.len()]),
        ("one bit a record", flipped),
    ] {
        let (folder, path) = place();
        fs::write(&path, &bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let disk = Disk::open(&path).unwrap();
        assert_eq!(disk.count().await, Ok(0), "{case}");
        let ada = record("ada");
        disk.insert(Arc::clone(&ada)).await.unwrap();
        assert_eq!(disk.load(ada.key).await.unwrap(), Some(ada), "{case}");
        let aside = folder.path().join("sessions.redb.damaged-1");
        // A header that claims a repair is noted as begun may have been touched by it.
        assert_eq!(fs::read(aside).unwrap().len(), bytes.len(), "{case}");
    }
}

#[tokio::test]
async fn rel_19_a_record_that_cannot_be_read_is_left_alone() {
    let (_folder, path) = place();
    let (ada, bob) = (record("ada"), record("ada"));
    with(&path, &[Arc::clone(&ada), Arc::clone(&bob)]).await;
    let of_another = br#"{"v":3,"user":{"name":"ada"}}"#.as_slice();
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let key = ada.key.as_bytes();
    transaction
        .open_table(SESSIONS)
        .unwrap()
        .insert(key, of_another)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);

    let disk = Disk::open(&path).unwrap();
    assert_eq!(disk.count().await, Ok(2));
    assert_eq!(disk.load(ada.key).await, Ok(None));
    assert_eq!(disk.of_user("ada".into()).await, Ok(vec![Arc::clone(&bob)]));
    let all = disk.range(Bound::Unbounded, SessionKey::LAST, 9).await;
    assert_eq!(all, Ok(vec![bob]));
    let host = crate::request::Host::parse("gate.test").unwrap();
    let changed = disk.change_data(ada.key, "wiki".into(), change(&SET, "n=1"));
    assert_eq!(changed.await, Ok(None));
    assert_eq!(disk.bind(ada.key, host, "wiki".into()).await, Ok(None));
    disk.touch(ada.key, Timestamp::from_millis(77_000));
    disk.close().await.unwrap();

    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_read().unwrap();
    let sessions = transaction.open_table(SESSIONS).unwrap();
    assert_eq!(sessions.get(key).unwrap().unwrap().value(), of_another);
    let of_user = transaction.open_table(OF_USER).unwrap();
    assert!(of_user.get(("ada", key)).unwrap().is_some());
}

#[tokio::test]
async fn two_processes_do_not_share_a_file() {
    let (_folder, path) = place();
    let disk = Disk::open(&path).unwrap();
    let error = Disk::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert!(!error.is_invalid(), "the other one may end");
    assert!(error.to_string().contains("stop it"), "{error}");
    let ada = record("ada");
    disk.insert(Arc::clone(&ada)).await.unwrap();
    assert_eq!(disk.load(ada.key).await.unwrap(), Some(ada));
    disk.close().await.unwrap();
    assert_eq!(Disk::open(&path).unwrap().count().await, Ok(1));
}

#[tokio::test]
async fn sec_79_the_file_is_ours_alone() {
    let (_folder, path) = place();
    with(&path, &[]).await;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = Disk::open(&path).err().unwrap();
        assert!(error.is_invalid());
        let message = error.to_string();
        assert!(message.contains(&format!("mode {mode:04o}")), "{message}");
        assert!(message.contains("chmod 600"), "{message}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        let error = Disk::open(&path).err().unwrap();
        assert!(matches!(error, OpenError::Owner(_, 12345)), "{error}");
        assert!(error.is_invalid() && error.to_string().contains("chown"));
    }
    let nowhere = path.with_file_name("no such folder").join("sessions.redb");
    let error = Disk::open(&nowhere).err().unwrap();
    assert!(error.to_string().contains("make it"), "{error}");
}

#[tokio::test]
async fn what_waits_is_written_together() {
    let (_folder, path) = place();
    let disk = Arc::new(Disk::open(&path).unwrap());
    let started = crate::clock::Clock::stopwatch();
    let logins = (0..500).map(|n| {
        let disk = Arc::clone(&disk);
        tokio::spawn(async move {
            let record = record(&format!("user{n}"));
            disk.insert(Arc::clone(&record)).await.unwrap();
            disk.remove(vec![record.key]).await.unwrap()
        })
    });
    for login in logins.collect::<Vec<_>>() {
        assert_eq!(login.await.unwrap(), 1);
    }
    assert_eq!(disk.count().await, Ok(0));
    // A commit for each would take the disk a thousand flushes.
    assert!(started.elapsed() < Duration::from_secs(20));
}

//! Requests about sessions on the memory store, with keys that are made for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::protocol::{Done, SessionView};
use super::sessions::{self, PAGE};
use super::*;
use crate::clock::Clock;
use crate::nodes::Nodes;
use crate::session::{self, Backend, Record, SessionKey, SessionStore, test_record};

const PEER: Peer = Peer { uid: 0, pid: None };

struct Service {
    clock: Clock,
    sessions: Sessions,
    store: Arc<dyn SessionStore>,
    _folder: tempfile::TempDir,
}

impl Service {
    fn on(backend: fn(PathBuf) -> Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = backend(folder.path().join("sessions.redb"));
        let store = session::open(&backend, &Nodes::alone(), &Clock::system()).unwrap();
        let clock = Clock::system();
        let settings = session::Settings {
            backend,
            idle_timeout: Duration::from_mins(30),
            lifetime: Duration::from_hours(12),
            remember_for: Duration::ZERO,
            max_per_user: 20,
            max_sessions: 1_000_000,
        };
        Self {
            sessions: Sessions::new(settings, Arc::clone(&store), clock.clone()),
            clock,
            store,
            _folder: folder,
        }
    }

    /// A session as good as one of a login of now.
    async fn insert(&self, user: &str, key: Option<&str>) -> SessionKey {
        let now = self.clock.now();
        let made = test_record(user);
        let record = Record {
            key: key.map_or(made.key, |key| SessionKey::parse(key).unwrap()),
            created: now,
            last_accessed: now,
            expires: now.plus(Duration::from_hours(12)),
            ..Arc::unwrap_or_clone(made)
        };
        let key = record.key;
        self.store.insert(Arc::new(record)).await.unwrap();
        key
    }

    async fn is_open(&self, key: SessionKey) -> bool {
        self.sessions.is_good(&key).await.unwrap()
    }

    /// The sessions of the answer, and its last line.
    async fn revoke(&self, key: &str) -> (Vec<SessionView>, Line) {
        let mut answer = answer();
        let last = sessions::revoke(&self.sessions, key, PEER, &mut answer).await;
        (shown(answer).await, last.unwrap())
    }
}

fn answer() -> Answer<Vec<u8>> {
    Answer::new(Vec::new(), Duration::from_secs(1))
}

async fn shown(mut answer: Answer<Vec<u8>>) -> Vec<SessionView> {
    answer.flush().await.unwrap();
    let text = String::from_utf8(answer.writer).unwrap();
    text.lines()
        .map(|line| match serde_json::from_str(line).unwrap() {
            Line::Session(session) => *session,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn words(line: &Line) -> &str {
    match line {
        Line::Error(words) => words,
        other => panic!("{other:?}"),
    }
}

fn ended(line: &Line) -> (usize, Option<&str>) {
    match line {
        Line::Done(Done::Ended { sessions, user, .. }) => (*sessions, user.as_deref()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_two_sessions_that_a_key_fits_none_ends_and_both_are_shown() {
    let service = Service::on(|_| Backend::Memory);
    let texts = [
        format!("0123abcd0{}", "7".repeat(55)),
        format!("0123abcd1{}", "7".repeat(55)),
    ];
    let ada = service.insert("ada", Some(&texts[0])).await;
    let bob = service.insert("bob", Some(&texts[1])).await;
    let (several, last) = service.revoke("0123ABCD").await;
    assert_eq!(
        words(&last),
        "2 sessions begin with 0123ABCD: write more digits of one; none has ended"
    );
    let several: Vec<_> = several.iter().map(|s| (&*s.key, &*s.user)).collect();
    assert_eq!(several, [(&*texts[0], "ada"), (&*texts[1], "bob")]);
    assert!(service.is_open(ada).await && service.is_open(bob).await);

    let (shown, last) = service.revoke("0123abcd1").await;
    assert_eq!((shown.len(), ended(&last)), (0, (1, Some("bob"))));
    assert!(service.is_open(ada).await && !service.is_open(bob).await);
    let (_, last) = service.revoke("0123abcd").await;
    assert_eq!(ended(&last), (1, Some("ada")), "only one is left");
}

#[tokio::test]
async fn a_key_that_fits_a_crowd_shows_some_and_ends_none() {
    let service = Service::on(|_| Backend::Memory);
    for n in 0..40 {
        let key = format!("0123abcd{n:02}{}", "7".repeat(54));
        service.insert("ada", Some(&key)).await;
    }
    let (several, last) = service.revoke("0123abcd").await;
    assert_eq!(several.len(), 16);
    assert!(words(&last).starts_with("16 or more sessions"), "{last:?}");
    assert_eq!(service.sessions.count().await, Ok(40));
}

#[tokio::test]
async fn a_key_that_fits_nothing_and_what_is_no_key_end_nothing() {
    let service = Service::on(|_| Backend::Memory);
    let ada = service.insert("ada", None).await;
    let (_, last) = service.revoke(&"0".repeat(64)).await;
    assert!(words(&last).starts_with("no session begins with 0000"));
    let text = ada.to_string();
    for wrong in [&text[..7], "", "0123456g", "*", "ada", "0123\n567"] {
        let (_, last) = service.revoke(wrong).await;
        assert!(words(&last).contains("is no session key"), "{last:?}");
        assert!(!words(&last).contains('\n'), "{last:?}");
    }
    assert!(service.is_open(ada).await);
    service.clock.advance(Duration::from_hours(13));
    let (_, last) = service.revoke(&text).await;
    assert!(words(&last).starts_with("no session"), "it has expired");
}

#[tokio::test]
async fn a_list_of_thousands_comes_page_by_page_each_session_once() {
    for backend in [|_| Backend::Memory, Backend::Disk] {
        let service = Service::on(backend);
        let mut keys = Vec::new();
        for n in 0..PAGE + 20 {
            let user = format!("user{n}");
            keys.push(service.insert(&user, None).await.to_string());
        }
        keys.sort_unstable();
        let (mut listed, mut pages, mut after) = (Vec::new(), 0, None);
        loop {
            let mut answer = answer();
            let last = sessions::list(&service.sessions, after.as_deref(), None, &mut answer).await;
            listed.extend(shown(answer).await.into_iter().map(|session| session.key));
            match last.unwrap() {
                Line::Done(Done::Listed {
                    next: Some(key), ..
                }) => after = Some(key),
                Line::Done(Done::Listed { next: None, .. }) => break,
                other => panic!("{other:?}"),
            }
            pages += 1;
        }
        assert_eq!((listed, pages), (keys, 2));
    }
}

#[tokio::test]
async fn a_page_begins_behind_a_whole_key() {
    let service = Service::on(|_| Backend::Memory);
    let last = sessions::list(&service.sessions, Some("0123abcd0"), None, &mut answer()).await;
    assert!(words(&last.unwrap()).contains("is no session key"));
}

#[tokio::test]
async fn a_user_is_found_in_each_spelling_and_others_are_not() {
    let service = Service::on(|_| Backend::Memory);
    for user in ["Ada", "ada", "adam"] {
        service.insert(user, None).await;
    }
    let mut answer = answer();
    let listed = sessions::list_of_user(&service.sessions, "ADA", None, &mut answer).await;
    assert!(matches!(
        listed.unwrap(),
        Line::Done(Done::Listed { next: None, .. })
    ));
    let mut users: Vec<_> = shown(answer).await.into_iter().map(|s| s.user).collect();
    users.sort(); // they may have begun in the same millisecond
    assert_eq!(users, ["Ada", "ada"]);
    let last = sessions::revoke_of_user(&service.sessions, "aDa", PEER).await;
    assert_eq!(ended(&last), (2, None));
    let last = sessions::revoke_of_user(&service.sessions, "aDa", PEER).await;
    assert_eq!(ended(&last), (0, None));
    assert_eq!(
        ended(&sessions::revoke_all(&service.sessions, PEER).await).0,
        1
    );
    assert_eq!(service.sessions.count().await, Ok(0));
}

#[tokio::test]
async fn what_cannot_be_written_down_is_said_and_over_all_the_same() {
    let service = Service::on(Backend::Disk);
    let ada = service.insert("ada", None).await;
    assert!(service.is_open(ada).await, "and in the cache from now on");
    service.store.close().await.unwrap(); // as a disk that has gone away
    let last = sessions::revoke_all(&service.sessions, PEER).await;
    assert!(
        words(&last).starts_with("all sessions are over in this server, but"),
        "{last:?}"
    );
    assert_ne!(service.sessions.is_good(&ada).await, Ok(true));
    let last = sessions::revoke_of_user(&service.sessions, "ada", PEER).await;
    assert!(words(&last).contains("cannot be read"), "{last:?}");
}

#[tokio::test]
async fn whoever_does_not_read_is_let_go() {
    let service = Service::on(|_| Backend::Memory);
    for _ in 0..PAGE {
        service.insert("ada", None).await;
    }
    let (writer, mut reader) = tokio::io::duplex(100);
    let mut answer = Answer::new(writer, Duration::from_millis(50));
    let stalled = sessions::list(&service.sessions, None, None, &mut answer).await;
    assert_eq!(stalled.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(answer.buffer.len() < 2 * BUFFER, "no more is held for it");
    drop(answer);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.ends_with(b"\n"), "what came does not look whole");
}

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use super::super::store::{Destination, Owner};
use super::*;
use crate::clock::Clock;
use crate::nodes::Nodes;
use crate::request::{AllowInPath, Authority, Target};
use crate::session::{self, Backend, Record, Settings, test_record};

/// The session may end after the click was looked at, and before the form is taken out.
#[tokio::test]
async fn sec_46_a_form_is_not_sent_for_a_session_that_has_ended_meanwhile() {
    let (nodes, clock) = (Nodes::alone(), Clock::system());
    let sessions = session::open(&Backend::Memory, &nodes, &clock).unwrap();
    let store = SavedPostStore::new(1 << 20, clock.clone(), &nodes);
    let settings = Settings {
        backend: Backend::Memory,
        idle_timeout: Duration::from_mins(30),
        lifetime: Duration::from_hours(12),
        remember_for: Duration::ZERO,
        max_per_user: 20,
        max_sessions: 20,
    };
    let made = test_record("ada");
    let (key, now) = (made.key, clock.now());
    let record = Record {
        last_accessed: now,
        expires: now.plus(Duration::from_hours(1)),
        ..Arc::unwrap_or_clone(made)
    };
    sessions.insert(Arc::new(record)).await.unwrap();
    let sessions = Sessions::new(settings, sessions, clock);

    let authority = Authority::parse(&HeaderValue::from_static("wiki.test")).unwrap();
    let request = http::Request::post("https://wiki.test/save").body(());
    let (head, ()) = request.unwrap().into_parts();
    let target = Target::parse(&head, AllowInPath::default()).unwrap();
    let (app, kind): (Arc<str>, _) = (
        "wiki".into(),
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    let to = Destination {
        app: &app,
        host: authority.as_str(),
        target: target.as_str(),
        content_type: &kind,
        sender: None,
    };
    let proof = Proof { is_of_page: false };
    for is_over in [false, true] {
        let client = Ipv4Addr::LOCALHOST.into();
        let slot = store.reserve(client, Some("ada"), &to).unwrap();
        let owner = Some(Owner::Session(key));
        let body = Bytes::from_static(b"a=1");
        let saved = store.save(owner, Some("ada".into()), &to, body, slot).await;
        let button = Click {
            authority: &authority,
            target: &target,
            id: saved.ok().unwrap().unwrap(),
        };
        if is_over {
            sessions.end(&key).await.unwrap();
        }
        let taken = take(&store, &sessions, &proof, &button, (&key, "ada")).await;
        assert_eq!(taken.ok().unwrap().is_some(), !is_over);
        let again = take(&store, &sessions, &proof, &button, (&key, "ada")).await;
        assert!(again.ok().unwrap().is_none(), "it is gone");
    }
}

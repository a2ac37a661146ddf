use http_body_util::{BodyExt, Full, StreamBody};

use http::HeaderValue;

use super::form::CONFIRMED_FOR;
use super::*;
use crate::request::{Authority, Host};
use crate::session::HostId;

#[cfg(feature = "redis")]
mod several_nodes;

const URLENCODED: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const HOST: &str = "wiki.test:8443";

struct Desk {
    forms: SavedPostStore,
    clock: Clock,
    app: Arc<str>,
    kind: HeaderValue,
}

impl Desk {
    fn new() -> Self {
        Self::on(&Nodes::alone())
    }

    fn on(nodes: &Nodes) -> Self {
        let clock = Clock::system();
        Self {
            forms: SavedPostStore::new(64 << 20, clock.clone(), nodes),
            clock,
            app: "wiki".into(),
            kind: URLENCODED,
        }
    }

    fn to<'a>(&'a self, target: &'a str) -> Destination<'a> {
        Destination {
            app: &self.app,
            host: HOST,
            target,
            content_type: &self.kind,
            sender: None,
        }
    }

    /// Keeps `body` for a browser without asking whose session had ended.
    async fn save(&self, owner: Owner, user: Option<&str>, body: &'static str) -> PostId {
        let to = self.to("/save");
        let slot = self.forms.reserve(CLIENT, user, &to).unwrap();
        let body = Bytes::from_static(body.as_bytes());
        let user = user.map(Into::into);
        let saved = self.forms.save(Some(owner), user, &to, body, slot).await;
        saved.ok().unwrap().unwrap()
    }

    /// Keeps a form of another site for its page.
    async fn save_from_elsewhere(&self, user: Option<&str>) -> PostId {
        let mut headers = http::HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static("https://idp.test"));
        let authority = Authority::parse(&HeaderValue::from_static(HOST)).unwrap();
        let sender = Sender::of(&headers, &authority).unwrap();
        let to = Destination {
            sender: Some(&sender),
            ..self.to("/acs")
        };
        let slot = self.forms.reserve(CLIENT, user, &to).unwrap();
        let (body, user) = (Bytes::from_static(b"a=1"), user.map(Into::into));
        let saved = self.forms.save(None, user, &to, body, slot).await;
        saved.ok().unwrap().unwrap()
    }

    async fn claim(&self, browser: Owner, id: PostId) -> bool {
        let claimed = self.forms.claim((browser, browser), HOST, "/acs", id);
        claimed.await.unwrap()
    }

    async fn waiting(&self, owner: Owner) -> Vec<Waiting> {
        self.forms.waiting(owner, HOST).await.unwrap()
    }

    async fn adopt(&self, owner: Owner, user: &str, key: SessionKey) -> Adopted {
        self.forms.adopt([owner], HOST, user, key).await
    }

    async fn take(&self, key: SessionKey, id: PostId) -> Option<SavedPost> {
        self.forms.take(key, HOST, "/save", id).await.unwrap()
    }
}

fn browser() -> Owner {
    Owner::browser(b"cookie")
}

fn session() -> SessionKey {
    crate::session::SessionId::generate().unwrap().key()
}

#[tokio::test]
async fn a_form_is_taken_once_by_the_session_that_claimed_it() {
    let desk = Desk::new();
    let id = desk.save(browser(), Some("ada"), "a=1").await;
    let ada = session();
    assert!(desk.take(ada, id).await.is_none(), "nobody has signed in");
    let adopted = desk.adopt(browser(), "ada", ada).await;
    assert_eq!((adopted.waiting, adopted.dropped), (1, 0));
    assert!(desk.take(session(), id).await.is_none(), "another session");
    let form = desk.take(ada, id).await.unwrap();
    assert_eq!(
        (&*form.body, &form.head.content_type),
        (&b"a=1"[..], &desk.kind)
    );
    assert!(desk.take(ada, id).await.is_none(), "a second time");
    desk.forms.put_back(ada, form).await;
    assert!(desk.take(ada, id).await.is_some(), "it was not sent");
    assert_eq!(desk.forms.local.owners(), 0);
}

#[tokio::test]
async fn a_form_goes_to_its_own_host_and_target_only() {
    let desk = Desk::new();
    let id = desk.save(browser(), None, "a=1").await;
    let key = session();
    let elsewhere = desk
        .forms
        .adopt([browser()], "git.test:8443", "ada", key)
        .await;
    assert_eq!(elsewhere, Adopted::default());
    let ported = desk.forms.adopt([browser()], "wiki.test", "ada", key).await;
    assert_eq!(ported, Adopted::default());
    desk.forms
        .adopt([browser()], "WIKI.test:8443", "ada", key)
        .await;
    for (host, target) in [
        ("git.test:8443", "/save"),
        (HOST, "/save?x"),
        (HOST, "/delete"),
    ] {
        let taken = desk.forms.take(key, host, target, id).await;
        assert!(taken.unwrap().is_none(), "{host} {target}");
    }
    let discarded = desk.forms.discard(key, "git.test:8443", id).await;
    assert!(discarded.unwrap().is_none());
    assert!(
        desk.forms
            .waiting(Owner::Session(key), "git.test")
            .await
            .unwrap()
            .is_empty()
    );
    assert!(desk.take(key, id).await.is_some());
}

#[tokio::test]
async fn another_user_gets_nothing_and_the_form_is_gone() {
    let desk = Desk::new();
    let of_ada = desk.save(browser(), Some("ada"), "a=1").await;
    let of_nobody = desk.save(browser(), None, "b=1").await;
    let bob = session();
    let adopted = desk.adopt(browser(), "bob", bob).await;
    assert_eq!((adopted.waiting, adopted.dropped), (1, 1));
    assert!(desk.take(bob, of_ada).await.is_none());
    let later = desk.adopt(browser(), "ada", session()).await;
    assert_eq!(later, Adopted::default());
    // What bob has adopted is bob's, whoever signs in next.
    let next = session();
    let adopted = desk.adopt(Owner::Session(bob), "ada", next).await;
    assert_eq!((adopted.waiting, adopted.dropped), (0, 1));
    assert!(desk.take(bob, of_nobody).await.is_none());
}

#[tokio::test]
async fn names_of_users_have_no_case() {
    let desk = Desk::new();
    let id = desk.save(browser(), Some("ada"), "a=1").await;
    let again = desk.save(browser(), Some("Ada"), "a=1").await;
    let key = session();
    let adopted = desk.adopt(browser(), "ADA", key).await;
    assert_eq!((adopted.waiting, adopted.dropped), (1, 0));
    assert!(desk.take(key, id).await.is_none(), "the same form twice");
    assert!(desk.take(key, again).await.is_some());
}

#[tokio::test]
async fn a_form_that_was_claimed_follows_its_user_to_the_next_session() {
    let desk = Desk::new();
    let id = desk.save(browser(), None, "a=1").await;
    let (first, second) = (session(), session());
    desk.adopt(browser(), "ada", first).await;
    let owners = [Owner::browser(b"other"), Owner::Session(first)];
    assert_eq!(
        desk.forms.adopt(owners, HOST, "ada", second).await.waiting,
        1
    );
    assert!(desk.take(first, id).await.is_none());
    assert!(desk.take(second, id).await.is_some());
}

#[tokio::test]
async fn after_fifteen_minutes_it_is_gone_swept_or_not() {
    let desk = Desk::new();
    let id = desk.save(browser(), None, "a=1").await;
    let key = session();
    desk.clock.advance(SAVED_FOR / 2);
    assert!(desk.forms.outlook(browser(), HOST).await.saved_for.unwrap() <= SAVED_FOR / 2);
    desk.adopt(browser(), "ada", key).await;
    let late = desk.save(browser(), None, "b=1").await;
    desk.clock.advance(SAVED_FOR / 2);
    assert!(desk.take(key, id).await.is_none());
    assert!(desk.waiting(Owner::Session(key)).await.is_empty());
    assert_eq!(desk.forms.local.owners(), 2, "it still takes room");
    desk.forms.sweep();
    assert_eq!(desk.forms.local.owners(), 1);
    desk.clock.advance(SAVED_FOR / 2);
    let adopted = desk.adopt(browser(), "ada", key).await;
    assert_eq!(adopted, Adopted::default());
    assert!(desk.take(key, late).await.is_none());
    assert!(
        desk.forms
            .outlook(browser(), HOST)
            .await
            .saved_for
            .is_none()
    );
}

#[tokio::test]
async fn a_click_before_the_login_counts_for_two_minutes() {
    let desk = Desk::new();
    let id = desk.save_from_elsewhere(None).await;
    assert!(!desk.forms.outlook(browser(), HOST).await.sends_itself);
    assert!(desk.claim(browser(), id).await);
    desk.clock.advance(CONFIRMED_FOR / 2);
    assert!(desk.forms.outlook(browser(), HOST).await.sends_itself);
    // Whoever signs in by now may be somebody else.
    desk.clock.advance(CONFIRMED_FOR / 2);
    assert!(!desk.forms.outlook(browser(), HOST).await.sends_itself);
    assert_eq!(
        desk.waiting(browser()).await.len(),
        1,
        "it waits all the same"
    );
}

#[tokio::test]
async fn a_form_of_another_site_waits_for_its_page_until_a_click() {
    let desk = Desk::new();
    let id = desk.save_from_elsewhere(None).await;
    let late = desk.save(browser(), Some("ada"), "a=1").await;
    assert_eq!(desk.waiting(browser()).await.len(), 1);
    for (host, target) in [("git.test:8443", "/acs"), (HOST, "/acs?x"), (HOST, "/save")] {
        let browsers = (browser(), browser());
        let claimed = desk.forms.claim(browsers, host, target, id).await;
        assert!(!claimed.unwrap(), "{target}");
    }
    assert!(!desk.claim(browser(), late).await, "not of another site");
    // Whoever clicks twice sends once, and whichever browser the answer reaches has it.
    let new = Owner::browser(b"new");
    assert!(desk.claim(new, id).await && desk.claim(new, id).await);
    let claimed = desk.forms.claim((browser(), new), HOST, "/acs", id).await;
    assert!(claimed.unwrap());
    assert!(!desk.claim(Owner::browser(b"other"), id).await);
    let ada = session();
    assert_eq!(desk.adopt(browser(), "ada", ada).await.waiting, 2);
    assert!(!desk.claim(browser(), id).await);
    let take = async || {
        let taken = desk.forms.take_of_page((ada, "ada"), HOST, "/acs", id);
        taken.await.unwrap()
    };
    let form = take().await.unwrap();
    assert!(take().await.is_none());
    desk.forms.put_back(ada, form).await;
    assert!(take().await.is_some(), "it was not sent");
    assert!(desk.take(ada, late).await.is_some());
    assert_eq!(desk.forms.local.owners(), 0);
}

#[tokio::test]
async fn a_form_of_another_site_that_came_with_a_session_is_its_users() {
    let desk = Desk::new();
    let id = desk.save_from_elsewhere(Some("ada")).await;
    let take = |user| desk.forms.take_of_page((session(), user), HOST, "/acs", id);
    assert!(take("bob").await.unwrap().is_none());
    let form = take("Ada").await.unwrap().unwrap();
    assert_eq!(form.head.user.as_deref(), Some("Ada"));
    let id = desk.save_from_elsewhere(Some("ada")).await;
    assert!(desk.claim(browser(), id).await);
    let adopted = desk.adopt(browser(), "bob", session()).await;
    assert_eq!((adopted.waiting, adopted.dropped), (0, 1));
}

#[tokio::test]
async fn a_reload_does_not_keep_the_same_form_twice() {
    let desk = Desk::new();
    let first = desk.save(browser(), Some("ada"), "a=1").await;
    let second = desk.save(browser(), Some("ada"), "a=1").await;
    desk.save(browser(), Some("ada"), "a=2").await;
    let key = session();
    assert_eq!(desk.adopt(browser(), "ada", key).await.waiting, 2);
    assert!(desk.take(key, first).await.is_none());
    assert!(desk.take(key, second).await.is_some());
}

#[tokio::test]
async fn a_form_takes_room_as_long_as_it_waits_and_while_it_is_sent() {
    let mut desk = Desk::new();
    // Of a half, one network has no second form, and a user has none of the other half.
    desk.forms = SavedPostStore::new(8 * OVERHEAD, desk.clock.clone(), &Nodes::alone());
    let id = desk.save(browser(), Some("ada"), "1").await;
    let reserve = || desk.forms.reserve(CLIENT, Some("ada"), &desk.to("/save"));
    assert!(reserve().is_none(), "a second");
    let key = session();
    desk.adopt(browser(), "ada", key).await;
    let sending = desk.take(key, id).await.unwrap();
    assert!(reserve().is_none(), "one is on its way");
    drop(sending);
    assert!(reserve().is_some());
}

#[test]
fn a_store_of_no_bytes_keeps_nothing() {
    let forms = SavedPostStore::new(0, Clock::system(), &Nodes::alone());
    let desk = Desk::new();
    assert!(!forms.are_on());
    assert!(forms.reserve(CLIENT, None, &desk.to("/")).is_none());
    let (key, host) = (session(), Host::parse("wiki.test").unwrap());
    forms.former_users().note(HostId { key, host }, key, "ada");
    assert_eq!(forms.former_users().of(&key, "wiki.test"), None);
}

#[tokio::test]
async fn one_browser_has_no_more_than_64_forms() {
    let desk = Desk::new();
    assert_one_browser_has_no_more_than_64(&[&desk]).await;
}

/// Whichever node takes them.
async fn assert_one_browser_has_no_more_than_64(desks: &[&Desk]) {
    let to = desks[0].to("/save");
    let save = async |n: usize, browser| {
        let desk = desks[n % desks.len()];
        let slot = desk.forms.reserve(CLIENT, None, &to).unwrap();
        let body = Bytes::from(format!("a={n}"));
        let saved = desk.forms.save(Some(browser), None, &to, body, slot);
        saved.await.ok().unwrap().is_some()
    };
    for n in 0..OF_ONE_OWNER {
        assert!(save(n, browser()).await, "{n}");
    }
    assert!(!save(OF_ONE_OWNER, browser()).await);
    assert!(!save(OF_ONE_OWNER + 1, browser()).await);
    assert!(save(0, browser()).await, "the same once more");
    assert!(save(0, Owner::browser(b"other")).await);
    let adopted = desks[0].adopt(browser(), "ada", session()).await;
    assert_eq!(adopted.waiting, OF_ONE_OWNER);
}

#[test]
fn only_the_two_kinds_of_html_forms_are_forms() {
    for (kind, expected) in [
        ("application/x-www-form-urlencoded", true),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", true),
        ("multipart/form-data; boundary=\"a b;c\"; x=\u{e9}", true),
        ("multipart/form-data", true),
        ("multipart/mixed; boundary=x", false),
        ("application/x-www-form-urlencodedx", false),
        ("text/plain", false),
        ("application/json", false),
        ("", false),
    ] {
        let value = HeaderValue::from_bytes(kind.as_bytes()).unwrap();
        assert_eq!(is_form(&value), expected, "{kind}");
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_its_bound_and_to_the_room_there_is() {
    let desk = Desk::new();
    let reserve = || desk.forms.reserve(CLIENT, None, &desk.to("/save")).unwrap();
    let whole = Bytes::from(vec![7; MAX_BODY]);
    let read_whole = read(Full::new(whole.clone()), &mut reserve(), u64::MAX).await;
    assert_eq!(read_whole, Ok(whole));
    let larger = Bytes::from(vec![7; MAX_BODY + 1]);
    let read_larger = read(Full::new(larger.clone()), &mut reserve(), u64::MAX).await;
    assert_eq!(read_larger, Err(Unread::TooLarge));
    // The same without a length that anybody said.
    let frames = [larger.slice(..MAX_BODY), larger.slice(MAX_BODY..)];
    let frames = frames.map(|data| Ok::<_, std::io::Error>(http_body::Frame::data(data)));
    let unsized_body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    let read_unsized = read(unsized_body, &mut reserve(), u64::MAX).await;
    assert_eq!(read_unsized, Err(Unread::TooLarge));
    for (most, is_read) in [(9999, false), (10_000, true)] {
        let body = pieces(&larger.slice(..10_000), 1000);
        let read = read(body, &mut reserve(), most).await;
        assert_eq!(read.is_ok(), is_read, "{most}");
        assert!(is_read || read == Err(Unread::OverLimit), "{most}");
    }

    let small = SavedPostStore::new(2 * (OVERHEAD + 200), Clock::system(), &Nodes::alone());
    let mut slot = small.reserve(CLIENT, None, &desk.to("/save")).unwrap();
    let too_much = Full::new(Bytes::from_static(&[7; 200]));
    let read = read(too_much, &mut slot, u64::MAX).await;
    assert_eq!(read, Err(Unread::Lost), "there is no room");
}

/// A body of unknown length, which comes in pieces of `size`.
fn pieces(whole: &Bytes, size: usize) -> impl http_body::Body<Data = Bytes> + Unpin + use<> {
    let all: Vec<_> = (0..whole.len())
        .step_by(size)
        .map(|at| whole.slice(at..whole.len().min(at + size)))
        .map(|data| Ok::<_, std::io::Error>(http_body::Frame::data(data)))
        .collect();
    StreamBody::new(futures_util::stream::iter(all))
}

#[tokio::test]
async fn no_more_memory_is_held_than_is_counted() {
    let desk = Desk::new();
    for length in [0, 1, 4097, 100_000, MAX_BODY - 1, MAX_BODY] {
        let whole: Bytes = (0..=255).cycle().take(length).collect();
        let mut slot = desk.forms.reserve(CLIENT, None, &desk.to("/save")).unwrap();
        let before = slot.bytes();
        let body = read(Full::new(whole.clone()), &mut slot, u64::MAX)
            .await
            .unwrap();
        assert_eq!((body.len(), slot.bytes()), (length, before + length));
        assert_eq!(held(body), length, "its length was known");

        let mut slot = desk.forms.reserve(CLIENT, None, &desk.to("/save")).unwrap();
        let body = read(pieces(&whole, 1000), &mut slot, u64::MAX)
            .await
            .unwrap();
        assert_eq!(body, whole);
        assert_eq!(held(body), slot.bytes() - before, "{length} in pieces");
    }
}

/// The memory of the only handle to these bytes.
fn held(bytes: Bytes) -> usize {
    Vec::from(bytes).capacity()
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_kept() {
    let desk = Desk::new();
    let mut slot = desk.forms.reserve(CLIENT, None, &desk.to("/save")).unwrap();
    let broken = [
        Ok(http_body::Frame::data(Bytes::from_static(b"a=1"))),
        Err(std::io::Error::other("gone")),
    ];
    let broken = StreamBody::new(futures_util::stream::iter(broken));
    assert_eq!(read(broken, &mut slot, u64::MAX).await, Err(Unread::Lost));
}

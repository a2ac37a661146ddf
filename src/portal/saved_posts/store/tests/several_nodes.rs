//! Two nodes with one store, and what becomes of forms while it is away.

use super::*;
use crate::redis::test_server::TestServer;

async fn node(server: &TestServer) -> Desk {
    let settings = Arc::new(server.settings());
    let nodes = Nodes::open(Some(&settings), &Clock::system()).unwrap();
    let mut generation = nodes.link().unwrap().generation();
    let connected = generation.wait_for(|now| now.connected);
    let connected = tokio::time::timeout(Duration::from_secs(20), connected);
    connected.await.unwrap().unwrap();
    Desk::on(&nodes)
}

async fn two(server: &TestServer) -> [Desk; 2] {
    [node(server).await, node(server).await]
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), waiting).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}

#[tokio::test]
async fn a_form_of_one_node_is_taken_once_on_all() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let id = a.save(browser(), Some("ada"), "a=secret").await;
    assert_eq!(b.waiting(browser()).await.len(), 1);
    let outlook = b.forms.outlook(browser(), HOST).await;
    assert!(outlook.saved_for.unwrap() > SAVED_FOR / 2);
    let ada = session();
    assert!(b.take(ada, id).await.is_none(), "nobody has signed in");
    let adopted = b.adopt(browser(), "Ada", ada).await;
    assert_eq!((adopted.waiting, adopted.dropped), (1, 0));
    assert!(a.waiting(browser()).await.is_empty());
    assert!(a.take(session(), id).await.is_none(), "another session");
    let (here, there) = tokio::join!(a.take(ada, id), b.take(ada, id));
    assert!(here.is_some() != there.is_some());
    let form = here.or(there).unwrap();
    assert_eq!(
        (&*form.body, &form.head.content_type),
        (&b"a=secret"[..], &a.kind)
    );
    assert!(a.take(ada, id).await.is_none() && b.take(ada, id).await.is_none());
    b.forms.put_back(ada, form).await;
    assert!(a.take(ada, id).await.is_some(), "it was not sent");
}

#[tokio::test]
async fn sec_84_the_store_holds_nothing_that_can_be_read_and_nothing_for_long() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    a.save(browser(), Some("ada"), "a=secret").await;
    let id = a.save_from_elsewhere(None).await;
    let key = session();
    b.adopt(browser(), "ada", key).await;
    let taken = b.forms.take_of_page((key, "ada"), HOST, "/acs", id).await;
    assert!(taken.unwrap().is_some());
    let keys = server.ask(&["KEYS", "*"]);
    let kinds = ["o:", "m:", "b:", "t:"].map(|kind| format!("vestibule:{{posts}}:{kind}"));
    for kind in kinds {
        assert!(keys.contains(&kind), "{kind} in {keys}");
    }
    for name in keys.lines() {
        let left: i64 = server.ask(&["PTTL", name]).trim().parse().unwrap();
        assert!((1..=900_000).contains(&left), "{left} of {name}");
        let value = server.ask(&["GET", name]) + &server.ask(&["SMEMBERS", name]) + name;
        for secret in [
            "secret",
            "ada",
            "wiki",
            "/save",
            "idp.test",
            &id.to_string(),
        ] {
            assert!(!value.contains(secret), "{secret} in {name}");
        }
    }
}

#[tokio::test]
async fn another_user_on_another_node_gets_nothing() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    a.save(browser(), Some("ada"), "a=1").await;
    let of_nobody = a.save(browser(), None, "b=1").await;
    let elsewhere = b.forms.adopt([browser()], "git.test", "ada", session());
    assert_eq!(elsewhere.await, Adopted::default(), "another host");
    let bob = session();
    let adopted = b.adopt(browser(), "bob", bob).await;
    assert_eq!((adopted.waiting, adopted.dropped), (1, 1));
    assert_eq!(
        a.adopt(browser(), "ada", session()).await,
        Adopted::default()
    );
    let next = session();
    let adopted = a.adopt(Owner::Session(bob), "ada", next).await;
    assert_eq!((adopted.waiting, adopted.dropped), (0, 1), "it is bob's");
    assert!(b.take(bob, of_nobody).await.is_none());
}

#[tokio::test]
async fn a_form_of_another_site_goes_on_by_a_click_on_another_node() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let id = a.save_from_elsewhere(None).await;
    assert!(b.claim(browser(), id).await && a.claim(browser(), id).await);
    assert!(!a.claim(Owner::browser(b"other"), id).await);
    assert!(a.forms.outlook(browser(), HOST).await.sends_itself);
    let ada = session();
    assert_eq!(a.adopt(browser(), "ada", ada).await.waiting, 1);
    let waiting = b.waiting(Owner::Session(ada)).await;
    assert!(waiting[0].is_confirmed && waiting[0].origin.is_some());
    let taken = b.forms.take_of_page((ada, "ada"), HOST, "/acs", id).await;
    let form = taken.unwrap().unwrap();
    assert_eq!(
        form.head.sender.as_ref().unwrap().origin(),
        "https://idp.test"
    );
    b.forms.put_back(ada, form).await;
    let waiting = a.waiting(Owner::Session(ada)).await;
    assert!(!waiting[0].is_confirmed, "else it is sent again and again");
    let owners = [browser(), Owner::Session(ada)];
    let discarded = a.forms.discard_of_page(owners, HOST, id).await;
    assert_eq!(discarded.unwrap().unwrap().bytes, 3);
    assert!(b.waiting(Owner::Session(ada)).await.is_empty());
}

#[tokio::test]
async fn a_reload_on_another_node_does_not_keep_the_same_form_twice() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let first = a.save(browser(), Some("ada"), "a=1").await;
    let second = b.save(browser(), Some("ada"), "a=1").await;
    a.save(browser(), Some("ada"), "a=2").await;
    let key = session();
    assert_eq!(a.adopt(browser(), "ada", key).await.waiting, 2);
    assert!(b.take(key, first).await.is_none());
    assert!(b.take(key, second).await.is_some());
    assert_eq!(a.forms.discard_all(key).await.len(), 1);
}

#[tokio::test]
async fn one_browser_has_no_more_than_64_forms_on_all_nodes() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = &two(&server).await;
    assert_one_browser_has_no_more_than_64(&[a, b]).await;
}

#[tokio::test]
async fn sec_87_a_node_counts_its_forms_until_they_are_gone() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [mut a, b] = two(&server).await;
    let settings = Arc::new(server.settings());
    let nodes = Nodes::open(Some(&settings), &Clock::system()).unwrap();
    a.forms = SavedPostStore::new(8 * OVERHEAD, a.clock.clone(), &nodes);
    let shared = || a.forms.shared.as_ref().unwrap();
    eventually("a connection", async || shared().is_connected()).await;
    let id = a.save(browser(), Some("ada"), "1").await;
    let reserve = || a.forms.reserve(CLIENT, Some("ada"), &a.to("/save"));
    assert!(reserve().is_none(), "a second");
    assert!(shared().bytes() > OVERHEAD);
    let key = session();
    b.adopt(browser(), "ada", key).await;
    assert!(b.take(key, id).await.is_some());
    shared().recount().await;
    assert!(reserve().is_some());
    let id = a.save(browser(), Some("ada"), "1").await;
    a.adopt(browser(), "ada", key).await;
    let sending = a.take(key, id).await;
    assert!(
        sending.is_some() && reserve().is_none(),
        "one is on its way"
    );
    drop(sending);
    a.save(browser(), Some("ada"), "1").await;
    assert!(reserve().is_none());
    a.clock.advance(SAVED_FOR);
    a.forms.sweep();
    assert!(reserve().is_some() && shared().bytes() == 0);
}

#[tokio::test]
async fn a_whole_megabyte_goes_from_node_to_node() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let to = a.to("/save");
    let slot = a.forms.reserve(CLIENT, None, &to).unwrap();
    let body: Bytes = (0..=255).cycle().take(MAX_BODY).collect();
    let saved = a.forms.save(Some(browser()), None, &to, body.clone(), slot);
    let id = saved.await.ok().unwrap().unwrap();
    let key = session();
    b.adopt(browser(), "ada", key).await;
    assert_eq!(b.take(key, id).await.unwrap().body, body);
}

#[tokio::test]
async fn rel_10_without_the_store_a_form_waits_on_its_node_and_goes_there_later() {
    let Some(mut server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let before = a.save(browser(), Some("ada"), "a=0").await;
    server.kill();
    let shared = a.forms.shared.as_ref().unwrap();
    eventually("a lost connection", async || !shared.is_connected()).await;
    let id = a.save(browser(), Some("ada"), "a=1").await;
    // What this node has is good on this node.
    assert_eq!(a.waiting(browser()).await.len(), 1);
    assert!(b.forms.waiting(browser(), HOST).await.is_err());
    let (ada, other) = (session(), Owner::browser(b"other"));
    let used = a.save(other, Some("ada"), "b=1").await;
    let adopted = a.adopt(other, "ada", ada).await;
    assert_eq!((adopted.waiting, adopted.is_unknown), (1, true));
    assert!(a.take(ada, used).await.is_some());
    // Trying in vain to bring it there changes nothing.
    let tried = a.save(other, Some("ada"), "b=2").await;
    a.forms.share(shared).await;
    a.adopt(other, "ada", ada).await;
    assert!(a.take(ada, tried).await.is_some());
    // What is in the store is not said to be gone.
    assert!(a.forms.take(ada, HOST, "/save", before).await.is_err());
    server.start_again();
    let forms = Arc::new(a.forms);
    let following = Arc::clone(&forms);
    let following = tokio::spawn(async move { following.follow().await });
    eventually("the form in the store", async || {
        b.forms
            .waiting(browser(), HOST)
            .await
            .is_ok_and(|all| all.len() == 1)
    })
    .await;
    assert_eq!(forms.local.owners(), 0);
    b.adopt(browser(), "ada", ada).await;
    assert!(b.take(ada, id).await.is_some());
    following.abort();
}

#[tokio::test]
async fn rel_10_a_full_store_takes_none_and_the_node_keeps_it() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, _] = two(&server).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let id = a.save(browser(), None, "a=1").await;
    assert_eq!(a.forms.local.owners(), 1);
    let key = session();
    assert_eq!(a.adopt(browser(), "ada", key).await.waiting, 1);
    assert!(a.take(key, id).await.is_some());
}

/// Nobody knows whether the store has what it was sent.
#[tokio::test]
async fn a_form_that_may_be_in_the_store_is_taken_once() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let (ada, shared) = (session(), a.forms.shared.as_ref().unwrap());
    for is_shared in [true, false] {
        let id = a.save(browser(), None, "a=1").await;
        a.adopt(browser(), "ada", ada).await;
        let owner = Owner::Session(ada);
        let mut form = a.take(ada, id).await.unwrap();
        form.may_be_shared = true;
        if is_shared {
            assert!(matches!(shared.put(owner, &form).await, Ok(Put::Kept)));
        }
        a.forms.local.put_back(owner, form);
        assert_eq!(a.waiting(owner).await.len(), 1);
        if is_shared {
            assert!(b.take(ada, id).await.is_some());
            assert!(a.take(ada, id).await.is_none(), "it was sent");
        } else {
            assert!(a.take(ada, id).await.is_some());
            assert!(b.take(ada, id).await.is_none());
        }
        assert_eq!(a.forms.local.owners(), 0);
    }
}

#[tokio::test]
async fn a_form_that_is_taken_without_an_answer_waits_again() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let id = a.save(browser(), None, "a=1").await;
    let (ada, shared) = (session(), a.forms.shared.as_ref().unwrap());
    a.adopt(browser(), "ada", ada).await;
    let owner = Owner::Session(ada);
    let form = shared.find(owner, |head| head.id == id).await.unwrap();
    let form = form.unwrap();
    let taken = shared.take(owner, id, &form.token, None).await;
    assert_eq!(taken, Ok(Take::Taken));
    assert!(b.waiting(owner).await.is_empty());
    let trying = shared.begin_try(id).unwrap();
    assert!(shared.begin_try(id).is_none(), "one at a time");
    a.forms.local.take_back_later(shared, owner, form, trying);
    eventually("the form", async || a.forms.local.owners() == 1).await;
    a.forms.share(shared).await;
    assert!(b.take(ada, id).await.is_some() && a.take(ada, id).await.is_none());
}

/// What is on its way to the store may arrive after the form was sent.
#[tokio::test]
async fn a_form_that_reaches_the_store_late_is_not_sent_again() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let (ada, shared) = (session(), a.forms.shared.as_ref().unwrap());
    let owner = Owner::Session(ada);
    let id = a.save(browser(), None, "a=1").await;
    a.adopt(browser(), "ada", ada).await;
    let form = a.take(ada, id).await.unwrap();
    a.forms.local.put_back(owner, form);
    let (lent, _) = a.forms.local.lend(owner, id).unwrap();
    let form = a.take(ada, id).await.unwrap();
    assert!(matches!(shared.put(owner, &lent).await, Ok(Put::Gone)));
    assert!(b.waiting(owner).await.is_empty());
    // It was not sent after all, and could not be put back: the answer to what was lent takes
    // nothing away.
    a.forms.local.put_back(owner, form);
    assert!(a.forms.local.remove(&lent).is_none());
    a.forms.share(shared).await;
    assert_eq!(a.forms.local.owners(), 0);
    assert!(b.take(ada, id).await.is_some() && a.take(ada, id).await.is_none());
}

/// A put-back whose answer was lost leaves the mark of this node, or none.
#[tokio::test]
async fn a_form_that_could_not_be_put_back_is_not_lost() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let ada = session();
    let id = a.save(browser(), None, "a=1").await;
    a.adopt(browser(), "ada", ada).await;
    let mut form = a.take(ada, id).await.unwrap();
    form.may_be_shared = true;
    a.forms.local.put_back(Owner::Session(ada), form);
    assert!(b.take(ada, id).await.is_none());
    assert!(a.take(ada, id).await.is_some());
}

#[tokio::test]
async fn a_sign_out_forgets_all_forms_and_waits_for_no_store_that_hangs() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    let key = session();
    for body in ["a=1", "a=2", "a=3"] {
        a.save(browser(), None, body).await;
    }
    a.adopt(browser(), "ada", key).await;
    assert_eq!(b.forms.discard_all(key).await.len(), 3);
    assert!(a.waiting(Owner::Session(key)).await.is_empty());
    server.stop();
    let started = Clock::stopwatch();
    a.forms.discard_all(key).await;
    let adopted = b.adopt(browser(), "ada", key).await;
    assert!(adopted.is_unknown);
    let patience = a.forms.shared.as_ref().unwrap().patience();
    assert!(started.elapsed() < patience * 3, "{:?}", started.elapsed());
}

#[tokio::test]
async fn sec_52_so_many_logins_wait_for_a_store_that_is_away_and_no_more() {
    let Some(server) = TestServer::start() else {
        return;
    };
    let [a, b] = two(&server).await;
    b.save(browser(), Some("ada"), "a=1").await;
    server.stop();
    let shared = a.forms.shared.as_ref().unwrap();
    let mut waiting: Vec<_> = std::iter::from_fn(|| shared.later()).take(1000).collect();
    assert_eq!(waiting.len(), 64);
    let (first, second) = (session(), session());
    assert!(a.adopt(browser(), "ada", first).await.is_unknown);
    waiting.pop();
    assert!(a.adopt(browser(), "ada", second).await.is_unknown);
    assert!(shared.later().is_none(), "that one waits");
    server.go_on();
    let handed_over = async || b.waiting(Owner::Session(second)).await.len() == 1;
    eventually("the form to be handed over", handed_over).await;
    assert!(b.waiting(Owner::Session(first)).await.is_empty());
    let has_room = async || shared.later().is_some();
    eventually("room for another one", has_room).await;
}

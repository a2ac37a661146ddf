use futures_util::future::join_all;

use super::*;
use crate::identity_token::{HEADER, verify};

#[tokio::test]
async fn twenty_tabs_that_begin_at_once_all_arrive() {
    let (wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    let targets: Vec<_> = (0..20).map(|n| format!("/tab/{n}")).collect();
    // Each sets a pre-login cookie of its own; the browser keeps the last.
    let asked = join_all(targets.iter().map(async |target| {
        let browser = profile.at(WIKI).without_cookies();
        let page = browser.get(target).await;
        (browser, leads_to(WIKI, &page).1)
    }));
    let asked = asked.await;
    let last = asked[7].0.cookies();
    let wiki_browser = profile.at(WIKI).cookie(&last);
    assert_eq!(wiki_browser.cookies(), last);
    let mut places = Vec::new();
    for (_, login) in &asked {
        places.push(profile.load(LOGIN, login).await);
    }
    let reply = profile.fill_in(&places[3], "ada").await;
    profile
        .follow(LOGIN, SIGN_IN, reply)
        .await
        .assert_is(WIKI, "/tab/3");
    // The others are loaded again, all at once, or somebody signs in there as well.
    let (again, anew) = asked.split_at(15);
    let arrived = join_all(
        again
            .iter()
            .zip(&targets)
            .map(async |((_, login), target)| {
                profile.load(LOGIN, login).await.assert_is(WIKI, target);
            }),
    );
    arrived.await;
    for (n, _) in (15..).zip(anew) {
        let reply = profile.fill_in(&places[n], "ada").await;
        let place = profile.follow(LOGIN, SIGN_IN, reply).await;
        place.assert_is(WIKI, &targets[n]);
    }
    assert_eq!(wiki.last().value("x-forwarded-user"), Some("ada"));
}

#[tokio::test]
async fn twenty_tabs_of_a_signed_in_browser_all_arrive_with_one_id() {
    let (_wiki, metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    let arrived = join_all((0..20).map(async |n| {
        let target = format!("/tab/{n}");
        profile
            .load(METRICS, &target)
            .await
            .assert_is(METRICS, &target);
    }));
    arrived.await;
    assert_eq!(metrics.requests(), 20);
    let id = profile.at(METRICS).session_cookie();
    profile.at(METRICS).fetch("/").await.assert_status(200);
    // Lost by the browser, it is given out again.
    let other = profile.at(METRICS).without_cookies();
    let (_, login) = leads_to(METRICS, &other.get("/").await);
    let (_, back) = leads_to(LOGIN, &profile.at(LOGIN).get(&login).await);
    other.get(&back).await.assert_status(303);
    assert_eq!(other.session_cookie(), id);
}

#[tokio::test]
async fn sessions_of_all_hosts_live_through_a_restart_and_codes_do_not() {
    let (_wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    profile.load(METRICS, "/").await.assert_is(METRICS, "/");
    let late = Profile::new(&gate);
    let back = late.code("ada", WIKI, "/").await;
    let gate = gate.restart().await;
    let moved = Profile::new(&gate);
    for host in [LOGIN, WIKI, METRICS] {
        let pair = profile.at(host).session_cookie();
        let browser = moved.at(host).cookie(&pair);
        browser
            .fetch("/.vestibule/session")
            .await
            .assert_status(200);
    }
    moved.load(WIKI, "/x").await.assert_is(WIKI, "/x");
    let there = moved.at(METRICS).cookie(&profile.at(WIKI).session_cookie());
    there.fetch("/").await.assert_status(401);
    let cookie = late.at(WIKI).cookies();
    let lost = moved.at(WIKI).without_cookies().cookie(&cookie);
    lost.get(&back).await.assert_status(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_gone_is_gone_from_every_host() {
    let (_wiki, metrics, mut gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    profile.load(METRICS, "/").await.assert_is(METRICS, "/");
    let before = metrics.requests();
    let (code, _, said) = ask(gate.files(), &["user", "disable", "ada"]);
    assert_eq!(code, Some(0), "{said}");
    eventually_some("the end of the session", async || {
        let reply = profile.at(WIKI).fetch("/").await;
        (reply.status == 401).then_some(())
    })
    .await;
    profile.at(METRICS).fetch("/").await.assert_status(401);
    profile
        .at(LOGIN)
        .fetch("/.vestibule/session")
        .await
        .assert_status(401);
    assert_eq!(metrics.requests(), before);
}

#[tokio::test]
async fn another_user_of_the_browser_takes_the_place_of_the_first_everywhere() {
    let (wiki, _metrics, gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("bob", WIKI, "/").await.assert_is(WIKI, "/");
    profile.load(METRICS, "/").await.assert_is(METRICS, "/");
    let of_bob = [WIKI, METRICS].map(|host| (host, profile.at(host).session_cookie()));
    // What bob may not open leads to the form, which says whom it is for.
    let forbidden = profile.at(WIKI).get("/admin").await;
    forbidden.assert_status(403);
    forbidden.assert_contains("href=\"/.vestibule/sso?switch=1");
    let place = profile
        .load(WIKI, "/.vestibule/sso?switch=1&return_to=/admin")
        .await;
    place.assert_is_login();
    place.page.assert_contains("bob");
    let reply = profile.fill_in(&place, "ada").await;
    let place = profile.follow(LOGIN, SIGN_IN, reply).await;
    place.assert_is(WIKI, "/admin");
    assert_eq!(wiki.last().value("x-forwarded-user"), Some("ada"));
    for (host, pair) in of_bob {
        let old = gate.browser_for(host).cookie(&pair);
        old.fetch("/").await.assert_status(401);
    }
    profile.load(METRICS, "/").await.assert_is(METRICS, "/");
    // Somebody without the rights is asked before a code is made out.
    let bob = Profile::new(&gate);
    bob.sign_in("bob", METRICS, "/")
        .await
        .assert_is(METRICS, "/");
    let place = bob.load(WIKI, "/admin").await;
    place.assert_is_login();
    place.page.assert_contains("bob");
}

#[tokio::test]
async fn a_session_of_before_goes_on_and_ends_for_that_of_the_login() {
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let mut gate = two(&wiki, &metrics).start().await;
    gate.reload(|text| text.replace("host = \"login.test\"", ""))
        .unwrap();
    let profile = Profile::new(&gate);
    let before = profile.at(WIKI).login("ada", PASSWORD).await;
    let old = before.session_cookie();
    gate.reload(|text| text.replace("[login]\n", "[login]\nhost = \"login.test\"\n"))
        .unwrap();
    profile.load(WIKI, "/x").await.assert_is(WIKI, "/x");
    // The login takes its place when somebody signs in anew.
    let place = profile
        .load(WIKI, "/.vestibule/sso?switch=1&return_to=/y")
        .await;
    let reply = profile.fill_in(&place, "ada").await;
    profile
        .follow(LOGIN, SIGN_IN, reply)
        .await
        .assert_is(WIKI, "/y");
    assert_ne!(profile.at(WIKI).session_cookie(), old);
    gate.browser_for(WIKI)
        .cookie(&old)
        .fetch("/")
        .await
        .assert_status(401);
}

#[tokio::test]
async fn session_data_is_of_the_session_on_every_name_of_an_app() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            let fields: &[(&str, &str)] = match exchange.target() {
                "/set" => &[("X-Session-Set", "role=1")],
                _ => &[],
            };
            exchange.reply("200 OK", fields, "done").await;
        })
    })
    .await;
    let gate = Vestibule::before(&app)
        .app("host = [\"wiki.test\", \"wiki.org\"]\nsession_data = true\n[app.identity]\nX-Sid = \"{session}\"")
        .login("host = \"login.test\"")
        .user("ada", PASSWORD)
        .start()
        .await;
    let profile = Profile::new(&gate);
    profile
        .sign_in("ada", WIKI, "/set")
        .await
        .assert_is(WIKI, "/set");
    profile
        .load("wiki.org", "/")
        .await
        .assert_is("wiki.org", "/");
    assert_eq!(app.last().value("x-session-data"), Some("role=1"));
    let key = app.last().value("x-sid").map(str::to_owned);
    profile.load(WIKI, "/").await.assert_is(WIKI, "/");
    assert!(key.is_some());
    assert_eq!(app.last().value("x-sid").map(str::to_owned), key);
}

/// In the list that people see, in `{session}`, and in the `sid` of the identity token.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_one_key_for_people_and_for_apps() {
    const TOLD: &str = "identity_token = true\n[app.identity]\nX-Sid = \"{session}\"\n";
    for login in [None, Some("host = \"login.test\"")] {
        let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
        let before = Vestibule::before(&wiki)
            .app(&format!("name = \"wiki\"\nhost = \"{WIKI}\"\n{TOLD}"))
            .user("ada", PASSWORD)
            .config(&format!(
                "[[app]]\nname = \"metrics\"\nhost = \"{METRICS}\"\nupstream = \"{}\"\n{TOLD}",
                metrics.url()
            ));
        let mut gate = match login {
            Some(login) => before.login(login),
            None => before,
        }
        .start()
        .await;
        let profile = Profile::new(&gate);
        let mut told = Vec::new();
        for (host, app) in [(WIKI, &wiki), (METRICS, &metrics)] {
            if login.is_none() {
                profile.at(host).login("ada", PASSWORD).await;
                profile.at(host).get("/").await.assert_status(200);
            } else if host == WIKI {
                profile.sign_in("ada", host, "/").await.assert_is(host, "/");
            } else {
                profile.load(host, "/").await.assert_is(host, "/");
            }
            let issuer = if login.is_some() { LOGIN } else { host };
            let keys = profile.at(issuer).get("/.vestibule/jwks.json").await;
            let request = app.last();
            let claims = verify(&keys.json(), request.value(HEADER).unwrap());
            let key = request.value("x-sid").unwrap().to_owned();
            assert_eq!(claims["sid"], *key, "{host}");
            told.push((host, key));
        }
        let (code, listed, said) = ask(gate.files(), &["session", "list", "--json"]);
        assert_eq!(code, Some(0), "{said}");
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let listed = listed.as_array().unwrap();
        assert_eq!(listed.len(), if login.is_some() { 1 } else { 2 });
        for (host, key) in told {
            let has = |of: &&serde_json::Value| {
                let hosts = of["hosts"].as_array().unwrap();
                hosts.iter().any(|other| other == host)
            };
            let session = listed.iter().find(has).unwrap();
            assert_eq!(session["key"], *key, "{host}");
        }
    }
}

//! One login for all apps: `[login] host`. Each host has an id of its own for the same session, and
//! a code carries the login there, once (SEC-97).

/// Codes and states that somebody has taken, forged or kept.
mod attacks;
/// What each host has, and where nothing leads.
mod hosts;
/// Forms that were late, and long addresses.
mod late_forms;
/// By way of several nodes.
mod nodes;
/// Many tabs, other users, restarts.
mod sessions;
/// One sign-out for all.
mod signing_out;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::harness::*;

const LOGIN: &str = "login.test";
const WIKI: &str = "wiki.test";
const METRICS: &str = "metrics.org";

const SSO: &str = "/.vestibule/sso";
const SIGN_IN: &str = "/.vestibule/login";
const LOGIN_COOKIE: &str = "__Host-Http-vestibule-login";

/// Two apps on domains that have nothing in common, with one login.
fn two(wiki: &Upstream, metrics: &Upstream) -> Vestibule {
    Vestibule::before(wiki)
        .app("name = \"wiki\"\nhost = \"wiki.test\"\nsession_data = true")
        .rule("/public", "everyone")
        .rule("/admin", "{ groups = [\"admins\"] }")
        .login("host = \"login.test\"")
        .account(User::new("ada", PASSWORD).groups(&["admins"]))
        .user("bob", PASSWORD)
        .config(&format!(
            "[[app]]\nname = \"metrics\"\nhost = [\"metrics.org\", \"*.metrics.org\"]\nupstream = \"{}\"",
            metrics.url()
        ))
}

/// The apps, and the service before them.
async fn started() -> (Upstream, Upstream, Gate) {
    let (wiki, metrics) = (Upstream::echo().await, Upstream::echo().await);
    let gate = two(&wiki, &metrics).start().await;
    (wiki, metrics, gate)
}

/// A browser profile: cookies by host.
#[derive(Clone)]
struct Profile {
    hosts: Arc<Mutex<HashMap<String, Browser>>>,
    first: Browser,
    http2: bool,
}

/// Where a browser has come to.
struct Place {
    host: String,
    target: String,
    page: Reply,
}

impl Profile {
    fn new(gate: &Gate) -> Self {
        Self {
            hosts: Arc::default(),
            first: gate.browser(),
            http2: false,
        }
    }

    fn over_http2(self) -> Self {
        Self {
            http2: true,
            ..self
        }
    }

    /// The browser with the cookies of a host.
    fn at(&self, host: &str) -> Browser {
        let mut hosts = self.hosts.lock().unwrap();
        let browser = hosts.entry(host.to_owned());
        let browser = browser.or_insert_with(|| self.first.for_host(host)).clone();
        if self.http2 {
            browser.over_http2()
        } else {
            browser
        }
    }

    /// Loads a page and goes wherever that leads.
    async fn load(&self, host: &str, target: &str) -> Place {
        let page = self.at(host).get(target).await;
        self.follow(host, target, page).await
    }

    async fn follow(&self, host: &str, target: &str, page: Reply) -> Place {
        let mut place = Place {
            host: host.to_owned(),
            target: target.to_owned(),
            page,
        };
        for _ in 0..12 {
            if place.page.status != 303 {
                return place;
            }
            let (host, target) = leads_to(&place.host, &place.page);
            let page = self.at(&host).get(&target).await;
            place = Place { host, target, page };
        }
        panic!("{} {} leads around in circles", place.host, place.target);
    }

    /// Fills in the form of the login that a browser has come to; what that is answered.
    async fn fill_in(&self, place: &Place, user: &str) -> Reply {
        assert_eq!(place.host, LOGIN, "{}", place.page);
        place.page.assert_status(200);
        let mut fields = vec![
            ("username", user.to_owned()),
            ("password", PASSWORD.to_owned()),
        ];
        for name in ["csrf", "return_to", "state"] {
            fields.push((name, place.page.hidden(name)));
        }
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        self.at(LOGIN).post_form(SIGN_IN, &fields).await
    }

    /// Loads a page of an app, and signs in on the way.
    async fn sign_in(&self, user: &str, host: &str, target: &str) -> Place {
        let login = self.load(host, target).await;
        let reply = self.fill_in(&login, user).await;
        self.follow(LOGIN, SIGN_IN, reply).await
    }

    /// Up to the address that a login comes back to with a code, which is not loaded.
    async fn code(&self, user: &str, host: &str, target: &str) -> String {
        let login = self.load(host, target).await;
        let reply = self.fill_in(&login, user).await;
        let (at, target) = leads_to(LOGIN, &reply);
        assert_eq!(at, host);
        assert!(target.starts_with("/.vestibule/sso?code="), "{target}");
        target
    }

    /// The same for a browser that is signed in at the login already.
    async fn next_code(&self, host: &str, target: &str) -> String {
        let (at, login) = leads_to(host, &self.at(host).get(target).await);
        assert_eq!(at, LOGIN);
        let (at, target) = leads_to(LOGIN, &self.at(LOGIN).get(&login).await);
        assert_eq!(at, host);
        target
    }
}

impl Place {
    #[track_caller]
    fn assert_is(&self, host: &str, target: &str) {
        let is = (self.page.status, &*self.host, &*self.target);
        assert_eq!(is, (200, host, target), "{}", self.page);
    }

    #[track_caller]
    fn assert_is_login(&self) {
        assert!(
            self.target.starts_with("/.vestibule/login?state="),
            "{}",
            self.target
        );
        assert_eq!(
            (self.page.status, &*self.host),
            (200, LOGIN),
            "{}",
            self.page
        );
    }
}

/// Host and target of a redirect.
#[track_caller]
fn leads_to(host: &str, page: &Reply) -> (String, String) {
    assert_eq!(page.status, 303, "{page}");
    let location = page.value("location").expect("a location");
    match location.strip_prefix("https://") {
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/').expect("a path"));
            (host.to_owned(), path.to_owned())
        }
        None => (host.to_owned(), location.to_owned()),
    }
}

/// Whether an answer gives a session to a browser.
fn sets_session(page: &Reply) -> bool {
    let mut set = page.values("set-cookie").into_iter();
    set.any(|set| set.starts_with(&format!("{SESSION_COOKIE}=")) && !set.contains("Max-Age=0"))
}

#[tokio::test]
async fn one_login_opens_the_app_that_asked_and_the_next_one_without_a_word() {
    let (wiki, metrics, gate) = started().await;
    for profile in [Profile::new(&gate), Profile::new(&gate).over_http2()] {
        let asked = profile.at(WIKI).get("/page?q=a%20b&r=//x").await;
        let (host, login) = leads_to(WIKI, &asked);
        assert_eq!(host, LOGIN);
        assert!(login.starts_with("/.vestibule/login?state="), "{login}");
        asked.assert_header("cache-control", "no-store");
        let cookies = asked.values("set-cookie");
        let [cookie] = &cookies[..] else {
            panic!("{asked}");
        };
        let (pair, flags) = cookie.split_once("; ").unwrap();
        assert!(pair.starts_with(&format!("{LOGIN_COOKIE}=")), "{cookie}");
        assert_eq!(flags, "Secure; HttpOnly; SameSite=Lax; Path=/");

        let form = profile.at(LOGIN).get(&login).await;
        form.assert_contains("Sign in to wiki");
        let form = Place {
            host: LOGIN.to_owned(),
            target: login,
            page: form,
        };
        let signed_in = profile.fill_in(&form, "ada").await;
        assert!(sets_session(&signed_in), "{signed_in}");
        let (host, back) = leads_to(LOGIN, &signed_in);
        assert_eq!(host, WIKI);
        let arrived = profile.at(WIKI).get(&back).await;
        arrived.assert_redirects_to("/page?q=a%20b&r=//x");
        arrived.assert_header("cache-control", "no-store");
        let sets: Vec<_> = arrived.values("set-cookie");
        let session = sets
            .iter()
            .find(|set| set.starts_with(&format!("{SESSION_COOKIE}=")));
        let (pair, flags) = session.unwrap().split_once("; ").unwrap();
        assert_eq!(pair.len(), SESSION_COOKIE.len() + 1 + 43);
        assert_eq!(flags, "Secure; HttpOnly; SameSite=Lax; Path=/");
        profile.at(WIKI).get("/page").await.assert_status(200);
        assert_eq!(wiki.last().value("x-forwarded-user"), Some("ada"));
        assert_eq!(wiki.last().value("cookie"), None);

        // The next one, on a domain of its own.
        let there = profile.load(METRICS, "/graph").await;
        there.assert_is(METRICS, "/graph");
        assert_eq!(metrics.last().value("x-forwarded-user"), Some("ada"));
        let ids = [LOGIN, WIKI, METRICS].map(|host| profile.at(host).session_cookie());
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }
    assert!(
        wiki.received()
            .iter()
            .all(|request| !request.target().contains("vestibule"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_sessions_has_one_with_its_hosts() {
    let (_wiki, _metrics, mut gate) = started().await;
    let profile = Profile::new(&gate);
    profile.sign_in("ada", WIKI, "/").await.assert_is(WIKI, "/");
    profile.load(METRICS, "/").await.assert_is(METRICS, "/");
    let files = gate.files();
    let (code, stdout, stderr) = ask(files, &["session", "list", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let sessions: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let [session] = &sessions.as_array().unwrap()[..] else {
        panic!("{sessions}");
    };
    assert_eq!(session["hosts"], serde_json::json!([LOGIN, WIKI, METRICS]));
    let (_, table, _) = ask(files, &["session", "list"]);
    assert!(
        table.contains("login.test wiki.test metrics.org"),
        "{table}"
    );

    // The key that people see ends all of it.
    let key = session["key"].as_str().unwrap().to_owned();
    let (code, ..) = ask(files, &["session", "revoke", &key[..8]]);
    assert_eq!(code, Some(0));
    for host in [WIKI, METRICS] {
        profile.at(host).fetch("/").await.assert_status(401);
        profile.load(host, "/").await.assert_is_login();
    }
}

/// A command, which asks the service that runs in this process.
fn ask(files: &Files, args: &[&str]) -> (Option<i32>, String, String) {
    tokio::task::block_in_place(|| run(files, args))
}

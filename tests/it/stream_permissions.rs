//! A stream goes on as long as it would be permitted, and no longer: SEC-89.

mod late_answers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::harness::*;

/// Within this after the change: half a second, and machines are slow.
const SOON: Duration = Duration::from_secs(2);

const OTHER: &str = "other.test";

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const LAST_CHUNK: &str = "0\r\n\r\n";

/// WebSockets, event streams of one number after the other, and everything else as an echo.
async fn app(numbers: &Arc<AtomicUsize>) -> Upstream {
    let numbers = Arc::clone(numbers);
    Upstream::scripted(move |exchange| {
        let numbers = Arc::clone(&numbers);
        Box::pin(async move {
            let path = exchange.target().to_owned();
            if path.ends_with("/ws") {
                exchange.echo_websocket().await;
            } else if path.ends_with("/events") {
                exchange.send(CHUNKED).await;
                while !exchange.is_over() {
                    let number = numbers.fetch_add(1, Ordering::Relaxed).to_string();
                    exchange
                        .send(format!("{:x}\r\n{number}\r\n", number.len()))
                        .await;
                    sleep(Duration::from_millis(20)).await;
                }
            } else {
                echo(exchange).await;
            }
        })
    })
    .await
}

/// A WebSocket and an event stream of one visitor below one path.
struct Pair {
    what: String,
    socket: WebSocket,
    events: Raw,
    numbers: Arc<AtomicUsize>,
}

impl Pair {
    async fn open(
        gate: &Gate,
        numbers: &Arc<AtomicUsize>,
        host: &str,
        folder: &str,
        cookie: Option<&str>,
    ) -> Self {
        let origin = format!("https://{host}");
        let mut headers = vec![("origin", &*origin)];
        headers.extend(cookie.map(|cookie| ("cookie", cookie)));
        let path = format!("{folder}/ws");
        let socket = open_websocket_of(host, gate.tcp().await, &path, &headers).await;
        let stream = tls::connect(gate.tcp().await, host, &["http/1.1"]).await;
        let mut events = Raw::new(stream.unwrap());
        let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n"));
        events
            .send(format!(
                "GET {folder}/events HTTP/1.1\r\nHost: {host}\r\n{}\r\n",
                cookie.unwrap_or_default()
            ))
            .await;
        events.head().await.assert_status(200);
        let mut pair = Self {
            what: format!("{host}{folder}"),
            socket: socket.unwrap(),
            events,
            numbers: Arc::clone(numbers),
        };
        pair.goes_on().await;
        pair
    }

    async fn goes_on(&mut self) {
        assert_eq!(
            self.socket.ask("still here").await,
            "still here",
            "{}",
            self.what
        );
        let now = self.numbers.load(Ordering::Relaxed);
        loop {
            let chunk = self.events.chunk().await;
            let chunk = chunk.unwrap_or_else(|| panic!("{} has ended", self.what));
            if String::from_utf8(chunk).unwrap().parse::<usize>().unwrap() > now {
                return;
            }
        }
    }

    async fn ends(mut self, why: &str) {
        let ended = async { tokio::join!(self.socket.closed(), self.events.rest()) };
        let ended = timeout(SOON, ended).await;
        let (code, rest) = ended.unwrap_or_else(|_| panic!("{why}: {} goes on", self.what));
        assert_eq!(code, Some(1008), "{why}: {}", self.what);
        assert!(
            !rest.ends_with(LAST_CHUNK),
            "{why}: {} looks whole",
            self.what
        );
    }
}

#[tokio::test]
async fn sec_89_who_leaves_a_group_loses_the_streams_of_its_rule_and_no_other() {
    let numbers = Arc::default();
    let app = app(&numbers).await;
    let mut gate = Vestibule::before(&app)
        .account(User::new("ada", PASSWORD).groups(&["admins"]))
        .account(User::new("bob", PASSWORD).groups(&["admins"]))
        .rule("/admin", "{ groups = [\"admins\"] }")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let bob = gate.browser().login("bob", PASSWORD).await.session_cookie();
    let open = |folder, cookie| Pair::open(&gate, &numbers, "gate.test", folder, Some(cookie));
    let (lost, mut own, mut others) = (
        open("/admin", &*ada).await,
        open("/own", &*ada).await,
        open("/admin", &*bob).await,
    );
    let mut http2 = gate.raw_http2().await;
    let mut fields = RawHttp2::get("/admin/events");
    fields.push(("cookie", &ada));
    http2.headers(1, &fields, true).await;
    assert_eq!(http2.status(1).await, Some(200));
    let mut upload = gate.raw().await;
    upload
        .send(format!(
            "POST /admin/up HTTP/1.1\r\nHost: gate.test\r\nCookie: {ada}\r\nContent-Length: 9\r\n\r\npart"
        ))
        .await;
    app.wait_for(8).await;

    gate.files()
        .change_user("ada", |ada| ada.groups = vec!["staff".to_owned()]);
    lost.ends("group").await;
    let (reset, refused) = timeout(SOON, async {
        (http2.outcome(1).await.reset, upload.response().await)
    })
    .await
    .expect("all of them soon");
    assert!(reset.is_some());
    refused.assert_status(403);
    others.goes_on().await;
    own.goes_on().await;
}

#[tokio::test]
async fn sec_89_streams_end_with_what_another_configuration_does_not_permit() {
    let cases: [(&str, Change, [bool; 3]); 7] = [
        (
            "nobody",
            |text, _| text.replace("{ groups = [\"admins\"] }", "\"nobody\""),
            [true, false, false],
        ),
        (
            "a narrower rule",
            |text, _| format!("{text}[[app.rule]]\npath = \"/own\"\nallow = \"nobody\"\n"),
            [false, false, true],
        ),
        (
            "the app is gone",
            |text, _| {
                text.split("[[app]]\nname = \"other\"")
                    .next()
                    .unwrap()
                    .to_owned()
            },
            [false, false, true],
        ),
        (
            "the host is gone",
            |text, _| text.replace("host = \"other.test\"", "host = \"third.test\""),
            [false, false, true],
        ),
        (
            "another upstream",
            |text, app| {
                let (before, other) = text.split_once("name = \"other\"").unwrap();
                let (_, port) = other
                    .split_once("upstream = \"")
                    .unwrap()
                    .1
                    .split_once('"')
                    .unwrap();
                format!(
                    "{before}name = \"other\"\nhost = \"other.test\"\nupstream = \"{}\"{port}",
                    app.url()
                )
            },
            [false, false, true],
        ),
        (
            "another name",
            |text, _| text.replace("name = \"other\"", "name = \"renamed\""),
            [false; 3],
        ),
        ("nothing", |text, _| text.to_owned(), [false; 3]),
    ];
    Box::pin(assert_each_ends(&cases)).await;
}

#[tokio::test]
async fn sec_89_streams_end_with_an_app_that_is_closed() {
    let cases: [(&str, Change, [bool; 3]); 2] = [
        (
            "maintenance",
            |text, _| text.replace("name = \"one\"", "name = \"one\"\nmaintenance = \"Now.\""),
            [true, true, false],
        ),
        (
            "maintenance for others",
            |text, _| {
                let keys = "maintenance = \"Now.\"\nmaintenance_allow = { users = [\"ada\"] }";
                text.replace("name = ", &format!("{keys}\nname = "))
            },
            [false; 3],
        ),
    ];
    Box::pin(assert_each_ends(&cases)).await;
}

#[tokio::test]
async fn sec_89_streams_end_with_a_network_that_they_come_from() {
    let cases: [(&str, Change, [bool; 3]); 3] = [
        (
            "another network",
            |text, _| {
                let there = "{ groups = [\"admins\"], networks = [\"192.0.2.0/24\"] }";
                text.replace("{ groups = [\"admins\"] }", there)
            },
            [true, false, false],
        ),
        (
            "the app is for another network",
            |text, _| text.replace("name = \"one\"", "name = \"one\"\nnetworks = [\"::1\"]"),
            [true, true, false],
        ),
        (
            "the app is for their network",
            |text, _| text.replace("name = ", "networks = [\"127.0.0.1\"]\nname = "),
            [false; 3],
        ),
    ];
    Box::pin(assert_each_ends(&cases)).await;
}

/// What becomes of a configuration, given another upstream.
type Change = fn(&str, &Upstream) -> String;

/// Of a stream in `/admin`, one elsewhere and one at another host, those end that each case says.
async fn assert_each_ends(cases: &[(&str, Change, [bool; 3])]) {
    let numbers = Arc::default();
    let (one, other, third) = (
        app(&numbers).await,
        app(&numbers).await,
        app(&numbers).await,
    );
    for &(why, change, end) in cases {
        let mut gate = Vestibule::before(&one)
            .app("name = \"one\"\nhost = \"gate.test\"")
            .account(User::new("ada", PASSWORD).groups(&["admins"]))
            .rule("/admin", "{ groups = [\"admins\"] }")
            .config(&format!(
                "[[app]]\nname = \"other\"\nhost = \"{OTHER}\"\nupstream = \"{}\"",
                other.url()
            ))
            .start()
            .await;
        let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
        let there = gate
            .browser_for(OTHER)
            .login("ada", PASSWORD)
            .await
            .session_cookie();
        let open = |host, folder, cookie| Pair::open(&gate, &numbers, host, folder, Some(cookie));
        let pairs = [
            open("gate.test", "/admin", &*ada).await,
            open("gate.test", "/own", &*ada).await,
            open(OTHER, "/own", &*there).await,
        ];
        gate.reload(|text| change(text, &third)).unwrap();
        let mut stay = Vec::new();
        for (pair, ends) in pairs.into_iter().zip(end) {
            if ends {
                pair.ends(why).await;
            } else {
                stay.push(pair);
            }
        }
        for pair in &mut stay {
            pair.goes_on().await;
        }
    }
}

#[tokio::test]
async fn sec_89_a_path_that_is_not_public_any_more_is_for_visitors_with_a_session() {
    let numbers = Arc::default();
    let app = app(&numbers).await;
    let mut gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let open = |cookie| Pair::open(&gate, &numbers, "gate.test", "/public", cookie);
    let (stranger, mut known) = (open(None).await, open(Some(&*ada)).await);
    gate.reload(|text| text.replace("\"everyone\"", "\"signed-in\""))
        .unwrap();
    stranger.ends("not public").await;
    known.goes_on().await;
}

#[tokio::test]
async fn sec_89_of_two_upstreams_the_one_that_is_gone_takes_its_streams_along() {
    let numbers = Arc::default();
    let (one, two) = (app(&numbers).await, app(&numbers).await);
    let mut gate = Vestibule::before_each(&[&one, &two]).public().start().await;
    let open = async || {
        let before = two.connections();
        let pair = Pair::open(&gate, &numbers, "gate.test", "", None).await;
        (pair, two.connections() - before)
    };
    // They take turns: each pair has one stream at each.
    let (pair, at_two) = open().await;
    assert_eq!(at_two, 1);
    let Pair {
        socket, mut events, ..
    } = pair;
    let socket_at_two = two.received().iter().any(|seen| seen.target() == "/ws");
    let gone = if socket_at_two { two.url() } else { one.url() };
    gate.reload(|text| {
        text.replace(&format!("\"{gone}\""), "")
            .replace("[, ", "[")
            .replace(", ]", "]")
    })
    .unwrap();
    let closed = timeout(SOON, socket.closed()).await;
    assert_eq!(closed, Ok(Some(1008)));
    let now = numbers.load(Ordering::Relaxed);
    while String::from_utf8(events.chunk().await.unwrap())
        .unwrap()
        .parse::<usize>()
        .unwrap()
        <= now
    {}
    let kept = if socket_at_two { one.url() } else { two.url() };
    gate.reload(|text| text.replace(&kept, &gone)).unwrap();
    assert!(
        timeout(SOON, events.rest()).await.is_ok(),
        "its upstream is gone, too"
    );
}

#[tokio::test]
async fn sec_89_an_origin_that_is_not_listed_any_more_has_no_websocket() {
    let numbers = Arc::default();
    let app = app(&numbers).await;
    let mut gate = Vestibule::before(&app)
        .app("websocket_origins = [\"https://a.test\", \"https://b.test\"]")
        .user("ada", PASSWORD)
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await.session_cookie();
    let open = async |origin| {
        let headers = [("origin", origin), ("cookie", &*ada)];
        open_websocket(gate.tcp().await, "/ws", &headers)
            .await
            .unwrap()
    };
    let (gone, mut listed) = (open("https://a.test").await, open("https://b.test").await);
    gate.reload(|text| text.replace("\"https://a.test\", ", ""))
        .unwrap();
    assert_eq!(timeout(SOON, gone.closed()).await, Ok(Some(1008)));
    assert_eq!(listed.ask("still here").await, "still here");
}

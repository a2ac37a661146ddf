//! How tokens end, and what ends with them.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::timeout;

use super::*;

/// Revoking reaches open streams within this.
const SOON: Duration = Duration::from_secs(1);

fn key(token: &serde_json::Value) -> String {
    token["key"].as_str().unwrap()[..8].to_owned()
}

fn listed(files: &Files) -> Vec<serde_json::Value> {
    let text = done(files, &["token", "list", "--json"]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Each way to end a token of ada.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ByKey,
    OfUser,
    OnAccountPage,
    UserDisabled,
    UserRemoved,
}

impl Way {
    async fn go(self, service: &Service) {
        let files = &service.files;
        let tokens = listed(files);
        let of_ada = tokens.iter().find(|token| token["user"] == "Ada").unwrap();
        let said = match self {
            Self::ByKey => done(files, &["token", "revoke", &key(of_ada)]),
            Self::OfUser => done(files, &["token", "revoke", "--user", "ADA"]),
            Self::OnAccountPage => {
                let browser = service.browser().login("ada", PASSWORD).await;
                let page = browser.get("/.vestibule/account").await;
                let fields = [
                    ("csrf", &*page.hidden("csrf")),
                    ("action", "revoke-token"),
                    ("key", of_ada["key"].as_str().unwrap()),
                ];
                let revoked = browser.post_form("/.vestibule/account", &fields).await;
                revoked.assert_redirects_to("/.vestibule/account");
                return;
            }
            Self::UserDisabled => done(files, &["user", "disable", "ada"]),
            Self::UserRemoved => done(files, &["user", "remove", "ada"]),
        };
        let by_token = matches!(self, Self::ByKey | Self::OfUser);
        assert!(
            !by_token || said.starts_with("revoked 1 token of A"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_75_revoking_a_token_takes_effect_at_the_next_byte() {
    for how in [
        Way::ByKey,
        Way::OfUser,
        Way::OnAccountPage,
        Way::UserDisabled,
        Way::UserRemoved,
    ] {
        let app = app().await;
        let service = before(&app).spawn().await;
        let ada = bearer(&made(&service.files, "ada", &["--name", "first"]));
        let bob = bearer(&made(&service.files, "bob", &[]));
        let open = async |token: &str| {
            let headers = [("authorization", token)];
            let opened = open_websocket(service.tcp().await, "/ws", &headers).await;
            opened.unwrap()
        };
        let (socket, mut kept) = (open(&ada).await, open(&bob).await);
        let mut download = service.raw().await;
        let get_it =
            format!("GET /download HTTP/1.1\r\nHost: gate.test\r\nAuthorization: {ada}\r\n\r\n");
        download.send(get_it).await;
        download.head().await.assert_status(200);

        how.go(&service).await;
        let both = async {
            let (code, rest) = tokio::join!(socket.closed(), download.rest());
            assert_eq!(code, Some(1008), "{how:?}");
            assert!(!rest.ends_with("0\r\n\r\n"), "{how:?}: it looks whole");
        };
        let ended = timeout(SOON, both).await;
        assert!(ended.is_ok(), "{how:?}: not within {SOON:?}");
        get(&service.browser(), "/", &ada).await.assert_status(401);
        assert_eq!(kept.ask("still here").await, "still here", "{how:?}");
        get(&service.browser(), "/", &bob).await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_ends_with_its_time_and_so_do_its_streams() {
    let app = app().await;
    let mut gate = before(&app).start().await;
    let token = made(gate.files(), "ada", &["--for", "1h"]);
    let bearer = bearer(&token);
    let stream = tokio::net::TcpStream::connect(gate.address())
        .await
        .unwrap();
    let opened = open_websocket(stream, "/ws", &[("authorization", &*bearer)]).await;
    let mut socket = opened.unwrap();
    gate.advance(Duration::from_mins(59));
    get(&gate.browser(), "/", &bearer).await.assert_status(200);
    assert_eq!(socket.ask("still here").await, "still here");
    gate.advance(Duration::from_mins(1));
    let reply = get(&gate.browser(), "/", &bearer).await;
    reply.assert_status(401);
    assert_eq!(reply.json()["error"], "invalid_token");
    assert_eq!(
        within("the end of the stream", socket.closed()).await,
        Some(1008)
    );
    let table = done(gate.files(), &["token", "list"]);
    assert!(table.contains(" over "), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_51_a_token_ends_with_its_user_and_does_not_come_back() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let ada = bearer(&made(&service.files, "ada", &[]));
    let bob = bearer(&made(&service.files, "bob", &[]));
    let headers = [("authorization", &*ada)];
    let socket = open_websocket(service.tcp().await, "/ws", &headers).await;
    let socket = socket.unwrap();
    done(&service.files, &["user", "disable", "ada"]);
    eventually_some("the end of the token", async || {
        let reply = get(&service.browser(), "/", &ada).await;
        (reply.status == 401).then_some(())
    })
    .await;
    assert_eq!(
        within("the end of the stream", socket.closed()).await,
        Some(1008)
    );
    eventually("ada's tokens are gone", || {
        listed(&service.files).len() == 1
    })
    .await;
    done(&service.files, &["user", "enable", "ada"]);
    get(&service.browser(), "/", &ada).await.assert_status(401);
    get(&service.browser(), "/", &bob).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_outlive_a_crash_and_revoked_ones_do_not_come_back() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let (kept, gone) = (
        made(&service.files, "ada", &[]),
        made(&service.files, "bob", &[]),
    );
    done(&service.files, &["token", "revoke", "--user", "bob"]);
    let service = service.crash().await;
    get(&service.browser(), "/", &bearer(&kept))
        .await
        .assert_status(200);
    get(&service.browser(), "/", &bearer(&gone))
        .await
        .assert_status(401);
    // A clean stop writes down the last use.
    let mut service = service;
    service.program.signal(Signal::TERM);
    service.program.exit().await;
    let service = service.start_again().await;
    let tokens = listed(&service.files);
    assert_eq!(tokens.len(), 1);
    assert!(tokens[0]["last_used"].is_string(), "{tokens:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_of_tokens_stops_the_start_and_says_how_to_go_on() {
    let app = app().await;
    let mut service = before(&app).spawn().await;
    made(&service.files, "ada", &[]);
    service.program.signal(Signal::TERM);
    service.program.exit().await;
    let path = service.files.path("authenticators.redb");
    std::fs::write(&path, "no tokens in here").unwrap();
    let (code, _, said) = run(&service.files, &["serve"]);
    assert_eq!(code, Some(78), "{said}");
    let advice = format!("mv {0} {0}.damaged", path.display());
    assert!(
        said.contains("is damaged") && said.contains(&advice),
        "{said}"
    );
    std::fs::rename(&path, service.files.path("authenticators.redb.damaged")).unwrap();
    let service = service.start_again().await;
    assert_eq!(done(&service.files, &["token", "list", "--json"]), "[]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_with_its_sessions_in_the_same_folder_is_told_to_have_its_own() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let files = &service.files;
    let text = std::fs::read_to_string(files.path("config.toml")).unwrap();
    let listen = service.address.to_string();
    let second = text
        .replace(&listen, "127.0.0.1:0")
        .replace("[session]\n", "[session]\npath = \"second.redb\"\n");
    assert!(second.contains("second.redb") && !second.contains(&listen));
    files.write("config.toml", &second, 0o644);
    let (code, _, said) = run(files, &["serve"]);
    assert_eq!(code, Some(1), "{said}");
    let file = files.path("authenticators.redb");
    let expected = [
        &format!(
            "another process has the API tokens in {} open",
            file.display()
        ),
        "a folder of its own with `path` in [session]",
    ];
    assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    // In a folder of its own it starts: it gets as far as the socket of the first one.
    std::fs::create_dir(files.path("second")).unwrap();
    let second = second.replace("second.redb", "second/sessions.redb");
    files.write("config.toml", &second, 0o644);
    let (_, _, said) = run(files, &["serve"]);
    assert!(!said.contains("API tokens"), "{said}");
    made(files, "ada", &[]);
}

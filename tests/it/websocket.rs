//! WebSockets and other long connections, SEC-74 to SEC-76.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::*;

const OWN: (&str, &str) = ("origin", "https://gate.test");

async fn gate(app: &Upstream) -> (Gate, Browser) {
    let gate = Vestibule::before(app).user("ada", PASSWORD).start().await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    (gate, ada)
}

#[tokio::test]
async fn messages_pass_both_ways_and_the_app_knows_who_sends_them() {
    let app = Upstream::websocket().await;
    let (gate, ada) = gate(&app).await;
    let cookie = ada.session_cookie();
    let headers = [OWN, ("cookie", &*cookie), ("x-forwarded-user", "admin")];
    let mut socket = open_websocket(gate.tcp().await, "/socket?room=1", &headers)
        .await
        .unwrap();
    assert_eq!(socket.ask("hello \u{1f44b}").await, "hello \u{1f44b}");
    for size in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
        let data: Vec<_> = (0..size).map(|n: usize| n.to_le_bytes()[0]).collect();
        assert!(
            socket.ask_binary(data.clone()).await == data,
            "{size} bytes"
        );
    }
    let last = app.last();
    assert_eq!(last.target(), "/socket?room=1");
    assert_eq!(last.value("x-forwarded-user"), Some("ada"));
    assert_eq!(last.value("cookie"), None);
    socket.close().await;
    eventually("the app's side to close", || app.open_connections() == 0).await;
}

#[tokio::test]
async fn sec_74_a_websocket_needs_a_session_and_a_page_of_ours() {
    let app = Upstream::websocket().await;
    let (gate, ada) = gate(&app).await;
    let cookie = ada.session_cookie();
    let session = ("cookie", &*cookie);
    for (headers, status) in [
        (&[OWN][..], 401),
        (&[("origin", "https://evil.test")], 401),
        (&[session, ("origin", "https://evil.test")], 403),
        (&[session, ("origin", "null")], 403),
        (&[session, ("origin", "http://gate.test")], 403),
        (&[session, ("origin", "https://gate.test.evil")], 403),
        (&[session, ("origin", "https://gate.test:444")], 403),
        (&[session, OWN, ("origin", "https://evil.test")], 403),
        (&[session, ("origin", "")], 403),
        (&[session, ("sec-fetch-site", "cross-site")], 403),
        (&[session, ("sec-fetch-dest", "websocket")], 403),
    ] {
        let refused = open_websocket(gate.tcp().await, "/", headers).await;
        assert_eq!(refused.err(), Some(status), "{headers:?}");
    }
    assert_eq!(app.requests(), 0, "a handshake reached the app");
}

#[tokio::test]
async fn sec_74_a_program_without_origin_is_no_page_of_another_site() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .rule("/agents/", "everyone")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let session = ("cookie", &*cookie);
    let fetch = ("sec-fetch-mode", "websocket");
    let forged = ("cookie", "__host-HTTP-vestibule=guess");
    let pending = ("cookie", "__Host-Http-vestibule-login=guess");
    for (target, headers, refused) in [
        ("/agents/1", &[][..], None),
        ("/agents/1", &[fetch], None),
        ("/agents/1", &[("cookie", "theme=dark")], None),
        ("/agents/1", &[session], None),
        ("/agents/1", &[("origin", "https://evil.test")], Some(403)),
        ("/agents/1", &[("origin", "null")], Some(403)),
        ("/agents/1", &[forged], Some(403)),
        ("/agents/1", &[pending], Some(403)),
        ("/agents/1", &[session, fetch], Some(403)),
        ("/room", &[session], None),
        ("/room", &[session, fetch], Some(403)),
        ("/room", &[], Some(401)),
        ("/room", &[forged], Some(401)),
    ] {
        let before = app.requests();
        match open_websocket(gate.tcp().await, target, headers).await {
            Ok(mut socket) => {
                assert_eq!(refused, None, "{target} {headers:?}");
                assert_eq!(socket.ask("x").await, "x");
            }
            Err(status) => {
                assert_eq!(refused, Some(status), "{target} {headers:?}");
                assert_eq!(app.requests(), before, "a handshake reached the app");
            }
        }
    }
}

#[tokio::test]
async fn sec_74_a_trusted_proxy_may_have_dropped_the_origin_unless_its_app_says_otherwise() {
    let app = Upstream::websocket().await;
    let mut gate = Vestibule::before(&app)
        .app("websocket_without_origin = false")
        .user("ada", PASSWORD)
        .rule("/agents/", "everyone")
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let session = ("cookie", &*cookie);
    let fetch = ("sec-fetch-site", "cross-site");
    for (target, headers) in [("/agents/1", &[][..]), ("/room", &[session])] {
        let refused = open_websocket(gate.tcp().await, target, headers).await;
        assert_eq!(refused.err(), Some(403), "{target}");
    }
    assert_eq!(app.requests(), 0);
    let says = |text: &str, from: &str, to: &str| {
        let key = |value| format!("websocket_without_origin = {value}");
        text.replace(&key(from), &key(to))
    };
    gate.reload(|text| says(text, "false", "true")).unwrap();
    let refused = open_websocket(gate.tcp().await, "/room", &[session, fetch]).await;
    assert_eq!(refused.err(), Some(403), "a browser, by what it sends");
    let open = async |target, headers: Vec<_>| {
        let socket = open_websocket(gate.tcp().await, target, &headers).await;
        let mut socket = socket.unwrap();
        assert_eq!(socket.ask("x").await, "x");
        socket
    };
    let without = [
        open("/agents/1", vec![]).await,
        open("/room", vec![session]).await,
    ];
    let mut named = open("/room", vec![session, OWN]).await;
    gate.reload(|text| says(text, "true", "false")).unwrap();
    for socket in without {
        assert_eq!(socket.closed().await, Some(1008), "SEC-89");
    }
    assert_eq!(named.ask("still here").await, "still here");
}

#[tokio::test]
async fn the_cause_of_a_refused_websocket_is_in_the_access_log() {
    let app = Upstream::websocket().await;
    let service = Vestibule::before(&app)
        .public()
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    let session = ("cookie", "__Host-Http-vestibule=guess");
    for (target, headers, cause) in [
        ("/a", &[][..], "websocket_without_origin"),
        ("/b", &[session], "a cookie without a session"),
        ("/c", &[("origin", "null")], "websocket_origins"),
    ] {
        let refused = open_websocket(service.tcp().await, target, headers).await;
        assert_eq!(refused.err(), Some(403), "{target}");
        let line = eventually_some("the access line", async || {
            let lines = service.program.log();
            let of_target =
                |line: &serde_json::Value| line["target"] == "access" && line["path"] == target;
            lines.into_iter().find(of_target)
        });
        let line = line.await;
        assert!(line["error"].as_str().unwrap().contains(cause), "{line}");
    }
}

#[tokio::test]
async fn sec_74_other_origins_can_be_allowed_by_name() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app)
        .app("websocket_origins = [\"https://other.test\"]")
        .public()
        .start()
        .await;
    for origin in ["https://gate.test", "https://other.test"] {
        let socket = open_websocket(gate.tcp().await, "/", &[("origin", origin)]).await;
        assert_eq!(socket.unwrap().ask("x").await, "x", "{origin}");
    }
    let refused = open_websocket(gate.tcp().await, "/", &[("origin", "https://third.test")]).await;
    assert_eq!(refused.err(), Some(403));
}

#[tokio::test]
async fn sec_75_a_websocket_ends_with_its_session() {
    let app = Upstream::websocket().await;
    let mut gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("idle_timeout = \"30m\"\nlifetime = \"2h\"")
        .start()
        .await;
    for end in ["logout", "lifetime", "disabled", "removed"] {
        if end == "removed" {
            gate.files().change_user("ada", |ada| ada.disabled = false);
            let browser = gate.browser();
            eventually_some("ada to be let in again", async || {
                (browser.try_login("ada", PASSWORD).await.status == 303).then_some(())
            })
            .await;
        }
        let ada = gate.browser().login("ada", PASSWORD).await;
        let cookie = ada.session_cookie();
        let headers = [OWN, ("cookie", &*cookie)];
        let mut socket = open_websocket(gate.tcp().await, "/", &headers)
            .await
            .unwrap();
        assert_eq!(socket.ask("still there?").await, "still there?");
        let started = Instant::now();
        match end {
            "logout" => drop(ada.logout().await),
            "lifetime" => gate.advance(Duration::from_secs(2 * 3600 + 1)),
            "disabled" => gate.files().change_user("ada", |ada| ada.disabled = true),
            _ => gate.files().remove_user("ada"),
        }
        let code = socket.closed().await;
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{end}: {:?}",
            started.elapsed()
        );
        assert_eq!(code, Some(1008), "{end}");
        eventually("the app's side to close", || app.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn sec_75_another_session_of_the_same_user_goes_on() {
    let app = Upstream::websocket().await;
    let (gate, ada) = gate(&app).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let cookie = other.session_cookie();
    let mut socket = open_websocket(gate.tcp().await, "/", &[OWN, ("cookie", &*cookie)])
        .await
        .unwrap();
    ada.logout().await;
    ada.fetch("/").await.assert_status(401);
    assert_eq!(socket.ask("me?").await, "me?");
}

#[tokio::test]
async fn a_websocket_in_use_keeps_its_session_from_the_idle_timeout() {
    let app = Upstream::websocket().await;
    let gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .session("idle_timeout = \"10m\"")
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let cookie = ada.session_cookie();
    let mut socket = open_websocket(gate.tcp().await, "/", &[OWN, ("cookie", &*cookie)])
        .await
        .unwrap();
    for _ in 0..3 {
        gate.advance(Duration::from_mins(8));
        assert_eq!(socket.ask("here").await, "here");
    }
    ada.get("/").await.assert_status(200);
    gate.advance(Duration::from_mins(11));
    assert_eq!(
        socket.closed().await,
        Some(1008),
        "nobody is there any more"
    );
}

#[tokio::test]
async fn sec_75_a_download_ends_with_its_session() {
    for http2 in [false, true] {
        let app = Upstream::scripted(|exchange| {
            Box::pin(async {
                exchange
                    .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                    .await;
                exchange.wait_until_closed().await;
            })
        })
        .await;
        let (gate, ada) = gate(&app).await;
        let cookie = ada.session_cookie();
        let started;
        if http2 {
            let mut raw = gate.raw_http2().await;
            raw.headers(
                1,
                &[&RawHttp2::get("/")[..], &[("cookie", &*cookie)]].concat(),
                true,
            )
            .await;
            assert_eq!(raw.status(1).await, Some(200));
            ada.logout().await;
            started = Instant::now();
            let stream = raw.outcome(1).await;
            assert!(stream.reset.is_some() && !stream.ended, "{stream:?}");
        } else {
            let mut raw = gate.raw().await;
            raw.send(format!(
                "GET / HTTP/1.1\r\nHost: gate.test\r\nCookie: {cookie}\r\n\r\n"
            ))
            .await;
            raw.head().await.assert_status(200);
            assert_eq!(raw.chunk().await.unwrap(), b"first");
            ada.logout().await;
            started = Instant::now();
            let rest = raw.rest().await;
            assert_eq!(rest, "", "a cut stream does not look whole");
        }
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
        eventually("the app's side to close", || app.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn sec_76_other_protocols_are_not_upgraded_to() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).public().start().await;
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
        "Upgrade: websocket\r\n",
        "Connection: close\r\nUpgrade: websocket\r\n",
    ] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: gate.test\r\nOrigin: https://gate.test\r\n{fields}\r\n"
        ))
        .await;
        let reply = raw.response().await;
        assert!([200, 400].contains(&reply.status), "{fields:?}: {reply}");
        if reply.status == 200 {
            let last = app.last();
            assert_eq!(
                (last.value("upgrade"), last.value("http2-settings")),
                (None, None),
                "{fields:?}"
            );
        }
    }
    // The preface of HTTP/2 on a connection for HTTP/1.1.
    let before = app.requests();
    let answer = gate.exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
        "{answer}"
    );
    assert_eq!(app.requests(), before);
}

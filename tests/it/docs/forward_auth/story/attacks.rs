//! What a visitor says of another request, or of another visitor, changes nothing.

use super::*;
use crate::forward_auth::spoofs::{SPELLINGS, all, forged, forwarding};

/// Fields that say who somebody is, in whatever spelling.
pub(super) async fn nobody_makes_up_who_they_are(behind: &Behind) {
    let eve = browser(behind).login("eve", PASSWORD).await;
    for name in [
        "X-Forwarded-User",
        "x-forwarded-user",
        "X_Forwarded_User",
        "X-Forwarded_User",
        "X.Forwarded.User",
        "X-Forwarded-Groups",
        "X_Forwarded_Groups",
        "X-Forwarded-Email",
        "X-Vestibule-Cookie",
        "X-Vestibule-Authorization",
        "X-Vestibule-Token",
        "X_Vestibule_Token",
        "X.Vestibule.Token",
        "X-Forwarded~User",
    ] {
        let got = behind.app.requests();
        let headers = [
            (name, "made-up"),
            ("accept", "*/*"),
            ("sec-fetch-mode", "cors"),
        ];
        for who in [&eve, &browser(behind)] {
            let _ = who
                .request(Method::GET, "/page", &headers, Bytes::new())
                .await;
            let _ = who
                .request(Method::GET, "/admin", &headers, Bytes::new())
                .await;
        }
        for request in &behind.app.received()[got..] {
            assert!(request.head.starts_with("GET /page "), "{}", request.head);
            assert_eq!(
                request.value("x-forwarded-user"),
                Some("eve"),
                "{}",
                request.head
            );
            let head = &request.head;
            assert!(!head.contains("made-up"), "{name}: {head}");
            assert_eq!(request.values(HEADER).len(), 1, "{name}: {head}");
            let claims = verify(&behind.keys, request.value(HEADER).unwrap());
            assert_eq!(claims["name"], "eve", "{claims}");
        }
    }
}

/// Proxies drop the fields that `Connection` names (RFC 9110 §7.6.1): a client must not name the
/// identity headers there.
pub(super) async fn sec_38_nobody_takes_out_who_they_are(behind: &Behind) {
    let ada = browser(behind).login("ada", PASSWORD).await.cookies();
    let names = "X-Forwarded-User, X-Forwarded-Groups, X-Forwarded-Email, X-Vestibule-Token";
    for named in names.split(", ").chain([names, "close, X-Forwarded-User"]) {
        let websocket = format!(
            "Upgrade: websocket\r\nOrigin: https://{HOST}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for upgrade in ["", &websocket] {
            let got = behind.app.requests();
            let more = format!("Cookie: {ada}\r\nConnection: {named}\r\n{upgrade}");
            let status = Client::new(behind).await.ask("/page", &more).await;
            if upgrade.is_empty() {
                assert_eq!(status, 200, "{named}");
            }
            if behind.app.requests() > got {
                assert_is_from(behind, "ada");
            }
        }
    }
}

/// The spoof table: whatever a visitor says of another request, the verdict on this one stays.
pub(super) async fn no_name_changes_a_verdict(behind: &Behind) {
    let eve = browser(behind).login("eve", PASSWORD).await.cookies();
    let mut client = Client::new(behind).await;
    let verdict = async |client: &mut Client, target: &str, more: &str| {
        let got = behind.app.requests();
        let status = client
            .ask(target, &format!("Cookie: {eve}\r\n{more}"))
            .await;
        let came = behind.app.requests() - got;
        (status, came)
    };
    let (status, came) = verdict(&mut client, "/page", "").await;
    assert_eq!((status, came), (200, 1), "what is permitted");
    let mut asked = 0;
    for target in SPELLINGS {
        let plain = verdict(&mut client, target, "").await;
        assert_eq!(
            plain.1,
            0,
            "{target} has reached the app: {}",
            behind.app.last().head
        );
        for name in all() {
            let more = format!("{name}: {}\r\n", forged(name));
            let spoofed = verdict(&mut client, target, &more).await;
            assert_eq!(spoofed, plain, "{target} with {name}");
            asked += 1;
        }
    }
    for name in forwarding() {
        for spelt in [
            name.to_owned(),
            name.replace('-', "_"),
            name.replace('-', "."),
        ] {
            for value in [forged(name), "/admin", ""] {
                let line = format!("{spelt}: {value}\r\n");
                for more in [line.clone(), line.repeat(2)] {
                    let found = verdict(&mut client, "/page", &more).await;
                    assert_eq!(found, (200, 1), "{more}");
                    let head = behind.app.last().head;
                    let is_the_clients = |it: &str| it.eq_ignore_ascii_case(line.trim_end());
                    let mut lines = head.lines().filter(|it| !it.contains("127.0.0.1"));
                    assert!(!lines.any(is_the_clients), "{head}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 1000, "{asked}");
}

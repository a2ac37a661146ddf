mod attacks;
mod client;
pub(super) mod sign_in;

use std::fs;

use bytes::Bytes;
use hyper::Method;

use self::attacks::{
    no_name_changes_a_verdict, nobody_makes_up_who_they_are, sec_38_nobody_takes_out_who_they_are,
};
use self::client::Client;
use self::sign_in::{
    one_login_is_for_all, programs_show_tokens, sec_76_no_other_protocol_is_spoken,
    visitors_sign_in, websockets_are_for_own_pages,
};
use super::*;
use crate::forward_auth::spoofs::forwarding;
use crate::identity_token::{HEADER, verify};

/// A visitor and a program use the app, and others try to do what they may not.
pub(super) async fn tell(behind: &Behind, front: Front) {
    Box::pin(visitors_sign_in(behind)).await;
    Box::pin(programs_show_tokens(behind)).await;
    Box::pin(websockets_are_for_own_pages(behind)).await;
    Box::pin(sec_76_no_other_protocol_is_spoken(behind)).await;
    Box::pin(nobody_makes_up_who_they_are(behind)).await;
    Box::pin(sec_38_nobody_takes_out_who_they_are(behind)).await;
    Box::pin(sec_12_many_fields_let_nobody_in(behind)).await;
    Box::pin(no_name_changes_a_verdict(behind)).await;
    Box::pin(nobody_hands_an_identity_token_in(behind)).await;
    Box::pin(nobody_gets_in_when_there_is_too_much_to_do(behind, front)).await;
    Box::pin(one_login_is_for_all(behind)).await;
}

fn browser(behind: &Behind) -> Browser {
    Browser::new(behind.front, HOST)
}

/// The last request that the app received is from this user, carries an identity token for exactly
/// that request, and no other header of Vestibule.
fn assert_is_from(behind: &Behind, user: &str) {
    let got = behind.app.last();
    let head = &got.head;
    assert_eq!(got.values("x-forwarded-user"), [user], "{head}");
    assert_eq!(got.values(HEADER).len(), 1, "{head}");
    let claims = verify(&behind.keys, got.value(HEADER).unwrap());
    let (method, path) = (head.split(' ').next(), got.target().split('?').next());
    let address = format!("https://{HOST}{}", path.unwrap());
    for (claim, value) in [
        ("name", user),
        ("aud", "https://wiki.example.org"),
        ("htm", method.unwrap()),
        ("htu", &address),
    ] {
        assert_eq!(claims[claim], value, "{claims} for {head}");
    }
    let is_ours = |line: &&str| !line.to_ascii_lowercase().starts_with(HEADER);
    for line in head.lines().filter(is_ours) {
        let line = line.to_ascii_lowercase();
        assert!(!line.contains("vestibule"), "{head}");
        assert!(!line.contains("vst_"), "{head}");
    }
}

/// A request with more fields than the proxy can ask about is refused, and the proxy lives.
async fn sec_12_many_fields_let_nobody_in(behind: &Behind) {
    let got = behind.app.requests();
    for count in (50..=75).step_by(5).chain(76..=110) {
        let fields: Vec<_> = (0..count).map(|n| format!("X-A{n}: 1\r\n")).collect();
        let status = Client::new(behind)
            .await
            .ask("/page", &fields.concat())
            .await;
        assert!(status >= 303, "{status} with {count} fields");
    }
    assert_eq!(behind.app.requests(), got, "nobody is in");
    let ada = browser(behind).login("ada", PASSWORD).await;
    ada.get("/page").await.assert_status(200);
}

/// Has Vestibule serve by another configuration.
async fn reconfigure(behind: &Behind, change: impl FnOnce(String) -> String) {
    let config = behind.desk.path("/etc/vestibule/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, change(text)).unwrap();
    behind.desk.run("vestibule reload").await;
}

/// Where the answer has no token, the app gets none: not that of a visitor, either.
async fn nobody_hands_an_identity_token_in(behind: &Behind) {
    const ON: &str = "identity_token = true\n";
    let eve = browser(behind).login("eve", PASSWORD).await;
    eve.get("/page").await.assert_status(200);
    let token = behind.app.last().value(HEADER).unwrap().to_owned();
    let with_open = "\n[[app.rule]]\npath = \"/open\"\nallow = \"everyone\"\n";
    reconfigure(behind, |text| text + with_open).await;
    let nobody = browser(behind);
    let show = async |who: &Browser, target: &str| {
        let got = behind.app.requests();
        let headers = [(HEADER, &*token)];
        let shown = who.request(Method::GET, target, &headers, Bytes::new());
        shown.await.assert_status(200);
        assert_eq!(behind.app.requests(), got + 1);
        let head = behind.app.last().head.to_ascii_lowercase();
        assert!(!head.contains("vestibule"), "{target}: {head}");
    };
    show(&nobody, "/open").await;
    nothing_is_told_on_a_path_for_everyone(behind).await;
    reconfigure(behind, |text| {
        assert!(text.contains(ON), "{text}");
        text.replace(ON, "")
    })
    .await;
    show(&nobody, "/open").await;
    show(&eve, "/page").await;
    reconfigure(behind, |text| {
        text.replace("tokens = true\n", &format!("tokens = true\n{ON}"))
    })
    .await;
}

/// A visitor's headers are dropped on public paths, too.
async fn nothing_is_told_on_a_path_for_everyone(behind: &Behind) {
    let mut client = Client::new(behind).await;
    let identity = [
        "X-Forwarded-User",
        "X-Forwarded-Groups",
        "X-Forwarded-Email",
    ];
    for name in forwarding().chain(identity) {
        for spelt in [name.to_owned(), name.to_lowercase(), name.replace('-', "_")] {
            let got = behind.app.requests();
            let status = client.ask("/open", &format!("{spelt}: made-up\r\n")).await;
            let came = behind.app.requests() - got;
            // What only looks like an identity header may be refused as well.
            assert!(
                (status, came) == (200, 1) || (status, came) == (403, 0),
                "{spelt}: {status}"
            );
            let head = behind.app.last().head;
            assert!(!head.contains("made-up"), "{spelt}: {head}");
        }
    }
}

/// An answer with 503 lets nobody in, and leads nobody in circles: neither to the login, where a
/// signed-in user is sent back at once, nor to the app.
async fn nobody_gets_in_when_there_is_too_much_to_do(behind: &Behind, front: Front) {
    const CLOSED: &str = "tokens = true\nmaintenance = \"Back at six.\"\n";
    let ada = browser(behind).login("ada", PASSWORD).await;
    let open = "tokens = true\n";
    reconfigure(behind, |text| text.replace(open, CLOSED)).await;
    let got = behind.app.requests();
    for who in [&ada, &browser(behind)] {
        for reply in [who.get("/page").await, who.fetch("/page").await] {
            let (status, wait) = match front {
                Front::Nginx => (500, None),
                Front::Envoy => (503, None),
                Front::Caddy | Front::Haproxy | Front::Traefik => (503, Some("60")),
            };
            reply.assert_status(status);
            assert_eq!(reply.value("retry-after"), wait, "{reply}");
            assert_eq!(reply.value("location"), None, "{reply}");
            assert!(reply.values("set-cookie").is_empty(), "{reply}");
        }
    }
    assert_eq!(behind.app.requests(), got, "nobody is in");
    reconfigure(behind, |text| text.replace(CLOSED, open)).await;
    ada.get("/page").await.assert_status(200);
}

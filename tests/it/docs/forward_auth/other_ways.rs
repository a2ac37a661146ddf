use std::fs;

use bytes::Bytes;
use hyper::Method;

use super::*;
use crate::docs::page::folder;
use crate::identity_token::verify;

/// What the page has, and what an app may have instead; there is no e-mail address then, and the
/// header of tokens takes its place.
const NAMES: [(&str, &str); 4] = [
    ("X-Forwarded-User", "X-Wiki-User"),
    ("X-Forwarded-Groups", "Remote-Groups"),
    ("X-Forwarded-Email", "X-Api-Key"),
    ("X-Vestibule-Token", "X-Wiki-Token"),
];

/// The same for Vestibule.
const KEYS: &str = "token_header = \"X-Api-Key\"\nidentity_token = { header = \"X-Wiki-Token\" }\n";
const IDENTITY: &str =
    "\n[app.identity]\n\"X-Wiki-User\" = \"{user}\"\n\"Remote-Groups\" = \"{groups}\"\n";

impl Blocks {
    fn with_other_names(mut self) -> Self {
        self.config = replaced(&self.config, "identity_token = true\n", KEYS) + IDENTITY;
        // The page has lines of its own for the header of tokens there.
        let without = replaced(&self.caddy, "\t\trequest_header -X-Forwarded-Email\n", "");
        let copied = replaced(
            &without,
            " X-Forwarded-Email ",
            " X-Api-Key>X-Vestibule-Api-Key ",
        );
        let place = "\t\trequest_header -X-Vestibule-Cookie\n";
        let lines = format!("{}{place}", self.caddy_token_header);
        self.caddy = replaced(&copied, place, &lines);
        let [main, site] = &mut self.traefik;
        for text in [
            &mut self.nginx,
            main,
            site,
            &mut self.caddy,
            &mut self.envoy,
            &mut self.lua,
        ] {
            for (documented, instead) in NAMES {
                let lower = [documented, instead].map(str::to_lowercase);
                let variable = lower.clone().map(|name| name.replace('-', "_"));
                *text = text.replace(documented, instead);
                *text = text.replace(&lower[0], &lower[1]);
                *text = text.replace(&variable[0], &variable[1]);
            }
        }
        self
    }

    /// With what the page says of a Unix socket; `None` where it says that the proxy knows none.
    fn at_socket(mut self, front: Front) -> Option<Self> {
        const TCP: &str = "auth_listen = [\"127.0.0.1:9091\"]\nauth_from = [\"127.0.0.1\"]\n";
        const SOCKET: &str = "auth_listen = [\"unix:/run/vestibule/auth.sock\"]\n";
        let (text, documented, instead) = match front {
            Front::Caddy => (
                &mut self.caddy,
                "forward_auth 127.0.0.1:9091",
                "forward_auth unix//run/vestibule/auth.sock",
            ),
            Front::Envoy => (
                &mut self.envoy,
                "endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 9091 } } }",
                "endpoint: { address: { pipe: { path: /run/vestibule/auth.sock } } }",
            ),
            Front::Haproxy => (
                &mut self.lua,
                "{ url = address,",
                "{ url = address, dst = \"unix@/run/vestibule/auth.sock\",",
            ),
            Front::Nginx => (
                &mut self.nginx,
                "server 127.0.0.1:9091;",
                "server unix:/run/vestibule/auth.sock;",
            ),
            Front::Traefik => return None,
        };
        *text = replaced(text, documented, instead);
        self.config = replaced(&self.config, TCP, SOCKET);
        let page = fs::read_to_string(folder().join("forward-auth.md")).unwrap();
        let said = instead.trim_start_matches("{ url = address, ");
        let said = said.trim_end_matches(',');
        assert!(
            page.contains(&format!("`{said}`")),
            "the page has no {said}"
        );
        Some(self)
    }
}

/// With the one place where `documented` stands as it is here.
fn replaced(text: &str, documented: &str, instead: &str) -> String {
    assert_eq!(
        text.matches(documented).count(),
        1,
        "{documented} in {text}"
    );
    text.replace(documented, instead)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_go_the_same_way_behind_each_proxy() {
    for front in Front::ALL {
        if !front.is_here() {
            continue;
        }
        let blocks = Blocks::read().with_other_names();
        let mut behind = Behind::start(&blocks).await;
        let _program = front.start(&blocks, &mut behind).await;
        Box::pin(names_are_ours(front, &behind)).await;
    }
}

async fn names_are_ours(front: Front, behind: &Behind) {
    let app = &behind.app;
    behind
        .desk
        .run("vestibule user add zoe --group staff")
        .await;
    let token = behind.desk.run("vestibule token add ada").await;
    let token = token.trim_end();
    let nobody = Browser::new(behind.front, HOST);
    let zoe = nobody.fresh().login("zoe", PASSWORD).await;
    let page = async |who: &Browser, headers: &[(&str, &str)]| {
        let more = [("accept", "*/*"), ("user-agent", "curl/8.5")];
        let headers = [&more, headers].concat();
        who.request(Method::GET, "/page", &headers, Bytes::new())
            .await
    };
    page(&zoe, &[]).await.assert_status(200);
    let got = app.last();
    assert_eq!(got.values("x-wiki-user"), ["zoe"], "{front:?} {}", got.head);
    assert_eq!(
        got.values("remote-groups"),
        ["staff"],
        "{front:?} {}",
        got.head
    );
    assert_eq!(got.value("x-api-key"), None, "{front:?} {}", got.head);
    let claims = verify(&behind.keys, got.value("x-wiki-token").expect("a token"));
    assert_eq!(claims["htu"], "https://wiki.example.org/page", "{claims}");

    for name in [
        "X-Wiki-User",
        "x-wiki-user",
        "X_Wiki_User",
        "X.Wiki.User",
        "Remote-Groups",
        "Remote_Groups",
        "X-Wiki-Token",
        "X_Wiki_Token",
        "X_Api_Key",
    ] {
        let got = app.requests();
        for who in [&zoe, &nobody] {
            let _ = page(who, &[(name, "made-up")]).await;
        }
        for request in &app.received()[got..] {
            let head = &request.head;
            assert!(!head.contains("made-up"), "{front:?} {name}: {head}");
            assert_eq!(request.values("x-wiki-user"), ["zoe"], "{front:?} {head}");
            assert_eq!(request.values("x-wiki-token").len(), 1, "{front:?} {head}");
        }
    }

    // An API token stops at the proxy; the app's own key is passed on.
    page(&nobody, &[("x-api-key", token)])
        .await
        .assert_status(200);
    let got = app.last();
    assert_eq!(got.values("x-wiki-user"), ["ada"], "{front:?} {}", got.head);
    assert_eq!(got.value("x-api-key"), None, "{front:?} {}", got.head);
    assert!(!got.head.contains("vst_"), "{front:?} {}", got.head);
    page(&zoe, &[("x-api-key", "theirs")])
        .await
        .assert_status(200);
    let got = app.last();
    assert_eq!(
        got.values("x-api-key"),
        ["theirs"],
        "{front:?} {}",
        got.head
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_proxy_that_can_asks_at_a_unix_socket() {
    for front in Front::ALL {
        if !front.is_here() {
            continue;
        }
        let Some(blocks) = Blocks::read().at_socket(front) else {
            continue;
        };
        let mut behind = Behind::start(&blocks).await;
        let _program = front.start(&blocks, &mut behind).await;
        Box::pin(story::sign_in::visitors_sign_in(&behind)).await;
        Box::pin(story::sign_in::programs_show_tokens(&behind)).await;
    }
}

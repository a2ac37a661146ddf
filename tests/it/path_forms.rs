//! What paths of old apps look like: `%25` as data, and the forms that `allow_in_path` lets pass.

use crate::harness::*;

/// Everyone may open everything but `/admin`.
async fn gate(app: &Upstream, keys: &str) -> Gate {
    Vestibule::before(app)
        .app(keys)
        .rule("/", "everyone")
        .rule("/admin", "nobody")
        .start()
        .await
}

async fn ask(gate: &Gate, target: impl AsRef<[u8]>) -> Reply {
    let mut raw = gate.raw().await;
    let mut request = b"GET ".to_vec();
    request.extend_from_slice(target.as_ref());
    request.extend_from_slice(b" HTTP/1.1\r\nHost: gate.test\r\nAccept: text/html\r\n\r\n");
    raw.send(request).await;
    raw.response().await
}

async fn ask_by_http2(gate: &Gate, path: &str) -> Option<u16> {
    let mut http2 = gate.raw_http2().await;
    http2.headers(1, &RawHttp2::get(path), true).await;
    http2.outcome(1).await.status
}

#[tokio::test]
async fn sec_29_a_percent_sign_that_is_data_passes() {
    let app = Upstream::echo().await;
    let gate = gate(&app, "").await;
    for path in [
        "/My%2520Invoice.txt",
        "/wiki/100%25",
        "/wiki/100%25ac",
        "/wiki/100%25%20off",
        "/a%255Bb%255D",
        "/r/_%2525_",
        "/caf%25C3%25A9",
        "/a%253Bb",
        "/x%2561dmin",
    ] {
        ask(&gate, path).await.assert_status(200);
        assert_eq!(app.last().target(), path);
        assert_eq!(ask_by_http2(&gate, path).await, Some(200), "{path}");
        assert_eq!(app.last().target(), path);
    }
    let before = app.requests();
    for path in [
        "/%252e%252e/x",
        "/a%252eb",
        "/a%252fb",
        "/a%255cb",
        "/a%2500",
        "/a%250d",
        "/a%25252f",
    ] {
        ask(&gate, path).await.assert_status(400);
        assert_eq!(ask_by_http2(&gate, path).await, Some(400), "{path}");
    }
    // What decodes it once more sees a part that is closed (SEC-93).
    for path in ["/%2561dmin/x", "/admin%2520/x", "/admin%253bx"] {
        ask(&gate, path).await.assert_status(403);
    }
    assert_eq!(app.requests(), before);
}

#[tokio::test]
async fn sec_29_each_form_is_let_in_by_its_name_and_passes_as_it_came() {
    for (form, passes) in [
        ("encoded-slash", &["/group%2Fproject/x", "/%2F/x"][..]),
        (
            "encoded-percent",
            &["/job/feature%252Fx/", "/a%2500", "/a%252Eb"],
        ),
        ("encoded-backslash", &["/DOMAIN%5Cuser/tree", "/a%5C"]),
        (
            "any-bytes",
            &["/caf%E9/men%FC.html", "/%93%FA%96%7B", "/a%09b"],
        ),
        (
            "double-slash",
            &[
                "/bucket//folder/key.txt",
                "/proxy/https://other.example/page",
                "//top",
                "/a//",
            ],
        ),
    ] {
        let app = Upstream::echo().await;
        let allowed = gate(&app, &format!("allow_in_path = [\"{form}\"]")).await;
        for path in passes {
            ask(&allowed, path).await.assert_status(200);
            assert_eq!(app.last().target(), *path);
            assert_eq!(ask_by_http2(&allowed, path).await, Some(200), "{path}");
            assert_eq!(app.last().target(), *path);
        }
        let before = app.requests();
        for path in [
            "/a%00",
            "/a%0Ab",
            "/a%0Db",
            "/a%2",
            "/a%zz",
            "/x/../y",
            "/x/%2E%2E/y",
        ] {
            ask(&allowed, path).await.assert_status(400);
        }
        assert_eq!(app.requests(), before, "{form}");
        let others = [
            "encoded-slash",
            "encoded-percent",
            "encoded-backslash",
            "any-bytes",
        ];
        let others: Vec<_> = others.into_iter().filter(|other| *other != form).collect();
        if form != "double-slash" {
            let refused = gate(&app, &format!("allow_in_path = {others:?}")).await;
            for path in passes {
                ask(&refused, path).await.assert_status(400);
            }
            assert_eq!(app.requests(), before, "{form}");
        }
    }
}

#[tokio::test]
async fn sec_93_whatever_is_let_in_is_judged_in_each_of_its_readings() {
    let app = Upstream::echo().await;
    let every = "allow_in_path = [\"encoded-slash\", \"encoded-percent\", \"encoded-backslash\", \
                 \"any-bytes\", \"double-slash\"]";
    let gate = gate(&app, every).await;
    for path in [
        "/admin%252Fx",
        "/admin%25252Fx",
        "/%252Fadmin",
        "/admin%253bx",
        "/admin%2500.png",
        "/ad%250Amin/x",
        "/admin%5Cx",
        "/%5Cadmin",
        "/admin%255Cx",
        "//admin/x",
        "/x//..;/admin",
        "//gate.test/admin/x",
        "/%2Fevil.test/admin",
        "/%C0%AFadmin",
        "/admin%C0%AFx",
        "/%C1%A1dmin",
        "/ad%FFmin",
        "/ad%09min",
        "/x%5C..%5Cadmin",
        "/x/%252e%252e/admin",
    ] {
        let status = ask(&gate, path).await.status;
        assert!([400, 403].contains(&status), "{path}: {status}");
    }
    for path in [
        "//.vestibule/login",
        "/.vestibule%5Clogin",
        "/%252Evestibule",
    ] {
        ask(&gate, path).await.assert_status(404);
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
    ask(&gate, "/x//adminx%5C%E9").await.assert_status(200);
}

#[tokio::test]
async fn sec_31_an_escape_of_any_character_is_that_character_for_the_rules() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .public()
        .rule("/@me", "nobody")
        .rule("/c++", "nobody")
        .rule("/a%28b%29", "nobody")
        .start()
        .await;
    for path in [
        "/@me/x",
        "/%40me/x",
        "/c++/",
        "/c%2B%2b/",
        "/a(b)/",
        "/a%28b%29",
    ] {
        ask(&gate, path).await.assert_status(403);
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
    ask(&gate, "/%40you").await.assert_status(200);
    assert_eq!(app.last().target(), "/%40you", "as it came");
}

#[tokio::test]
async fn bytes_that_are_not_escaped_are_escaped_on_their_way() {
    let app = Upstream::echo().await;
    let any = gate(&app, "allow_in_path = [\"any-bytes\"]").await;
    for (sent, expected) in [
        (&b"/gr\xc3\xb6\xc3\x9fe"[..], "/gr%C3%B6%C3%9Fe"),
        (b"/gr\xf6\xdfe", "/gr%F6%DFe"),
        (b"/s?q=gr\xf6\xdfe&x=%E9", "/s?q=gr%F6%DFe&x=%E9"),
        (b"/\x93\xfa\x96{", "/%93%FA%96{"),
    ] {
        ask(&any, sent).await.assert_status(200);
        assert_eq!(app.last().target(), expected);
    }
    assert_eq!(ask_by_http2(&any, "/gr\u{f6}\u{df}e").await, Some(200));
    assert_eq!(app.last().target(), "/gr%C3%B6%C3%9Fe");

    // However the bytes are cut into reads, and whatever is sent along with them.
    let long = [b"/", &[0xf6; 3000][..]].concat();
    let mut raw = any.raw().await;
    let request = |target: &[u8]| {
        [
            b"GET ",
            target,
            b" HTTP/1.1\r\nHost: gate.test\r\nX: \xf6\r\n\r\n",
        ]
        .concat()
    };
    let both = [request(b"/\xf6"), request(&long), request(b"/last")].concat();
    for part in both.chunks(1500) {
        raw.send(part).await;
    }
    for expected in [
        "/%F6".to_owned(),
        format!("/{}", "%F6".repeat(3000)),
        "/last".to_owned(),
    ] {
        let reply = raw.response().await;
        reply.assert_status(200);
        assert!(
            reply
                .text()
                .starts_with(&format!("GET {expected} HTTP/1.1\r\n"))
        );
    }

    let before = app.requests();
    let strict = gate(&app, "").await;
    for sent in [&b"/gr\xc3\xb6"[..], b"/gr\xf6", b"/s?q=\xf6"] {
        ask(&strict, sent)
            .await
            .assert_status(400)
            .assert_contains("any-bytes");
    }
    ask(&any, b"/adm\xfein").await.assert_status(403);
    assert_eq!(app.requests(), before);
}

#[tokio::test]
async fn the_cause_of_a_400_is_on_the_page_and_in_the_access_log() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .public()
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await;
    for (target, shown, logged) in [
        (
            "/a%2Fb",
            "encoded-slash",
            "\"encoded-slash\" in `allow_in_path`",
        ),
        (
            "/a%252Fb",
            "encoded-percent",
            "\"encoded-percent\" in `allow_in_path`",
        ),
        (
            "/a%5Cb",
            "encoded-backslash",
            "\"encoded-backslash\" in `allow_in_path`",
        ),
        ("/a%E9", "any-bytes", "\"any-bytes\" in `allow_in_path`"),
        (
            "/?q=\u{e9}",
            "any-bytes",
            "\"any-bytes\" in `allow_in_path`",
        ),
        ("/a%00", "a null byte", "null byte"),
        ("/a/../b", "a segment of dots", "`..` segments"),
        ("/a%zz", "begins no escape", "begins no escape"),
        ("/a%2525252525", "in too many ways", "too many ways"),
    ] {
        let mut raw = service.raw().await;
        let fields = "Host: gate.test\r\nAccept: text/html";
        raw.send(format!("GET {target} HTTP/1.1\r\n{fields}\r\n\r\n"))
            .await;
        let page = raw.response().await;
        page.assert_status(400).assert_contains(shown);
        if logged.contains("`allow_in_path`") {
            page.assert_contains("<code>allow_in_path</code>");
        }
        let line = eventually_some("the access line", async || {
            let lines = service.program.log();
            let path = target.split('?').next().unwrap();
            let of_target = |line: &serde_json::Value| {
                line["target"] == "access" && line["path"] == path && line["error"].is_string()
            };
            lines.into_iter().find(of_target)
        });
        let line = line.await;
        assert!(line["error"].as_str().unwrap().contains(logged), "{line}");
    }
    let mut raw = service.raw().await;
    raw.send("GET /a HTTP/1.1\r\nHost: gate.test\r\nHost: b\r\n\r\n")
        .await;
    let reply = raw.response().await;
    assert_eq!(reply.assert_status(400).json()["error"], "bad_request");
    reply.assert_contains("which site");
}

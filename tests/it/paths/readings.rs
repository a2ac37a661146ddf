//! A path in each reading that an app may give it: SEC-93.

use bytes::Bytes;
use hyper::Method;

use super::{ask_in_every_form, gate_with_encoded_slashes};
use crate::harness::*;

const READ_AS_ADMIN: [&str; 13] = [
    "/admin%2Fx",
    "/admin%2fx",
    "/%2Fadmin/x",
    "/%2f%2fadmin%2f",
    "/admin%2F",
    "/admin;a%2Fx",
    "/admin%3B%2Fx",
    "/admin;x/y",
    "/admin./x",
    "/admin%20%2Fx",
    "/admin.%20.",
    "/%20/admin",
    "/.../admin",
];

#[tokio::test]
async fn sec_93_a_path_passes_only_if_each_reading_of_it_does() {
    let app = Upstream::echo().await;
    let gate = gate_with_encoded_slashes(&app, "").await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let eve = gate.browser().login("eve", PASSWORD).await;
    for path in READ_AS_ADMIN {
        assert_eq!(ask_in_every_form(&gate, path).await, [401; 3], "{path}");
        ada.fetch(path).await.assert_status(403);
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
    for path in READ_AS_ADMIN {
        eve.fetch(path).await.assert_status(200);
    }
    for path in ["/x/%2Fadmin", "/adminx%2Fy", "/Admin%2Fx", "/x;/admin2"] {
        assert_eq!(ask_in_every_form(&gate, path).await, [200; 3], "{path}");
    }
}

#[tokio::test]
async fn sec_93_an_app_without_regard_to_case_is_judged_without_it() {
    let app = Upstream::echo().await;
    let gate = gate_with_encoded_slashes(&app, "path_case = \"insensitive\"").await;
    for path in [
        "/Admin",
        "/ADMIN/x",
        "/%41dmin",
        "/aDMIN%2Fx",
        "/ADMIN.;x",
        "/adm%C4%B1n",
    ] {
        for status in ask_in_every_form(&gate, path).await {
            assert!([400, 401].contains(&status), "{path}: {status}");
        }
    }
    for path in ["/.VESTIBULE", "/.Vestibule/login", "/.vestibulE%2FLOGIN"] {
        assert_eq!(ask_in_every_form(&gate, path).await, [404; 3], "{path}");
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
    assert_eq!(ask_in_every_form(&gate, "/X/Y").await, [200; 3]);
    assert_eq!(app.last().target(), "/X/Y", "as it came");
}

#[tokio::test]
async fn sec_93_no_reading_of_a_path_is_an_address_of_ours() {
    let app = Upstream::echo().await;
    let gate = gate_with_encoded_slashes(&app, "").await;
    for path in [
        "/.vestibule%2Flogin",
        "/.vestibule%3Bx",
        "/.vestibule%3Bx/login",
        "/.vestibule;x/login",
        "/.vestibule./login",
        "/.vestibule%20/login",
        "/.vestibule.%20",
        "/.vestibule%2F",
        "/%2F.vestibule/login",
        "/;x/.vestibule/login",
        "/x/..;/.vestibule/login",
        "/x/..%20/.vestibule/login",
        "/x%2F..%2F.vestibule",
    ] {
        for status in ask_in_every_form(&gate, path).await {
            assert!([400, 404].contains(&status), "{path}: {status}");
        }
    }
    assert_eq!(app.requests(), 0, "{:?}", app.received());
    for path in ["/.vestibules", "/x/.vestibule", "/.VESTIBULE/login"] {
        assert_eq!(ask_in_every_form(&gate, path).await, [200; 3], "{path}");
    }
}

#[tokio::test]
async fn sec_93_what_a_webdav_request_names_is_judged_as_its_target_is() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .app("encoded_slash = true")
        .user("ada", PASSWORD)
        .config(
            "[[app.rule]]\npath = \"/admin\"\nallow = \"nobody\"\n\
             [[app.rule]]\npath = \"/read\"\nmethods = [\"PUT\"]\nallow = \"nobody\"\n\
             [[app.rule]]\npath = \"/kept\"\nmethods = [\"MOVE\"]\nallow = \"nobody\"\n\
             [server.limits]\nmethods = [\"GET\", \"POST\", \"PUT\", \"MOVE\", \"COPY\"]",
        )
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let ask = async |method: &str, field: &str, value: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let fields = [(field, value)];
        ada.request(method, "/mine/x", &fields, Bytes::new())
            .await
            .status
    };
    for (method, field, value, status) in [
        ("MOVE", "destination", "https://gate.test/mine/y", 200),
        ("MOVE", "destination", "/mine/y", 200),
        ("MOVE", "destination", "https://gate.test/admin/y", 403),
        ("COPY", "destination", "http://GATE.test:80/admin/y", 403),
        ("MOVE", "destination", "/admin%2Fy", 403),
        ("MOVE", "destination", "/%61dmin;x", 403),
        ("COPY", "destination", "/read/y", 403),
        ("COPY", "destination", "/kept/y", 200),
        ("MOVE", "destination", "/kept/y", 403),
        ("MOVE", "destination", "/mine/../admin/y", 400),
        ("MOVE", "destination", "https://evil.test/y", 502),
        ("MOVE", "destination", "mine/y", 400),
        ("MOVE", "destination", "/%61dmin//y", 403),
        ("MOVE", "destination", "/.vestibule/login", 404),
        ("MOVE", "destination", "/.vestibule%2Flogin", 404),
        ("PUT", "if", "<https://gate.test/admin/y> (<urn:1>)", 403),
        ("PUT", "if", "(<urn:1>) </admin> (<urn:2>)", 403),
        ("PUT", "if", "(<urn:1> [\"/admin\"])", 200),
        ("PUT", "if", "</mine/y> (<urn:1>)", 200),
    ] {
        let asked = ask(method, field, value).await;
        assert_eq!(asked, status, "{method} {field}: {value}");
    }
    assert_eq!(app.requests(), 5, "{:?}", app.received());
    ask("MOVE", "destination", "https://gate.test./%6dine//y?a=//b").await;
    let sent = app.last();
    assert_eq!(
        sent.value("destination"),
        Some("http://gate.test/mine/y?a=//b")
    );
}

#[tokio::test]
async fn sec_93_strangers_cannot_have_thousands_of_addresses_judged() {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .rule("/", "everyone")
        .rule("/admin", "nobody")
        .start()
        .await;
    let mut raw = gate.raw().await;
    for (addresses, status) in [(16, 200), (17, 400), (1000, 400)] {
        let tags = "</a;b%3Bc. > (<urn:1>) ".repeat(addresses);
        raw.send(format!(
            "PUT /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 0\r\nIf: {tags}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(status);
        if status == 400 {
            raw = gate.raw().await;
        }
    }
    // Whoever may not do it is told so, whatever else the request names.
    let long = format!("/{}", "a".repeat(9000));
    for (path, status) in [("/admin", 403), ("/x", 400)] {
        let mut raw = gate.raw().await;
        raw.send(format!(
            "MOVE {path} HTTP/1.1\r\nHost: gate.test\r\nDestination: {long}\r\n\r\n"
        ))
        .await;
        raw.response().await.assert_status(status);
    }
    assert_eq!(app.requests(), 1);
}

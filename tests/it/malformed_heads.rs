//! Heads of HTTP/1.1 that never become requests: each is told why it is refused, and is one line of
//! the access log.

use serde_json::Value;

use crate::harness::*;

async fn service(app: &Upstream) -> Service {
    Vestibule::before(app)
        .user("ada", PASSWORD)
        .rule("/public", "everyone")
        .config("[log]\nformat = \"json\"")
        .spawn()
        .await
}

fn access_lines(service: &Service) -> Vec<Value> {
    let log = service.program.log();
    log.into_iter()
        .filter(|line| line["target"] == "access")
        .collect()
}

/// The one answer to `sent`, and the one access line that it makes, after so many others.
async fn refusal(service: &Service, sent: &[u8], before: usize) -> (String, Value) {
    let mut connection = service.raw().await;
    connection.send(sent).await;
    let answer = connection.rest().await;
    let shown = String::from_utf8_lossy(&sent[..sent.len().min(200)]).into_owned();
    assert_eq!(
        answer.matches("HTTP/1.1 ").count(),
        1,
        "{shown:?}: {answer}"
    );
    eventually(&format!("a line for {shown:?}"), || {
        access_lines(service).len() > before
    })
    .await;
    let mut lines = access_lines(service);
    assert_eq!(lines.len(), before + 1, "{shown:?}: {lines:#?}");
    (answer, lines.pop().unwrap())
}

const FIELD: &str = "a header field is malformed: its name, its value, or a folded line";
const TOO_LARGE: &str =
    "the head is larger than `head`, or has more fields than `fields`, in [server.limits]";

/// Heads, by what is wrong with them.
fn malformed() -> Vec<(&'static str, Vec<String>)> {
    let get =
        |fields: &str| format!("GET /secret-path HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n");
    let line = |line: &str| format!("{line}\r\nHost: gate.test\r\n\r\n");
    let lines = |lines: &[&str]| lines.iter().map(|text| line(text)).collect();
    let fields = |fields: &[&str]| fields.iter().map(|text| get(text)).collect();
    vec![
        (
            "the request line is not of the form: method, target, version",
            lines(&[
                "BAD REQUEST /secret-path HTTP/1.1",
                "GET",
                "G(T /secret-path HTTP/1.1",
                " GET /secret-path HTTP/1.1",
                "\u{16}\u{3}\u{1}\u{2}",
                "SSH-2.0-OpenSSH_9.2",
            ]),
        ),
        (
            "the version is neither HTTP/1.1 nor HTTP/1.0",
            lines(&["GET /secret-path HTTP/1.2", "GET /secret-path HTTP/2.0"]),
        ),
        (
            "HTTP/2 on a connection for HTTP/1.1",
            vec!["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()],
        ),
        (
            "the target has a fragment: `#`",
            lines(&["GET /secret-path#top HTTP/1.1"]),
        ),
        (
            FIELD,
            fields(&[
                "X Y: 1\r\n",
                "X : 1\r\n",
                "no colon\r\n",
                "X: 1\r\n folded\r\n",
                "X: a\x1bb\r\n",
            ]),
        ),
        (
            "a line of the head has a CR or LF without the other, or a NUL",
            fields(&["X: 1\nY: 2\r\n", "X: 1\rY: 2\r\n", "X: a\0b\r\n"]),
        ),
        (
            "`Content-Length` is no number",
            fields(&["Content-Length: +5\r\n"]),
        ),
        (
            "`Transfer-Encoding` is not just chunked",
            fields(&["Transfer-Encoding: gzip\r\n"]),
        ),
        (
            "the body has two lengths: `Content-Length` or `Transfer-Encoding` twice, or both",
            fields(&["Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"]),
        ),
        (
            TOO_LARGE,
            vec![
                get(&"X: 1\r\n".repeat(200)),
                get(&format!("X: {}\r\n", "x".repeat(64 * 1024))),
                line(&format!("GET /{} HTTP/1.1", "a".repeat(70_000))),
            ],
        ),
    ]
}

#[tokio::test]
async fn each_malformed_head_is_one_line_and_a_page_with_the_reason() {
    let app = Upstream::echo().await;
    let service = service(&app).await;
    let heads = malformed().into_iter();
    let heads = heads.flat_map(|(error, heads)| heads.into_iter().map(move |head| (error, head)));
    for (before, (error, sent)) in heads.enumerate() {
        let (answer, found) = refusal(&service, sent.as_bytes(), before).await;
        let (status, reason) = match error {
            TOO_LARGE => (431, "head_too_large"),
            _ => (400, "bad_request"),
        };
        let shown = &sent[..sent.len().min(200)];
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown:?}: {head}"
        );
        assert!(head.contains("Connection: close"), "{head}");
        let length = format!("Content-Length: {}\r\n", page.len());
        assert!(head.contains(&length), "{head}");
        assert!(
            page.contains(found["request"].as_str().unwrap()),
            "{shown:?}: {page}"
        );
        for (field, value) in [
            ("client", Value::from("127.0.0.1")),
            ("status", status.into()),
            ("sent", page.len().into()),
            ("complete", true.into()),
            ("reason", reason.into()),
            ("error", error.into()),
        ] {
            assert_eq!(found[field], value, "{field} of {shown:?}: {found}");
        }
        for field in ["app", "method", "path", "user"] {
            assert!(found.get(field).is_none(), "{shown:?}: {found}");
        }
    }
    assert_eq!(app.requests(), 0);
    assert!(!service.program.stdout().contains("secret-path"));
}

#[tokio::test]
async fn a_malformed_head_after_requests_is_told_why_it_is_refused_too() {
    let long = "x".repeat(100_000);
    let app = Upstream::raw(format!(
        "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{long}",
        long.len()
    ))
    .await;
    let service = service(&app).await;
    let mut connection = service.raw().await;
    for _ in 0..2 {
        connection
            .send("GET /public HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            .await;
        // An error of the app is not taken for one of the parser.
        let reply = connection.response().await;
        assert_eq!((reply.status, reply.body.len()), (404, long.len()));
    }
    connection
        .send("GET /public HTTP/1.1\r\nX Y: 1\r\n\r\n")
        .await;
    let refused = connection.response().await;
    assert_eq!(refused.status, 400);
    refused.assert_contains("A header field of the request");
    assert_eq!(connection.rest().await, "");
    eventually("its line", || access_lines(&service).len() == 3).await;
    let lines = access_lines(&service);
    assert_eq!(lines[2]["error"], FIELD, "{lines:#?}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_before_a_malformed_head() {
    let app = Upstream::echo().await;
    let service = service(&app).await;
    let mut connection = service.raw().await;
    connection
        .send(
            "GET /public HTTP/1.1\r\nHost: gate.test\r\n\r\n\
             GET /public HTTP/1.1\r\nHost: gate.test\r\n\r\n\
             GET /public HTTP/1.1\r\nHost : gate.test\r\n\r\n",
        )
        .await;
    let answer = connection.rest().await;
    let statuses: Vec<_> = answer
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|rest| rest.get(..3))
        .collect();
    assert_eq!(statuses, ["200", "200", "400"], "{answer}");
    eventually("three lines", || access_lines(&service).len() == 3).await;
    assert_eq!(access_lines(&service)[2]["error"], FIELD);
}

#[tokio::test]
async fn a_malformed_head_after_http_1_0_gets_the_page_too() {
    let app = Upstream::echo().await;
    let service = service(&app).await;
    let mut connection = service.raw().await;
    connection
        .send(
            "GET /public HTTP/1.0\r\nHost: gate.test\r\nConnection: keep-alive\r\n\r\n\
             GET /public HTTP/1.0\r\nX Y: 1\r\n\r\n",
        )
        .await;
    let answers = connection.rest().await;
    assert!(answers.starts_with("HTTP/1.0 200 "), "{answers}");
    assert!(answers.contains(" 400 Bad Request\r\n"), "{answers}");
    assert!(
        answers.contains("A header field of the request"),
        "{answers}"
    );
}

//! Bodies that look like heads: the letters of no byte of theirs are changed.

use super::{HANDSHAKE, answer, assert_title_case};
use crate::harness::*;

/// Bytes of a body that look like heads.
const LIKE_HEADS: &str =
    "HTTP/1.1 200 OK\r\nx-foo: bar\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nx-foo: bar\r\n";

/// An app with responses of all kinds of framing, whose bodies look like heads.
async fn of_all_framings() -> Upstream {
    Upstream::scripted(|exchange| {
        Box::pin(async {
            exchange.body().await;
            let (kind, times) = exchange.target()[1..].split_once('/').unwrap();
            let (kind, body) = (kind.to_owned(), LIKE_HEADS.repeat(times.parse().unwrap()));
            let is_head = exchange.head().starts_with("HEAD ");
            match &*kind {
                "length" => exchange.reply("200 OK", &[("x-a", "b-c")], body).await,
                "chunked" if is_head => {
                    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                    exchange.send(head).await;
                }
                "chunked" => {
                    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-a: b\r\n\r\n";
                    exchange.send(head).await;
                    for chunk in body.as_bytes().chunks(LIKE_HEADS.len()) {
                        let size = format!("{:x}\r\n", chunk.len());
                        exchange
                            .send([size.as_bytes(), chunk, b"\r\n"].concat())
                            .await;
                    }
                    exchange.send("0\r\n\r\n").await;
                }
                "close" => {
                    exchange
                        .send(format!("HTTP/1.1 200 OK\r\nx-a: b\r\n\r\n{body}"))
                        .await;
                    exchange.close();
                }
                "empty" => exchange.reply("200 OK", &[("x-a", "b-c")], "").await,
                status => {
                    let head =
                        format!("HTTP/1.1 {status} Status\r\netag: \"x-y: z\"\r\nx-a: b\r\n\r\n");
                    exchange.send(head).await;
                }
            }
        })
    })
    .await
}

/// The head and the body of the response that `bytes` begin with, and what is after it.
fn response<'b>(method: &str, bytes: &'b str) -> (&'b str, String, &'b str) {
    let end = bytes
        .find("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {bytes}"))
        + 4;
    let (head, mut rest) = bytes.split_at(end);
    let value = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let field = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value)
    };
    let has_none = method == "HEAD" || [" 100 ", " 204 ", " 304 "].contains(&&head[8..13]);
    if has_none {
        (head, String::new(), rest)
    } else if value("Transfer-Encoding") == Some("chunked") {
        let mut body = String::new();
        loop {
            let (size, chunk) = rest.split_once("\r\n").unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            body += &chunk[..size];
            rest = chunk[size..].strip_prefix("\r\n").unwrap();
            if size == 0 {
                return (head, body, rest);
            }
        }
    } else {
        let length = value("Content-Length").map(|length| length.parse().unwrap());
        let (body, rest) = rest.split_at(length.unwrap_or(rest.len()));
        (head, body.to_owned(), rest)
    }
}

/// One before the app of the test.
struct Gated {
    gate: Gate,
    keeps: bool,
}

/// With names in Title-Case, and with letters that are kept or of the configuration.
async fn gates(app: &Upstream) -> Vec<Gated> {
    let mut gates = Vec::new();
    for keeps in [false, true] {
        let keys = if keeps {
            "preserve_header_case = true\n[app.response_headers]\nset = { \"x-FOO\" = \"1\" }"
        } else {
            ""
        };
        let gate = Vestibule::before(app).app(keys).public().start().await;
        gates.push(Gated { gate, keeps });
    }
    gates
}

impl Gated {
    fn assert_letters(&self, head: &str) {
        if self.keeps {
            assert!(head.contains("\r\nx-FOO: 1\r\n"), "{head}");
        } else {
            assert_title_case(head);
        }
    }
}

#[tokio::test]
async fn bodies_that_look_like_heads_keep_their_letters_in_each_framing() {
    let app = of_all_framings().await;
    let requests = |version: &str| {
        let of = |method: &'static str, target: &str| {
            let head = format!("{method} /{target} HTTP/{version}\r\nHost: gate.test\r\n");
            (
                method,
                target.split_once('/').unwrap().1.parse().unwrap(),
                head,
            )
        };
        let mut all: Vec<(&str, usize, String)> = Vec::new();
        for target in [
            "empty/0",
            "length/1",
            "204/0",
            "304/0",
            "chunked/3",
            "empty/0",
            "length/2000",
            "chunked/1000",
            "close/1",
            "close/2000",
        ] {
            all.push(of("GET", target));
            all.push(of("HEAD", target));
        }
        all
    };
    // All at once, and one a connection.
    let all = requests("1.1");
    let mut conversations = vec![all.clone()];
    conversations.extend(all.into_iter().map(|one| vec![one]));
    conversations.extend(requests("1.0").into_iter().map(|one| vec![one]));
    for gate in gates(&app).await {
        for conversation in &conversations {
            converse(&gate, conversation).await;
        }
    }
}

/// Sends all requests at once, each with its method and how often its response repeats its body.
async fn converse(gate: &Gated, conversation: &[(&str, usize, String)]) {
    let mut sent = String::new();
    for (at, (_, _, head)) in conversation.iter().enumerate() {
        sent += head;
        if at + 1 == conversation.len() {
            sent += "Connection: close\r\n";
        }
        sent += "\r\n";
    }
    let received = answer(&gate.gate, &sent).await;
    let mut rest = &*received;
    for (method, times, head) in conversation {
        let (found, body, after) = response(method, rest);
        gate.assert_letters(found);
        let expected = if *method == "HEAD" { 0 } else { *times };
        assert!(
            body == LIKE_HEADS.repeat(expected),
            "{head} {found} {body:.200}"
        );
        rest = after;
    }
    assert_eq!(rest, "");
}

#[tokio::test]
async fn an_interim_response_stays_as_it_is() {
    let app = of_all_framings().await;
    let targets = ["/length/1", "/chunked/2", "/204/0"];
    let gates = gates(&app).await;
    for (gate, target) in gates
        .iter()
        .flat_map(|gate| targets.map(|target| (gate, target)))
    {
        let post = format!(
            "POST {target} HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
        );
        let sent = format!("{post}\r\nhello{post}Connection: close\r\n\r\nhello");
        let received = answer(&gate.gate, &sent).await;
        let mut rest = &*received;
        for _ in 0..2 {
            rest = rest.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
            let (head, body, after) = response("POST", rest);
            gate.assert_letters(head);
            assert!(LIKE_HEADS.repeat(2).starts_with(&body), "{body}");
            rest = after;
        }
        assert_eq!(rest, "");
    }
}

#[tokio::test]
async fn a_tunnel_is_no_head() {
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            exchange.send(format!("{head}{}", LIKE_HEADS.repeat(1000))).await;
            exchange.close();
        })
    })
    .await;
    for gate in gates(&app).await {
        let received = answer(&gate.gate, &format!("{HANDSHAKE}\r\n")).await;
        let (head, tunnel) = received.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(tunnel == LIKE_HEADS.repeat(1000), "{tunnel:.200}");
    }
}

#[tokio::test]
async fn headers_set_in_responses_keep_the_letters_of_the_configuration_with_the_key() {
    let body = "HTTP/1.1 200 OK\r\nX-Ours: 1\r\nwww-this: 1\r\n\r\n".repeat(1000);
    let app = Upstream::scripted(move |exchange| {
        let body = body.clone();
        Box::pin(async move {
            let fields = [("WWW-This", "theirs"), ("X-theirs", "1"), ("etag", "\"1\"")];
            exchange.body().await;
            exchange.reply("200 OK", &fields, body).await;
        })
    })
    .await;
    let headers = "[app.response_headers]\n\
        set = { \"WWW-thIS\" = \"ours\", \"x-OURS\" = \"1\" }\n\
        set_missing = { \"ETAG\" = \"2\" }";
    for (key, expected) in [
        (
            "preserve_header_case = true",
            ["WWW-thIS: ours", "x-OURS: 1", "X-theirs: 1", "etag: \"1\""],
        ),
        (
            "",
            ["Www-This: ours", "X-Ours: 1", "X-Theirs: 1", "Etag: \"1\""],
        ),
    ] {
        let gate = Vestibule::before(&app)
            .app(&format!("{key}\n{headers}"))
            .public()
            .start()
            .await;
        let request = |method: &str| format!("{method} / HTTP/1.1\r\nHost: gate.test\r\n");
        let (get, head) = (request("GET"), request("HEAD"));
        let sent = format!("{head}\r\n{get}\r\n{head}\r\n{get}Connection: close\r\n\r\n");
        let received = answer(&gate, &sent).await;
        let mut rest = &*received;
        for method in ["HEAD", "GET", "HEAD", "GET"] {
            let (head, after) = rest.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            for line in expected {
                assert!(
                    head.split("\r\n").any(|found| found == line),
                    "{line} in {head}"
                );
            }
            let body = "HTTP/1.1 200 OK\r\nX-Ours: 1\r\nwww-this: 1\r\n\r\n".repeat(1000);
            rest = match method {
                "GET" => after.strip_prefix(&*body).expect("the body as it was"),
                _ => after,
            };
        }
        assert_eq!(rest, "");
    }
}

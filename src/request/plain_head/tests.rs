use std::convert::Infallible;
use std::pin::pin;
use std::sync::Mutex;

use http::Response;
use http_body_util::Empty;
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::request::wire::Framing;

/// Whether the filter before both of them lets a head pass.
fn passes(head: &[u8]) -> bool {
    let mut framing = Framing::new();
    framing.inspect(&mut head.to_vec());
    !framing.has_refused()
}

/// What hyper makes of one head, and whether it sees a body.
fn by_hyper(head: &[u8]) -> Option<(Parts, bool)> {
    let read = Mutex::new(None);
    let service = service_fn(async |request: Request<hyper::body::Incoming>| {
        let (parts, body) = request.into_parts();
        *read.lock().unwrap() = Some((parts, !body.is_end_stream()));
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let (mut client, socket) = tokio::io::duplex(1 << 16);
        client.write_all(head).await.unwrap();
        let mut served =
            pin!(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        while read.lock().unwrap().is_none() {
            // What it has read of all there is, it reads at once.
            if futures_util::poll!(&mut served).is_ready() {
                break;
            }
        }
    });
    read.into_inner().unwrap()
}

/// Fields in their order.
fn fields(parts: &Parts) -> Vec<(String, Vec<u8>)> {
    let fields = parts.headers.iter();
    fields
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect()
}

fn plain(heads: &mut PlainHeads, head: &[u8]) -> Option<Parts> {
    heads.read(&Bytes::copy_from_slice(head))
}

/// Whether it passes and is plain; then hyper reads the same.
fn is_read(heads: &mut PlainHeads, head: &[u8]) -> bool {
    let Some(parts) = plain(heads, head).filter(|_| passes(head)) else {
        return false;
    };
    let shown = String::from_utf8_lossy(head);
    let (of_hyper, has_body) = by_hyper(head).unwrap_or_else(|| panic!("hyper refuses {shown:?}"));
    assert!(!has_body, "{shown:?}");
    assert_eq!(parts.method, of_hyper.method, "{shown:?}");
    assert_eq!(parts.uri, of_hyper.uri, "{shown:?}");
    assert_eq!(parts.version, of_hyper.version, "{shown:?}");
    assert_eq!(fields(&parts), fields(&of_hyper), "{shown:?}");
    heads.reuse(parts.headers);
    true
}

#[test]
fn what_is_plain_is_read_as_hyper_reads_it() {
    let mut heads = PlainHeads::default();
    let long = format!(
        "GET /nginx HTTP/1.1\r\nCookie: {}\r\n\r\n",
        "x".repeat(9000)
    );
    for head in [
        "GET /nginx HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /nginx HTTP/1.1\r\nX-A: 1\r\nHost: a\r\nx-a:2\r\nX-a: \t3 \t\r\nx-b:\r\n\r\n",
        "get / HTTP/1.1\r\nHost: b\r\n\r\n",
        "POST /envoy/a?b=c HTTP/1.1\r\nContent-Length: 0\r\nHost: a\r\n\r\n",
        "BREW * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: \u{e9}\r\n\r\n",
        "GET / HTTP/1.1\r\nContent_Length: 5\r\nXTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        &long,
    ] {
        assert!(is_read(&mut heads, head.as_bytes()), "{head:?}");
    }
}

#[test]
fn sec_01_what_is_about_a_body_the_connection_or_nothing_at_all_is_left_to_hyper() {
    let mut heads = PlainHeads::default();
    let many = format!(
        "GET / HTTP/1.1\r\n{}\r\n",
        "A: b\r\n".repeat(MOST_FIELDS + 1)
    );
    for head in [
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTRANSFER-ENCODING: identity\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 00\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: +0\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 0, 0\r\n\r\n",
        "GET / HTTP/1.1\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nA\r\n\r\n",
        "GET / HTTP/1.1\r\n: b\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET /\r\n\r\n",
        "\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        &many,
    ] {
        let read = plain(&mut heads, head.as_bytes());
        assert!(read.is_none(), "{head:?}");
    }
}

#[test]
fn sec_02_a_length_that_comes_twice_is_left_to_hyper() {
    let head = "GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
    assert!(plain(&mut PlainHeads::default(), head.as_bytes()).is_none());
}

#[test]
fn sec_87_long_names_are_not_kept_for_the_next_head() {
    let mut heads = PlainHeads::default();
    let long = "x".repeat(LONG_NAME + 1);
    let head = format!("GET / HTTP/1.1\r\nA: b\r\n{long}: c\r\nD: e\r\n\r\n");
    for _ in 0..2 {
        assert!(is_read(&mut heads, head.as_bytes()));
        let kept: Vec<_> = heads.names.iter().map(|(sent, _)| &sent[..]).collect();
        assert_eq!(kept, [b"A"]);
    }
}

#[test]
fn the_end_of_a_head_is_found_however_it_comes() {
    let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\nGET";
    for seen in 0..head.len() - 3 {
        assert_eq!(PlainHeads::end_of(head, seen), Some(head.len() - 3));
    }
    for length in 0..head.len() - 3 {
        assert_eq!(PlainHeads::end_of(&head[..length], 0), None);
    }
}

/// Whatever three of these make of a head.
#[test]
fn whatever_is_plain_is_read_as_hyper_reads_it() {
    let pieces = [
        "x-a: b\r\n",
        "X-A:c",
        "Content-Length:",
        "Connection",
        ": ",
        " ",
        "0",
        "\r\n",
        "GET /",
        "?#",
        "\u{e9}",
        "HTTP/1.1",
    ];
    let mut heads = PlainHeads::default();
    for a in pieces {
        for b in pieces {
            for c in pieces {
                for head in [
                    format!("GET / HTTP/1.1\r\nHost: a\r\n{a}{b}{c}\r\n\r\n"),
                    format!("GET /{a}{b}{c} HTTP/1.1\r\nHost: a\r\n\r\n"),
                ] {
                    is_read(&mut heads, head.as_bytes());
                }
            }
        }
    }
}

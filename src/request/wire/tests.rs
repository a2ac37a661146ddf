use super::*;

/// Feeds `input` in reads of `size` bytes; whether all of it passed.
fn passes(input: &[u8], size: usize) -> bool {
    let mut framing = Framing::new();
    let mut seen = input.to_vec();
    for part in seen.chunks_mut(size) {
        let _ = framing.inspect(part);
    }
    let passed = !framing.has_refused();
    // What hyper refuses anyway, a NUL in a head, can stay as it is.
    let shows = seen != input || memchr::memchr2(0, b'\n', &seen).is_some();
    assert!(if passed { seen == input } else { shows }, "{seen:?}");
    passed
}

fn check(cases: &[(&str, bool)]) {
    for (input, expected) in cases {
        for size in [1, 2, 3, 7, 1000] {
            assert_eq!(
                passes(input.as_bytes(), size),
                *expected,
                "{input:?} by {size}"
            );
        }
    }
}

#[test]
fn ordinary_requests_pass_unchanged() {
    check(&[
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            true,
        ),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", true),
        (
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\na\nb\rcGET / HTTP/1.1\r\n\r\n",
            true,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\n\n\n\0\r\r\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            true,
        ),
    ]);
}

#[test]
fn sec_12_what_follows_a_websocket_handshake_passes_as_it_is() {
    let early = "\u{2}a\nb#\r\0";
    for (field, expected) in [
        ("Upgrade: websocket", true),
        ("UPGRADE:\t WebSocket ", true),
        ("Upgrade: h2c", false),
        ("X-Upgrade: websocket", false),
        (&format!("Upgrade: websocket{:64}x", ""), false),
        ("Upgrade: websocket\r\nContent-Length: 2\r\n\r\nxy", false),
        ("A: b\r\n\r\nGET /2 HTTP/1.1\r\nHost: a", false),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        check(&[(&format!("{head}{early}"), expected)]);
    }
    check(&[(
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n\n\n",
        true,
    )]);
}

#[test]
fn sec_01_two_framing_fields_are_refused_in_either_order() {
    check(&[
        (
            "P / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            false,
        ),
    ]);
}

#[test]
fn sec_02_a_content_length_is_digits_once() {
    for value in [
        "+5",
        "-1",
        "0x5",
        "1 0",
        "",
        "5, 5",
        "5,",
        "18446744073709551616",
        "５",
    ] {
        let head = format!("P / HTTP/1.1\r\nContent-Length: {value}\r\n\r\n");
        check(&[(&head, false)]);
    }
    check(&[
        (
            "P / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            false,
        ),
        (
            "P / HTTP/1.1\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n",
            false,
        ),
        ("P / HTTP/1.1\r\ncontent-length:\t5 \r\n\r\n12345", true),
    ]);
    let padded = format!("P / HTTP/1.1\r\nContent-Length: {:0>70}\r\n\r\n", 5);
    check(&[(&padded, false)]);
}

#[test]
fn sec_03_a_transfer_encoding_is_chunked_once() {
    for value in [
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "\"chunked\"",
        "",
        "xchunked",
        "chunked;q=1",
        "identity",
    ] {
        let head = format!("P / HTTP/1.1\r\nTransfer-Encoding: {value}\r\n\r\n");
        check(&[(&head, false)]);
    }
    let twice = "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(&[(twice, false)]);
}

#[test]
fn sec_04_chunks_are_framed_exactly() {
    let head = "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, expected) in [
        ("5\r\nhello\r\n0\r\n\r\n", true),
        ("05\r\nhello\r\n0\r\n\r\n", true),
        ("0\r\n\r\n", true),
        ("5\nhello\r\n0\r\n\r\n", false),
        ("5\r\nhello\n0\r\n\r\n", false),
        ("5\r\nhelloX\r\n0\r\n\r\n", false),
        ("+5\r\nhello\r\n", false),
        ("0x5\r\nhello\r\n", false),
        ("5 \r\nhello\r\n", false),
        (" 5\r\nhello\r\n", false),
        ("\r\nhello\r\n", false),
        ("-1\r\n", false),
        ("00000000000000005\r\nhello\r\n", false),
        ("FFFFFFFFFFFFFFFFF\r\n", false),
        ("5;a=\nb\r\nhello\r\n", false),
        ("5;a=\rb\r\nhello\r\n", false),
    ] {
        check(&[(&format!("{head}{body}"), expected)]);
    }
}

#[test]
fn sec_06_only_crlf_ends_a_line() {
    check(&[
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", false),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", false),
        ("\nGET / HTTP/1.1\r\n\r\n", false),
        ("\r\r\nGET / HTTP/1.1\r\n\r\n", false),
    ]);
    let mut nul = *b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n";
    let mut framing = Framing::new();
    framing.inspect(&mut nul);
    assert_eq!(framing.refused(), Some(Malformed::LineEnd));
}

#[test]
fn sec_10_a_fragment_in_the_target_is_refused() {
    check(&[
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("GET /a HTTP/1.1\r\nHost: a\r\nReferer: /x#y\r\n\r\n", true),
    ]);
}

#[test]
fn sec_04_a_refusal_shows_in_a_chunk_extension() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    // hyper skips every byte of an extension but CR and LF.
    for (line, spoiled) in [
        ("5;a\rb", "5;a\nb"),
        ("5;a\0b\r\n", "5;a\nb\r\n"),
        ("5;a\nb", "5;a\nb"),
        ("5 5\r\n", "5 5\r\0"),
    ] {
        let mut seen = format!("{head}{line}").into_bytes();
        Framing::new().inspect(&mut seen);
        assert_eq!(&seen[head.len()..], spoiled.as_bytes(), "{line:?}");
    }
}

#[test]
fn bytes_of_a_target_become_characters_and_no_others_do() {
    let mut framing = Framing::new();
    let sent = b"GET /gr\xf6 HTTP/1.1\r\nA: \xf6\r\n\r\nGET /\xc3\xb6 HTTP/1.1\r\n";
    let mut bytes = sent.to_vec();
    assert_eq!(framing.inspect(&mut bytes), sent.len());
    let expected = "GET /gr\u{f6} HTTP/1.1\r\nA: \u{f6}\r\n\r\nGET /\u{c3}\u{b6} HTTP/1.1\r\n";
    let mut expected = expected.as_bytes().to_vec();
    let field = expected.windows(3).position(|part| part == b"A: ").unwrap();
    expected.splice(field + 3..field + 5, [0xf6]);
    assert_eq!(framing.widened(&bytes), Some(expected));
    assert_eq!(framing.widened(&bytes), None);
}

#[test]
fn a_head_that_has_begun_is_known_until_it_ends() {
    let mut framing = Framing::new();
    assert!(!framing.is_inside_head());
    framing.inspect(&mut b"GET / HT".to_owned());
    assert!(framing.is_inside_head());
    framing.inspect(&mut b"TP/1.1\r\n\r".to_owned());
    assert!(framing.is_inside_head());
    framing.inspect(&mut b"\n".to_owned());
    assert!(!framing.is_inside_head());
}

#[test]
fn a_refusal_says_why() {
    for (head, why) in [
        ("GET /a#b HTTP/1.1\r\n\r\n", Malformed::Fragment),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Malformed::LineEnd),
        (
            "P / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            Malformed::ContentLength,
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            Malformed::TransferEncoding,
        ),
        (
            "P / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            Malformed::Framing,
        ),
        (
            "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            Malformed::Chunk,
        ),
    ] {
        let mut framing = Framing::new();
        framing.inspect(&mut head.as_bytes().to_vec());
        assert_eq!(framing.refused(), Some(why), "{head:?}");
    }
}

#[test]
fn a_head_is_taken_at_once_only_where_nothing_in_it_matters() {
    let fields = "Host: a\r\nCookie: a=b\r\nTE: trailers\r\nUser-Agent: x\r\n\
                  Upgrade-Insecure-Requests: 1\r\nContent-Type: text/plain\r\nContent-Length-: 1\r\n";
    for (head, is_taken) in [
        (&*format!("GET / HTTP/1.1\r\n{fields}\r\n"), true),
        ("GET / HTTP/1.1\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nA: \u{e4}\r\n\r\n", true),
        ("\r\nGET / HTTP/1.1\r\n\r\n", false),
        ("GET /\u{e4} HTTP/1.1\r\n\r\n", false),
        ("GET /#a HTTP/1.1\r\n\r\n", false),
        ("GET / HTTP/1.1\n\r\n", false),
        ("GET / HTTP/1.1\r\nA: b\n\r\n", false),
        ("GET / HTTP/1.1\r\nA: b\r\n\n", false),
        ("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nA: b\0\r\n\r\n", false),
        ("GET / HTTP/1.1\r\ncontent-LENGTH: 0\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nTransfer-Encoding:chunked\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", false),
    ] {
        let mut framing = Framing::new();
        for next in ["", "GET /2 HTTP/1.1\r\n\r\n", "\0"] {
            let bytes = format!("{head}{next}").into_bytes();
            let taken = framing.take_plain_head(&bytes);
            assert_eq!(taken, is_taken.then_some(head.len()), "{head:?} {next:?}");
        }
        assert!(framing.is_between_requests());
    }
    let part = b"GET / HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(Framing::new().take_plain_head(part), None);
    let mut inside = Framing::new();
    inside.inspect(&mut b"GET / HTTP/1.1\r\nA: b".to_vec());
    assert_eq!(inside.take_plain_head(b"GET / HTTP/1.1\r\n\r\n"), None);
    let mut after_cr = Framing::new();
    after_cr.inspect(&mut b"\r".to_vec());
    assert_eq!(after_cr.take_plain_head(b"GET / HTTP/1.1\r\n\r\n"), None);
}

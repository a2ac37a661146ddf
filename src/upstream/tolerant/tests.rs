use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::reserved::{RESERVED, has_reserved_name};
use super::*;

/// Reads a whole answer at once; what goes on to hyper, and whether a line was dropped.
fn read(answer: &[u8]) -> Result<(String, bool), &'static str> {
    let (mut head, mut out) = (Head::default(), Vec::new());
    head.read(answer, true, &mut out)?;
    assert!(head.end.is_some(), "{}", String::from_utf8_lossy(answer));
    let out = String::from_utf8_lossy(&out).into_owned();
    Ok((out, head.has_dropped))
}

fn with_line(line: &[u8]) -> Vec<u8> {
    let (before, after) = (b"HTTP/1.1 200 OK\r\nA: b\r\n", b"\r\nC: d\r\n\r\nbody");
    [&before[..], line, &after[..]].concat()
}

#[test]
fn sec_15_lines_that_are_no_fields_are_dropped() {
    let clean = ("HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\nbody", true);
    for line in [
        &b"no colon"[..],
        b"PHP Warning:  mysql_connect(): refused in /srv/x.php",
        b"X-Name : value",
        b"X-Name\t: value",
        b"X-N\xc3\xa4me: value",
        b"X(Name): value",
        b"X Name: value",
        b"X\x0bName: value",
        b": value",
        b":",
        b"Content: b", // is one
        b"\xef\xbb\xbfX-Name: value",
        b"Contents of the length",
        b"Contents of: the connection: lost",
        b"\x1b[31mError: \x1b[0mconnection lost",
        b"Teapot of tea",
        b"X-Transfer-Encoding : chunked",
        b"Not-Set-Cookie : a=b",
        b"\x01",
    ] {
        let read = read(&with_line(line));
        if field_name(line).is_some() {
            assert!(!read.unwrap().1);
            continue;
        }
        let read = read.as_ref().map(|(out, dropped)| (out.as_str(), *dropped));
        assert_eq!(read, Ok(clean), "{}", line.escape_ascii());
    }
}

#[test]
fn sec_15_what_may_be_framing_connection_or_cookie_is_refused() {
    for name in [
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authenticate",
        "TE",
        "Trailer",
        "Upgrade",
        "Set-Cookie",
        "SET-COOKIE2",
    ] {
        for line in [
            format!("{name} : 5"),
            format!("{name}\t: 5"),
            format!("{name}\x0b: 5"),
            format!("{name}\x0c: 5"),
            format!("{name}\u{a0}: 5"),
            format!("{name}(: 5"),
            format!("{name} 5"),
            name.to_owned(),
            format!("{name}=5; x"),
            format!("{name} x: 5"),
            format!(":{name}: 5"),
            format!(" : {name}: 5"),
            format!("\u{feff}{name}: 5"),
            format!("\"{name}\": 5"),
            format!("({name}): 5"),
            format!("x\x0b{name}: 5"),
            format!("x\u{85}{name}: 5"),
            format!("x y: z\x0b{name}: 5"),
            format!("x y: z\x1e {name} : 5"),
            format!("x y\x0c:{name}: 5"),
            format!("x\u{2028}{name}: 5"),
            format!("{} : 5", name.replace('-', "_")),
            format!("{}: 5", name.replace('-', " ")),
            format!("{}: 5", name.replace('-', "\u{2010}")) + "\x01",
            format!("{} : 5", name.replace('-', "")),
            format!(" {name}: 5"),
            format!("\t{name}: 5"),
        ] {
            if field_name(line.as_bytes()).is_some() {
                continue; // it had no hyphen to replace
            }
            assert!(read(&with_line(line.as_bytes())).is_err(), "{line:?}");
        }
    }
}

/// By parsers that compare without case as Unicode does, or normalise, or break lines as Unicode does.
#[test]
fn sec_15_a_name_in_other_letters_is_refused_too() {
    let wide = |name: &str| {
        let wide = |letter: char| match letter {
            '!'..='~' => char::from_u32(u32::from(letter) + 0xfee0).unwrap(),
            other => other,
        };
        name.chars().map(wide).collect::<String>()
    };
    for line in [
        "Set-Coo\u{212a}ie: a=b".to_owned(),
        "\u{17f}et-cookie: a=b".to_owned(),
        "\u{17f}et-coo\u{212a}\u{130}e2: a=b".to_owned(),
        "\u{17f}et-cook\u{131}e: a=b".to_owned(),
        "Tran\u{17f}fer-Encoding: chunked".to_owned(),
        "\u{212a}eep-Alive: timeout=5".to_owned(),
        wide("Content-Length") + ": 5",
        wide("connection: close"),
        wide("te") + ": trailers",
        "x y: z\u{85}Set-Cookie: a=b".to_owned(),
        "x y: z\u{2028}Set-Cookie: a=b".to_owned(),
        "x y: z\u{2029} Content-Length : 5".to_owned(),
        "x y: z\u{2028}\u{17f}et-Coo\u{212a}ie: a=b".to_owned(),
        "no colon\u{85}TE".to_owned(),
    ] {
        assert!(read(&with_line(line.as_bytes())).is_err(), "{line:?}");
    }
    assert!(read(&with_line(b"x y: z\x85Set-Cookie: a=b")).is_err());
    for line in [
        "\u{17f}it: \u{212a}elvin",
        "\u{c9}t\u{e9}: te",
        "x y: z\u{2028}and more",
        "Not-\u{17f}et-Cookie: a=b",
    ] {
        assert!(read(&with_line(line.as_bytes())).unwrap().1, "{line:?}");
    }
}

/// Lines as long as a head may be, in which a name could begin or end at many places.
#[test]
fn sec_15_an_invalid_line_takes_no_longer_than_its_length_allows() {
    let begun = crate::clock::Clock::stopwatch();
    for unit in [
        &b"\xff"[..],
        b"a\xff",
        b"\x01a",
        b"te-\xff",
        b"proxy-authentication-inf\xff",
        b"-",
        b"- ",
        b" ",
        b"a ",
        b"\xe2\x80\xa8t",
    ] {
        for (before, after) in [("a", ""), ("x y: z", ":")] {
            let room = MAX_HEAD - 100;
            let line = [
                before.as_bytes(),
                &unit.repeat(room / unit.len()),
                after.as_bytes(),
            ];
            let _ = read(&with_line(&line.concat()));
        }
    }
    assert!(begun.elapsed() < Duration::from_mins(1));
}

/// What `has_reserved_name` finds in one pass: a name at any of the places where one may begin.
fn has_reserved_name_somewhere(line: &[u8]) -> bool {
    let begin = line.iter().position(u8::is_ascii_alphanumeric);
    let line = &line[begin.unwrap_or(line.len())..];
    let name = line.split(|byte| *byte == b':').next().unwrap();
    (0..name.len()).any(|begin| {
        let is_break = |byte: u8| byte.is_ascii_control() || !byte.is_ascii();
        (begin == 0 || is_break(name[begin - 1]))
            && (begin + 1..=name.len()).any(|end| {
                let letters = name[begin..end]
                    .iter()
                    .filter(|it| it.is_ascii_alphanumeric());
                let letters: Vec<_> = letters.map(u8::to_ascii_lowercase).collect();
                let is_end = name.get(end).is_none_or(|byte| !is_token(*byte));
                is_end && RESERVED.contains(&&*letters)
            })
    })
}

#[test]
fn sec_15_a_reserved_name_is_found_at_whatever_place_it_begins() {
    let parts = [
        "TE",
        "te",
        "Set",
        "Cookie",
        "2",
        "Connection",
        "Content",
        "Length",
        "x",
        "-",
        "_",
        " ",
        "\t",
        "\x0b",
        "\u{85}",
        "\u{2028}",
        "(",
        "\"",
        ":",
        ".",
    ];
    let (mut seed, mut found) = (1_u32, 0);
    for _ in 0..20_000 {
        let mut line = String::new();
        for _ in 0..6 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            line.push_str(parts[(seed >> 16) as usize % parts.len()]);
        }
        let expected = has_reserved_name_somewhere(line.as_bytes());
        assert_eq!(has_reserved_name(line.as_bytes()), expected, "{line:?}");
        found += usize::from(expected);
    }
    assert!((1_000..19_000).contains(&found), "{found}");
}

#[test]
fn sec_15_control_bytes_folded_lines_and_second_heads_are_refused() {
    for line in [
        &b"X: a\0b"[..],
        b"X: a\rb",
        b"X\r: a",
        b"no\0colon",
        b"no colon\r",
        b"\r",
        b" folded",
        b"\tfolded: x",
        b" ",
        b"HTTP/1.1 302 Found",
    ] {
        let read = read(&with_line(line));
        assert!(read.is_err(), "{} gave {read:?}", line.escape_ascii());
    }
    for answer in [
        "no colon\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/1.1 20\u{e9} OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(read(answer.as_bytes()), Err("no status line"), "{answer:?}");
    }
    let mut long = b"HTTP/1.1 200 OK\r\n".to_vec();
    while long.len() < MAX_HEAD {
        long.extend_from_slice(b"no colon\r\n");
    }
    assert!(read(&long).is_err());
    let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &vec![b'x'; MAX_HEAD]].concat();
    assert!(read(&endless).is_err());
}

#[test]
fn interim_answers_come_before_the_head_and_a_body_is_no_head() {
    let interim = "HTTP/1.1 103 Early Hints\r\nno colon\r\nLink: x\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nA: b\r\nno colon\r\n\r\nno colon\r\nA : b\r\n";
    let (out, dropped) = read(format!("{interim}{interim}{last}").as_bytes()).unwrap();
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nA: b\r\n\r\nno colon\r\nA : b\r\n";
    assert_eq!(out, format!("{interim}{interim}{last}"));
    assert!(dropped);
    // Nothing after a change of protocol is a head.
    let upgrade = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\nno\r\n";
    assert_eq!(read(upgrade.as_bytes()), Ok((upgrade.to_owned(), false)));
    let bare = "\r\nHTTP/1.0 200\nA: b\nno colon\n\nbody";
    let (out, _) = read(bare.as_bytes()).unwrap();
    assert_eq!(out, "\r\nHTTP/1.0 200\nA: b\n\nbody");
}

#[test]
fn only_an_answer_without_framing_ends_by_the_end_of_its_connection() {
    for (answer, ends_by_close) in [
        ("HTTP/1.1 200 OK\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nServer: x\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 5\r\n\r\n", false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 101 Switching\r\n\r\n", false),
        (
            "HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            true,
        ),
        ("HTTP/1.1 103 Early\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n", false),
    ] {
        for drops in [false, true] {
            let (mut head, mut out) = (Head::default(), Vec::new());
            head.read(answer.as_bytes(), drops, &mut out).unwrap();
            assert_eq!(head.end == Some(End::Close), ends_by_close, "{answer:?}");
            assert_eq!(out, answer.as_bytes());
        }
    }
}

#[test]
fn however_an_answer_is_cut_into_reads_the_same_comes_out() {
    let mut answers = vec![
        b"HTTP/1.1 103 Early\r\nno\r\n\r\n\nHTTP/1.1 200 OK\r\nA: b\r\nx y\r\nC: d\r\n\r\nab\r\n"
            .to_vec(),
    ];
    answers.extend([&b"Content-Length : 5"[..], b" fold", b"x\x0bTE: 1", b"a\rb"].map(with_line));
    for answer in answers {
        let whole = read(&answer);
        for first in 0..answer.len() {
            for second in first..answer.len() {
                let (mut head, mut out) = (Head::default(), Vec::new());
                let parts = [&answer[..first], &answer[first..second], &answer[second..]];
                let mut parts = parts.into_iter();
                let passed = parts.try_for_each(|part| head.read(part, true, &mut out));
                let out = String::from_utf8_lossy(&out).into_owned();
                assert_eq!(passed.map(|()| (out, head.has_dropped)), whole);
            }
        }
    }
}

#[tokio::test]
async fn each_request_has_a_head_and_what_comes_between_is_passed_as_it_is() {
    let (ours, mut app) = tokio::io::duplex(1024);
    let received = BytesReceived::default();
    let all = [Tolerated::InvalidHeaderLines];
    let mut filter = Tolerant::new(Box::new(ours), &all, received.clone());
    let answer = "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\n";
    let clean = answer.replace("no colon\r\n", "");
    for body in ["ok", "no"] {
        received.forget();
        for byte in format!("{answer}{body}surplus\r\n").into_bytes() {
            app.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut out = vec![0; clean.len() + 2 + 9];
        filter.read_exact(&mut out).await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&out),
            format!("{clean}{body}surplus\r\n")
        );
        assert!(received.has_heard() && received.has_dropped_line());
    }
    received.forget();
    app.write_all(b"HTTP/1.1 200 OK\r\nTE : x\r\n")
        .await
        .unwrap();
    for _ in 0..2 {
        let error = filter.read(&mut [0; 64]).await.unwrap_err();
        assert!(error.get_ref().unwrap().is::<Refused>(), "{error}");
    }
}

#[tokio::test]
async fn half_a_line_counts_as_heard_and_is_not_passed() {
    let (ours, mut app) = tokio::io::duplex(1024);
    let received = BytesReceived::default();
    let all = [Tolerated::InvalidHeaderLines];
    let mut filter = Tolerant::new(Box::new(ours), &all, received.clone());
    app.write_all(b"HTTP/1.1 20").await.unwrap();
    let mut bytes = [0; 64];
    let read = tokio::time::timeout(Duration::from_millis(10), filter.read(&mut bytes));
    assert!(read.await.is_err());
    assert!(received.has_heard());
    drop(app);
    assert_eq!(filter.read(&mut bytes).await.unwrap(), 0);
}

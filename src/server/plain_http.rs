//! Plain HTTP/1: one request, one answer of our own, and the end of the connection.
//!
//! Nothing is forwarded from here and no second request follows, so a head may be read as leniently
//! as RFC 9112 §2.2 allows. What cannot be read gets an answer in words, too, for which hyper has
//! no place: a person is likely to wait for it.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::linger::{MOST_OF_BODY, MOST_OF_HEAD, linger};
use crate::clock::Clock;
use crate::load::Place;
use crate::request::title_case;

/// What is answered: known at once, or found out first.
pub(super) enum Answer {
    Now(Response<Bytes>),
    Later(Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>),
}

/// Bytes of a head.
const MAX_HEAD: usize = 16 * 1024;

/// For an answer that fits into any send buffer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the first byte that a client sends begins plain HTTP: a letter, which a record of TLS
/// never begins with (RFC 8446 §5.1). The byte stays unread.
pub(super) async fn is_sent_to(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let read = stream.peek(&mut first).await?;
    Ok(read == 1 && first[0].is_ascii_alphabetic())
}

/// Reads a request until `deadline`, and sends what `answer` makes of it; `None` stands for what is
/// no request of HTTP/1. A client that has not sent a whole head by then gets no answer.
pub(super) async fn answer_one(
    mut stream: TcpStream,
    deadline: Instant,
    place: &Place,
    stop: &CancellationToken,
    answer: impl FnOnce(Option<&Request<()>>) -> Answer,
) {
    let mut read = Vec::new();
    let head = timeout_at(deadline, read_head(&mut stream, &mut read));
    // No request has begun that a stop would wait for.
    let Some(Ok(Ok(end))) = stop.run_until_cancelled(head).await else {
        return;
    };
    let request = end.and_then(|end| parse(&read[..end]));
    let response = match answer(request.as_ref()) {
        Answer::Now(response) => response,
        Answer::Later(response) => response.await,
    };
    let to_head = (request.as_ref()).is_some_and(|request| *request.method() == Method::HEAD);
    let bytes = serialize(&response, to_head);
    let sent = timeout(WRITE_TIMEOUT, async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    });
    let Ok(Ok(())) = sent.await else { return };
    match (request, end) {
        (Some(request), Some(end)) if end == read.len() && !has_body(&request) => {}
        (Some(_), _) => linger(stream, MOST_OF_BODY, place, stop).await,
        (None, _) => linger(stream, MOST_OF_HEAD, place, stop).await,
    }
}

/// Gives where the head ends in `read`; `None` as soon as it can become none.
async fn read_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut line = 0;
    loop {
        while let Some(length) = read[line..].iter().position(|byte| *byte == b'\n') {
            let content = &read[line..line + length];
            if line == 0 && request_line(without_cr(content)).is_none() {
                return Ok(None);
            }
            line += length + 1;
            if without_cr(content).is_empty() {
                return Ok(Some(line));
            }
        }
        if read.len() >= MAX_HEAD {
            return Ok(None);
        }
        if stream.read_buf(read).await? == 0 {
            return if read.is_empty() {
                Err(io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok(None)
            };
        }
    }
}

fn parse(head: &[u8]) -> Option<Request<()>> {
    let mut lines = head.split(|byte| *byte == b'\n').map(without_cr);
    let (method, target) = request_line(lines.next()?)?;
    let mut request = Request::builder().method(method).uri(escaped(target));
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    request.body(()).ok()
}

/// Method and target.
fn request_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target) = (parts.next()?, parts.next()?);
    let is_whole = matches!(parts.next()?, b"HTTP/1.1" | b"HTTP/1.0") && parts.next().is_none();
    is_whole.then_some((method, target))
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What is not ASCII leads on as the same bytes, escaped: a `Location` is ASCII.
fn escaped(target: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        byte if byte.is_ascii() => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    target.iter().map(escape).collect()
}

fn has_body(request: &Request<()>) -> bool {
    let says = |name: HeaderName| request.headers().contains_key(name);
    says(header::CONTENT_LENGTH) || says(header::TRANSFER_ENCODING)
}

pub(super) fn serialize(response: &Response<Bytes>, to_head: bool) -> Vec<u8> {
    let date = httpdate::fmt_http_date(Clock::system().now().to_system_time());
    let mut bytes = format!(
        "HTTP/1.1 {}\r\nDate: {date}\r\nContent-Length: {}\r\nConnection: close\r\n",
        response.status(),
        response.body().len()
    )
    .into_bytes();
    for (name, value) in response.headers() {
        let start = bytes.len();
        bytes.extend_from_slice(name.as_str().as_bytes());
        title_case(&mut bytes[start..]);
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    if !to_head {
        bytes.extend_from_slice(response.body());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, target, and the values of `Host`.
    fn read(head: &str) -> Option<(String, String, Vec<String>)> {
        let request = parse(head.as_bytes())?;
        let hosts = request.headers().get_all(header::HOST).iter();
        Some((
            request.method().to_string(),
            request.uri().to_string(),
            hosts.map(|host| host.to_str().unwrap().into()).collect(),
        ))
    }

    #[test]
    fn a_head_is_read_with_any_end_of_line() {
        for (head, method, target, hosts) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", &["a"][..]),
            (
                "HEAD /x?y HTTP/1.0\nhost:a:8443 \n\n",
                "HEAD",
                "/x?y",
                &["a:8443"],
            ),
            ("GET / HTTP/1.1\r\n\r\n", "GET", "/", &[]),
            (
                "GET / HTTP/1.1\r\nHOST: a\r\nHost: b\r\n\r\n",
                "GET",
                "/",
                &["a", "b"],
            ),
            (
                "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET",
                "/%C3%A9",
                &["a"],
            ),
            (
                "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET",
                "http://a/",
                &["a"],
            ),
            (
                "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n",
                "BREW",
                "/pot",
                &["a"],
            ),
        ] {
            let expected = (
                method.to_owned(),
                target.to_owned(),
                hosts.iter().map(|host| (*host).to_owned()).collect(),
            );
            assert_eq!(read(head), Some(expected), "{head:?}");
        }
    }

    #[test]
    fn what_is_no_head_of_http_1_is_none() {
        for head in [
            "",
            "\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / x HTTP/1.1\r\n\r\n",
            "GET\t/ HTTP/1.1\r\n\r\n",
            "GET /\0 HTTP/1.1\r\n\r\n",
            "G(T / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
            "GET / HTTP/1.1\r\n: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "EHLO a.example\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            assert_eq!(read(head), None, "{head:?}");
        }
    }
}

//! Heads that hyper refuses by itself: they never become requests.
//!
//! hyper answers them, with an empty body, and closes. The socket withholds that answer; ours goes
//! out in its place, with a page and an access line.

use tokio::io::AsyncWriteExt;

use super::connection::CLOSE_TIMEOUT;
use super::plain_http::serialize;
use super::socket::Socket;
use super::transport::Transport;
use crate::proxy::{ClientConn, Service};
use crate::request::Malformed;

/// What hyper finds wrong with a head; `None` of any other error. It names the kinds only in words,
/// and has one for all that is malformed.
pub(super) fn of_error(error: &hyper::Error) -> Option<Malformed> {
    if !error.is_parse() {
        return None;
    }
    Some(match &*error.to_string() {
        _ if error.is_parse_version_h2() => Malformed::Http2,
        "URI too long" => Malformed::TargetTooLong,
        _ if error.is_parse_too_large() => Malformed::TooLarge,
        "invalid HTTP version parsed" => Malformed::Version,
        "invalid URI" => Malformed::Target,
        "invalid content-length parsed" => Malformed::ContentLength,
        "invalid transfer-encoding parsed" | "unexpected transfer-encoding parsed" => {
            Malformed::TransferEncoding
        }
        _ => Malformed::Field,
    })
}

/// Answers a head that is no request, of which hyper has `read` so much, and writes its access line.
/// The connection is to be closed.
pub(super) async fn refuse<S: Transport>(
    service: &Service,
    connection: &ClientConn,
    socket: &mut Socket<S>,
    malformed: Malformed,
    read: &[u8],
) {
    // What the filter finds, hyper only sees as a byte that has no place there.
    let malformed = match (socket.refused(), malformed) {
        (Some(refused), _) => refused,
        (None, Malformed::Field | Malformed::Version) if !has_request_line(read) => {
            Malformed::RequestLine
        }
        (None, malformed) => malformed,
    };
    let (response, line) = service.proxy().refuse_head(connection.peer, malformed);
    // hyper's own is on its way where an earlier response was, too, and says nothing to HTTP/2.
    let is_ours = socket.stop_withholding() || malformed == Malformed::Http2;
    let sent = is_ours && {
        let bytes = serialize(&response, false);
        let sent = async {
            socket.write_all(&bytes).await?;
            socket.flush().await
        };
        matches!(tokio::time::timeout(CLOSE_TIMEOUT, sent).await, Ok(Ok(())))
    };
    if let Some(line) = line {
        let length = if sent { response.body().len() } else { 0 };
        line.write(length, sent || !is_ours);
    }
}

/// Whether a head begins with a line of the form of RFC 9112 §3.
fn has_request_line(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    method.is_some_and(|method| http::Method::from_bytes(method).is_ok())
        && target.is_some_and(|target| target.iter().all(|byte| *byte > b' '))
        && version.is_some_and(|version| version.starts_with(b"HTTP/"))
        && parts.next().is_none()
}

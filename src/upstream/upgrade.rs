//! WebSockets: bytes both ways, from the application's 101 until either side, the session or the
//! service ends.

use std::time::Duration;

use http::{Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::balance::InFlight;
use super::send::Failed;
use super::{
    Address, Application, Caller, ConnectionAuth, Guard, Message, RequestBody, Requester,
    ResponseBody, UpstreamError, Upstreams, Wait, hop_by_hop, send,
};
use crate::access::Permit;

/// Of one read; WebSocket messages are small, and there can be many sockets.
const BUFFER: usize = 8 * 1024;

/// How long a client may take to be told that the tunnel ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Close codes of RFC 6455 §7.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// 1001: the service stops.
    GoingAway,
    /// 1008: the session has ended, or the rules say no by now.
    PolicyViolation,
}

/// What the application made of the handshake.
pub(crate) enum Handshake {
    /// Not a WebSocket after all; answered like any request.
    Refused(Response<ResponseBody>),
    Switched(Switched),
}

/// The application speaks WebSocket from now on.
pub(crate) struct Switched {
    /// 101 for the client.
    pub(crate) response: Response<()>,
    /// Its side of the tunnel.
    pub(crate) application: Application,
    pub(crate) address: Address,
    /// Ends with the tunnel.
    pub(crate) in_flight: Option<InFlight>,
}

impl Upstreams {
    /// Passes a WebSocket handshake on, over a connection of its own. Nothing else of the client
    /// is read or sent until the application has answered it (SEC-12, CVE-2026-2833).
    pub(crate) async fn upgrade(
        &self,
        permit: Permit,
        mut request: Request<RequestBody>,
        requester: Requester<'_>,
        auth: ConnectionAuth<'_>,
        guard: Guard<'_>,
    ) -> Result<Handshake, UpstreamError> {
        *request.version_mut() = Version::HTTP_11;
        hop_by_hop::ask_for_websocket(request.headers_mut());
        self.judge_credentials(request.headers_mut(), auth)?;
        let mut failed = UpstreamError::Busy;
        for (endpoint, host) in self.candidates(requester) {
            let caller = Caller::of(&permit, requester.client);
            let mut lease = match endpoint.lease_for_upgrade(caller).await {
                Ok(lease) => lease,
                Err(error) => {
                    failed = error;
                    continue;
                }
            };
            drop(permit); // used up: one permit, one request
            self.set_host(&mut request, endpoint.address(), host);
            let wait = Wait {
                timeout: self.response_timeout,
                upload: None,
                guard: Some(guard),
            };
            let answer = send(&mut lease, wait, Message::Request(request)).await;
            let mut response = answer.map_err(|Failed { error, .. }| {
                self.reports.refused(&error);
                error
            })?;
            lease.note_answer();
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                self.judge_challenges(response.headers_mut(), auth)?;
                hop_by_hop::strip(response.headers_mut());
                let response = response.map(|()| ResponseBody::new(lease));
                return Ok(Handshake::Refused(response));
            }
            if !hop_by_hop::names_websocket(response.headers()) {
                return Err(UpstreamError::BadResponse("101 to something else"));
            }
            let application = lease.sender().take_application();
            let application = application.ok_or(UpstreamError::BadResponse("101 too early"))?;
            let headers = response.headers_mut();
            hop_by_hop::strip(headers);
            headers.remove(header::CONTENT_LENGTH);
            hop_by_hop::ask_for_websocket(headers);
            return Ok(Handshake::Switched(Switched {
                response,
                application,
                address: endpoint.address().clone(),
                in_flight: lease.take_in_flight(),
            }));
        }
        Err(failed)
    }
}

/// What ends a tunnel, besides its two sides.
pub(crate) struct Ends {
    /// The session has ended, or it is not permitted any more.
    pub(crate) stream: CancellationToken,
    pub(crate) service: CancellationToken,
    /// How long one write may wait for its reader (SEC-27).
    pub(crate) write: Duration,
}

/// Copies until both sides are done, or until one of `ends`: then the client gets a close frame,
/// if it can have one. `on_client_data` is told of everything the client sends, `on_app_data` of
/// what it receives.
pub(crate) async fn tunnel(
    client: OnUpgrade,
    application: Application,
    ends: Ends,
    on_client_data: impl Fn(),
    on_app_data: impl Fn(),
) {
    let (Ok(client), Some((application, first))) = tokio::join!(client, application.open()) else {
        return; // one side has gone before the tunnel was there
    };
    let (mut from_client, mut to_client) = tokio::io::split(TokioIo::<Upgraded>::new(client));
    let (from_app, mut to_app) = tokio::io::split(application);
    let mut from_app = (&*first).chain(from_app);
    let mut frames = Frames::default();
    let close = {
        let up = copy(&mut from_client, &mut to_app, ends.write, |_| {
            on_client_data();
        });
        let down = copy(&mut from_app, &mut to_client, ends.write, |bytes| {
            frames.pass(bytes);
            on_app_data();
        });
        tokio::select! {
            _ = async { tokio::try_join!(up, down) } => None,
            () = ends.stream.cancelled() => Some(Close::PolicyViolation),
            () = ends.service.cancelled() => Some(Close::GoingAway),
        }
    };
    if let Some(close) = close
        && frames.is_at_boundary()
    {
        // The client may be gone or not be reading: then there is nobody to tell.
        let frame = close.frame();
        let told = to_client.write_all(&frame);
        let _ = tokio::time::timeout(FAREWELL, told).await;
    }
    let _ = tokio::time::timeout(FAREWELL, to_client.shutdown()).await;
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    timeout: Duration,
    mut passed: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let written = tokio::time::timeout(timeout, to.write(rest)).await??;
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            passed(&rest[..written]);
            rest = &rest[written..];
        }
        tokio::time::timeout(timeout, to.flush()).await??;
    }
}

impl Close {
    /// An unmasked close frame, as servers send it (RFC 6455 §5.5.1).
    fn frame(self) -> [u8; 4] {
        let code: u16 = match self {
            Self::GoingAway => 1001,
            Self::PolicyViolation => 1008,
        };
        let [high, low] = code.to_be_bytes();
        [0x88, 2, high, low]
    }
}

/// Follows the frames that go to the client, to know where one of ours may stand between them.
#[derive(Debug, Default)]
struct Frames {
    header: Vec<u8>,
    payload: u64,
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let taken = bytes
                    .len()
                    .min(usize::try_from(self.payload).unwrap_or(usize::MAX));
                self.payload -= taken as u64;
                bytes = &bytes[taken..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let Some(length) = self.payload_length() {
                self.payload = length;
                self.header.clear();
            }
        }
    }

    fn is_at_boundary(&self) -> bool {
        self.payload == 0 && self.header.is_empty()
    }

    /// RFC 6455 §5.2; `None` while the header is not whole.
    fn payload_length(&self) -> Option<u64> {
        let (&second, rest) = self.header.get(1..)?.split_first()?;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if rest.len() < extended + mask {
            return None;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
        Some(if extended == 0 {
            u64::from(second & 0x7f)
        } else {
            number(&rest[..extended])
        })
    }
}

/// The client's side of a tunnel: to be taken from its request before that is passed on.
pub(crate) fn client_side(request: &mut Request<Incoming>) -> OnUpgrade {
    hyper::upgrade::on(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_stands_only_between_frames() {
        let mut big = vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        big.extend(vec![7; 65536]);
        let mut medium = vec![0x81, 126, 0x01, 0x00];
        medium.extend(vec![7; 256]);
        for frame in [
            vec![0x89, 0],
            vec![0x81, 3, 1, 2, 3],
            vec![0x81, 0x81, 9, 9, 9, 9, 1],
            medium,
            big,
        ] {
            let mut frames = Frames::default();
            for (at, byte) in frame.iter().enumerate() {
                assert!(
                    at == 0 || !frames.is_at_boundary(),
                    "within {:?}",
                    &frame[..2]
                );
                frames.pass(std::slice::from_ref(byte));
            }
            assert!(frames.is_at_boundary(), "after {:?}", &frame[..2]);
            frames.pass(&frame);
            assert!(frames.is_at_boundary(), "after {:?} at once", &frame[..2]);
        }
    }
}

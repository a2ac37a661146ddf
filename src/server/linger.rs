//! Connections that were answered before the end of their request (SEC-99).
//!
//! A socket that is closed with bytes unread sends a reset, and a reset takes away what the client
//! has not read yet: the response (RFC 9112 §9.6). So the other end may go on sending for a while,
//! and what it sends is thrown away, not even decrypted. nginx calls it `lingering_close`.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::load::Place;

/// In all.
const LINGER: Duration = Duration::from_secs(30);

/// Without any bytes to speak of: a client that was too slow to be served is not waited for again.
const SILENCE: Duration = Duration::from_secs(5);
const A_FEW: usize = 16 * 1024;

/// Bytes of a body that are thrown away.
pub(super) const MOST_OF_BODY: usize = 64 * 1024 * 1024;

/// Bytes of a head that are thrown away: nobody has one so long by mistake.
pub(super) const MOST_OF_HEAD: usize = 1024 * 1024;

/// Reads until the other end has closed, or long enough, at most about `most` bytes. Ends at once
/// when the connection has to make room, or with `stop`.
pub(super) async fn linger(
    socket: TcpStream,
    most: usize,
    place: &Place,
    stop: &CancellationToken,
) {
    place.begin_lingering();
    let discarding = async {
        let end = Instant::now() + LINGER;
        let mut silent = Instant::now() + SILENCE;
        let (mut discarded, mut heard) = (0, 0);
        while discarded < most {
            match timeout_at(end.min(silent), discard(&socket)).await {
                Ok(Ok(bytes @ 1..)) => discarded += bytes,
                _ => return,
            }
            if discarded - heard >= A_FEW {
                heard = discarded;
                silent = Instant::now() + SILENCE;
            }
            tokio::task::yield_now().await; // a fast sender is not to keep the thread
        }
    };
    tokio::select! {
        () = discarding => {}
        () = place.gone() => {}
        () = stop.cancelled() => {}
    }
}

/// Reads something and throws it away; gives how many bytes, 0 at the end.
async fn discard(socket: &TcpStream) -> io::Result<usize> {
    loop {
        socket.readable().await?;
        let mut thrown_away = [0; 16 * 1024];
        match socket.try_read(&mut thrown_away) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    /// How long a connection lingers whose client sends this, and keeps it open unless it `closes`.
    async fn lingered(sent: usize, closes: bool) -> Duration {
        let (mut client, socket) = pair().await;
        let (place, stop) = (Place::uncounted(), CancellationToken::new());
        let started = Instant::now();
        let sends = async {
            let _ = client.write_all(&vec![0; sent]).await;
            (!closes).then_some(client)
        };
        let (_, ()) = tokio::join!(sends, linger(socket, MOST_OF_BODY, &place, &stop));
        started.elapsed()
    }

    #[tokio::test]
    async fn sec_99_what_a_client_still_sends_is_read_until_it_closes() {
        assert!(lingered(8 * 1024 * 1024, true).await < SILENCE);
    }

    #[tokio::test]
    async fn sec_99_a_client_that_says_nothing_is_waited_for_five_seconds() {
        let silent = lingered(1000, false).await;
        assert!(silent >= SILENCE && silent < LINGER, "{silent:?}");
    }

    #[tokio::test]
    async fn sec_99_no_more_than_64_mib_are_thrown_away() {
        assert!(lingered(MOST_OF_BODY + 16 * 1024 * 1024, false).await < LINGER);
    }

    #[tokio::test]
    async fn sec_99_a_stop_waits_for_nobody() {
        let (_client, socket) = pair().await;
        let (place, stop) = (Place::uncounted(), CancellationToken::new());
        stop.cancel();
        let started = Instant::now();
        linger(socket, MOST_OF_BODY, &place, &stop).await;
        assert!(started.elapsed() < SILENCE);
    }
}

//! Requests at a constant rate, whose times are counted from when they should have been sent.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::client::TlsStream;

use crate::harness::tls::{self, HOST};

pub(super) const CONNECTIONS: u32 = 32;

/// Who asks for what, and how long that took.
pub(super) struct Load {
    address: SocketAddr,
    sessions: Vec<String>,
    times: Mutex<Times>,
}

/// How many requests took how many tens of microseconds.
#[derive(Clone)]
pub(super) struct Times(Vec<u64>);

/// Requests on one connection, one after the other.
struct Asking {
    stream: TlsStream<TcpStream>,
    request: String,
    answer: BytesMut,
}

impl Load {
    pub(super) fn new(address: SocketAddr, sessions: Vec<String>) -> Self {
        Self {
            address,
            sessions,
            times: Mutex::new(Times::new()),
        }
    }

    /// Requests a second when each connection asks again at once.
    pub(super) async fn at_full_speed(&self, duration: Duration) -> u32 {
        let until = Instant::now() + duration;
        let asking = (0..CONNECTIONS).map(async |nth| {
            let mut asking = self.asking(nth).await;
            let mut count = 0;
            while Instant::now() < until {
                asking.ask().await;
                count += 1;
            }
            count
        });
        let counts: Vec<u32> = futures_util::future::join_all(asking).await;
        counts.iter().sum::<u32>() / u32::try_from(duration.as_secs()).unwrap()
    }

    /// This connection's share of so many requests a second, until the task is ended.
    pub(super) async fn at(self: std::sync::Arc<Self>, rate: u32, nth: u32) {
        let interval = Duration::from_secs(1) * CONNECTIONS / rate.max(1);
        let mut asking = self.asking(nth).await;
        let mut due = Instant::now() + interval * nth / CONNECTIONS;
        loop {
            let mut start = due;
            if due > Instant::now() {
                sleep_until(due).await;
                start = Instant::now(); // a timer that is late is no fault of the answer
            }
            asking.ask().await;
            self.times.lock().unwrap().note(start.elapsed());
            due += interval;
        }
    }

    /// What has been noted since the last time.
    pub(super) fn take_times(&self) -> Times {
        std::mem::replace(&mut self.times.lock().unwrap(), Times::new())
    }

    async fn asking(&self, nth: u32) -> Asking {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let session = &self.sessions[nth as usize % self.sessions.len()];
        Asking {
            stream: tls::connect(stream, HOST, &["http/1.1"]).await.unwrap(),
            request: format!("GET /page HTTP/1.1\r\nHost: {HOST}\r\nCookie: {session}\r\n\r\n"),
            answer: BytesMut::with_capacity(8192),
        }
    }
}

impl Asking {
    async fn ask(&mut self) {
        self.stream
            .write_all(self.request.as_bytes())
            .await
            .unwrap();
        self.stream.flush().await.unwrap();
        self.answer.clear();
        let head = loop {
            let read = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert_ne!(read, 0, "the connection was closed");
            let end = self.answer.windows(4).position(|part| part == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
        };
        let answer = String::from_utf8_lossy(&self.answer[..head]);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        while self.answer.len() < head + 1024 {
            let read = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert_ne!(read, 0, "the connection was closed");
        }
        assert_eq!(self.answer.len(), head + 1024, "one answer, whole");
    }
}

impl Times {
    const UNIT: Duration = Duration::from_micros(10);

    fn new() -> Self {
        Self(vec![0; 100_001])
    }

    fn note(&mut self, time: Duration) {
        let units = time.as_micros() / Self::UNIT.as_micros();
        let last = self.0.len() - 1;
        self.0[usize::try_from(units).map_or(last, |units| units.min(last))] += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time within which this part of all was answered.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a count of requests"
        )]
        let wanted = (self.count() as f64 * part).ceil() as u64;
        let mut counted = 0;
        let units = self.0.iter().position(|&count| {
            counted += count;
            counted >= wanted
        });
        Self::UNIT * u32::try_from(units.unwrap_or(0) + 1).unwrap()
    }
}

//! A server that answers late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Redis;

/// What leads to a server, and hands each of its answers on so much later. Answers that come at once
/// are handed on at once.
pub(crate) struct Slow {
    port: u16,
    delay: Arc<AtomicU64>,
    forwarding: tokio::task::JoinHandle<()>,
}

impl Slow {
    /// With no delay yet.
    pub(crate) async fn start(server: &Redis) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (delay, behind) = (Arc::<AtomicU64>::default(), server.port());
        let delayed_by = Arc::clone(&delay);
        let forwarding = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((front, _)) = listener.accept().await {
                connections.spawn(forward(front, behind, Arc::clone(&delayed_by)));
            }
        });
        Self {
            port,
            delay,
            forwarding,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap();
        self.delay.store(delay, Ordering::Relaxed);
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

async fn forward(front: tokio::net::TcpStream, behind: u16, delay: Arc<AtomicU64>) {
    let Ok(back) = tokio::net::TcpStream::connect(("127.0.0.1", behind)).await else {
        return;
    };
    let (mut asked, mut answer) = front.into_split();
    let (mut answers, mut ask) = back.into_split();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let asking = async move { tokio::io::copy(&mut asked, &mut ask).await.map(drop) };
    let reading = async move {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = answers.read(&mut bytes).await?;
            let delay = Duration::from_millis(delay.load(Ordering::Relaxed));
            let due = tokio::time::Instant::now() + delay;
            if length == 0 || sender.send((due, bytes[..length].to_vec())).is_err() {
                return Ok(());
            }
        }
    };
    let answering = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            answer.write_all(&bytes).await?;
        }
        Ok(())
    };
    // Until one end closes.
    let ended: std::io::Result<()> = tokio::select! {
        ended = asking => ended,
        ended = reading => ended,
        ended = answering => ended,
    };
    drop(ended);
}

//! A store that begins to answer nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

/// What leads to a server, and says something else in place of half of its answers, while it is told to.
struct Garbling {
    port: u16,
    is_on: Arc<AtomicBool>,
    forwarding: JoinHandle<()>,
}

impl Garbling {
    async fn start(server: &Redis) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_on, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (garbles, behind) = (Arc::clone(&is_on), server.port());
        let forwarding = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((front, _)) = listener.accept().await {
                let (garbles, count) = (Arc::clone(&garbles), Arc::clone(&count));
                connections.spawn(forward(front, behind, garbles, count));
            }
        });
        Self {
            port,
            is_on,
            forwarding,
        }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Garbling {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

async fn forward(front: TcpStream, behind: u16, garbles: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    let Ok(back) = TcpStream::connect(("127.0.0.1", behind)).await else {
        return;
    };
    let (mut asked, mut answer) = front.into_split();
    let (mut answers, mut ask) = back.into_split();
    let asking = async move {
        let _ = tokio::io::copy(&mut asked, &mut ask).await;
    };
    let answering = async move {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length) = answers.read(&mut bytes).await
            && length > 0
        {
            let said = if garbles.load(Ordering::Relaxed) {
                let n = count.fetch_add(1, Ordering::Relaxed);
                nonsense(n, &bytes[..length])
            } else {
                bytes[..length].to_vec()
            };
            if answer.write_all(&said).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}

/// The answer itself every other time.
fn nonsense(n: u64, answer: &[u8]) -> Vec<u8> {
    if n.is_multiple_of(2) {
        return answer.to_vec();
    }
    // Without a source of chance: it goes round.
    let mut random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match (n / 2) % 12 {
        0 => b"$-1\r\n".to_vec(),
        1 => b":7\r\n".to_vec(),
        2 => b"$99999999999999\r\n".to_vec(),
        3 => b"*1\r\n".repeat(10_000),
        4 => b"+OK\r\n".to_vec(),
        5 => b"-WRONGTYPE nonsense\r\n".to_vec(),
        6 => b"*-1\r\n".to_vec(),
        7 => b":1\r\n".to_vec(),
        8 => b"*0\r\n".to_vec(),
        9 => b"$5\r\nhello\r\n".to_vec(),
        10 => {
            let mut changed = answer.to_vec();
            let at = changed.len() / 2;
            changed[at] ^= 0x55;
            changed
        }
        _ => (0..200)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.to_le_bytes()[3]
            })
            .collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_84_a_store_that_begins_to_answer_nonsense_lets_nobody_in_as_somebody_else() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let garbling = Garbling::start(&redis).await;
    let start = || node_at(&app, &garbling.url(), "wait_replicas = 0");
    let mut node = start().login("users = \"store\"").spawn().await;
    let login = async |node: &Service, user: &str| {
        let asked = async || {
            let browser = node.browser();
            let reply = browser.try_login(user, PASSWORD).await;
            (reply.status == 303).then_some(browser)
        };
        eventually_some("a login", asked).await
    };
    let (ada, bob) = (login(&node, "ada").await, login(&node, "bob").await);
    garbling.is_on.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for n in 0..150 {
        for (browser, name) in [(&ada, "ada"), (&bob, "bob")] {
            let cookie = browser.session_cookie();
            let browser = node.browser().cookie(&cookie);
            let status = own_page_or_none(&browser, name, "garbled").await;
            answered += usize::from(status == 200);
        }
        if n % 10 == 0 {
            let reply = node.browser().try_login("ada", "wrong").await;
            assert!([401, 429, 503].contains(&reply.status), "{n}: {reply}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    garbling.is_on.store(false, Ordering::Relaxed);
    assert!(answered > 0, "signed-in users are still answered");
    assert!(node.program.is_running());
    for user in ["ada", "bob"] {
        let browser = login(&node, user).await;
        becomes(&browser, 200).await;
    }
    let said = node.program.stdout() + &node.program.stderr();
    for untrue in ["there are too many users", "panicked"] {
        assert!(!said.contains(untrue), "{untrue}: {said}");
    }
}

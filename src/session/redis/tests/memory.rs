//! What sessions take of the memory of the server.

use std::net::IpAddr;

use futures_util::StreamExt;

use super::*;

/// With 100,000 each takes less, because the index is the same for few and for many.
const MANY: usize = 10_000;
const MOST: usize = 540;

const USER_AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
];

fn used(server: &TestServer) -> usize {
    let info = server.ask(&["INFO", "memory"]);
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    used.unwrap().trim().parse().unwrap()
}

/// Each user has two.
fn session(number: usize) -> Arc<Record> {
    let now = Clock::system().now();
    let user = format!("user{}@example.org", number / 2);
    Arc::new(Record {
        created: now,
        last_accessed: now,
        expires: now.plus(Duration::from_hours(12)),
        client: IpAddr::from([192, 0, 2, u8::try_from(number % 200).unwrap()]),
        user_agent: USER_AGENTS[number % USER_AGENTS.len()].to_owned(),
        groups: vec!["staff".to_owned(), "wiki-editors".to_owned()],
        context: Arc::new(crate::principal::AuthContext::new(
            crate::principal::Method::Password.into(),
            now,
        )),
        ..Arc::unwrap_or_clone(record(&user))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_06_a_session_takes_so_much_memory_of_the_store() {
    let server = server!();
    let node = node(&server).await;
    let before = used(&server);
    let records: Vec<_> = (0..MANY).map(session).collect();
    let mut inserts = futures_util::stream::iter(records.clone())
        .map(|record| node.insert(record))
        .buffer_unordered(32);
    while let Some(inserted) = inserts.next().await {
        inserted.unwrap();
    }
    drop(inserts);
    assert_eq!(node.count().await, Ok(MANY));
    let each = (used(&server) - before) / MANY;
    println!("{each} bytes a session");
    let mut loads = Vec::new();
    for record in records.iter().step_by(MANY / 500) {
        let begun = Clock::stopwatch();
        assert!(node.load(record.key).await.unwrap().is_some());
        loads.push(begun.elapsed());
    }
    loads.sort_unstable();
    println!("loaded in {:?}, the median of 500", loads[loads.len() / 2]);
    assert!(each <= MOST, "{each} bytes a session");
}

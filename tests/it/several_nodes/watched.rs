//! What operators see of a store that is away.

use super::*;

/// The value of `vestibule_session_store_up`.
async fn is_up(metrics: std::net::SocketAddr) -> Option<u32> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(metrics).await.ok()?;
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let mut lines = answer.lines();
    let line = lines.find_map(|line| line.strip_prefix("vestibule_session_store_up "));
    line?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_10_a_store_that_is_away_shows_in_the_metric_and_once_a_minute_in_the_log() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let metrics = held_port();
    let admin = format!("socket = \"admin.sock\"\nmetrics = \"{metrics}\"");
    let node = node(&app, &redis).admin(&admin).spawn().await;
    let becomes = async |expected: u32| {
        let asked = async || (is_up(metrics).await == Some(expected)).then_some(());
        eventually_some(&format!("{expected} of the metric"), asked).await;
    };
    let count = |words: &str| {
        let (stdout, stderr) = (node.program.stdout(), node.program.stderr());
        let lines = stdout.lines().chain(stderr.lines());
        lines.filter(|line| line.contains(words)).count()
    };
    becomes(1).await;
    node.browser().login("ada", PASSWORD).await;
    let begun = tokio::time::Instant::now();
    redis.stop();
    becomes(0).await;
    let told = async || (count("the session store cannot be reached") > 0).then_some(());
    eventually_some("a line that it is away", told).await;
    // However often it is asked for, and it tries again.
    for _ in 0..20 {
        let refused = node.browser().try_login("bob", PASSWORD).await;
        refused.assert_status(503);
    }
    let told = count("the session store cannot be reached");
    let most = 1 + usize::try_from(begun.elapsed().as_secs() / 60).unwrap();
    assert!((1..=most).contains(&told), "{told} of at most {most}");
    redis.go_on();
    becomes(1).await;
    let back = async || (count("connected to the session store") >= 2).then_some(());
    eventually_some("a line that it is back", back).await;
}

use bytes::Bytes;
use hyper::Method;

use super::*;

/// Writes its configuration; gives the command that serves by it.
pub(super) fn prepare(blocks: &Blocks, behind: &mut Behind) -> &'static str {
    let front = behind.front;
    behind.desk.place("bind :443", format!("bind {front}"));
    let certificate = Certificate::generate(&[HOST, LOGIN]);
    let both = certificate.cert_pem + &certificate.key_pem;
    behind.desk.write_secret("/etc/haproxy/wiki.pem", &both);
    behind.desk.write("/etc/haproxy/vestibule.lua", &blocks.lua);
    behind
        .desk
        .write("/etc/haproxy/haproxy.cfg", &blocks.haproxy);
    "exec haproxy -db -f /etc/haproxy/haproxy.cfg"
}

/// HAProxy takes the next step when a script fails, which would be the app.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_fails_lets_nobody_in() {
    const ASKS: &str = "    local answer = ask(txn)\n";
    if !Front::Haproxy.is_here() {
        return;
    }
    let mut blocks = Blocks::read();
    assert_eq!(blocks.lua.matches(ASKS).count(), 1, "{}", blocks.lua);
    blocks.lua = blocks.lua.replace(ASKS, "    error(\"broken\")\n");
    let mut behind = Behind::start(&blocks).await;
    let _program = Front::Haproxy.start(&blocks, &mut behind).await;
    let (visitor, got) = (Browser::new(behind.front, HOST), behind.app.requests());
    let made_up = [("x-forwarded-user", "ada"), ("accept", "*/*")];
    let reply = visitor.request(Method::GET, "/page", &made_up, Bytes::new());
    reply.await.assert_status(503);
    assert_eq!(behind.app.requests(), got, "nobody is in");
}

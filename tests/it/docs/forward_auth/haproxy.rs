use super::*;

/// Writes its configuration; gives the command that serves by it.
pub(super) fn prepare(blocks: &Blocks, behind: &mut Behind) -> &'static str {
    let front = behind.front;
    behind.desk.place("bind :443", format!("bind {front}"));
    let certificate = Certificate::generate(&[HOST]);
    let both = certificate.cert_pem + &certificate.key_pem;
    behind.desk.write_secret("/etc/haproxy/wiki.pem", &both);
    behind.desk.write("/etc/haproxy/vestibule.lua", &blocks.lua);
    behind
        .desk
        .write("/etc/haproxy/haproxy.cfg", &blocks.haproxy);
    "exec haproxy -db -f /etc/haproxy/haproxy.cfg"
}

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_asks() {
    if real::find("haproxy").is_none() {
        return;
    }
    let blocks = Blocks::read();
    let mut behind = Behind::start(&blocks).await;
    let front = behind.front;
    behind.desk.place("bind :443", format!("bind {front}"));
    let certificate = Certificate::generate(&[HOST]);
    let both = certificate.cert_pem + &certificate.key_pem;
    behind.desk.write_secret("/etc/haproxy/wiki.pem", &both);
    behind.desk.write("/etc/haproxy/vestibule.lua", &blocks.lua);
    behind
        .desk
        .write("/etc/haproxy/haproxy.cfg", &blocks.haproxy);
    behind.desk.run(&blocks.haproxy_test).await;
    let mut program = behind
        .desk
        .start("exec haproxy -db -f /etc/haproxy/haproxy.cfg");
    behind.try_out(&mut program).await;
}

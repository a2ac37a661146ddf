use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn envoy_asks() {
    if real::find("envoy").is_none() {
        return;
    }
    let blocks = Blocks::read();
    let mut behind = Behind::start(&blocks).await;
    let front = behind.front;
    let here = format!("address: {}, port_value: {}", front.ip(), front.port());
    behind.desk.place("address: 0.0.0.0, port_value: 443", here);
    behind.certify("/etc/envoy/wiki.pem", "/etc/envoy/wiki.key");
    behind.desk.write("/etc/envoy/envoy.yaml", &blocks.envoy);
    behind.desk.program("envoy", "");
    behind.desk.run(&blocks.envoy_test).await;
    // Otherwise there is one of them on a machine.
    let start = "exec envoy --use-dynamic-base-id --concurrency 1 -c /etc/envoy/envoy.yaml";
    let mut program = behind.desk.start(start);
    behind.try_out(&mut program).await;
}

use super::*;

/// Writes its configuration; gives the command that serves by it.
pub(super) fn prepare(blocks: &Blocks, behind: &mut Behind) -> &'static str {
    let front = behind.front;
    let here = format!("address: {}, port_value: {}", front.ip(), front.port());
    behind.desk.place("address: 0.0.0.0, port_value: 443", here);
    behind.certify("/etc/envoy/wiki.pem", "/etc/envoy/wiki.key");
    behind.desk.write("/etc/envoy/envoy.yaml", &blocks.envoy);
    behind.desk.program("envoy", "");
    // Otherwise there is one of them on a machine.
    "exec envoy --use-dynamic-base-id --concurrency 1 -c /etc/envoy/envoy.yaml"
}

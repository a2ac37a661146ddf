use super::*;

/// Writes its configuration; gives the command that serves by it.
pub(super) fn prepare(blocks: &Blocks, behind: &mut Behind) -> &'static str {
    let front = behind.front;
    behind.desk.place("\":443\"", format!("\"{front}\""));
    let [main, site] = &blocks.traefik;
    behind.certify("/etc/traefik/wiki.pem", "/etc/traefik/wiki.key");
    behind.desk.write("/etc/traefik/wiki.yml", site);
    behind.desk.write("/etc/traefik/traefik.yml", main);
    "exec traefik --configfile=/etc/traefik/traefik.yml"
}

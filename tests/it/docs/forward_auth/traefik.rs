use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn traefik_asks() {
    if real::find("traefik").is_none() {
        return;
    }
    let blocks = Blocks::read();
    let mut behind = Behind::start(&blocks).await;
    let front = behind.front;
    behind.desk.place("\":443\"", format!("\"{front}\""));
    let [main, site] = &blocks.traefik;
    behind.certify("/etc/traefik/wiki.pem", "/etc/traefik/wiki.key");
    behind.desk.write("/etc/traefik/wiki.yml", site);
    behind.desk.write("/etc/traefik/traefik.yml", main);
    let mut program = behind
        .desk
        .start("exec traefik --configfile=/etc/traefik/traefik.yml");
    behind.try_out(&mut program).await;
}

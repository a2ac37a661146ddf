use super::*;

#[tokio::test]
async fn qbittorrent_takes_a_torrent_from_its_page() {
    let Some(file) = real::find("qbittorrent-nox") else {
        return;
    };
    let mut recipe = Page::open("recipes/qbittorrent.md");
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let settings = recipe.next("ini");
    let settings = settings.replace("8080", &address.port().to_string());
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n[BitTorrent]\nSession\\Port={}\nSession\\DHTEnabled=false\n\
         Session\\LSDEnabled=false\n{settings}",
        held_port().port()
    );
    let config = folder.path().join("qBittorrent/config");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("qBittorrent.conf"), settings).unwrap();
    let mut command = Command::new(file);
    command
        .env("HOME", folder.path())
        .arg(format!("--profile={}", folder.path().display()));
    let app = real::App::start(command, address, folder).await;
    let Some(desk) = Desk::of(app, &mut recipe).await else {
        return;
    };
    desk.goto("/").await;
    desk.sign_in().await;
    desk.sees("DHT").await;
    let magnet = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=Minutes";
    let add = format!(
        "const body = new URLSearchParams({{urls: '{magnet}', paused: 'true'}});
         return (async () => (await fetch('api/v2/torrents/add', {{method: 'POST', body}})).text())()"
    );
    assert_eq!(desk.browser.script(&add).await, "Ok.");
    desk.sees("Minutes").await;

    desk.sign_out_elsewhere().await;
    desk.goto("/?again").await;
    desk.sign_in().await;
    desk.sees("Minutes").await;
}

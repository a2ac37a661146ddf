//! Old web apps behind the login, in Chromium, as a person works with them: a deep link, the login,
//! their buttons and uploads, the end of the session in another tab, and on with the next one.

/// Printers, and a client that has no session.
mod cups;
/// Pages, uploads and odd titles.
mod mediawiki;
/// A page that is compared with what it is called outside.
mod qbittorrent;
/// Names of queues in paths, by the page and by the command.
mod rabbitmq;
/// A page that only its own name opens.
mod syncthing;
/// What a servlet is told of its visitor.
mod tomcat;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::docs::page::Page;
use crate::harness::webdriver::Chromium;
use crate::harness::*;

/// An app behind a gate, and a browser in front of it.
struct Desk {
    app: real::App,
    origin: String,
    browser: Chromium,
    gate: Gate,
}

impl Desk {
    /// Behind a gate as the recipe has it.
    async fn of(app: real::App, recipe: &mut Page) -> Option<Self> {
        let gate = recipe.gate(&app.url()).user("ada", PASSWORD);
        let (browser, gate) = (Chromium::start().await?, gate.start().await);
        Some(Self {
            app,
            origin: format!("https://gate.test:{}", gate.address().port()),
            browser,
            gate,
        })
    }

    async fn goto(&self, path: &str) {
        self.browser.goto(&format!("{}{path}", self.origin)).await;
    }

    /// Fills in the login to which the browser was led.
    async fn sign_in(&self) {
        self.browser.type_into("[name=username]", "ada").await;
        self.browser.type_into("[name=password]", PASSWORD).await;
        self.browser.click("[type=submit]").await;
    }

    async fn sees(&self, text: &str) {
        let text = json!(text);
        self.browser
            .wait_until(&format!("document.body.innerText.includes({text})"))
            .await;
    }

    /// Ends the session in another tab, which stays open.
    async fn sign_out_elsewhere(&self) {
        let tab = self.browser.tab().await;
        self.browser.new_tab().await;
        self.goto("/.vestibule/logout").await;
        self.browser.click("[type=submit]").await;
        self.sees("You are signed out").await;
        self.browser.switch_to(&tab).await;
    }
}

/// Supervisor answers each button with a redirect to `http://` and its own idea of the host.
#[tokio::test]
async fn the_buttons_of_supervisor_lead_back_to_its_page() {
    let Some(supervisord) = real::find("supervisord") else {
        return;
    };
    let mut recipe = Page::open("recipes/supervisor.md");
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let server = recipe
        .next("ini")
        .replace("127.0.0.1:9001", &address.to_string());
    let config = format!(
        "[supervisord]\nnodaemon = true\nlogfile = {0}/log\npidfile = {0}/pid\n\
         childlogdir = {0}\n{server}[rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [program:worker]\nstartsecs = 0\n\
         command = sh -c 'echo This is the worker.; exec sleep 1000'\n",
        folder.path().display()
    );
    fs::write(folder.path().join("conf"), config).unwrap();
    let mut command = Command::new(supervisord);
    command.arg("-c").arg(folder.path().join("conf"));
    let app = real::App::start(command, address, folder).await;
    let Some(desk) = Desk::of(app, &mut recipe).await else {
        return;
    };
    desk.goto("/tail.html?processname=worker&limit=1024").await;
    desk.sign_in().await;
    desk.sees("This is the worker.").await;
    desk.goto("/").await;
    desk.browser.click("a[name=Stop]").await;
    desk.sees("Process worker stopped").await;
    let stopped = "/?message=Process%20worker%20stopped";
    assert_eq!(desk.browser.url().await, desk.origin.clone() + stopped);

    desk.sign_out_elsewhere().await;
    desk.browser.click("a[name=Start]").await;
    desk.sign_in().await;
    desk.sees("Process worker started").await;
    let started = "/?message=Process%20worker%20started";
    assert_eq!(desk.browser.url().await, desk.origin.clone() + started);
}

/// Transmission's page asks its server all the time, and shows what it says. It knows nothing of the
/// path below which it is, and its server takes no host but its own.
#[tokio::test]
async fn the_page_of_transmission_works_below_a_path() {
    let Some(daemon) = real::find("transmission-daemon") else {
        return;
    };
    let mut recipe = Page::open("recipes/transmission.md");
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let settings = recipe.next("json");
    let settings = settings.replace("9091", &address.port().to_string());
    fs::write(folder.path().join("settings.json"), settings).unwrap();
    let mut command = Command::new(daemon);
    command
        .args(["-f", "-M", "--no-dht", "--no-lpd", "-i", "127.0.0.1"])
        .args(["-P", &held_port().port().to_string(), "-g"])
        .arg(folder.path())
        .arg("-w")
        .arg(folder.path());
    let app = real::App::start(command, address, folder).await;
    let Some(desk) = Desk::of(app, &mut recipe).await else {
        return;
    };
    desk.goto("/torrents").await;
    desk.sign_in().await;
    desk.sees("0 Transfers").await;
    let page = format!("{}/torrents/transmission/web/", desk.origin);
    assert_eq!(desk.browser.url().await, page);
    desk.browser.click("#toolbar-open").await;
    let magnet = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=Minutes";
    desk.browser.type_into("#torrent_upload_url", magnet).await;
    desk.browser.click("#upload_confirm_button").await;
    desk.sees("Minutes").await;

    desk.sign_out_elsewhere().await;
    desk.browser.click("#turtle-button").await;
    desk.sees("Could not connect to the server").await;
    desk.goto("/torrents/transmission/web/?again").await;
    desk.sign_in().await;
    desk.sees("1 Transfer").await;
    desk.browser.click("#turtle-button").await;
    desk.browser
        .wait_until("document.querySelector('#turtle-button.selected')")
        .await;
}

/// copyparty sends uploads in pieces, which it hashes and negotiates by script.
#[tokio::test]
async fn files_go_up_to_copyparty_and_come_down_again() {
    let Some(copyparty) = real::find("copyparty") else {
        return;
    };
    let mut recipe = Page::open("recipes/copyparty.md");
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let shared = folder.path().join("shared");
    fs::create_dir_all(shared.join("2026")).unwrap();
    let line = recipe.next("sh");
    let line = line.replace("3923", &address.port().to_string());
    let line = line.replace("/srv/files", &shared.display().to_string());
    let words = line.strip_prefix("copyparty ").unwrap().split_whitespace();
    let mut command = Command::new(copyparty);
    command
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .args(words)
        .args(["-q", "--no-thumb", "--no-mtag-ff"]);
    let app = real::App::start(command, address, folder).await;
    let Some(desk) = Desk::of(app, &mut recipe).await else {
        return;
    };
    let content: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    let upload = async |name: &str| {
        let file = desk.app.path(name);
        fs::write(&file, &content).unwrap();
        let path = file.to_str().unwrap();
        desk.browser.type_into("input[id^=file]", path).await;
        desk.browser.click("#modal-ok").await;
        let arrived = desk.app.path("shared/2026").join(name);
        eventually("the file in its folder", || {
            fs::metadata(&arrived).is_ok_and(|file| file.len() == 3 << 20)
        })
        .await;
        assert!(fs::read(arrived).unwrap() == content);
    };
    desk.goto("/2026/?v").await;
    desk.sign_in().await;
    desk.browser
        .wait_until("document.querySelector('#file1')")
        .await;
    upload("report \u{e4} 1.bin").await;
    desk.sign_out_elsewhere().await;
    desk.goto("/2026/").await;
    desk.sign_in().await;
    desk.sees("report \u{e4} 1.bin").await;
    upload("report 2.bin").await;
    let size = "const answer = await fetch('report%20%C3%A4%201.bin', {headers: {range: 'bytes=1-2097152'}});\
                return [answer.status, (await answer.blob()).size]";
    let size = desk
        .browser
        .script(&format!("return (async () => {{{size}}})()"))
        .await;
    assert_eq!(size, json!([206, 2 << 20]));
}

/// Radicale takes its users from a header; its page asks without cookies, and then for the name.
#[tokio::test]
async fn a_calendar_of_radicale_belongs_to_the_user() {
    let Some(radicale) = real::find("radicale") else {
        return;
    };
    let mut recipe = Page::open("recipes/radicale.md");
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let config = recipe.next("ini");
    let config = config.replace("127.0.0.1:5232", &address.to_string());
    let data = folder.path().join("data").display().to_string();
    let config = config.replace("/var/lib/radicale/collections", &data);
    fs::write(folder.path().join("conf"), config).unwrap();
    let mut command = Command::new(radicale);
    command.arg("--config").arg(folder.path().join("conf"));
    let app = real::App::start(command, address, folder).await;
    let Some(desk) = Desk::of(app, &mut recipe).await else {
        return;
    };
    let open = async || {
        desk.goto("/.web/").await;
        desk.sign_in().await;
        let name = "#loginscene [data-name=user]";
        desk.browser.type_into(name, "ada").await;
        let next = "#loginscene [data-name=form] [type=submit]";
        desk.browser.click(next).await;
        desk.sees("ada's Collections").await;
    };
    open().await;
    desk.browser
        .click("#collectionsscene [data-name=new]")
        .await;
    let title = "#createcollectionscene [data-name=displayname]";
    desk.browser.type_into(title, "Meetings").await;
    desk.browser
        .click("#createcollectionscene [data-name=submit]")
        .await;
    desk.sees("Meetings").await;
    assert!(desk.app.path("data/collection-root/ada").is_dir());

    desk.sign_out_elsewhere().await;
    open().await;
    desk.sees("Meetings").await;
}

//! Servers for files, calendars and images behind the login, with the requests of their clients.

/// Packages, with a client that has no session.
mod npm;

use std::fs;
use std::process::Command;

use bytes::Bytes;
use hyper::Method;

use crate::docs::page::Page;
use crate::harness::*;

const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\n\
    DTSTAMP:20260101T000000Z\r\nDTSTART:20260102T100000Z\r\nSUMMARY:Meeting\r\nEND:VEVENT\r\n\
    END:VCALENDAR\r\n";

/// A signed-in client of an app, in the browser's own words.
struct Client {
    browser: Browser,
    gate: Gate,
}

impl Client {
    async fn of(gate: Vestibule) -> Self {
        let gate = gate.user("ada", PASSWORD).start().await;
        let browser = gate.browser().login("ada", PASSWORD).await;
        Self { browser, gate }
    }

    async fn send(&self, line: &str, fields: &[(&str, &str)], body: &[u8]) -> Reply {
        let (method, target) = line.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let body = Bytes::copy_from_slice(body);
        self.browser.request(method, target, fields, body).await
    }

    /// What needs a session is refused without one, and goes on with the next.
    async fn sign_in_again(&mut self, line: &str) {
        self.browser.logout().await;
        let refused = self.send(line, &[], b"").await;
        assert_eq!(refused.assert_status(401).json()["error"], "login_required");
        self.browser = self.gate.browser().login("ada", PASSWORD).await;
    }
}

#[tokio::test]
async fn calendars_of_radicale_are_written_moved_and_searched() {
    let Some(radicale) = real::find("radicale") else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let mut command = Command::new(radicale);
    command
        .args(["--server-hosts", &address.to_string()])
        .args(["--auth-type", "http_x_remote_user"])
        .arg("--storage-filesystem-folder")
        .arg(folder.path().join("data"));
    let app = real::App::start(command, address, folder).await;
    // It compares a Destination with what it is told of the browser's address.
    let keys = "rewrite_redirects = false\n[app.identity]\n\"X-Remote-User\" = \"{user}\"";
    let mut client = Box::pin(Client::of(Vestibule::before_url(&app.url()).app(keys))).await;
    let root = client.browser.get("/").await;
    root.assert_status(302).assert_header("location", "/.web");
    for calendar in ["/ada/work/", "/ada/home/"] {
        let line = format!("MKCALENDAR {calendar}");
        client.send(&line, &[], b"").await.assert_status(201);
    }
    let kind = ("content-type", "text/calendar");
    let put = client
        .send("PUT /ada/work/1.ics", &[kind], EVENT.as_bytes())
        .await;
    put.assert_status(201);
    client.sign_in_again("PROPFIND /ada/work/").await;
    let to = [("destination", "https://gate.test/ada/home/1.ics")];
    client
        .send("MOVE /ada/work/1.ics", &to, b"")
        .await
        .assert_status(201);
    let forged = [("x-remote-user", "eve"), ("depth", "1")];
    let found = client.send("PROPFIND /ada/home/", &forged, b"").await;
    assert!(
        found.assert_status(207).text().contains("/ada/home/1.ics"),
        "{found}"
    );
    let query = "<C:calendar-query xmlns:C='urn:ietf:params:xml:ns:caldav' xmlns='DAV:'><prop>\
                 <C:calendar-data/></prop><C:filter><C:comp-filter name='VCALENDAR'/></C:filter>\
                 </C:calendar-query>";
    let depth = [("depth", "1")];
    let found = client
        .send("REPORT /ada/home/", &depth, query.as_bytes())
        .await;
    assert!(
        found.assert_status(207).text().contains("SUMMARY:Meeting"),
        "{found}"
    );
    let others = client.send("MKCALENDAR /eve/home/", &[], b"").await;
    others.assert_status(403);
}

#[tokio::test]
async fn files_of_wsgidav_are_locked_copied_and_moved() {
    let Some(wsgidav) = real::find("wsgidav") else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let files = folder.path().join("files");
    fs::create_dir(&files).unwrap();
    let mut recipe = Page::open("recipes/wsgidav.md");
    let line = recipe
        .next("sh")
        .replace("8080", &address.port().to_string());
    let line = line.replace("/srv/files", &files.display().to_string());
    let words = line.strip_prefix("wsgidav ").unwrap().split_whitespace();
    let mut command = Command::new(wsgidav);
    command.current_dir(folder.path()).args(words);
    let app = real::App::start(command, address, folder).await;
    let other = Vestibule::before_url(&app.url()).app("preserve_host = false");
    for (n, gate) in [recipe.gate(&app.url()), other].into_iter().enumerate() {
        let mut client = Box::pin(Client::of(gate)).await;
        let page = client.browser.get("/").await;
        assert!(
            page.assert_status(200).text().contains("Index of"),
            "{page}"
        );
        let name = format!("50%25%20%C3%A4{n}.txt"); // the lock outlives the move
        client
            .send(&format!("PUT /{name}"), &[], b"kept")
            .await
            .assert_status(201);
        client
            .send("MKCOL /folder", &[], b"")
            .await
            .assert_status(201);
        let lock = "<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope>\
                    <locktype><write/></locktype></lockinfo>";
        let line = format!("LOCK /{name}");
        let locked = client.send(&line, &[], lock.as_bytes()).await;
        let token = locked.assert_status(200).value("lock-token").unwrap();
        let to = ("destination", "https://gate.test/folder/moved.txt");
        let line = format!("MOVE /{name}");
        client.send(&line, &[to], b"").await.assert_status(423);
        client.sign_in_again(&line).await;
        let condition = format!("<https://gate.test/{name}> ({token})");
        let fields = [to, ("if", &*condition)];
        client.send(&line, &fields, b"").await.assert_status(201);
        let to = [("destination", "https://gate.test/copied.txt")];
        client
            .send("COPY /folder/moved.txt", &to, b"")
            .await
            .assert_status(201);
        assert_eq!(client.browser.get("/copied.txt").await.text(), "kept");
        for line in ["DELETE /copied.txt", "DELETE /folder/"] {
            client.send(line, &[], b"").await.assert_status(204);
        }
    }
}

#[tokio::test]
async fn an_image_is_pushed_to_the_registry_in_pieces_and_pulled() {
    let Some(registry) = real::find("docker-registry") else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let mut recipe = Page::open("recipes/docker-registry.md");
    let config = recipe.next("yaml");
    let config = config.replace("127.0.0.1:5000", &address.to_string());
    let data = folder.path().join("data").display().to_string();
    let config = config.replace("/var/lib/docker-registry", &data);
    fs::write(folder.path().join("config.yml"), config).unwrap();
    let mut command = Command::new(registry);
    command.arg("serve").arg(folder.path().join("config.yml"));
    let app = real::App::start(command, address, folder).await;
    let other = Vestibule::before_url(&app.url()).app("preserve_host = false");
    for gate in [recipe.gate(&app.url()), other] {
        let mut client = Box::pin(Client::of(gate)).await;
        let version = client.browser.fetch("/v2/").await;
        version.assert_status(200);
        let begun = client
            .send("POST /v2/team/wiki/blobs/uploads/", &[], b"")
            .await;
        let goes_on = |reply: &Reply| {
            let location = reply.value("location").unwrap();
            let target = location.strip_prefix("https://gate.test");
            target.unwrap_or_else(|| panic!("{reply}")).to_owned()
        };
        let target = goes_on(begun.assert_status(202));
        let layer = vec![7; 300_000];
        let piece = ("content-type", "application/octet-stream");
        let sent = client
            .send(&format!("PATCH {target}"), &[piece], &layer)
            .await;
        let target = goes_on(sent.assert_status(202));
        client.sign_in_again(&format!("PUT {target}")).await;
        let digest = digest(&layer);
        let line = format!("PUT {target}&digest={digest}");
        goes_on(client.send(&line, &[], b"").await.assert_status(201));
        let pulled = client
            .browser
            .fetch(&format!("/v2/team/wiki/blobs/{digest}"))
            .await;
        assert!(pulled.assert_status(200).body == layer);
    }
}

/// What clients of `WebDAV` do without locks.
async fn files_are_copied_and_moved(gate: Vestibule) {
    let mut client = Box::pin(Client::of(gate)).await;
    client
        .send("PUT /50%25%20a.txt", &[], b"kept")
        .await
        .assert_status(201);
    let to = [("destination", "https://gate.test/b%20c.txt")];
    client.send("COPY /50%25%20a.txt", &to, b"").await;
    assert_eq!(client.browser.get("/b%20c.txt").await.text(), "kept");
    client
        .send("MKCOL /folder/", &[], b"")
        .await
        .assert_status(201);
    client.sign_in_again("MOVE /b%20c.txt").await;
    let to = [("destination", "https://gate.test/folder/d.txt")];
    client.send("MOVE /b%20c.txt", &to, b"").await;
    assert_eq!(client.browser.get("/folder/d.txt").await.text(), "kept");
    client.browser.get("/b%20c.txt").await.assert_status(404);
    client
        .send("DELETE /folder/", &[], b"")
        .await
        .assert_status(204);
}

#[tokio::test]
async fn files_of_apache_are_copied_and_moved() {
    let mut recipe = Page::open("recipes/apache-webdav.md");
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("files")).unwrap();
    let config = recipe.next("apache").replace("/srv/files", "FOLDER/files");
    let config = config.replace("/var/lib/apache2/locks", "FOLDER/locks");
    let modules = ["dir", "dav", "dav_fs"];
    let app = real::apache(&modules, &config, folder).await;
    let gate = recipe.gate(&app.as_ref().map_or_else(String::new, real::App::url));
    if app.is_some() {
        Box::pin(files_are_copied_and_moved(gate)).await;
    }
}

#[tokio::test]
async fn files_of_nginx_are_copied_and_moved() {
    let Some(nginx) = real::find("nginx") else {
        return;
    };
    let mut recipe = Page::open("recipes/nginx-webdav.md");
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let at = folder.path().display().to_string();
    fs::create_dir(folder.path().join("files")).unwrap();
    let server = recipe
        .next("nginx")
        .replace("127.0.0.1:8080", &address.to_string());
    let server = server.replace("/srv/files", &format!("{at}/files"));
    let config = format!(
        "daemon off; master_process off; error_log stderr; pid {at}/pid;\nevents {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/t; proxy_temp_path {at}/t;\n\
         fastcgi_temp_path {at}/t; uwsgi_temp_path {at}/t; scgi_temp_path {at}/t;\n{server}}}\n"
    );
    fs::write(folder.path().join("conf"), config).unwrap();
    let mut command = Command::new(nginx);
    command
        .args(["-p", &at, "-c"])
        .arg(folder.path().join("conf"));
    let app = real::App::start(command, address, folder).await;
    Box::pin(files_are_copied_and_moved(recipe.gate(&app.url()))).await;
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;

    use sha2::{Digest, Sha256};

    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

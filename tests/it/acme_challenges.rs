use std::fs;
use std::os::unix::fs::symlink;

use tokio::net::TcpStream;

use crate::harness::*;

const AT: &str = "/.well-known/acme-challenge";

/// What the plain listener answers to exact bytes.
async fn plainly(gate: &Gate, request: &str) -> Reply {
    let mut raw = Raw::new(TcpStream::connect(gate.redirect_address()).await.unwrap());
    raw.send(request).await;
    let reply = if request.starts_with("HEAD") {
        raw.response_to_head().await
    } else {
        raw.response().await
    };
    assert_eq!(raw.rest().await, "", "one answer is all");
    reply
}

async fn get(gate: &Gate, path: &str) -> Reply {
    plainly(
        gate,
        &format!("GET {path} HTTP/1.1\r\nHost: gate.test\r\n\r\n"),
    )
    .await
}

/// With a folder that has one response in it.
async fn gate(app: &Upstream) -> Gate {
    let gate = Vestibule::before(app)
        .app("host = \"gate.test\"")
        .server("redirect_http = [\"127.0.0.1:0\"]\nacme_challenges = \"acme\"")
        .user("ada", PASSWORD);
    fs::create_dir(gate.path("acme")).unwrap();
    fs::write(gate.path("acme/tok-EN_1"), "tok-EN_1.thumbprint").unwrap();
    gate.start().await
}

#[tokio::test]
async fn the_response_is_served_as_the_authority_asks_for_it() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    for host in ["gate.test", "soon.example.org", "192.0.2.1:80", "[::1]"] {
        let request = format!("GET {AT}/tok-EN_1 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let reply = plainly(&gate, &request).await;
        reply
            .assert_status(200)
            .assert_header("content-type", "application/octet-stream")
            .assert_header("content-length", "19")
            .assert_header("x-content-type-options", "nosniff");
        assert_eq!(reply.text(), "tok-EN_1.thumbprint", "{host}");
    }
    let head = format!("HEAD {AT}/tok-EN_1 HTTP/1.1\r\nHost: gate.test\r\n\r\n");
    let reply = plainly(&gate, &head).await;
    reply
        .assert_status(200)
        .assert_header("content-length", "19");
    let old = plainly(&gate, &format!("GET {AT}/tok-EN_1 HTTP/1.0\r\n\r\n")).await;
    old.assert_status(200);

    // As it was: other paths, other methods, and what is not one request.
    let reply = get(&gate, "/x").await;
    reply
        .assert_status(308)
        .assert_header("location", "https://gate.test/x");
    get(&gate, AT).await.assert_status(308);
    for request in [
        format!("POST {AT}/tok-EN_1 HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 0\r\n\r\n"),
        format!("GET {AT}/tok-EN_1 HTTP/1.1\r\nHost: gate.test\r\nHost: evil.test\r\n\r\n"),
    ] {
        plainly(&gate, &request).await.assert_status(403);
    }
    // TLS leads to the app, as ever, and the app is not asked for challenges on plain HTTP.
    let reply = gate.browser().fetch(&format!("{AT}/tok-EN_1")).await;
    reply.assert_status(401);
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn nothing_but_the_files_of_tokens_is_served() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let folder = fs::canonicalize(gate.certificate()).unwrap();
    let folder = folder.parent().unwrap().join("acme");
    fs::write(folder.join("a.txt"), "dotted").unwrap();
    fs::write(folder.join("large"), vec![b'x'; 4097]).unwrap();
    fs::write(folder.join("fits"), vec![b'x'; 4096]).unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    fs::write(folder.join("folder/x"), "below").unwrap();
    symlink("../key.pem", folder.join("link")).unwrap();
    symlink("tok-EN_1", folder.join("near")).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(folder.join("pipe"))
        .status();
    assert!(pipe.unwrap().success());
    for name in [
        "none",
        "",
        ".",
        "..",
        "../key.pem",
        "../acme/tok-EN_1",
        "a.txt",
        "folder",
        "folder/",
        "folder/x",
        "link",
        "near",
        "pipe",
        "large",
        "tok-EN_1/",
        "tok-EN_1%00",
        "tok%2DEN_1",
        "%2e%2e/key.pem",
        "..%2fkey.pem",
        "..\\key.pem",
        "./tok-EN_1",
        "/tok-EN_1",
        "t\u{f6}k",
    ] {
        let reply = get(&gate, &format!("{AT}/{name}")).await;
        reply.assert_status(404);
        assert_eq!(reply.text(), "There is no such challenge here.\n", "{name}");
        assert_eq!(reply.value("location"), None, "{name}");
    }
    let long = get(&gate, &format!("{AT}/{}", "x".repeat(300))).await;
    long.assert_status(404);
    let fits = get(&gate, &format!("{AT}/fits?a=b")).await;
    fits.assert_status(200);
}

#[tokio::test]
async fn the_folder_may_come_and_go_and_change_with_the_configuration() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let asked = async |gate: &Gate| get(gate, &format!("{AT}/tok-EN_1")).await.status;
    let folder = gate.files().path("acme");
    let away = gate.files().path("away");
    fs::rename(&folder, &away).unwrap();
    assert_eq!(asked(&gate).await, 404);
    let keys = gate.reload(|text| text.replace("\"acme\"", "\"away\""));
    assert_eq!((keys.unwrap(), asked(&gate).await), (vec![], 200));
    let keys = gate.reload(|text| text.replace("acme_challenges = \"away\"\n", ""));
    assert_eq!((keys.unwrap(), asked(&gate).await), (vec![], 308), "off");
}

#[test]
fn wrong_settings_are_told() {
    let keys = |keys: &str| {
        let files = Vestibule::before_url("http://127.0.0.1:1")
            .app("name = \"wiki\"\nhost = \"gate.test\"")
            .server(keys)
            .user("ada", PASSWORD)
            .write();
        let (code, out, said) = run(&files, &["check"]);
        (
            code,
            (out + &said).replace(files.path("").to_str().unwrap(), ""),
        )
    };
    let (code, said) = keys("acme_challenges = \"acme\"");
    let expected = "config.toml:3:19: [server] acme_challenges: certificate authorities ask on plain \
                    HTTP, which is not served";
    assert!(code == Some(78) && said.contains(expected), "{said}");
    assert!(
        said.contains("write redirect_http = [\"[::]:80\"] as well"),
        "{said}"
    );
    let (code, said) = keys("acme_challenges = true");
    assert!(
        code == Some(78) && said.contains("config.toml:3:19: "),
        "{said}"
    );

    let (code, said) = keys("redirect_http = [\"127.0.0.1:0\"]\nacme_challenges = \"acme\"");
    let expected = "config.toml:4: warning: acme: there is no such folder: unless the ACME client \
                    makes it, each challenge gets 404\n      help: mkdir -p acme\n";
    assert!(code == Some(0) && said.contains(expected), "{said}");
    let (code, said) = keys("redirect_http = [\"127.0.0.1:0\"]\nacme_challenges = \"cert.pem\"");
    let expected = "warning: cert.pem: this is no folder: each challenge gets 404\n";
    assert!(code == Some(0) && said.contains(expected), "{said}");
}

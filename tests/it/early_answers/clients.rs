//! Real clients, and nginx in front.

use std::process::Command;

use super::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_99_curl_gets_the_answer_whatever_it_sends() {
    let Some(curl) = real::find("curl") else {
        return;
    };
    let (_app, gate) = gate().await;
    let files = Files::new();
    let at = format!("gate.test:{}", gate.address().port());
    for size in [6, 100_000, 8_000_000] {
        let body = files.write("body", &"x".repeat(size), 0o644);
        for (path, status) in EARLY {
            for version in ["--http1.1", "--http2"] {
                let mut command = Command::new(&curl);
                command
                    .args(["-sSk", version, "--max-time", "30", "-H", "Expect:"])
                    .args(["--resolve", &format!("{at}:127.0.0.1"), "--data-binary"])
                    .arg(format!("@{}", body.display()))
                    .args(["-o", "/dev/null", "-w", "%{http_code}"])
                    .arg(format!("https://{at}{path}"));
                let (code, said, complaint) = run_to_end(&mut command, "");
                let got = (code, said.as_str());
                let wanted = status.to_string();
                assert_eq!(
                    got,
                    (Some(0), &*wanted),
                    "{size} bytes to {path} with {version}: {complaint}"
                );
            }
        }
    }
}

/// Posts by `https` or by `http2`; says the status of each, or the error. In parts: Node itself
/// breaks a stream off that is given more than some MiB at a time (`maxSessionMemory`).
const NODE: &str = r#"
const [version, port, path, sizes] = process.argv.slice(1);
const base = {rejectUnauthorized: false, servername: "gate.test"};
const agent = new (require("https").Agent)({...base, keepAlive: true, maxSockets: 1});
const session = version === "2" &&
  require("http2").connect(`https://127.0.0.1:${port}`, base);
function* parts(size) {
  for (; size > 0; size -= 65536) yield Buffer.alloc(Math.min(size, 65536), 120);
}
const headers = size => ({"content-length": size});
const post = size => new Promise(done => {
  const failed = error => done(String(error));
  let request;
  if (session) {
    request = session.request({":method": "POST", ":path": path,
      ":authority": `gate.test:${port}`, ...headers(size)});
    let status;
    request.on("response", head => { status = head[":status"]; });
    request.on("end", () => done(status));
    request.resume();
  } else {
    request = require("https").request({host: "127.0.0.1", port, path, agent, method: "POST",
      headers: {host: `gate.test:${port}`, ...headers(size)}}, response => {
      response.resume();
      response.on("end", () => done(response.statusCode));
    });
  }
  request.on("error", failed);
  require("stream").Readable.from(parts(size)).pipe(request);
});
(async () => {
  const said = [];
  for (const size of sizes.split(",")) said.push(await post(Number(size)));
  console.log(said.join(" "));
  process.exit(0);
})();
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_99_node_gets_the_answer_whatever_it_sends() {
    let Some(node) = real::find("node") else {
        return;
    };
    let (_app, gate) = gate().await;
    let port = gate.address().port().to_string();
    for (path, status) in EARLY {
        for version in ["1", "2"] {
            let sizes = "6,20000,60000,6,200000,8000000,30000000,6,100000,6,65536,1000000,\
                         16384,6,500000,120000,6,4000000,60000,6";
            let mut command = Command::new(&node);
            command.args(["-e", NODE, version, &port, path, sizes]);
            let (code, said, complaint) = run_to_end(&mut command, "");
            let wanted = [status.to_string().as_str(); 20].join(" ");
            let got = (code, said.trim());
            assert_eq!(
                got,
                (Some(0), &*wanted),
                "{path}, HTTP/{version}: {complaint}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_99_chromium_gets_the_answer_whatever_it_sends() {
    for http2 in [false, true] {
        let chromium = if http2 {
            webdriver::Chromium::start().await
        } else {
            webdriver::Chromium::start_without_http2().await
        };
        let Some(chromium) = chromium else {
            return;
        };
        let app = Upstream::scripted(|exchange| {
            Box::pin(async {
                if exchange.target() == "/public/page" {
                    return echo(exchange).await;
                }
                exchange
                    .reply("413 Content Too Large", &[], "too large")
                    .await;
            })
        })
        .await;
        let gate = Vestibule::before(&app).rule("/public", "everyone");
        let gate = gate.start().await;
        let page = format!("https://gate.test:{}/public/page", gate.address().port());
        chromium.goto(&page).await;
        for (path, status) in EARLY {
            let sizes = [6, 60_000, 200_000, 6, 8_000_000, 30_000_000, 6];
            chromium
                .script(&format!(
                    "window.said = []; (async () => {{ for (const size of {sizes:?}) said.push(\
                     await fetch('{path}', {{method: 'POST', body: new Uint8Array(size)}})\
                     .then(response => response.status, String)); }})()"
                ))
                .await;
            chromium
                .wait_until(&format!("window.said.length == {}", sizes.len()))
                .await;
            let said = chromium.script("return window.said").await;
            assert_eq!(
                said,
                serde_json::json!(vec![status; sizes.len()]),
                "{path}, HTTP/2: {http2}"
            );
        }
    }
}

/// The status of one POST by way of a front without TLS.
async fn post(front: std::net::SocketAddr, target: &str, size: usize) -> u16 {
    let mut stream = TcpStream::connect(front).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\
         Content-Length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut raw = Raw::new(stream);
    raw.send(vec![b'x'; size]).await;
    raw.response().await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_99_the_requests_after_it_by_way_of_nginx_are_served() {
    let Some(nginx) = real::find("nginx") else {
        return;
    };
    let app = Upstream::scripted(|exchange| {
        Box::pin(async {
            if exchange.target() == "/public/next" {
                return echo(exchange).await;
            }
            exchange
                .reply("413 Content Too Large", &[], "too large")
                .await;
        })
    })
    .await;
    let gate = Vestibule::before(&app)
        .rule("/public", "everyone")
        .start()
        .await;
    let (folder, front) = (tempfile::tempdir().unwrap(), held_port());
    // As docs/behind-a-proxy.md has it, with the connections kept that nginx would open anew.
    let config = format!(
        "daemon off; master_process off; error_log stderr; pid {0}/nginx.pid;\nevents {{}}\n\
         http {{ access_log off; client_max_body_size 0; client_body_temp_path {0}/t;\n\
         proxy_temp_path {0}/t; fastcgi_temp_path {0}/t; uwsgi_temp_path {0}/t;\n\
         scgi_temp_path {0}/t;\nupstream gate {{ server {1}; keepalive 8; }}\n\
         server {{ listen {front}; location / {{ proxy_pass https://gate;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host gate.test; proxy_ssl_server_name on;\n\
         proxy_ssl_name gate.test; }} }} }}\n",
        folder.path().display(),
        gate.address(),
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(nginx);
    command.arg("-p").arg(folder.path()).arg("-c").arg(&file);
    let mut program = Program::spawn(command);
    program.wait_for_port(front).await;
    for (path, status) in EARLY {
        for (size, times) in [
            (6, 20),
            (20_000, 20),
            (60_000, 20),
            (120_000, 20),
            (30_000_000, 2),
        ] {
            for _ in 0..times {
                let got = post(front, path, size).await;
                assert_eq!(got, status, "{size} bytes to {path}");
                let next = post(front, "/public/next", 5).await;
                assert_eq!(next, 200, "after {size} bytes to {path}");
            }
        }
    }
}

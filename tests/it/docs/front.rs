//! What stands in front, as the page has it: five proxies by HTTP, and nginx by the PROXY protocol.

/// What `check --through` says of a mistake.
mod mistakes;

use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use super::desk::Desk;
use super::page::Page;
use crate::harness::tls::Certificate;
use crate::harness::*;

const HOST: &str = "wiki.example.org";

/// Not the address of the proxies, and of this machine still.
const VISITOR: &str = "127.0.0.2";

fn the_page() -> Page {
    Page::open("behind-a-proxy.md")
}

#[tokio::test]
async fn each_proxy_in_front_says_who_the_visitor_is() {
    let parts = ["nginx", "caddy", "traefik", "envoy", "haproxy", "curl"];
    if parts.iter().any(|part| real::find(part).is_none()) {
        return;
    }
    let mut page = the_page();
    let app = Upstream::websocket().await;
    let (mut desk, address) = desk(&mut page, &app);
    desk.run(&page.next("sh")).await;
    let served = desk.serve(address).await;
    let front = nginx(&mut desk, "listen 443", Some(&page.next("nginx")), "");
    desk.run(&page.next("sh")).await;
    let mut program = desk.start("exec nginx");
    program.wait_for_port(front).await;
    Box::pin(visitors_are_themselves(&app, front)).await;

    let behind_nginx = front;
    let front = caddy(&desk, &page.next("caddyfile"));
    desk.run(&page.next("sh")).await;
    let mut program = desk.start("exec caddy run --config /etc/caddy/Caddyfile");
    program.wait_for_port(front).await;
    Box::pin(visitors_are_themselves(&app, front)).await;
    let behind_caddy = front;

    let front = traefik(&mut desk, &page.next("yaml"), &page.next("yaml"));
    let mut program = desk.start("exec traefik --configfile=/etc/traefik/traefik.yml");
    program.wait_for_port(front).await;
    Box::pin(visitors_are_themselves(&app, front)).await;
    let behind_traefik = front;

    let front = envoy(&mut desk, address, &page.next("yaml"));
    desk.run(&page.next("sh")).await;
    // Otherwise there is one of them on a machine.
    let start = "exec envoy --use-dynamic-base-id --concurrency 1 -c /etc/envoy/envoy.yaml";
    let mut program = desk.start(start);
    program.wait_for_port(front).await;
    Box::pin(visitors_are_themselves(&app, front)).await;
    let behind_envoy = front;

    let front = haproxy(&mut desk, &page.next("haproxy"));
    desk.run(&page.next("sh")).await;
    let mut program = desk.start("exec haproxy -db -f /etc/haproxy/haproxy.cfg");
    program.wait_for_port(front).await;
    Box::pin(visitors_are_themselves(&app, front)).await;

    let check = page.next("sh");
    for front in [
        behind_nginx,
        behind_caddy,
        behind_traefik,
        behind_envoy,
        front,
    ] {
        let check = format!("{} --connect-to {front}", check.trim_end());
        let said = desk.run(&check).await;
        assert!(said.contains("forwards to `listen`"), "{said}");
        assert!(said.contains("clients choose nothing"), "{said}");
    }
    what_clients_can_choose_is_found(&desk, behind_nginx, &check).await;
    names_that_differ_are_refused(&desk, behind_nginx).await;
    drop(served);

    let (mut desk, address) = self::desk(&mut page, &app);
    desk.run("vestibule user add ada").await;
    let _served = desk.serve(address).await;
    let stream = page.next("nginx");
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if !std::path::Path::new(module).exists() {
        real::missing(module);
        page.next("sh");
        return;
    }
    let stream = format!("load_module {module};\n{stream}");
    let front = nginx(&mut desk, "listen 443", None, &stream);
    let mut program = desk.start("exec nginx");
    program.wait_for_port(front).await;
    Box::pin(visitors_are_themselves(&app, front)).await;
    let shown = desk.run(&page.next("sh")).await;
    assert!(shown.contains("name=\"password\""), "{shown}");
}

/// What the page says of a proxy that changes the host, or names another one in TLS.
async fn names_that_differ_are_refused(desk: &Desk, front: SocketAddr) {
    let path = desk.path("/etc/nginx/conf.d/wiki.conf");
    let right = std::fs::read_to_string(&path).unwrap();
    let host = right.replace("Host $http_host", "Host $proxy_host");
    let name = right.replace("ssl_name $host", "ssl_name other.example.org");
    let name = name.replace("ssl_verify on", "ssl_verify off");
    for wrong in [host, name] {
        assert_ne!(wrong, right);
        std::fs::write(&path, wrong).unwrap();
        desk.run("nginx -s reload").await;
        eventually_some("421", async || {
            let reply = Browser::new(front, HOST).get("/").await;
            let refused = reply.text().contains("There is no app at this address");
            (reply.status == 421 && refused).then_some(())
        })
        .await;
    }
}

/// What the page says of a proxy that believes its clients.
async fn what_clients_can_choose_is_found(desk: &Desk, front: SocketAddr, check: &str) {
    let path = desk.path("/etc/nginx/conf.d/wiki.conf");
    let right = std::fs::read_to_string(&path).unwrap();
    let check = format!("{} --connect-to {front}", check.trim_end());
    let wrong = [
        (
            "X-Forwarded-For $proxy_add_x_forwarded_for",
            "X-Forwarded-For $http_x_real_ip",
            "error: address of the client",
            "`X-Real-IP: 192.0.2.66`",
        ),
        (
            "proxy_pass https://127.0.0.1",
            "set $m $request_method; if ($http_x_http_method_override) { set $m DELETE; } \
             proxy_method $m; proxy_pass https://127.0.0.1",
            "error: method",
            "`X-HTTP-Method-Override: DELETE`",
        ),
        (
            "location / {",
            "location ~ ^/.*/c$ { return 200 open; }\n location / {",
            "error: requests that Vestibule never sees",
            "`/a/b/../c`",
        ),
        (
            "proxy_set_header Host $http_host;",
            "set $h $http_host; if ($http_x_forwarded_host) { set $h $http_x_forwarded_host; } \
             proxy_set_header Host $h;",
            "error: host",
            "`X-Forwarded-Host: spoofed.invalid`",
        ),
        (
            "X-Request-Id $request_id",
            "X-Request-Id $http_x_request_id",
            "error: request id",
            "proxy_set_header X-Request-Id $request_id;",
        ),
    ];
    for (documented, instead, finding, shown) in wrong {
        let documented = &desk.here(documented);
        assert!(right.contains(documented), "{right}");
        std::fs::write(&path, right.replace(documented, &desk.here(instead))).unwrap();
        desk.run("nginx -s reload").await;
        eventually_some(finding, async || {
            let (code, out, said) = desk.try_run(&check).await;
            let is_found = out.contains(finding) && out.contains(shown);
            assert!(code == Some(0) || code == Some(1), "{out}{said}");
            is_found.then_some(())
        })
        .await;
    }
    std::fs::write(&path, right).unwrap();
}

/// The page's next configuration before this app, and the address of the gate.
fn desk(page: &mut Page, app: &Upstream) -> (Desk, SocketAddr) {
    let mut desk = Desk::new(HOST);
    desk.place("http://127.0.0.1:3000", app.url());
    let address = desk.configure(page);
    desk.place("127.0.0.1:8443", address.to_string());
    desk.place(":8443", format!(":{}", address.port()));
    (desk, address)
}

/// A configuration of nginx with a site and something of the main level; its address is free.
pub(super) fn nginx(desk: &mut Desk, listen: &str, site: Option<&str>, main: &str) -> SocketAddr {
    let front = held_port();
    desk.place(listen, format!("listen {front}"));
    let certificate = Certificate::generate(&[HOST]);
    desk.write("/etc/nginx/wiki.pem", &certificate.cert_pem);
    desk.write_secret("/etc/nginx/wiki.key", &certificate.key_pem);
    desk.write("/etc/nginx/conf.d/wiki.conf", site.unwrap_or_default());
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|of| format!("{of}_temp_path tmp-{of};\n"));
    let text = format!(
        "{main}\nuser root;\ndaemon off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{}include /etc/nginx/conf.d/*.conf;\n}}\n",
        temporary.concat()
    );
    desk.write("/etc/nginx/nginx.conf", &text);
    desk.program("nginx", "-p . -c /etc/nginx/nginx.conf");
    front
}

/// The same of Caddy, with certificates of its own.
fn caddy(desk: &Desk, site: &str) -> SocketAddr {
    let (front, plain) = (held_port(), held_port());
    let options = format!(
        "{{\nadmin off\nlocal_certs\nskip_install_trust\ndefault_bind 127.0.0.1\n\
         http_port {}\nhttps_port {}\nauto_https disable_redirects\n}}\n",
        plain.port(),
        front.port()
    );
    desk.write("/etc/caddy/Caddyfile", &(options + site));
    front
}

/// The same of Traefik.
fn traefik(desk: &mut Desk, main: &str, site: &str) -> SocketAddr {
    let front = held_port();
    desk.place("\":443\"", format!("\"{front}\""));
    let certificate = Certificate::generate(&[HOST]);
    desk.write("/etc/traefik/wiki.pem", &certificate.cert_pem);
    desk.write_secret("/etc/traefik/wiki.key", &certificate.key_pem);
    desk.write("/etc/traefik/wiki.yml", site);
    desk.write("/etc/traefik/traefik.yml", main);
    front
}

/// The same of Envoy.
fn envoy(desk: &mut Desk, vestibule: SocketAddr, text: &str) -> SocketAddr {
    let front = held_port();
    let here = format!("address: {}, port_value: {}", front.ip(), front.port());
    desk.place("address: 0.0.0.0, port_value: 443", here);
    let port = format!("port_value: {} ", vestibule.port());
    desk.place("port_value: 8443 ", port);
    let certificate = Certificate::generate(&[HOST]);
    desk.write("/etc/envoy/wiki.pem", &certificate.cert_pem);
    desk.write_secret("/etc/envoy/wiki.key", &certificate.key_pem);
    desk.write("/etc/envoy/envoy.yaml", text);
    desk.program("envoy", "");
    front
}

/// The same of HAProxy.
fn haproxy(desk: &mut Desk, text: &str) -> SocketAddr {
    let front = held_port();
    desk.place("bind :443", format!("bind {front}"));
    let certificate = Certificate::generate(&[HOST]);
    let both = certificate.cert_pem + &certificate.key_pem;
    desk.write_secret("/etc/haproxy/wiki.pem", &both);
    desk.write("/etc/haproxy/haproxy.cfg", text);
    front
}

/// Somebody signs in there, is known by their own address, and uses a WebSocket.
async fn visitors_are_themselves(app: &Upstream, front: SocketAddr) {
    is_there(front).await;
    let ada = Browser::new(front, HOST).login("ada", PASSWORD).await;
    let cookies = ada.cookies();
    let stream = tls::connect(from_visitor(front).await, HOST, &["http/1.1"]).await;
    let mut raw = Raw::new(stream.unwrap());
    raw.send(format!(
        "GET /a HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookies}\r\nX-Forwarded-For: 203.0.113.9\r\n\
         X-Forwarded-User: root\r\nConnection: close\r\n\r\n"
    ))
    .await;
    raw.response().await.assert_status(200);
    let told = app.last();
    let client = told.value("x-forwarded-for").unwrap().split(',').next();
    assert_eq!(client, Some(VISITOR), "{}", told.head);
    assert_eq!(told.value("x-forwarded-user"), Some("ada"));
    assert_eq!(told.value("x-forwarded-host"), Some(HOST));

    let headers = [
        ("origin", "https://wiki.example.org"),
        ("cookie", &*cookies),
    ];
    let socket = open_websocket_of(HOST, from_visitor(front).await, "/ws", &headers).await;
    let mut socket = socket.expect("a WebSocket");
    assert_eq!(socket.ask("hello").await, "hello");
    ada.logout().await;
    assert_eq!(
        socket.closed().await,
        Some(1008),
        "it ends with the session"
    );
}
/// Our pages are there by this proxy.
async fn is_there(front: SocketAddr) {
    eventually_some("TLS there", async || {
        let stream = TcpStream::connect(front).await.ok()?;
        // Caddy makes its certificate first, and Traefik listens before it knows of anybody.
        let stream = tls::connect(stream, HOST, &["http/1.1"]).await.ok()?;
        let mut raw = Raw::new(stream);
        raw.send(format!(
            "GET /.vestibule/login HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        ))
        .await;
        let answer = raw.rest().await;
        answer.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
}

async fn from_visitor(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(format!("{VISITOR}:0").parse().unwrap())
        .unwrap();
    socket.connect(to).await.unwrap()
}

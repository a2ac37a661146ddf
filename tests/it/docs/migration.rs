//! People go from another login to ours, with the files that its own tools have made.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpStream;

use super::desk::{Desk, Served};
use super::front::nginx;
use super::page::Page;
use crate::harness::*;

const HOST: &str = "wiki.example.org";

/// A line of a password file, as `htpasswd` makes it.
fn htpasswd(options: &str, name: &str, password: &str) -> String {
    let mut command = std::process::Command::new("htpasswd");
    let (code, line, said) = run_to_end(command.args([options, name, password]), "");
    assert_eq!(code, Some(0), "{said}");
    line.trim_end().to_owned() + "\n"
}

/// A browser of somebody who is signed in, or `None`.
async fn signed_in(served: &Served, name: &str, password: &str) -> Option<Browser> {
    let browser = served.browser(HOST);
    let reply = browser.try_login(name, password).await;
    (reply.status == 303).then_some(browser)
}

#[tokio::test]
async fn people_of_auth_basic_keep_their_passwords_or_are_named() {
    let parts = ["nginx", "htpasswd"];
    if parts.iter().any(|part| real::find(part).is_none()) {
        return;
    }
    let (mut page, mut desk) = (Page::open("migration/nginx-auth-basic.md"), Desk::new(HOST));
    let app = Upstream::echo().await;
    desk.place("http://127.0.0.1:3000", app.url());
    let users = [
        htpasswd("-nbB", "ada", "the password of ada"),
        htpasswd("-nbm", "bob", "the password of bob"),
        htpasswd("-nb5", "cy", "the password of cy"),
    ];
    desk.write("/etc/nginx/htpasswd", &users.concat());
    let front = nginx(&mut desk, "listen 443", Some(&page.next("nginx")), "");
    let mut program = desk.start("exec nginx");
    program.wait_for_port(front).await;
    let by_password = |name: &str| {
        let pair = format!("{name}:the password of {name}");
        let value = format!("Basic {}", STANDARD.encode(pair));
        Browser::new(front, HOST).header("authorization", &value)
    };
    Browser::new(front, HOST).get("/").await.assert_status(401);
    for name in ["ada", "bob", "cy"] {
        by_password(name).get("/").await.assert_status(200);
        assert_eq!(app.last().value("x-forwarded-user"), Some(name));
    }

    let address = desk.configure(&mut page);
    let (code, out, said) = desk.try_run(&page.next("sh")).await;
    assert_eq!((code, out.as_str()), (Some(1), ""), "{said}");
    let refused = desk.here(&page.next("text"));
    assert!(said.contains(&refused), "{refused} in {said}");
    let listed = desk.run(&page.next("sh")).await;
    assert!(
        ["ada", "bob", "cy"]
            .iter()
            .all(|name| listed.contains(name))
    );
    desk.run(&page.next("sh")).await;
    let served = desk.serve(address).await;
    by_password("bob").get("/").await.assert_status(200); // nginx goes on

    for (name, password) in [
        ("ada", "the password of ada"),
        ("cy", "the password of cy"),
        ("bob", PASSWORD),
    ] {
        let browser = signed_in(&served, name, password).await;
        browser
            .unwrap_or_else(|| panic!("{name} is locked out"))
            .get("/")
            .await
            .assert_status(200);
        assert_eq!(app.last().value("x-forwarded-user"), Some(name));
        assert_eq!(app.last().value("x-forwarded-groups"), Some("staff"));
    }
    assert!(
        signed_in(&served, "bob", "the password of bob")
            .await
            .is_none()
    );
    let stranger = served.browser(HOST);
    stranger.get("/public/a").await.assert_status(200);
    stranger.get("/a").await.assert_status(303);
    let login = stranger.get("/.vestibule/login").await;
    login.assert_contains("Sign in to Wiki");
}

#[tokio::test]
async fn people_of_an_oauth2_proxy_sign_in_after_the_import() {
    if real::find("htpasswd").is_none() {
        return;
    }
    let (mut page, mut desk) = (Page::open("migration/oauth2-proxy.md"), Desk::new(HOST));
    let app = Upstream::echo().await;
    desk.place("http://127.0.0.1:3000", app.url());
    let users =
        ["ada", "bob"].map(|name| htpasswd("-nbB", name, &format!("the password of {name}")));
    desk.write("/etc/oauth2-proxy/htpasswd", &users.concat());
    let address = desk.configure(&mut page);
    assert_eq!(desk.run(&page.next("sh")).await, page.next("text"));
    desk.run(&page.next("sh")).await;
    let served = desk.serve(address).await;
    for name in ["ada", "bob"] {
        let browser = signed_in(&served, name, &format!("the password of {name}")).await;
        browser
            .expect("nobody is locked out")
            .get("/")
            .await
            .assert_status(200);
        assert_eq!(
            app.last().value("x-forwarded-preferred-username"),
            Some(name)
        );
    }
    let stranger = served.browser(HOST);
    stranger.get("/public/a").await.assert_status(200);
    stranger
        .post_form("/public/a", &[])
        .await
        .assert_status(401);
}

#[tokio::test]
async fn people_of_mod_auth_form_come_with_their_groups() {
    let parts = ["apache2", "htpasswd"];
    if parts.iter().any(|part| real::find(part).is_none()) {
        return;
    }
    let (mut page, mut desk) = (Page::open("migration/mod-auth-form.md"), Desk::new(HOST));
    let app = Upstream::echo().await;
    desk.place("http://127.0.0.1:3000", app.url());
    let users =
        ["ada", "bob"].map(|name| htpasswd("-nbB", name, &format!("the password of {name}")));
    desk.write("/etc/apache2/htpasswd", &users.concat());
    let before = apache(&desk, &page.next("apache"));
    desk.write("/etc/apache2/groups", &page.next("text"));
    let mut program = desk.start("exec apache2 -DFOREGROUND");
    program.wait_for_port(before).await;
    let cookie = sign_in_at_apache(before).await;
    let ask = format!("GET /admin HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    exchange(before, &ask).await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-user"), Some("ada"));

    let address = desk.configure(&mut page);
    assert_eq!(desk.run(&page.next("sh")).await, page.next("text"));
    desk.run(&page.next("sh")).await;
    let served = desk.serve(address).await;
    for (name, status) in [("ada", 200), ("bob", 403)] {
        let browser = signed_in(&served, name, &format!("the password of {name}")).await;
        let browser = browser.expect("nobody is locked out");
        browser.get("/").await.assert_status(200);
        browser.get("/admin").await.assert_status(status);
        assert_eq!(app.last().value("x-forwarded-user"), Some(name));
    }
}

/// A configuration of Apache with this in it; gives its address.
fn apache(desk: &Desk, block: &str) -> SocketAddr {
    let address = held_port();
    let modules = [
        "mpm_event",
        "authn_core",
        "authn_file",
        "authz_core",
        "authz_user",
        "authz_groupfile",
        "auth_form",
        "request",
        "session",
        "session_cookie",
        "headers",
        "proxy",
        "proxy_http",
    ];
    let load = |name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let folder = desk.path("");
    let text = format!(
        "{}ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile apache.pid\nErrorLog /dev/stderr\n\
         DocumentRoot {folder}/www\nServerName {HOST}\nListen {address}\nUser nobody\nGroup nogroup\n{block}",
        modules.map(load).concat(),
        folder = folder.display(),
    );
    desk.write("/etc/apache2/apache2.conf", &text);
    desk.write("www/login.html", "the login page");
    desk.let_everybody_in(); // Apache does not serve as root
    desk.program("apache2", "-f /etc/apache2/apache2.conf");
    address
}

/// The cookie of a session of Apache, which sends to its form before.
async fn sign_in_at_apache(address: SocketAddr) -> String {
    let get = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let refused = exchange(address, &get).await;
    refused.assert_status(302);
    assert!(
        refused.value("location").unwrap().ends_with("/login.html"),
        "{refused}"
    );
    let form = "httpd_username=ada&httpd_password=the+password+of+ada";
    let post = format!(
        "POST /dologin.html HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    let reply = exchange(address, &post).await;
    reply.assert_status(302);
    let cookie = reply.values("set-cookie")[0];
    cookie.split(';').next().unwrap().to_owned()
}

async fn exchange(address: SocketAddr, request: &str) -> Reply {
    let mut raw = Raw::new(TcpStream::connect(address).await.unwrap());
    raw.send(request).await;
    raw.response().await
}

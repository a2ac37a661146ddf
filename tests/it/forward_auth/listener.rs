use std::os::unix::fs::PermissionsExt;

use tokio::net::UnixStream;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn sec_95_only_named_networks_may_ask_and_loopback_is_none_by_itself() {
    let app = Upstream::echo().await;
    let mut gate = before(&app).start().await;
    let ada = cookies(&gate, "ada").await;
    let asked = auth_request("nginx", "GET", "/", &ada);
    let to = gate.auth_address();
    let mut open = connect(to).await;
    open.send(&asked).await;
    open.response().await.assert_status(200);
    let other =
        |text: &str| text.replace("auth_from = [\"127.0.0.1\"]", "auth_from = [\"192.0.2.1\"]");
    assert!(gate.reload(other).unwrap().is_empty());
    // On a connection from before, too.
    open.send(&asked).await;
    open.response().await.assert_status(403);
    let mut raw = connect(to).await;
    raw.send(&asked).await;
    assert_eq!(raw.rest().await, "", "closed without a word");
    let back = |text: &str| text.replace("192.0.2.1", "127.0.0.1");
    assert!(gate.reload(back).unwrap().is_empty());
    ask(to, &asked).await.assert_status(200);
    let moved = |text: &str| text.replace("auth_listen = [\"127.0.0.1:0\"]", "auth_listen = []");
    assert_eq!(gate.reload(moved).unwrap(), ["server.auth_listen"]);
    ask(to, &asked).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_cannot_ask() {
    let app = Upstream::echo().await;
    let gate = before(&app).public().start().await;
    let mut raw = gate.raw().await;
    let asked = auth_request("nginx", "GET", "/admin", "").replace("127.0.0.1:9091", HOST);
    raw.send(asked).await;
    raw.response().await.assert_status(200);
    let head = app.last().head;
    assert!(head.starts_with("GET /nginx "), "the app's: {head}");
    assert!(
        !head.to_ascii_lowercase().contains("x-original-uri"),
        "{head}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_95_a_socket_file_says_by_its_mode_who_may_ask() {
    let app = Upstream::echo().await;
    let mut gate = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("auth_listen = [\"unix:run/auth.sock\"]")
        .start()
        .await;
    let ada = cookies(&gate, "ada").await;
    let path = gate.files().path("run/auth.sock");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let ask = async || {
        let mut raw = Raw::new(UnixStream::connect(&path).await.unwrap());
        raw.send(auth_request("nginx", "GET", "/", &ada)).await;
        raw.response().await
    };
    let reply = ask().await;
    reply.assert_status(200);
    reply.assert_header("x-forwarded-user", "ada");
    let gate = gate.restart().await;
    ask().await.assert_status(200);
    gate.stop().await;
    assert!(!path.exists(), "gone with its server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_socket_file_is_replaced() {
    let app = Upstream::echo().await;
    let service = Vestibule::before(&app)
        .user("ada", PASSWORD)
        .server("auth_listen = [\"unix:run/auth.sock\"]")
        .spawn()
        .await;
    let path = service.files.path("run/auth.sock");
    assert!(path.exists());
    let service = service.crash().await;
    let mut raw = Raw::new(UnixStream::connect(&path).await.unwrap());
    raw.send(auth_request("nginx", "GET", "/", "")).await;
    raw.response().await.assert_status(401);
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_connections_that_idle_and_answers_what_was_asked() {
    let app = Upstream::echo().await;
    let gate = before(&app).start().await;
    let ada = cookies(&gate, "ada").await;
    let asked = auth_request("nginx", "GET", "/", &ada);
    let mut raw = connect(gate.auth_address()).await;
    for _ in 0..3 {
        raw.send(&asked).await;
        let reply = raw.response().await;
        reply.assert_status(200);
        assert_eq!(reply.value("connection"), None, "it stays open: {reply}");
    }
    gate.stop().await;
    assert_eq!(raw.rest().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_auth_request_has_a_line_and_counts_for_its_app() {
    let app = Upstream::echo().await;
    let auth = held_port();
    let service = Vestibule::before(&app)
        .app("name = \"wiki\"")
        .user("ada", PASSWORD)
        .server(&format!(
            "auth_listen = [\"{auth}\"]\nauth_from = [\"127.0.0.1\"]"
        ))
        .spawn()
        .await;
    let ada = service.browser().login("ada", PASSWORD).await.cookies();
    let cookie = format!("Cookie: {ada}\r\n");
    ask(
        auth,
        auth_request("traefik", "DELETE", "/page?secret", &cookie),
    )
    .await
    .assert_status(200);
    let wrong = auth_request("nginx", "GET", "/", "X-Real-IP: 127.0.0.1\r\n");
    ask(auth, wrong).await.assert_status(403);
    eventually("two lines", || {
        let asked = service
            .program
            .log()
            .into_iter()
            .filter(|line| line["target"] == "access");
        asked
            .filter(|line| line["client"] != "127.0.0.1" || line["reason"] == "forward_auth")
            .count()
            == 2
    })
    .await;
    let lines = service.program.log();
    let line = lines
        .iter()
        .find(|line| line["asked_by"] == "traefik")
        .unwrap();
    for (field, value) in [
        ("client", "203.0.113.7"),
        ("method", "DELETE"),
        ("path", "/page"),
        ("app", "wiki"),
        ("user", "ada"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    let line = lines
        .iter()
        .find(|line| line["reason"] == "forward_auth")
        .unwrap();
    assert_eq!(
        line["error"], "forward auth: the proxy sends X-Real-IP twice",
        "{line}"
    );
}

#[test]
fn nobody_may_ask_over_tcp_who_is_not_named() {
    for (keys, expected) in [
        (
            "auth_listen = [\"127.0.0.1:9091\"]",
            "config.toml:3:15: [server] auth_listen: nobody may ask at 127.0.0.1:9091",
        ),
        (
            "auth_listen = [\"unix:\"]",
            "config.toml:3:16: [server] auth_listen: the path of the socket is missing",
        ),
        (
            "auth_listen = [\"9091\"]",
            "config.toml:3:16: [server] auth_listen: `9091` is not an IP address with a port",
        ),
        (
            "auth_from = [\"localhost\"]",
            "config.toml:3:14: [server] auth_from: `localhost` is neither a network nor an address",
        ),
    ] {
        let files = Vestibule::before_url("http://127.0.0.1:1")
            .server(keys)
            .write();
        let (code, stdout, stderr) = run(&files, &["check"]);
        assert_eq!(code, Some(78), "{keys}: {stdout}{stderr}");
        assert!(
            format!("{stdout}{stderr}").contains(expected),
            "{keys}: {stdout}{stderr}"
        );
    }
}

//! What a token is good for.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_opens_what_its_scope_names() {
    let app = app().await;
    let other = Upstream::echo().await;
    let section = format!(
        "[[app]]\nname = \"other\"\nhost = \"other.test\"\nupstream = \"{}\"\ntokens = true\n",
        other.url()
    );
    let service = before(&app)
        .app("host = \"gate.test\"\nname = \"wiki\"\nallow_in_path = [\"encoded-slash\"]")
        .config(&section)
        .spawn()
        .await;
    let files = &service.files;
    let on_wiki = bearer(&made(files, "ada", &["--app", "wiki"]));
    let on_other = bearer(&made(files, "ada", &["--app", "other"]));
    let narrow = bearer(&made(
        files,
        "ada",
        &[
            "--path", "/api", "--path", "/dav/", "--method", "GET", "--method", "MOVE",
        ],
    ));
    let elsewhere = bearer(&made(files, "ada", &["--network", "192.0.2.0/24"]));
    let here = bearer(&made(
        files,
        "ada",
        &["--network", "127.0.0.0/8", "--network", "::1"],
    ));
    let browser = service.browser();
    for (token, method, target, status) in [
        (&on_wiki, "GET", "/", 200),
        (&on_wiki, "POST", "/x", 200),
        (&on_other, "GET", "/", 403),
        (&elsewhere, "GET", "/", 403),
        (&here, "GET", "/", 200),
        (&narrow, "GET", "/api", 200),
        (&narrow, "GET", "/api/x?y", 200),
        (&narrow, "GET", "/%61pi/x", 200),
        (&narrow, "GET", "//api//x", 200),
        (&narrow, "GET", "/apix", 403),
        (&narrow, "GET", "/", 403),
        (&narrow, "GET", "/API/x", 403),
        (&narrow, "GET", "/x/..%2fapi", 400),
        (&narrow, "GET", "/api%2f..%2fx", 400),
        (&narrow, "GET", "/x%2fapi", 403),
        (&narrow, "GET", "/api%2fx", 403),
        (&narrow, "GET", "/api/%2fx", 200),
        (&narrow, "POST", "/api", 403),
        (&narrow, "HEAD", "/api", 403),
    ] {
        let before = app.requests();
        let reply = ask(&browser, method, target, &[("authorization", token)]).await;
        assert_eq!(reply.status, status, "{method} {target}: {reply}");
        if status == 403 {
            let asked = reply.value("www-authenticate").unwrap();
            assert!(asked.ends_with("error=\"insufficient_scope\""), "{reply}");
            if method != "HEAD" {
                assert_eq!(reply.json()["error"], "insufficient_scope");
            }
        }
        assert_eq!(
            app.requests() - before,
            usize::from(status == 200),
            "{method} {target}"
        );
    }
    let mut raw = service.raw_for("other.test").await;
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: other.test\r\nAuthorization: {on_other}\r\n\r\n"
    ))
    .await;
    raw.response().await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_93_a_destination_is_within_the_scope_too() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let token = made(
        &service.files,
        "ada",
        &["--path", "/dav", "--method", "MOVE", "--method", "PUT"],
    );
    let bearer = bearer(&token);
    for (destination, status) in [
        ("https://gate.test/dav/b", 200),
        ("/dav/b", 200),
        ("https://gate.test/other/b", 403),
        ("/davx", 403),
    ] {
        let headers = [("authorization", &*bearer), ("destination", destination)];
        let reply = ask(&service.browser(), "MOVE", "/dav/a", &headers).await;
        assert_eq!(reply.status, status, "{destination}: {reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_no_more_than_its_user() {
    let app = app().await;
    let service = before(&app)
        .rule("/staff", "{ groups = [\"staff\"] }")
        .rule("/closed", "nobody")
        .spawn()
        .await;
    let ada = bearer(&made(&service.files, "ada", &[]));
    let bob = bearer(&made(&service.files, "bob", &[]));
    for (token, target, status) in [
        (&ada, "/staff", 200),
        (&bob, "/staff", 403),
        (&bob, "/", 200),
        (&ada, "/closed", 403),
    ] {
        get(&service.browser(), target, token)
            .await
            .assert_status(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_that_only_reads_opens_no_websocket() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let reads = bearer(&made(
        &service.files,
        "ada",
        &["--method", "GET", "--method", "HEAD"],
    ));
    let all = bearer(&made(&service.files, "ada", &[]));
    get(&service.browser(), "/", &reads)
        .await
        .assert_status(200);
    let before = app.requests();
    let open = async |token: &str| {
        let headers = [("authorization", token)];
        open_websocket(service.tcp().await, "/ws", &headers).await
    };
    assert_eq!(open(&reads).await.err(), Some(403));
    assert_eq!(app.requests(), before);
    let mut socket = open(&all).await.unwrap();
    assert_eq!(socket.ask("hello").await, "hello");
}

//! Programs with a token, by the commands of the page.

use super::desk::Desk;
use super::page::Page;
use crate::harness::*;

const HOST: &str = "files.example.org";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_and_used_as_the_page_says() {
    let mut page = Page::open("tokens.md");
    let (app, mut desk) = (Upstream::echo().await, Desk::new(HOST));
    desk.place("http://127.0.0.1:8080", app.url());
    let address = desk.configure(&mut page);
    desk.run("vestibule user add ada").await;
    let served = desk.serve(address).await;
    let made = page.next("sh");
    desk.run(&made).await;
    served.browser(HOST).get("/").await.assert_status(303);
    // The last command of the page has revoked them all.
    desk.run(made.lines().next().unwrap()).await;
    let listed = desk.run("vestibule token list").await;
    let key = &listed.lines().nth(1).unwrap()[..8];
    let explained = desk.run(&page.next("sh").replace("1a2b3c4d", key)).await;
    let said = format!("token    {key}, phone: opens every app\nverdict  allowed\n");
    assert!(explained.ends_with(&said), "{explained}");
    let use_it = page.next("sh");
    if real::find("curl").is_some() {
        let options =
            format!("--cacert /etc/vestibule/cert.pem --silent --connect-to {HOST}:443:{address}");
        desk.program("curl", &options);
        let before = app.requests();
        desk.run(&use_it).await;
        assert_eq!(app.requests(), before + 3);
        let token = std::fs::read_to_string(desk.path("token")).unwrap();
        for request in app.received() {
            assert_eq!(request.value("x-forwarded-user"), Some("ada"));
            assert!(!request.head.contains(token.trim_end()), "{}", request.head);
        }
        let netrc = page.next("text").replace("vst_…", token.trim_end());
        desk.write_secret(".netrc", &netrc);
        desk.run("curl --fail --netrc https://files.example.org/")
            .await;
        assert_eq!(app.requests(), before + 4);
    } else {
        real::missing("curl");
        page.skip("text", "there is no curl");
    }
    drop(served);
    let preflights = page.gate(&app.url()).user("ada", PASSWORD).start().await;
    let asks = |target| {
        let browser = preflights.browser();
        async move {
            let headers = [
                ("origin", "https://other.example.org"),
                ("sec-fetch-mode", "cors"),
            ];
            let reply = browser.request(
                hyper::Method::OPTIONS,
                target,
                &headers,
                bytes::Bytes::new(),
            );
            reply.await.status
        }
    };
    assert_eq!((asks("/api/x").await, asks("/x").await), (200, 401));
}

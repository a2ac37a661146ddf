//! First pages that lead on: SEC-94.

use super::{Checked, answer, app, files, only_finding};
use crate::harness::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_94_a_redirect_that_browsers_cannot_follow_is_told() {
    let own = "http://HOST/x";
    for (location, keys, said, help) in [
        (
            own,
            "preserve_host = false\nrewrite_redirects = false",
            "which browsers cannot follow",
            "leave rewrite_redirects = false out, or tell the application its address, https://gate.test/ (base or external URL)",
        ),
        (
            own,
            "rewrite_redirects = false",
            "redirects to http://gate.test/x, which browsers cannot follow",
            "leave rewrite_redirects = false out",
        ),
        (
            "https://wiki.internal/x",
            "",
            "redirects to https://wiki.internal/x, an address of the inside, which browsers may not reach",
            "tell the application its address, https://gate.test/",
        ),
        (
            "http://10.1.2.3:8080/",
            "",
            "an address of the inside",
            "tell the application its address",
        ),
        (
            "//wiki:8080/x",
            "preserve_host = false",
            "an address of the inside",
            "or leave out `preserve_host = false` and `upstream_host`",
        ),
        (
            "https://gate.test:8443/",
            "",
            "redirects to https://gate.test:8443/, another port than that of browsers (443)",
            "tell the application its address, https://gate.test/ (base or external URL); or set public_port = 8443",
        ),
        (
            "https://gate.test/",
            "",
            "redirects to https://gate.test/, the very address that was asked for: browsers go round in circles",
            "let the application believe the X-Forwarded-Proto and X-Forwarded-Host",
        ),
        (
            "/",
            "",
            "browsers go round in circles",
            "let the application believe",
        ),
        (
            "/login",
            "path = \"/wiki/\"",
            "redirects to https://gate.test/login, which is not below /wiki/: nobody gets there",
            "tell the application that it is below /wiki/ (base path), or write strip_path = true",
        ),
        (
            "/a%2Fb",
            "",
            "redirects to https://gate.test/a%2Fb, which is refused here: ",
            "name what that path has in `allow_in_path`",
        ),
    ] {
        let redirect = answer("302 Found", &format!("Location: {location}\r\n"));
        let up = app(&redirect, &redirect).await;
        let (message, told) = only_finding(&Checked::of(&files(&up.url(), keys)));
        assert!(message.contains(said), "{location}: {message}");
        assert!(told.contains(help), "{location}: {told}");
    }
    for (headers, keys) in [
        (&format!("Location: {own}\r\n")[..], ""),
        (&format!("Location: {own}\r\n"), "preserve_host = false"),
        ("Location: http://gate.test/x\r\n", ""),
        ("Location: /login?next=%2F\r\n", ""),
        ("Location: login\r\n", ""),
        ("Location: https://idp.example.org/authorize?x=y\r\n", ""),
        ("Location: https://gate.test/\r\nSet-Cookie: seen=1\r\n", ""),
        ("Location: /wiki/login\r\n", "path = \"/wiki/\""),
        (
            "Location: /login\r\n",
            "path = \"/wiki/\"\nstrip_path = true",
        ),
        (
            "Location: /a%2Fb\r\n",
            "allow_in_path = [\"encoded-slash\"]",
        ),
        ("", ""),
    ] {
        let redirect = answer("302 Found", headers);
        let up = app(&redirect, &redirect).await;
        let checked = Checked::of(&files(&up.url(), keys));
        assert!(
            checked.stdout.ends_with(": ok\n"),
            "{headers}{keys}: {}",
            checked.stdout
        );
    }
}

/// The application chooses it, and may have put a secret there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_72_a_redirect_is_shown_without_query_and_user_and_not_at_length() {
    let long = format!("https://wiki.internal/{}", "a".repeat(60_000));
    for (location, shown) in [
        (
            "https://ada:s3cr3t@wiki.internal/x?key=s3cr3t",
            "https://wiki.internal/x?…",
        ),
        (&long, &*format!("{}…", &long[..120])),
    ] {
        let redirect = answer("302 Found", &format!("Location: {location}\r\n"));
        let up = app(&redirect, &redirect).await;
        let (message, _) = only_finding(&Checked::of(&files(&up.url(), "")));
        let expected = format!("redirects to {shown}, an address of the inside");
        assert!(message.contains(&expected), "{message}");
    }
}

/// As docs/behind-a-proxy.md has it: nobody says the port of browsers, which is that of the proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_browsers_use_the_usual_port() {
    let redirect = answer("302 Found", "Location: https://gate.test/start\r\n");
    for server in [
        "trusted_proxies = [\"127.0.0.1\"]",
        "proxy_protocol_from = [\"127.0.0.1\"]",
        "",
    ] {
        let up = app(&redirect, &redirect).await;
        let files = Vestibule::before_url(&up.url())
            .app("name = \"wiki\"\nhost = \"gate.test\"")
            .server(server)
            .user("ada", PASSWORD)
            .write();
        Checked::of(&files).is_ok(&[]);
        assert_eq!(up.last().value("host"), Some("gate.test"), "{server}");
    }
}

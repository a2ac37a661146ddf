use std::path::PathBuf;

use super::*;

const OURS: &str = "gate.test:8443";

fn authority(text: &str) -> Authority {
    Authority::parse(&HeaderValue::from_str(text).unwrap()).unwrap()
}

fn rewriter(addresses: &[Address]) -> Rewriter {
    Rewriter {
        what: Rewriting {
            redirects: true,
            cookies: true,
        },
        inside: addresses.iter().flat_map(Inside::of).collect(),
    }
}

fn http(host: &str, port: u16) -> Address {
    let host = host.to_owned();
    Address::Http { host, port }
}

/// What becomes of a field of an application at two addresses.
fn rewritten_at(ours: &str, name: &'static str, value: &str) -> String {
    let rewriter = rewriter(&[http("wiki.internal", 80), http("127.0.0.1", 3000)]);
    let name = HeaderName::from_static(name);
    let mut headers = HeaderMap::new();
    headers.insert(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    rewriter.rewrite(&mut headers, &authority(ours));
    assert_eq!(headers.len(), 1);
    String::from_utf8(headers[name].as_bytes().to_vec()).unwrap()
}

fn rewritten(name: &'static str, value: &str) -> String {
    rewritten_at(OURS, name, value)
}

#[test]
fn sec_94_an_address_of_the_inside_becomes_ours() {
    for (inside, outside) in [
        ("http://gate.test/x?y=1#z", "/x?y=1#z"),
        ("http://gate.test", ""),
        ("HTTP://GATE.test/x", "/x"),
        ("http://gate.test.:80/x", "/x"),
        ("http://gate.test:8443/x", "/x"),
        ("http://gate.test:3000/x", "/x"),
        ("https://gate.test:3000/x", "/x"),
        ("//gate.test:3000/x", "/x"),
        ("http://127.0.0.1:3000/x", "/x"),
        ("https://127.0.0.1:3000?x", "?x"),
        ("http://localhost:3000#x", "#x"),
        ("http://[::1]:3000/x", "/x"),
        ("http://127.0.0.1/x", "/x"),
        ("https://localhost/x", "/x"),
        ("http://wiki.internal/x", "/x"),
        ("http://Wiki.Internal:80/", "/"),
        ("https://wiki.internal/x", "/x"),
        ("http://wiki.internal/\u{e4}", "/\u{e4}"),
        (
            "http://wiki.internal/?to=http://wiki.internal/",
            "/?to=http://wiki.internal/",
        ),
    ] {
        let expected = format!("https://gate.test:8443{outside}");
        for name in ["location", "content-location"] {
            assert_eq!(rewritten(name, inside), expected, "{name}: {inside}");
        }
    }
    let at_443 = rewritten_at("gate.test", "location", "http://gate.test:3000/x");
    assert_eq!(at_443, "https://gate.test/x");
}

#[test]
fn sec_94_whatever_else_a_redirect_names_stays_as_it_came() {
    for address in [
        "/x",
        "x",
        "",
        "?x",
        "https://gate.test:8443/x",
        "https://GATE.test:8443/x",
        "https://gate.test/x",
        "http://gate.test:9000/x",
        "http://gate.test.evil.test/",
        "http://evil.test/http://gate.test/",
        "http://evil.test#http://gate.test",
        "http://gate.test@evil.test/",
        "http://gate.test:80@evil.test/",
        "http://user@gate.test/",
        "http://gate.test\\@evil.test/",
        "http://gate.test:/",
        "http://gate.test:x/",
        "http://gate.test:99999/",
        "http://gate.test\t/",
        "http:/gate.test/",
        "http:gate.test/",
        "http:\\\\gate.test/",
        "ftp://gate.test/",
        "http://127.0.0.1:3001/x",
        "http://127.1:3000/",
        "http://wiki.internal:3000/",
        "http://x.wiki.internal/",
        "javascript:http://gate.test/",
    ] {
        for name in ["location", "content-location", "x-location"] {
            assert_eq!(rewritten(name, address), address, "{name}");
        }
    }
    let plain = rewritten_at("gate.test", "location", "https://gate.test/x");
    assert_eq!(plain, "https://gate.test/x");
}

#[test]
fn sec_94_refresh_and_link_are_read_as_browsers_do() {
    for (name, value, expected) in [
        ("refresh", "0; url=http://gate.test/x", "0; url=OURS/x"),
        ("refresh", "5;URL = 'http://gate.test'", "5;URL = 'OURS'"),
        ("refresh", "0,\"http://gate.test/x\"y", "0,\"OURS/x\"y"),
        ("refresh", "1.5 http://gate.test/", "1.5 OURS/"),
        ("refresh", "0; url=/x", "0; url=/x"),
        ("refresh", "5", "5"),
        (
            "refresh",
            "0; url=http://evil.test/",
            "0; url=http://evil.test/",
        ),
        ("refresh", "0; url", "0; url"),
        ("refresh", "", ""),
        (
            "link",
            "<http://gate.test/a>; rel=next, <http://evil.test/>, </c>,<http://127.0.0.1:3000>",
            "<OURS/a>; rel=next, <http://evil.test/>, </c>,<OURS>",
        ),
        (
            "link",
            "</a>; title=\"<http://gate.test/>\\\"<http://gate.test/>\", <http://gate.test/b>",
            "</a>; title=\"<http://gate.test/>\\\"<http://gate.test/>\", <OURS/b>",
        ),
        ("link", "<http://gate.test/a", "<http://gate.test/a"),
        ("link", "</a>; rel=\"next", "</a>; rel=\"next"),
    ] {
        let expected = expected.replace("OURS", "https://gate.test:8443");
        assert_eq!(rewritten(name, value), expected, "{name}");
    }
}

#[test]
fn sec_94_cookies_of_the_app_are_for_our_host_and_for_tls() {
    for (set, expected) in [
        ("a=1", "a=1; Secure"),
        ("a=1; secure", "a=1; secure"),
        ("a=1; Path=/; HttpOnly", "a=1; Path=/; HttpOnly; Secure"),
        (
            "a=\"x; y\"; SameSite=None",
            "a=\"x; y\"; SameSite=None; Secure",
        ),
        ("secure=domain", "secure=domain; Secure"),
        ("a=1; Domain=wiki.internal; Secure", "a=1; Secure"),
        ("a=1;domain=.INTERNAL;Path=/x", "a=1;Path=/x; Secure"),
        ("a=1; Domain=127.0.0.1", "a=1; Secure"),
        (
            "a=1; Domain=x; Domain=.wiki.internal; Secure",
            "a=1; Secure",
        ),
        (
            "a=1; Domain=wiki.internal; Domain=.gate.test; Secure",
            "a=1; Domain=wiki.internal; Domain=.gate.test; Secure",
        ),
        ("a=1; Domain=gate.test", "a=1; Domain=gate.test; Secure"),
        ("a=1; Domain=.test", "a=1; Domain=.test; Secure"),
        ("a=1; Domain=evil.test", "a=1; Domain=evil.test; Secure"),
        ("a=1; Domain=ternal", "a=1; Domain=ternal; Secure"),
        ("a=1; Domain=; Secure", "a=1; Domain=; Secure"),
        ("a=1; Domain; Secure", "a=1; Domain; Secure"),
    ] {
        assert_eq!(rewritten("set-cookie", set), expected, "{set}");
    }
}

#[test]
fn what_is_switched_off_stays_as_it_came() {
    for (redirects, cookies) in [(false, true), (true, false)] {
        let rewriter = Rewriter {
            what: Rewriting { redirects, cookies },
            inside: Inside::of(&Address::Unix(PathBuf::from("/run/app.sock"))),
        };
        let mut headers = HeaderMap::new();
        let here = HeaderValue::from_static("http://localhost/x");
        headers.insert(header::LOCATION, here.clone());
        headers.append(header::SET_COOKIE, HeaderValue::from_static("a=1"));
        headers.append(header::SET_COOKIE, HeaderValue::from_static("b=2"));
        rewriter.rewrite(&mut headers, &authority(OURS));
        assert_eq!(headers[header::LOCATION] == here, !redirects);
        let set = headers.get_all(header::SET_COOKIE).iter();
        let secure = set.filter(|set| set.as_bytes().ends_with(b"; Secure"));
        assert_eq!(secure.count(), if cookies { 2 } else { 0 });
    }
}

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
        prefix: None,
    }
}

fn http(host: &str, port: u16) -> Address {
    let host = host.to_owned();
    Address::Http { host, port }
}

/// What becomes of a field of an application at two addresses.
fn rewritten_at(ours: &str, name: &'static str, value: &str) -> String {
    rewritten_by(&at_two_addresses(), ours, name, value)
}

fn at_two_addresses() -> Rewriter {
    rewriter(&[http("wiki.internal", 80), http("127.0.0.1", 3000)])
}

fn rewritten_by(rewriter: &Rewriter, ours: &str, name: &'static str, value: &str) -> String {
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
        ("http://127.0.0.1:/x", "/x"),
        ("http://gate.test:", ""),
        ("http://wiki.internal/x", "/x"),
        ("http://Wiki.Internal:80/", "/"),
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
    let at_443 = rewritten_at("gate.test", "location", "https://gate.test:3000/x");
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
        "http://gate.test::/",
        "http://:/",
        "http://:80/",
        "http:///x",
        "https://gate.test:/x",
        "//gate.test/x",
        "https://localhost/idp/login",
        "https://localhost:443/idp/login",
        "https://127.0.0.1/",
        "//localhost/idp/login",
        "//127.0.0.1:/",
        "https://wiki.internal/x",
        "//wiki.internal/x",
        "http://localhost:443/",
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
            prefix: None,
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

/// What an application calls itself depends on what it speaks and on what it is told.
#[test]
fn sec_94_https_without_a_port_is_ours_only_of_an_app_that_may_call_itself_so() {
    let local = || http("localhost", 3000);
    let wiki = |port| http("wiki", port);
    let tls = |port| Address::Https {
        host: "wiki".to_owned(),
        port,
    };
    // Whether `Host` of the browser goes on, or which one does.
    let (browsers, own) = ((true, None), (false, None));
    let told = |host| (false, Some(host));
    for (host, address, said, is_ours) in [
        (browsers, local(), "https://localhost/x", false),
        (browsers, local(), "//localhost/x", false),
        (browsers, local(), "http://localhost/x", true),
        (browsers, local(), "https://localhost:3000/x", true),
        (browsers, wiki(80), "https://wiki/x", false),
        (browsers, tls(443), "https://wiki/x", true),
        (browsers, tls(443), "//wiki/x", true),
        (browsers, tls(443), "http://wiki/x", true),
        (browsers, tls(8443), "https://wiki/x", true),
        (browsers, tls(8443), "https://wiki:443/x", true),
        (browsers, tls(8443), "https://wiki:9443/x", false),
        (browsers, tls(8443), "https://other/x", false),
        (own, wiki(3000), "https://wiki/x", false),
        (own, wiki(3000), "https://wiki:3000/x", true),
        (own, wiki(80), "https://wiki/x", true),
        (own, wiki(80), "//wiki/x", true),
        (own, http("localhost", 80), "https://127.0.0.1/x", false),
        (told("wiki"), local(), "https://wiki/x", true),
        (told("wiki"), local(), "http://wiki/x", true),
        (told("wiki"), local(), "https://localhost/x", false),
        (told("wiki:81"), local(), "https://wiki/x", false),
        (told("wiki:81"), local(), "https://wiki:81/x", true),
        (told("wiki:81"), tls(3000), "https://wiki/x", true),
    ] {
        let (preserve_host, host) = host;
        let host = host.map(authority);
        let rewriter = Rewriter {
            inside: Inside::all(&[address], preserve_host, host.as_ref()),
            ..at_two_addresses()
        };
        let expected = if is_ours {
            "https://gate.test:8443/x"
        } else {
            said
        };
        let rewritten = rewritten_by(&rewriter, OURS, "location", said);
        assert_eq!(rewritten, expected, "{preserve_host} {host:?}");
    }
}

/// The same of an application below `/wiki`, which gets paths without it.
fn below_wiki(redirects: bool, cookies: bool) -> Rewriter {
    Rewriter {
        what: Rewriting { redirects, cookies },
        prefix: Some("/wiki".into()),
        ..at_two_addresses()
    }
}

#[test]
fn sec_94_a_path_of_ours_gets_the_folder_back_once() {
    for (inside, outside) in [
        ("/", "/wiki/"),
        ("/x?y=/z#/w", "/wiki/x?y=/z#/w"),
        ("/wikis", "/wiki/wikis"),
        ("/Wiki/x", "/wiki/Wiki/x"),
        ("/x/wiki/y", "/wiki/x/wiki/y"),
        ("/a//b", "/wiki/a//b"),
        ("/.vestibulex", "/wiki/.vestibulex"),
        ("/\u{e4}", "/wiki/\u{e4}"),
        ("http://gate.test", "OURS/wiki/"),
        ("http://127.0.0.1:3000?x=/wiki", "OURS/wiki/?x=/wiki"),
        ("http://wiki.internal#/wiki/", "OURS/wiki/#/wiki/"),
        ("http://wiki.internal/x", "OURS/wiki/x"),
        ("http://wiki.internal/wiki/x", "OURS/wiki/x"),
        ("OURS", "OURS/wiki/"),
        ("OURS/x", "OURS/wiki/x"),
        ("OURS//x", "OURS/wiki//x"),
        ("HTTPS://Gate.test:8443/x", "HTTPS://Gate.test:8443/wiki/x"),
        ("//gate.test:8443/x", "//gate.test:8443/wiki/x"),
    ] {
        let ours = |text: &str| text.replace("OURS", "https://gate.test:8443");
        let (inside, outside) = (ours(inside), ours(outside));
        for name in ["location", "content-location"] {
            let rewriter = below_wiki(true, true);
            for value in [&inside, &outside] {
                let rewritten = rewritten_by(&rewriter, OURS, name, value);
                assert_eq!(rewritten, outside, "{name}: {value}");
            }
        }
    }
}

#[test]
fn sec_94_no_other_origin_gets_the_folder() {
    for address in [
        "",
        "x",
        "./x",
        "../x",
        "?x",
        "#x",
        "/wiki",
        "/wiki/",
        "/wiki?x",
        "/wiki#x",
        "/.vestibule/logout",
        "/.vestibule/logout?return_to=/x",
        "https://gate.test:8443/.vestibule/account",
        "//evil.test/x",
        "///evil.test/x",
        "/\\evil.test/x",
        "/\t/evil.test/x",
        "/\t\\evil.test/x",
        "\\x",
        "https://gate.test/x",
        "https://gate.test:8444/x",
        "https://evil.test/",
        "https://gate.test:8443@evil.test/x",
        "https://gate.test:8443\\@evil.test/x",
        "https:/x",
        "mailto:x@gate.test",
        "javascript:/x",
    ] {
        let rewriter = below_wiki(true, true);
        for (name, value) in [
            ("location", address.to_owned()),
            ("content-location", address.to_owned()),
            ("link", format!("<{address}>; rel=\"</x>\"")),
            ("refresh", format!("0; url='{address}'")),
        ] {
            assert_eq!(rewritten_by(&rewriter, OURS, name, &value), value, "{name}");
        }
    }
    let away = rewritten_by(
        &below_wiki(false, true),
        OURS,
        "location",
        "http://gate.test/x",
    );
    assert_eq!(away, "http://gate.test/x", "where redirects stay");
    let ours = rewritten_by(&below_wiki(false, true), OURS, "location", "/x");
    assert_eq!(ours, "/wiki/x");
}

#[test]
fn sec_94_each_target_of_link_and_that_of_refresh_get_the_folder() {
    for (name, value, expected) in [
        (
            "link",
            "</a>; rel=preload, <b>;title=\"</c>\", <//cdn.test/d>,<http://gate.test/e>;x",
            "</wiki/a>; rel=preload, <b>;title=\"</c>\", <//cdn.test/d>,<OURS/wiki/e>;x",
        ),
        ("link", "</wiki/a>, </a>", "</wiki/a>, </wiki/a>"),
        ("refresh", "0; url=/a;b", "0; url=/wiki/a;b"),
        ("refresh", "3;/a", "3;/wiki/a"),
        ("refresh", "0; URL='/a' /b", "0; URL='/wiki/a' /b"),
        ("refresh", "5", "5"),
    ] {
        let expected = expected.replace("OURS", "https://gate.test:8443");
        let rewritten = rewritten_by(&below_wiki(true, true), OURS, name, value);
        assert_eq!(rewritten, expected);
    }
}

#[test]
fn sec_94_a_cookie_is_for_the_folder_and_what_is_below() {
    for (set, expected) in [
        ("a=1", "a=1"),
        ("a=1; Path=/", "a=1; Path=/wiki/"),
        ("a=1;path = / ; HttpOnly", "a=1;path = /wiki/; HttpOnly"),
        ("a=1; Path=/x/", "a=1; Path=/wiki/x/"),
        ("a=1; Path=/wiki", "a=1; Path=/wiki"),
        ("a=1; Path=/wiki/", "a=1; Path=/wiki/"),
        ("a=1; Path=/wiki/x", "a=1; Path=/wiki/x"),
        ("a=1; Path=/wikis", "a=1; Path=/wiki/wikis"),
        ("a=1; Path=//x", "a=1; Path=/wiki//x"),
        ("a=1; Path=/a; PATH=/b", "a=1; Path=/wiki/a; PATH=/wiki/b"),
        // Browsers take the folder of what they asked for.
        ("a=1; Path=", "a=1; Path="),
        ("a=1; Path", "a=1; Path"),
        ("a=1; Path=x", "a=1; Path=x"),
        ("a=1; Path=\"/\"", "a=1; Path=\"/\""),
        ("path=/", "path=/"),
        ("a=Path=/; Version=1", "a=Path=/; Version=1"),
        ("__Host-a=1; Path=/; Secure", "__Host-a=1; Path=/; Secure"),
        (" __host-a=1; Path=/; Secure", " __host-a=1; Path=/; Secure"),
        (
            "__Secure-a=1; Path=/; Secure",
            "__Secure-a=1; Path=/wiki/; Secure",
        ),
    ] {
        let stays = rewritten_by(&below_wiki(true, false), OURS, "set-cookie", set);
        assert_eq!(stays, expected, "{set}");
        let set = format!("{set}; Domain=wiki.internal");
        let changed = rewritten_by(&below_wiki(true, true), OURS, "set-cookie", &set);
        let secure = if expected.ends_with("Secure") {
            ""
        } else {
            "; Secure"
        };
        assert_eq!(changed, format!("{expected}{secure}"), "{set}");
    }
}

use http::Request;

use super::*;

type Fields<'a> = &'a [(&'static str, &'a str)];

fn head(method: &str, target: &str, fields: Fields<'_>) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request = request.header(*name, value);
    }
    request.body(()).unwrap().into_parts().0
}

/// Method, target, host, and client.
fn read(method: &str, target: &str, fields: Fields<'_>) -> Result<[String; 4], BadAuthRequest> {
    let mut head = head(method, target, fields);
    let auth_request = AuthRequest::read(&mut head, None)?;
    let Parts {
        method,
        uri,
        headers,
        ..
    } = head;
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    assert_eq!(headers[header::HOST], auth_request.host.as_str());
    Ok([
        method.to_string(),
        uri.to_string(),
        text(&headers[header::HOST]),
        text(&auth_request.client),
    ])
}

const OF_NGINX: [(&str, &str); 6] = [
    ("host", "127.0.0.1:9091"),
    ("x-original-method", "PUT"),
    ("x-original-uri", "/a%2e?b=/c"),
    ("x-original-host", "wiki.test:443"),
    ("x-original-proto", "https"),
    ("x-real-ip", "192.0.2.7"),
];

const OF_TRAEFIK: [(&str, &str); 6] = [
    ("host", "127.0.0.1:9091"),
    ("x-forwarded-method", "PUT"),
    ("x-forwarded-uri", "/a%2e?b=/c"),
    ("x-forwarded-host", "wiki.test"),
    ("x-forwarded-proto", "wss"),
    ("x-forwarded-for", "192.0.2.7"),
];

const OF_ENVOY: [(&str, &str); 3] = [
    ("host", "wiki.test"),
    ("x-original-proto", "https"),
    ("x-real-ip", "192.0.2.7"),
];

const ASKED: [&str; 4] = ["PUT", "/a%2e?b=/c", "wiki.test", "192.0.2.7"];

/// What a client may send of its own, for each proxy.
const FORGED: [(&str, &str); 14] = [
    ("x-original-method", "GET"),
    ("x-original-uri", "/public"),
    ("x-original-url", "/public"),
    ("x-original-host", "public.test"),
    ("x-original-proto", "http"),
    ("x-real-ip", "127.0.0.1"),
    ("x-forwarded-method", "GET"),
    ("x-forwarded-uri", "/public"),
    ("x-forwarded-host", "public.test"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-prefix", "/public"),
    ("x-rewrite-url", "/public"),
    ("forwarded", "for=127.0.0.1;host=public.test;proto=http"),
];

fn kinds() -> [(&'static str, &'static str, Fields<'static>); 5] {
    [
        ("GET", "/nginx", &OF_NGINX),
        ("GET", "/haproxy", &OF_NGINX),
        ("GET", "/traefik", &OF_TRAEFIK),
        ("GET", "/caddy", &OF_TRAEFIK),
        ("PUT", "/envoy/a%2e?b=/c", &OF_ENVOY),
    ]
}

#[test]
fn sec_95_each_proxy_says_what_was_asked_for_in_its_own_names() {
    for (method, target, fields) in kinds() {
        let asked = read(method, target, fields).unwrap();
        assert_eq!(asked, ASKED, "{target}");
        let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        for (name, value) in FORGED {
            for spelt in [
                name.to_owned(),
                name.replace('-', "_"),
                name.replace('-', "."),
            ] {
                if names.contains(&&*spelt) {
                    continue;
                }
                let name: &'static str = Box::leak(spelt.into_boxed_str());
                let forged = [&[(name, value)], fields, &[(name, value)]].concat();
                let asked = read(method, target, &forged);
                assert_eq!(asked.unwrap(), ASKED, "{target} with {name}");
            }
        }
    }
}

#[test]
fn sec_95_a_name_that_is_missing_or_comes_twice_or_says_nothing_is_refused() {
    for (method, target, fields) in kinds() {
        for (at, (name, value)) in fields.iter().enumerate() {
            if *name == "host" && !target.starts_with("/envoy") {
                continue;
            }
            let without: Vec<_> = [&fields[..at], &fields[at + 1..]].concat();
            let missing = read(method, target, &without);
            assert!(
                matches!(missing, Err(BadAuthRequest::Missing(_))),
                "{target}, {name}: {missing:?}"
            );
            for twice in [value, &"127.0.0.1"] {
                let doubled = [fields, &[(*name, *twice)]].concat();
                let doubled = read(method, target, &doubled);
                assert!(
                    matches!(doubled, Err(BadAuthRequest::Doubled(_))),
                    "{target}, {name}: {doubled:?}"
                );
            }
            let mut empty = fields.to_vec();
            empty[at].1 = "";
            let says_client = name.ends_with("-for") || name.ends_with("-ip");
            let empty = read(method, target, &empty);
            assert_eq!(empty.is_ok(), says_client, "{target}, {name}: {empty:?}");
        }
    }
}

#[test]
fn sec_95_what_is_no_target_of_a_request_is_refused() {
    for (target, expected) in [
        ("/", true),
        ("//a//", true),
        ("/..%2f%00\\", true),
        ("/\u{e4}", true),
        ("*", true),
        ("/a#b", false),
        ("a", false),
        ("", false),
        ("http://wiki.test/a", false),
        ("wiki.test:443", false),
        ("/a b", false),
        ("/a,/b", true),
        ("?a", false),
    ] {
        let mut fields = OF_NGINX;
        fields[2].1 = target;
        let asked = read("GET", "/nginx", &fields);
        assert_eq!(asked.is_ok(), expected, "{target}: {asked:?}");
    }
    for (target, expected) in [
        ("/envoy/", Some("/")),
        ("/envoy//a/../b", Some("//a/../b")),
        ("/envoy/envoy/a", Some("/envoy/a")),
        ("/envoy*", Some("*")),
        ("/envoy", None),
        ("/envoy?a", None),
        ("/envoyage", None),
        ("/x/envoy/a", None),
        ("//envoy/a", None),
    ] {
        let asked = read("PUT", target, &OF_ENVOY).ok();
        assert_eq!(asked.map(|asked| asked[1].clone()).as_deref(), expected);
    }
    for target in [
        "/", "/nginx/", "/nginx/a", "/nginxx", "/NGINX", "/%6eginx", "*",
    ] {
        let asked = read("OPTIONS", target, &OF_NGINX);
        assert_eq!(asked, Err(BadAuthRequest::UnknownProxy), "{target}");
    }
    let with_query = read("GET", "/nginx?x=/../y", &OF_NGINX).unwrap();
    assert_eq!(
        with_query, ASKED,
        "the query of the auth request is nobody's"
    );
}

#[test]
fn sec_95_a_request_without_tls_is_refused() {
    for (proto, expected) in [
        ("https", true),
        ("HTTPS", true),
        ("wss", true),
        ("http", false),
        ("ws", false),
        ("https, http", false),
        ("", false),
    ] {
        let mut fields = OF_NGINX;
        fields[4].1 = proto;
        let asked = read("GET", "/nginx", &fields);
        assert_eq!(asked.is_ok(), expected, "{proto}");
    }
}

#[test]
fn the_host_has_the_port_that_browsers_use() {
    for (sent, public_port, expected) in [
        ("wiki.test", None, Some("wiki.test")),
        ("wiki.test:443", None, Some("wiki.test")),
        ("wiki.test:8443", None, Some("wiki.test:8443")),
        ("wiki.test:8443", Some(443), Some("wiki.test")),
        ("wiki.test", Some(8443), Some("wiki.test:8443")),
        ("[::1]:443", Some(8443), Some("[::1]:8443")),
        ("wiki.test, public.test", None, None),
        ("user@wiki.test", None, None),
        ("wiki.test/", None, None),
    ] {
        let sent = HeaderValue::from_static(sent);
        let shown = as_in_browsers(&sent, None, public_port);
        let shown = shown.ok().map(|host| host.as_str().to_owned());
        assert_eq!(shown.as_deref(), expected, "{sent:?}");
    }
    let sent = HeaderValue::from_static("wiki.test");
    for (of_auth_request, expected) in [
        ("Wiki.test:8443", "wiki.test:8443"),
        ("wiki.test:443", "wiki.test"),
        ("wiki.test", "wiki.test"),
        ("other.test:8443", "wiki.test"),
        ("127.0.0.1:9091", "wiki.test"),
        ("x, y", "wiki.test"),
    ] {
        let of_auth_request = HeaderValue::from_static(of_auth_request);
        let shown = as_in_browsers(&sent, Some(&of_auth_request), None).unwrap();
        assert_eq!(shown.as_str(), expected, "{of_auth_request:?}");
    }
}

use super::*;

fn head(target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn sec_09_a_request_names_exactly_one_valid_host() {
    for host in [
        "a",
        "a.example",
        "A.Example:8443",
        "a.example.",
        "[::1]",
        "[::1]:8443",
        "127.0.0.1",
        "a_b",
    ] {
        assert!(
            parse(&head("/", &[("host", host)]), &Limits::default()).is_ok(),
            "{host}"
        );
    }
    for host in [
        "", " ", "u@a", "a/b", "a,b", "a b", "a:", "a:x", "a:99999", "a:+1", "::1", "[::1", "[a]",
        "a..b", ".a", "a?b", "[::1]x", "a#b", "a%41", "a:80:80",
    ] {
        let refused = parse(&head("/", &[("host", host)]), &Limits::default());
        assert_eq!(refused, Err(BadRequest::Host), "{host:?}");
    }
    assert_eq!(
        parse(&head("/", &[]), &Limits::default()),
        Err(BadRequest::Host)
    );
    let two = head("/", &[("host", "a"), ("host", "a")]);
    assert_eq!(parse(&two, &Limits::default()), Err(BadRequest::Host));
}

#[test]
fn sec_09_an_absolute_target_names_the_same_host() {
    let limits = Limits::default();
    assert!(parse(&head("https://a/x", &[("host", "A")]), &limits).is_ok());
    let other = parse(&head("https://b/x", &[("host", "a")]), &limits);
    assert_eq!(other, Err(BadRequest::HostMismatch));
    let port = parse(&head("https://a:1/x", &[("host", "a")]), &limits);
    assert_eq!(port, Err(BadRequest::HostMismatch));
    assert_eq!(
        parse(&head("https://u@a/x", &[("host", "a")]), &limits),
        Err(BadRequest::Host)
    );
    assert_eq!(
        parse(&head("https://a/x", &[]), &limits),
        Err(BadRequest::Host)
    );
}

#[test]
fn sec_10_methods_are_tokens_from_a_list() {
    for method in [Method::CONNECT, Method::TRACE] {
        let mut head = head("/", &[("host", "a")]);
        head.method = method;
        assert_eq!(parse(&head, &Limits::default()), Err(BadRequest::Method));
    }
    let limits = Limits::default();
    for (name, expected) in [
        ("PROPFIND", true),
        ("VERSION-CONTROL", true),
        ("get", false),
        ("X", false),
        ("PRI", false),
        ("*", false),
        ("CONNECT", false),
        ("TRACE", false),
    ] {
        let listed = limits.methods.iter().any(|method| method == name);
        assert_eq!(listed, expected, "{name}");
    }
    let star = |method: Method| {
        let mut head = head("/", &[]);
        head.method = method;
        head.uri = "*".parse().unwrap();
        Target::parse(&head, AllowInPath::default()).is_ok()
    };
    assert!(star(Method::OPTIONS));
    assert!(!star(Method::GET));
}

#[test]
fn sec_13_target_cookies_and_fields_are_bounded() {
    let limits = Limits::default();
    let long = format!("/{}", "a".repeat(limits.target));
    assert_eq!(
        parse(&head(&long, &[("host", "a")]), &limits),
        Err(BadRequest::TargetTooLong)
    );
    let half = "c".repeat(limits.cookie / 2 + 1);
    let cookies = head("/", &[("host", "a"), ("cookie", &half), ("cookie", &half)]);
    let refused = check_cookies(&cookies.headers, &limits);
    assert_eq!(refused, Err(BadRequest::CookieTooLarge));
    let many: Vec<_> = (0..=limits.fields).map(|_| ("a", "b")).collect();
    assert_eq!(
        parse(&head("/", &many), &limits),
        Err(BadRequest::TooManyFields)
    );
}

#[test]
fn sec_16_an_unknown_expectation_is_refused() {
    let limits = Limits::default();
    assert!(
        parse(
            &head("/", &[("host", "a"), ("expect", "100-Continue")]),
            &limits
        )
        .is_ok()
    );
    let other = head("/", &[("host", "a"), ("expect", "200-ok")]);
    assert_eq!(parse(&other, &limits), Err(BadRequest::Expectation));
}

#[test]
fn the_query_is_passed_on_byte_for_byte() {
    let head = head("/%61//b?x=%2F..%00&y=//", &[]);
    let target = Target::parse(&head, AllowInPath::default()).unwrap();
    assert_eq!(target.into_uri(), "/a/b?x=%2F..%00&y=//");
}

#[test]
fn sec_29_raw_bytes_are_sent_on_escaped_where_the_app_allows_any() {
    let any = AllowInPath::default().with(PathForm::AnyBytes);
    for (version, sent, expected) in [
        (
            Version::HTTP_11,
            "/gr\u{f6}?q=\u{c3}\u{b6}",
            "/gr%F6?q=%C3%B6",
        ),
        (Version::HTTP_2, "/gr\u{f6}?q=\u{c3}", "/gr%C3%B6?q=%C3%83"),
        (Version::HTTP_2, "/\u{65e5}", "/%E6%97%A5"),
    ] {
        let mut head = head(sent, &[]);
        head.version = version;
        let target = Target::parse(&head, any).unwrap();
        assert_eq!(target.as_str(), expected);
        assert!(Target::parse(&head, AllowInPath::default()).is_err());
    }
    let head = head("/?q=\u{f6}", &[]);
    let refused = Target::parse(&head, AllowInPath::default());
    assert_eq!(refused, Err(BadRequest::Query));
}

#[test]
fn sec_74_an_origin_is_compared_whole() {
    let ours = |host: &str| Authority::parse(&HeaderValue::from_str(host).unwrap()).unwrap();
    for (host, origin, same) in [
        ("a.example", "https://a.example", true),
        ("a.example", "https://A.example:443", true),
        ("a.example:443", "https://a.example", true),
        ("a.example:8443", "https://a.example:8443", true),
        ("a.example:8443", "https://a.example", false),
        ("a.example", "https://a.example:8443", false),
        ("a.example", "http://a.example", false),
        ("a.example", "https://a.example.evil", false),
        ("a.example", "https://evil.a.example", false),
        ("a.example", "https://a.example:0443", false),
        ("a.example", "https://a.example/", false),
        ("a.example", "null", false),
        ("a.example", "", false),
    ] {
        assert_eq!(
            ours(host).is_origin(origin.as_bytes()),
            same,
            "{host} {origin}"
        );
    }
}

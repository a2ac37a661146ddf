use super::*;

const NOTHING: [PathForm; 0] = [];

fn normal(path: &str, allow: &[PathForm]) -> Result<String, PathError> {
    let allow = allow.iter().copied().collect();
    normal_path(path, allow).map(Cow::into_owned)
}

#[test]
fn paths_come_to_one_normal_form() {
    for (path, expected) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("/%61dmin", "/admin"),
        ("/%41%7e", "/A~"),
        ("/a%20b", "/a%20b"),
        ("/a%c3%a9", "/a%C3%A9"),
        ("//a///b//", "/a/b/"),
        ("//", "/"),
        ("/a;x=1/b", "/a;x=1/b"),
        ("/a%3Bb", "/a%3Bb"),
        ("/100%25", "/100%25"),
        ("/100%25zz", "/100%25zz"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a.b..c", "/a.b..c"),
        ("/@scope/p:1,2!$&'()*+=", "/@scope/p:1,2!$&'()*+="),
        ("/My%2520Invoice.txt", "/My%2520Invoice.txt"),
        ("/100%25%20off", "/100%25%20off"),
        ("/100%25ac", "/100%25ac"),
        ("/_%2525_", "/_%2525_"),
        ("/a%255Bb%255d", "/a%255Bb%255d"),
        ("/%2561dmin", "/%2561dmin"),
    ] {
        assert_eq!(normal(path, &NOTHING).as_deref(), Ok(expected), "{path}");
        let again = normal_path(expected, AllowInPath::default());
        assert!(
            matches!(again, Ok(Cow::Borrowed(_))),
            "{expected} is in normal form"
        );
    }
}

#[test]
fn sec_29_a_path_with_two_readings_is_refused() {
    use PathError::{Backslash, Bytes, Control, Escape, NotAbsolute, Percent, Readings, Slash};
    for (path, expected) in [
        ("/a%2fb", Slash),
        ("/a%2Fb", Slash),
        ("/a%5cb", Backslash),
        ("/a\\b", Backslash),
        ("/a%00", Control),
        ("/a%0d%0a", Control),
        ("/a%09", Bytes),
        ("/a%7f", Bytes),
        ("/%252e%252e/admin", Percent),
        ("/a%252eb", Percent),
        ("/a%252fb", Percent),
        ("/a%255cb", Percent),
        ("/a%2500", Percent),
        ("/a%250a", Percent),
        ("/a%25252fb", Percent),
        ("/a%25c0%25af", Percent),
        ("/a%25%32%65", Percent),
        ("/a%2525252520", Readings),
        ("/a%2", Escape),
        ("/a%", Escape),
        ("/a%zz", Escape),
        ("/a%+1", Escape),
        ("/%c0%af", Bytes),
        ("/%c0%ae%c0%ae", Bytes),
        ("/%ff", Bytes),
        ("/%ed%a0%80", Bytes),
        ("/é", Bytes),
        ("/a b", Control),
        ("a", NotAbsolute),
        ("", NotAbsolute),
    ] {
        assert_eq!(normal(path, &NOTHING), Err(expected), "{path}");
    }
}

#[test]
fn sec_30_dot_segments_are_refused_in_every_spelling() {
    for path in [
        "/..",
        "/.",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/%2e%2e/a",
        "/.%2e/a",
        "/%2E./a",
        "/%2e/a",
        "/a/..;/b",
        "/a/..;x=1/b",
        "/a/%2e%2e;/b",
        "/a/.;/b",
        "/a/..%3Bx/b",
        "/a/..%20/b",
        "/a/.%20./b",
        "/a/%20../b",
        "/a/..%20;x/b",
        "/a/...%20",
    ] {
        assert_eq!(normal(path, &NOTHING), Err(PathError::DotSegment), "{path}");
        assert_eq!(
            normal(path, &PathForm::ALL),
            Err(PathError::DotSegment),
            "{path}"
        );
    }
    for path in [
        "/a%2f..",
        "/..%2fa",
        "/a%2f%2e%2e%2fb",
        "/a/%2e%2f",
        "/a%5c..%5cb",
        "/a\\..",
        "/a/%252e%252e/b",
        "/a/.%25252e/b",
        "/a/..%252fb",
        "/a/..%255cb",
        "/a/..%2500.png",
        "/a/.%2509./b",
        "/a/%c0%ae%c0%ae/b",
        "/a/.%e0%80%ae/b",
        "/a/.%ff./b",
        "/a/.%09./b",
        "/a/..%7f/b",
        "/a/%25c0%25ae./b",
    ] {
        assert_eq!(
            normal(path, &PathForm::ALL),
            Err(PathError::DotSegment),
            "{path}"
        );
    }
}

#[test]
fn sec_95_what_is_escaped_without_need_has_one_more_reading() {
    let double: AllowInPath = [PathForm::DoubleSlash].into_iter().collect();
    let nothing = AllowInPath::default();
    for (path, allow, expected) in [
        ("/", nothing, Ok(None)),
        ("/a%20b%C3%A9", nothing, Ok(None)),
        ("/100%25", nothing, Ok(None)),
        ("/%61dmin", nothing, Ok(Some("/%2561dmin"))),
        ("/a%20%7Eada/%2d", nothing, Ok(Some("/a%20%257Eada/%252d"))),
        ("/a//b", nothing, Err(PathError::DoubleSlash)),
        ("//", nothing, Err(PathError::DoubleSlash)),
        ("/a//b", double, Ok(None)),
        ("/%61//b", double, Ok(Some("/%2561//b"))),
    ] {
        let literal = as_it_stands(path, allow);
        let expected = expected.map(|literal| literal.map(str::to_owned));
        assert_eq!(literal, expected, "{path}");
    }
}

#[test]
fn sec_29_an_app_may_allow_one_form_and_nothing_more() {
    use PathForm::{AnyBytes, DoubleSlash, EncodedBackslash, EncodedPercent, EncodedSlash};
    let forms = [
        (EncodedSlash, &["/api/%2F/q", "/a%2Fb"][..]),
        (EncodedPercent, &["/a%252F", "/a%2500", "/a%25252eb"]),
        (EncodedBackslash, &["/a%5Cb", "/%95%5C"]),
        (AnyBytes, &["/caf%E9", "/%93%FA%96%7B", "/a%09", "/%C0%AF"]),
        (DoubleSlash, &["/a//b", "//top", "/a//", "//"]),
    ];
    for (form, paths) in forms {
        for path in paths {
            let all = normal(path, &PathForm::ALL);
            assert_eq!(all.as_deref(), Ok(*path), "as it came");
            let others: Vec<_> = PathForm::ALL.into_iter().filter(|f| *f != form).collect();
            assert_ne!(normal(path, &others).as_deref(), Ok(*path), "{form:?}");
        }
    }
    for path in ["/a%00", "/a%0A", "/a%0D", "/%c0%80", "/a%", "/a%zz", "/a b"] {
        assert!(normal(path, &PathForm::ALL).is_err(), "{path}");
    }
    assert_eq!(
        normal("/a\\b", &[EncodedBackslash]).as_deref(),
        Ok("/a%5Cb")
    );
}

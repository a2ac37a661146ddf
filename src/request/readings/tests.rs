use super::*;

#[test]
fn sec_93_a_path_is_read_in_every_way_that_an_app_may_have() {
    for (path, expected) in [
        ("/admin%2Fx", &["/admin/x"][..]),
        ("/%2Fadmin/x", &["//admin/x", "/admin/x"]),
        ("*", &["/"]),
        ("/admin%2F", &["/admin/"]),
        ("/admin;a%2Fx", &["/admin;a/x", "/admin", "/admin/x"]),
        ("/admin%3B%2Fx", &["/admin;/x", "/admin", "/admin/x"]),
        ("/x;/%2Fadmin", &["/x//admin", "/x/admin"]),
        ("/;x/admin", &["//admin", "/admin"]),
        ("/admin;x/y;z", &["/admin/y"]),
        ("/admin%3Bx", &["/admin;x", "/admin"]),
        ("/admin.", &["/admin"]),
        ("/admin%20", &["/admin"]),
        ("/admin.%20./x", &["/admin/x"]),
        ("/admin.;x", &["/admin.", "/admin"]),
        ("/admin.%2Fx", &["/admin./x", "/admin/x"]),
        ("/%20/admin", &["//admin", "/admin"]),
        ("/.../admin", &["//admin", "/admin"]),
        ("/.vestibule%2Flogin", &["/.vestibule/login"]),
        ("/.vestibule%3Bx", &["/.vestibule;x", "/.vestibule"]),
        ("/.vestibule./login", &["/.vestibule/login"]),
        ("/.vestibule%20/login", &["/.vestibule/login"]),
        ("/%2561dmin", &["/admin"]),
        ("/admin%252Fx", &["/admin%2Fx", "/admin/x"]),
        ("/admin%25252Fx", &["/admin/x"]),
        ("/admin%253Bx/y", &["/admin/y"]),
        ("/admin%2500.png", &["/admin%00.png", "/admin"]),
        ("/ad%250Amin", &["/admin"]),
        ("/admin%2520", &["/admin"]),
        ("/admin%5Cx", &["/admin/x"]),
        ("/admin%255Cx", &["/admin/x"]),
        ("//admin/x", &["/admin/x", "/x"]),
        ("//x/admin", &["/x/admin", "/admin"]),
        ("/%2Fx/admin", &["/admin"]),
        ("//x//admin", &["/admin"]),
        ("/x//admin", &["/x/admin"]),
        ("///x/admin", &["/x/admin", "/admin"]),
        ("/%2F/x/admin", &["/admin"]),
        ("/%5C%5Cx/admin", &["/admin"]),
        ("/;/;/x/admin", &["/admin"]),
        ("/%09//%09/x/admin", &["/admin"]),
        ("/admin%3Fx=1", &["/admin"]),
        ("/admin%23x/y", &["/admin"]),
        ("/admin%253Fx", &["/admin"]),
        ("/%C0%AFadmin", &["/%2Fadmin", "/admin"]),
        ("/ad%FFmin", &["/admin"]),
        ("/ad%09min", &["/admin"]),
        ("/w%E9", &["/w%C3%A9", "/w"]),
        ("/%95%5C/x", &["/%95//x"]),
    ] {
        let readings = Readings::of(path, PathCase::Sensitive).unwrap();
        assert_eq!(readings.path(), path);
        for reading in expected {
            let others = readings.others();
            assert!(
                others.iter().any(|other| other == reading),
                "{reading} of {path}: {others:?}"
            );
        }
        assert!(readings.others().len() < 40, "{readings:?}");
    }
}

#[test]
fn a_common_path_has_one_reading_and_takes_no_memory() {
    for path in [
        "/",
        "/admin/x",
        "/.vestibule/login",
        "/static/app.min.js",
        "/.well-known/x.y/z",
        "/caf%C3%A9/[1]/100%25/100%25zz",
        "/*",
    ] {
        let readings = Readings::of(path, PathCase::Sensitive).unwrap();
        assert!(matches!(readings.path, Cow::Borrowed(same) if same == path));
        assert!(readings.others().is_empty(), "{readings:?}");
        assert_eq!(readings.others.capacity(), 0);
    }
    let readings = Readings::of("/admin/x.js", PathCase::Insensitive).unwrap();
    assert!(matches!(readings.path, Cow::Borrowed(_)));
}

#[test]
fn sec_31_escapes_that_separate_nothing_are_what_they_stand_for() {
    for (path, expected) in [
        ("/%40scope/c%2B%2B", "/@scope/c++"),
        ("/%5B1%5D", "/[1]"),
        ("/a%2Fb%3Bc%5Cd%25e%3Ff%23", "/a%2Fb%3Bc%5Cd%25e%3Ff%23"),
        ("/%20%C3%A9%FF%09", "/%20%C3%A9%FF%09"),
        ("/100%2540", "/100%2540"),
    ] {
        assert_eq!(compared(path), expected);
    }
}

#[test]
fn sec_93_what_is_left_of_a_path_has_readings_of_its_own() {
    let readings = Readings::of_app("/wiki//x/admin", Some("/wiki"), PathCase::Sensitive);
    let readings = readings.unwrap();
    for reading in ["/wiki/x/admin", "/wiki/admin"] {
        assert!(
            readings.others().iter().any(|other| other == reading),
            "{readings:?}"
        );
    }
    for path in ["/wiki", "/wiki/x"] {
        let readings = Readings::of_app(path, Some("/wiki"), PathCase::Sensitive);
        assert!(readings.unwrap().others().is_empty());
    }
}

#[test]
fn sec_93_a_path_with_more_readings_than_anybody_means_is_refused() {
    let many = "/a.%20;x%2Fb.%3By%5Cc%252F%253Bz.%255C//%25250Ad%E9%C0%AF";
    let refused = Readings::of(many, PathCase::Sensitive);
    assert_eq!(refused.err(), Some(PathError::Readings));
    let long = format!("/{}%20;%2F", "a".repeat(30_000));
    let refused = Readings::of(&long, PathCase::Sensitive);
    assert_eq!(refused.err(), Some(PathError::Readings));
    let readings = Readings::of("/a%5C..%5Cb", PathCase::Sensitive);
    assert_eq!(readings.err(), Some(PathError::DotSegment));
}

#[test]
fn sec_93_without_regard_to_case_two_spellings_are_one() {
    for (one, other, same) in [
        ("/Admin", "/admin", true),
        ("/ADMIN/X", "/admin/x", true),
        ("/t%C3%A9", "/T%C3%89", true),
        ("/%E2%84%AAeys", "/keys", true),  // the sign for kelvin
        ("/%C5%BFecret", "/secret", true), // a long s
        ("/a%2FB", "/A%2Fb", true),
        ("/a%2Fb", "/a/b", false),
        ("/a%25b", "/a%2525b", false),
        ("/t%C3%A9", "/cafe", false),
        ("/admin", "/admin2", false),
    ] {
        assert_eq!(fold_case(one) == fold_case(other), same, "{one} {other}");
    }
    let readings = Readings::of("/.VESTIBULE%2FLogin", PathCase::Insensitive).unwrap();
    assert_eq!(readings.path(), "/.vestibule%2flogin");
    assert!(readings.others().contains(&"/.vestibule/login".to_owned()));
}

//! `vestibule token`.

use serde_json::Value;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_listed_and_revoked_for_people_and_for_programs() {
    let app = app().await;
    let service = before(&app).app("name = \"wiki\"").spawn().await;
    let files = &service.files;
    assert_eq!(done(files, &["token", "list", "--json"]), "[]\n");
    let (code, stdout, said) = run(files, &["token", "list"]);
    assert_eq!((code, &*stdout), (Some(0), ""));
    assert!(said.contains("there are no tokens"), "{said}");

    let (code, token, said) = run(files, &["token", "add", "ADA", "--name", "phone"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        token.starts_with("vst_") && token.lines().count() == 1,
        "{token}"
    );
    assert!(said.contains("of Ada, good until"), "{said}");
    let limits = [
        "--app",
        "wiki",
        "--path",
        "/api",
        "--method",
        "GET",
        "--network",
        "10.0.0.0/8",
        "--for",
        "12h",
        "--json",
    ];
    let json = done(files, &[&["token", "add", "bob"], &limits[..]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["token"].as_str().unwrap().len(), 53);
    for (field, expected) in [
        ("apps", "wiki"),
        ("paths", "/api"),
        ("methods", "GET"),
        ("networks", "10.0.0.0/8"),
    ] {
        assert_eq!(json[field], serde_json::json!([expected]), "{json}");
    }

    let text = done(files, &["token", "list", "--json"]);
    assert!(!text.contains("vst_"), "{text}");
    let Value::Array(tokens) = serde_json::from_str(&text).unwrap() else {
        panic!("no array: {text}");
    };
    assert_eq!(text.lines().count(), tokens.len() + 2);
    let users: Vec<_> = tokens.iter().map(|token| &token["user"]).collect();
    assert_eq!(users, ["Ada", "bob"]);
    assert_eq!(tokens[0]["name"], "phone");
    assert_eq!(tokens[0]["last_used"], Value::Null);
    assert_eq!(tokens[1]["key"], json["key"]);
    let table = done(files, &["token", "list", "--user", "bob"]);
    let short = &json["key"].as_str().unwrap()[..8];
    for part in [
        short,
        "command line",
        "wiki below /api by GET from 10.0.0.0/8",
        "never",
    ] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert!(!table.contains("phone"), "{table}");
    let status = done(files, &["status"]);
    assert!(status.contains("tokens"), "{status}");

    assert_eq!(
        done(files, &["token", "revoke", short]),
        "revoked 1 token of bob\n"
    );
    assert_eq!(
        done(files, &["token", "revoke", "--user", "bob"]),
        "bob has no tokens: none revoked\n"
    );
    for (message, field, expected) in [
        ("API token made", "user", "Ada"),
        ("API token revoked", "token", short),
    ] {
        let line = eventually_some(message, async || {
            let mut log = service.program.log().into_iter();
            log.find(|line| line["message"] == message)
        });
        assert_eq!(line.await[field], expected);
    }
    let everything = service.program.stdout() + &service.program.stderr();
    assert!(!everything.contains("vst_"), "{everything}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_with_the_cause() {
    let app = app().await;
    let other = format!(
        "[[app]]\nname = \"other\"\nhost = \"other.test\"\nupstream = \"{}\"\n",
        app.url()
    );
    let service = before(&app)
        .app("host = \"gate.test\"\nname = \"wiki\"")
        .config(&other)
        .spawn()
        .await;
    for (args, code, cause) in [
        (&["add", "eve"][..], 1, "no user `eve`"),
        (&["add", "ada", "--app", "wikki"], 1, "did you mean `wiki`?"),
        (&["add", "ada", "--app", "other"], 1, "takes no tokens"),
        (&["add", "ada", "--for", "367d"], 1, "1 minute to 366 days"),
        (&["add", "ada", "--for", "0s"], 1, "1 minute to 366 days"),
        (&["add", "ada", "--for", "90"], 2, "needs a unit"),
        (&["add", "ada", "--path", "api"], 1, "is no path"),
        (&["add", "ada", "--path", "//api"], 1, "write \"/api\""),
        (&["add", "ada", "--method", "get"], 1, "is no method"),
        (&["add", "ada", "--network", "home"], 1, "is no network"),
        (&["add", "ada", "--name", ""], 1, "1 to 64 characters"),
        (&["revoke", "xyz"], 2, "no key of a token"),
        (&["revoke", "00000000"], 1, "the key of no token begins"),
        (&["revoke"], 2, "required"),
        (
            &["revoke", "00000000", "--user", "ada"],
            2,
            "cannot be used",
        ),
    ] {
        let (got, stdout, said) = run(&service.files, &[&["token"], args].concat());
        assert_eq!((got, &*stdout), (Some(code), ""), "{args:?}: {said}");
        assert!(said.contains(cause), "{args:?}: {said}");
    }
    let files = before(&app).write();
    for args in [&["list"][..], &["add", "ada"], &["revoke", "00000000"]] {
        let (code, _, said) = run(&files, &[&["token"], args].concat());
        assert_eq!(code, Some(3), "{said}");
    }
}

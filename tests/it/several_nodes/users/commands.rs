//! What commands and the account page do to a user.

use super::*;

/// Until it is another one's turn: the page says no more than that nobody is signed in.
async fn is_signed_out(browser: &Browser) {
    let asked = async || (browser.fetch("/").await.status == 401).then_some(());
    some_within(SOON, "the end of the session", asked).await;
}

async fn change_password(browser: &Browser, old: &str, new: &str) -> Reply {
    let csrf = browser.get(ACCOUNT).await.hidden("csrf");
    let fields = [
        ("csrf", &*csrf),
        ("action", "password"),
        ("old", old),
        ("new", new),
        ("again", new),
    ];
    browser.post_form(ACCOUNT, &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_sec_51_what_a_command_does_to_a_user_holds_on_all_nodes() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [mut first, mut second] = two_nodes(&app, &redis).await;
    let file = std::fs::read_to_string(first.files().path("users.toml")).unwrap();
    let add = [
        "user",
        "add",
        "Zoe",
        "--group",
        "admins",
        "--email",
        "zoe@example.org",
        "--password-stdin",
    ];
    let said = done(&mut first, &add, NEW);
    assert_eq!(said, "added Zoe to the session store\n");
    // Without a wait: a login asks whether there is anything new.
    let zoe = second.browser().login("zoe", NEW).await;
    zoe.get("/").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-user"), Some("Zoe"));
    assert_eq!(
        app.last().value("x-forwarded-email"),
        Some("zoe@example.org")
    );
    let listed = done(&mut second, &["user", "list", "--json"], "");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["name"])
        .collect();
    assert_eq!(names, ["ada", "bob", "Zoe"]);
    assert_eq!(listed[2]["groups"], serde_json::json!(["admins"]));
    assert!(!listed.to_string().contains("$argon2"), "{listed}");
    let shown = done(&mut first, &["user", "list"], "");
    assert!(shown.starts_with("NAME  STATE    PASSWORD"), "{shown}");
    let status = done(&mut first, &["status"], "");
    assert!(
        status.contains("users        3, in the session store\n"),
        "{status}"
    );

    // She comes to the other node, and is ended there by a command on this one.
    let here = led_to(&first, &zoe);
    let socket = websocket(&first, &here).await;
    let disabled = done(&mut second, &["user", "disable", "ZOE"], "");
    assert_eq!(disabled, "ZOE is disabled\n");
    let closed = timeout(SOON, socket.closed()).await;
    assert_eq!(closed.expect("the stream is cut"), Some(1008));
    is_signed_out(&here).await;
    for node in [&first, &second] {
        let refused = node.browser().try_login("zoe", NEW).await;
        refused.assert_status(401);
    }
    assert_eq!(
        done(&mut first, &["user", "disable", "zoe"], ""),
        "zoe is already disabled\n"
    );
    done(&mut first, &["user", "enable", "zoe"], "");
    let zoe = second.browser().login("zoe", NEW).await;
    let passwd = ["user", "passwd", "zoe", "--password-stdin"];
    done(&mut first, &passwd, "another long password");
    is_signed_out(&zoe).await;
    let refused = second.browser().try_login("zoe", NEW).await;
    refused.assert_status(401);
    let zoe = second.browser().login("zoe", "another long password").await;
    done(&mut first, &["user", "remove", "zoe"], "");
    is_signed_out(&zoe).await;
    for args in [
        &["user", "remove", "zoe"][..],
        &["user", "disable", "nobody"],
        &["user", "passwd", "zoe", "--password-stdin"],
        &["user", "add", "ADA", "--password-stdin"],
    ] {
        fails(&mut second, args);
    }
    assert!(fails(&mut second, &["user", "remove", "adda"]).contains("did you mean \"ada\"?"));
    assert_eq!(
        std::fs::read_to_string(first.files().path("users.toml")).unwrap(),
        file,
        "the file is nobody's any more"
    );
    // Without a server there is nobody to ask.
    let files = with_users(&app, &redis, "30s").write();
    let (code, _, error) = run(&files, &["user", "list"]);
    assert_eq!(code, Some(3), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rel_18_sec_51_a_password_of_the_account_page_holds_on_all_nodes() {
    let Some(redis) = Redis::start() else { return };
    let app = app().await;
    let [first, second] = two_nodes(&app, &redis).await;
    let (mut old, mut new) = (PASSWORD, NEW);
    // Again and again: the other node is asked before it has heard of the change.
    for _ in 0..4 {
        let ada = first.browser().login("ada", old).await;
        let other = second.browser().login("ada", old).await;
        let socket = websocket(&second, &other).await;
        let reply = change_password(&ada, old, new).await;
        reply.assert_redirects_to(ACCOUNT);
        led_to(&second, &ada).get("/").await.assert_status(200);
        let refused = second.browser().try_login("ada", old).await;
        refused.assert_status(401);
        let closed = timeout(SOON, socket.closed()).await;
        assert_eq!(closed.expect("the stream is cut"), Some(1008));
        is_signed_out(&other).await;
        for node in [&first, &second] {
            led_to(node, &ada).get("/").await.assert_status(200);
        }
        (old, new) = (new, old);
    }
}

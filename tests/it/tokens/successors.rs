//! A name may go to somebody else, or a user may be kept out for a moment. What programs and browsers had
//! by then is over, however quickly that goes.

use rustix::process::Signal;

use super::*;

const OTHER: &str = "quiet otters hum at noon";

/// What somebody does to bob, at once and without waiting for the server to notice.
type Change = fn(&Files);

fn remove_and_add(files: &Files) {
    done(files, &["user", "remove", "bob"]);
    add(files);
}

fn disable_and_enable(files: &Files) {
    done(files, &["user", "disable", "bob"]);
    done(files, &["user", "enable", "bob"]);
}

/// Somebody else of that name.
fn add(files: &Files) {
    let args = ["user", "add", "bob", "--password-stdin"];
    let (code, said, error) = run_with_input(files, &args, &format!("{OTHER}\n"));
    assert_eq!(code, Some(0), "{said}{error}");
}

/// The whole file in one write, as a tool does that keeps it elsewhere. Of bob, only the id is another one.
fn replace_in_one_write(files: &Files) {
    let text = std::fs::read_to_string(files.path("users.toml")).unwrap();
    let (before, bob) = text.split_once("[user.bob]").expect("bob");
    let id = bob.lines().find(|line| line.starts_with("id = "));
    let bob = bob.replace(id.expect("an id"), "id = \"e-43\"");
    files.write("users.toml", &format!("{before}[user.bob]{bob}"), 0o600);
}

async fn is_over(service: &Service, token: &str, case: &str) {
    eventually_some(case, async || {
        let reply = get(&service.browser(), "/", token).await;
        (reply.status == 401).then_some(())
    })
    .await;
    // And stays so, though somebody of that name may sign in.
    for _ in 0..20 {
        get(&service.browser(), "/", token).await.assert_status(401);
    }
    eventually(&format!("{case}: the token is out of the list"), || {
        done(
            &service.files,
            &["token", "list", "--user", "bob", "--json"],
        ) == "[]\n"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_a_token_does_not_pass_to_the_next_user_of_that_name() {
    let app = app().await;
    let service = before(&app).spawn().await;
    let files = &service.files;
    let ada = bearer(&made(files, "ada", &[]));
    let changes: [(&str, Change); 5] = [
        ("of a file by hand, removed and added", remove_and_add),
        ("of a command, removed and added", remove_and_add),
        ("disabled and enabled", disable_and_enable),
        ("replaced in one write", replace_in_one_write),
        ("disabled and enabled again", disable_and_enable),
    ];
    for (case, change) in changes {
        let bob = bearer(&made(files, "bob", &[]));
        get(&service.browser(), "/", &bob).await.assert_status(200);
        change(files);
        is_over(&service, &bob, case).await;
        get(&service.browser(), "/", &ada).await.assert_status(200);
    }
    // The next one has tokens of their own, and a new password leaves them as they are.
    let next = bearer(&made(files, "bob", &[]));
    let args = ["user", "passwd", "bob", "--password-stdin"];
    let (code, said, error) = run_with_input(files, &args, "seven green bottles\n");
    assert_eq!(code, Some(0), "{said}{error}");
    service.browser().login("bob", "seven green bottles").await;
    get(&service.browser(), "/", &next).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_96_nor_while_the_server_is_stopped() {
    let app = app().await;
    let mut service = before(&app).spawn().await;
    for (case, change) in [
        (
            "of a file by hand, removed and added",
            remove_and_add as Change,
        ),
        ("of a command, removed and added", remove_and_add),
        ("disabled and enabled", disable_and_enable),
    ] {
        let ada = bearer(&made(&service.files, "ada", &[]));
        let bob = bearer(&made(&service.files, "bob", &[]));
        service.program.signal(Signal::TERM);
        service.program.exit().await;
        change(&service.files);
        service = service.start_again().await;
        is_over(&service, &bob, case).await;
        get(&service.browser(), "/", &ada).await.assert_status(200);
    }
}

/// The same password, by the same hash: only the id says that it is somebody else.
fn remove_and_add_with_the_same_hash(files: &Files) {
    let before = std::fs::read_to_string(files.path("users.toml")).unwrap();
    let line = |key: &str| {
        let (_, bob) = before.split_once("[user.bob]").expect("bob");
        let line = bob.lines().find(|line| line.starts_with(key));
        line.expect("a line").to_owned()
    };
    done(files, &["user", "remove", "bob"]);
    add(files);
    let now = std::fs::read_to_string(files.path("users.toml")).unwrap();
    let (others, bob) = now.split_once("[user.bob]").expect("bob");
    let password = bob.lines().find(|line| line.starts_with("password = "));
    let bob = bob.replace(password.expect("a password"), &line("password = "));
    assert!(!bob.contains(&line("id = ")), "{bob}");
    files.write("users.toml", &format!("{others}[user.bob]{bob}"), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_51_nor_does_a_session_even_if_the_password_is_the_same() {
    let app = app().await;
    let mut service = before(&app).spawn().await;
    // A user of the commands, as the tests write none of their own with an id.
    remove_and_add(&service.files);
    let ada = service.browser().login("ada", PASSWORD).await;
    let changes: [(&str, Change); 4] = [
        ("disabled and enabled", disable_and_enable),
        ("replaced in one write", replace_in_one_write),
        ("removed and added", remove_and_add_with_the_same_hash),
        ("disabled and enabled again", disable_and_enable),
    ];
    for stopped in [false, true] {
        for (case, change) in changes {
            let signed_in = eventually_some("bob to be let in", async || {
                let browser = service.browser();
                let is_in = browser.try_login("bob", OTHER).await.status == 303;
                is_in.then_some(browser)
            });
            let bob = signed_in.await;
            bob.fetch("/").await.assert_status(200);
            if stopped {
                service.program.signal(Signal::TERM);
                service.program.exit().await;
            }
            change(&service.files);
            if stopped {
                service = service.start_again().await;
            }
            let bob = bob.led_to(service.address);
            eventually_some(case, async || {
                (bob.fetch("/").await.status == 401).then_some(())
            })
            .await;
            for _ in 0..20 {
                bob.fetch("/").await.assert_status(401);
            }
            // A session that nobody uses ends as well.
            let list = &["session", "list", "--user", "bob"];
            eventually(case, || !done(&service.files, list).contains("bob")).await;
        }
    }
    let ada = ada.led_to(service.address);
    ada.fetch("/").await.assert_status(200);
}

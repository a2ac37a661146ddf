//! What people see: a real Chromium on the first minute of `vestibule quickstart`.

use std::net::SocketAddr;
use std::path::Path;

use crate::harness::webdriver::Chromium;
use crate::harness::*;

/// `vestibule quickstart` in an empty folder.
struct Quickstart {
    program: Program,
    address: SocketAddr,
    password: String,
}

async fn quickstart(folder: &Path, upstream: Option<&str>) -> Quickstart {
    let address = free_port();
    let mut command = command();
    command
        .current_dir(folder)
        .arg("quickstart")
        .args(upstream)
        .args(["--listen", &address.to_string()]);
    let mut program = Program::spawn(command);
    program.wait_for_port(address).await;
    eventually("the welcome", || program.stdout().contains("Ctrl+C")).await;
    let welcome = program.stdout();
    let value = |name: &str| {
        let line = welcome
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name} in {welcome}"))
            .split_whitespace()
            .last()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        value("Open"),
        format!("https://localhost:{}", address.port())
    );
    assert_eq!(value("User"), "admin");
    let password = value("Password");
    Quickstart {
        program,
        address,
        password,
    }
}

impl Quickstart {
    fn url(&self, target: &str) -> String {
        format!("https://localhost:{}{target}", self.address.port())
    }

    /// Fills in the login form that the browser shows.
    async fn sign_in(&self, browser: &Chromium, password: &str) {
        browser.type_into("[name=username]", "admin").await;
        browser.type_into("[name=password]", password).await;
        browser.click("button[type=submit]").await;
    }
}

#[tokio::test]
async fn a_visitor_signs_in_and_out_and_back_shows_nothing() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let gate = quickstart(folder.path(), None).await;
    browser.goto(&gate.url("/?from=bookmark")).await;
    assert!(browser.text("h1").await.starts_with("Sign in to"));
    assert!(
        browser
            .url()
            .await
            .contains("/.vestibule/login?return_to=%2F%3Ffrom%3Dbookmark")
    );
    assert_eq!(
        browser.script("return document.activeElement.name").await,
        "username"
    );
    let styled = "return document.styleSheets[0].cssRules.length > 0 && getComputedStyle(document.querySelector('button[type=submit]')).backgroundColor !== 'rgb(239, 239, 239)'";
    assert_eq!(browser.script(styled).await, true, "the style is blocked");
    browser
        .wait_until(
            "document.querySelector('#reveal') && !document.querySelector('#reveal').hidden",
        )
        .await;

    gate.sign_in(&browser, "wrong password").await;
    browser
        .wait_until("document.querySelector('[role=alert]')")
        .await;
    assert_eq!(
        browser.text("[role=alert]").await,
        "That user name and password do not match."
    );
    assert_eq!(
        browser.script("return document.activeElement.id").await,
        "problem"
    );

    gate.sign_in(&browser, &gate.password).await;
    browser.wait_until("document.title === 'Sample app'").await;
    assert_eq!(browser.url().await, gate.url("/?from=bookmark"));
    assert!(browser.text("main").await.contains("admin"));
    assert_eq!(
        browser.script("return document.cookie").await,
        "",
        "scripts see no cookie of ours"
    );
    let cookies = browser.cookies().await;
    let names: Vec<_> = cookies
        .iter()
        .map(|cookie| cookie["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, [SESSION_COOKIE], "{cookies:?}");

    browser.goto(&gate.url("/.vestibule/account")).await;
    assert!(browser.text("main").await.contains("admin"));
    browser.goto(&gate.url("/.vestibule/logout")).await;
    browser.click("button[type=submit]").await;
    browser
        .wait_until("document.querySelector('h1').textContent === 'You are signed out'")
        .await;
    assert!(browser.cookies().await.is_empty());
    // SEC-67: back over the logout page to the app, which nobody may read from the cache.
    for _ in 0..3 {
        browser.back().await;
        let text = browser.text("body").await;
        assert!(
            !text.contains("This app knows no users"),
            "{} shows:\n{text}",
            browser.url().await
        );
    }
}

#[tokio::test]
async fn the_sample_app_shows_that_everything_passes() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let gate = quickstart(folder.path(), None).await;
    browser.goto(&gate.url("/")).await;
    gate.sign_in(&browser, &gate.password).await;
    browser
        .wait_until("document.querySelector('#heard')?.value === 'Connected.'")
        .await;
    browser.type_into("#say", " from the test").await;
    browser.click("#talk button").await;
    browser
        .wait_until("document.querySelector('#heard').value === 'It said: Hello from the test'")
        .await;
    browser
        .wait_until("document.querySelector('#clock').value.startsWith('The server says')")
        .await;

    let file = folder.path().join("upload.bin");
    std::fs::write(&file, vec![7; 1_000_000]).unwrap();
    browser.type_into("#file", file.to_str().unwrap()).await;
    browser.click("#send button").await;
    browser
        .wait_until("document.querySelector('#received').value.includes('1,000,000 bytes')")
        .await;

    let visits = async || browser.text(".lead").await;
    assert!(visits().await.contains("visit 1 of"), "{}", visits().await);
    browser.goto(&gate.url("/")).await;
    assert!(visits().await.contains("visit 2 of"), "{}", visits().await);

    // Signed out in another tab: the open page is told within seconds (SEC-75).
    browser
        .wait_until("document.querySelector('#heard')?.value === 'Connected.'")
        .await;
    browser
        .script(
            "fetch('/.vestibule/logout').then(reply => reply.text()).then(page => {
                const csrf = new DOMParser().parseFromString(page, 'text/html').querySelector('[name=csrf]').value;
                return fetch('/.vestibule/logout', {method: 'POST', body: new URLSearchParams({csrf})});
            })",
        )
        .await;
    browser
        .wait_until("document.querySelector('#heard').value.startsWith('Closed (1008)')")
        .await;
}

#[tokio::test]
async fn quickstart_keeps_its_password_and_takes_an_app() {
    let folder = tempfile::tempdir().unwrap();
    let app = Upstream::echo().await;
    let first = quickstart(folder.path(), Some(&app.url())).await;
    let browser = Browser::new(first.address, "localhost")
        .login("admin", &first.password)
        .await;
    browser.get("/x").await.assert_status(200);
    assert_eq!(app.last().value("x-forwarded-user"), Some("admin"));
    let mut program = first.program;
    program.signal(rustix::process::Signal::INT);
    assert_eq!(program.exit().await.code(), Some(0));

    let again = quickstart(folder.path(), Some(&app.url())).await;
    assert_eq!(again.password, first.password);
    Browser::new(again.address, "localhost")
        .login("admin", &again.password)
        .await;
    let other = quickstart(tempfile::tempdir().unwrap().path(), Some(&app.url())).await;
    assert_ne!(other.password, first.password, "a password for everybody");
    for entry in std::fs::read_dir(folder.path().join("certs")).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let secret = name.contains("key") || name.contains("users") || name.contains("password");
        assert!(!secret || mode == 0o600, "{name} has mode {mode:o}");
    }
}

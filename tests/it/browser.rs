//! A real Chromium on our pages, and on the first minute of `vestibule quickstart`.

mod account;
mod login;
mod one_login;
mod pictures;
mod waiting;

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::harness::webdriver::Chromium;
use crate::harness::{PASSWORD, Program, SESSION_COOKIE, Upstream, Vestibule, command, eventually};

const REFUSED: &str = "That user name and password do not match.";

/// Whether the password field has the focus and says what was wrong.
const TYPE_AGAIN: &str = "document.activeElement.name === 'password' \
                          && document.activeElement.getAttribute('aria-describedby') === 'problem'";

async fn sign_in(browser: &Chromium, user: &str, password: &str) {
    browser.clear("[name=username]").await; // after a refused login, it has the name of before
    browser.type_into("[name=username]", user).await;
    browser.type_into("[name=password]", password).await;
    browser.click("[type=submit]").await;
}

/// Signs out by the button of the logout page of this origin.
async fn sign_out(browser: &Chromium, origin: &str) {
    browser.goto(&format!("{origin}/.vestibule/logout")).await;
    browser.click("[type=submit]").await;
    browser
        .wait_until("document.querySelector('h1').textContent === 'You are signed out'")
        .await;
}

#[tokio::test]
async fn a_visitor_signs_in_by_typing_and_gets_the_page_they_wanted() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let wanted = format!(
        "https://gate.test:{}/report?q=a%20b&r=%C3%A9",
        gate.address().port()
    );

    browser.goto(&wanted).await;
    assert!(browser.url().await.contains("/.vestibule/login?return_to="));
    assert_eq!(
        browser.script("return document.activeElement.name").await,
        "username"
    );
    assert_eq!(browser.errors().await, [""; 0]);

    sign_in(&browser, "mallory-typed", "secret-typed").await;
    browser
        .wait_until("document.querySelector('[role=alert]')")
        .await;
    assert_eq!(browser.text("[role=alert]").await, REFUSED);
    // The name is there, and a screen reader reads the problem with the field to be typed again.
    browser.wait_until(TYPE_AGAIN).await;
    let page = browser
        .script("return document.documentElement.outerHTML + [...document.querySelectorAll('input')].map(input => input.value)")
        .await;
    let page = page.as_str().unwrap();
    assert!(page.contains("mallory-typed"), "the name is kept:\n{page}");
    assert!(
        !page.contains("secret-typed"),
        "the password is shown:\n{page}"
    );
    assert_eq!(app.requests(), 0);

    sign_in(&browser, "ada", PASSWORD).await;
    browser
        .wait_until("document.body.textContent.includes('X-Forwarded-User: ada')")
        .await;
    assert_eq!(browser.url().await, wanted);
    assert_eq!(
        browser.script("return document.cookie").await,
        "",
        "no script of a page sees the session"
    );
    let cookies = browser.cookies().await;
    let names: Vec<_> = cookies.iter().map(|cookie| &cookie["name"]).collect();
    assert_eq!(names, [SESSION_COOKIE], "{cookies:?}");
}

#[tokio::test]
async fn sec_43_a_script_of_an_app_can_neither_set_nor_drop_our_cookies() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    browser.goto(&format!("{origin}/")).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser
        .wait_until("document.body.textContent.includes('X-Forwarded-User: ada')")
        .await;
    let before = browser.cookies().await;
    for name in [SESSION_COOKIE, &format!("{SESSION_COOKIE}-login")] {
        for more in ["", "; Max-Age=0"] {
            let set = format!("document.cookie = '{name}=planted; Secure; Path=/{more}'");
            browser.script(&set).await;
        }
    }
    browser
        .script("document.cookie = 'own=1; Secure; Path=/'")
        .await;
    let mut after = browser.cookies().await;
    after.retain(|cookie| cookie["name"] != "own");
    assert_eq!(after, before);
    let shown = browser.script("return document.cookie").await;
    assert_eq!(shown, "own=1", "scripts set cookies, only not ours");
    browser.goto(&format!("{origin}/again")).await;
    browser
        .wait_until("document.body.textContent.includes('X-Forwarded-User: ada')")
        .await;
}

#[tokio::test]
async fn sec_67_after_logout_back_shows_the_login_and_not_the_page() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    browser.goto(&format!("{origin}/salaries")).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser
        .wait_until("document.body.textContent.includes('X-Forwarded-User: ada')")
        .await;
    sign_out(&browser, &origin).await;
    assert!(browser.cookies().await.is_empty());

    // The page is behind the two of the logout.
    let mut steps = 0;
    while !browser.url().await.contains("/.vestibule/login") {
        assert!(steps < 3, "{steps} steps back show {}", browser.url().await);
        browser.back().await;
        steps += 1;
        let text = browser.text("body").await;
        assert!(
            !text.contains("x-forwarded-user"),
            "from the cache:\n{text}"
        );
    }
    let location = browser.url().await;
    assert!(location.ends_with("?return_to=%2Fsalaries"), "{location}");
    let loads = app.received();
    let loads = loads.iter().filter(|load| load.target() == "/salaries");
    assert_eq!(loads.count(), 1, "one page load, before the logout");
}

#[tokio::test]
async fn our_pages_work_without_script() {
    let Some(browser) = Chromium::start_without_script().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    browser.goto(&format!("{origin}/report")).await;
    let untouched = "return document.querySelector('#reveal').hidden \
                     && !document.documentElement.classList.contains('scripted')";
    assert_eq!(browser.script(untouched).await, true, "the script has run");

    sign_in(&browser, "ada", "wrong password").await;
    assert_eq!(browser.text("[role=alert]").await, REFUSED);
    browser.wait_until(TYPE_AGAIN).await;
    let name = "return document.querySelector('#username').value";
    assert_eq!(browser.script(name).await, "ada");
    browser.type_into("[name=password]", PASSWORD).await;
    browser.click("[type=submit]").await;
    browser
        .wait_until("document.body.textContent.includes('X-Forwarded-User: ada')")
        .await;
    assert_eq!(browser.url().await, format!("{origin}/report"));
    sign_out(&browser, &origin).await;
    assert!(browser.cookies().await.is_empty());
}

#[tokio::test]
async fn sec_64_our_pages_break_no_rule_of_their_own() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app).user("ada", PASSWORD).start().await;
    let origin = format!("https://gate.test:{}", gate.address().port());
    let page = async |name: &str| {
        browser.goto(&format!("{origin}/.vestibule/{name}")).await;
        let styled = "return getComputedStyle(document.querySelector('main')).maxWidth !== 'none' \
                      && document.querySelector('.mark').naturalWidth > 0";
        assert_eq!(browser.script(styled).await, true, "{name} is not styled");
        assert_eq!(browser.errors().await, [""; 0], "{name}");
    };
    page("login").await;
    // The script is let in by the policy, and does what it is for.
    browser.type_into("[name=password]", "x").await;
    browser.click("#reveal").await;
    assert_eq!(
        browser
            .script("return document.querySelector('#password').type")
            .await,
        "text"
    );
    browser.goto(&format!("{origin}/.vestibule/login")).await;
    sign_in(&browser, "ada", PASSWORD).await;
    browser
        .wait_until("document.body.textContent.includes('X-Forwarded-User: ada')")
        .await;
    page("account").await;
    page("logout").await;
    browser.click("[type=submit]").await;
    browser
        .wait_until("document.querySelector('h1').textContent === 'You are signed out'")
        .await;
    assert_eq!(browser.errors().await, [""; 0], "signed out");
    browser.goto(&format!("{origin}/.vestibule/nothing")).await;
    browser.click("a[href='/']").await;
    browser
        .wait_until("location.pathname === '/.vestibule/login'")
        .await;
}

/// `vestibule quickstart` in an empty folder, as a person reads it.
struct Quickstart {
    program: Program,
    origin: String,
    user: String,
    password: String,
}

impl Quickstart {
    async fn start(folder: &Path) -> Self {
        let mut command = command();
        command
            .current_dir(folder)
            .args(["quickstart", "--listen", "127.0.0.1:0"]);
        let program = Program::spawn(command);
        eventually("the welcome", || program.stdout().contains("Ctrl+C")).await;
        let welcome = program.stdout();
        let shown = |label: &str| {
            let value = welcome
                .lines()
                .find_map(|line| line.trim_start().strip_prefix(label));
            let value = value.unwrap_or_else(|| panic!("no {label} in:\n{welcome}"));
            value.trim().to_owned()
        };
        Self {
            origin: shown("Open"),
            user: shown("User"),
            password: shown("Password"),
            program,
        }
    }
}

#[tokio::test]
async fn quickstart_shows_that_everything_passes_through() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let quickstart = Quickstart::start(folder.path()).await;
    let origin = &quickstart.origin;
    browser.goto(origin).await;
    assert_eq!(browser.text("h1").await, "Sign in to the sample app");
    sign_in(&browser, &quickstart.user, &quickstart.password).await;
    browser.wait_until("document.title === 'Sample app'").await;

    let table = browser.text("table").await;
    for row in [
        "X-Forwarded-User admin",
        "X-Forwarded-Groups admins",
        "X-Forwarded-Email absent",
        "X-Forwarded-For 127.0.0.1",
        "X-Forwarded-Proto https",
    ] {
        assert!(table.contains(row), "{row:?} is not in:\n{table}");
    }
    for visit in 1..=3 {
        let lead = browser.text(".lead").await;
        let expected = format!("visit {visit} of this session");
        assert!(lead.contains(&expected), "{expected:?} is not in {lead:?}");
        browser.goto(origin).await;
    }

    browser
        .wait_until("document.querySelector('#heard').value === 'Connected.'")
        .await;
    browser.type_into("#say", " Wörld").await;
    browser.click("#talk button").await;
    browser
        .wait_until("document.querySelector('#heard').value === 'It said: Hello Wörld'")
        .await;

    browser
        .wait_until("(window.first ??= document.querySelector('#clock').value).includes(' GMT')")
        .await;
    browser
        .wait_until("document.querySelector('#clock').value !== window.first")
        .await;

    let (file, content) = (folder.path().join("upload.bin"), vec![7; 1_234_567]);
    std::fs::write(&file, &content).unwrap();
    browser.type_into("#file", file.to_str().unwrap()).await;
    browser.click("#send button").await;
    browser
        .wait_until("document.querySelector('#received').value.includes('SHA-256')")
        .await;
    let hash = Sha256::digest(&content)
        .iter()
        .fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"));
    assert_eq!(
        browser.text("#received").await,
        format!("1,234,567 bytes, SHA-256 {hash}")
    );
    assert_eq!(browser.errors().await, [""; 0]);
    assert!(!quickstart.program.stderr().contains("panicked"));
}

#[tokio::test]
async fn sec_75_a_logout_in_another_tab_closes_the_websocket_in_view() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let quickstart = Quickstart::start(folder.path()).await;
    browser.goto(&quickstart.origin).await;
    sign_in(&browser, &quickstart.user, &quickstart.password).await;
    browser
        .wait_until("document.querySelector('#heard')?.value === 'Connected.'")
        .await;

    let app = browser.tab().await;
    browser.new_tab().await;
    sign_out(&browser, &quickstart.origin).await;
    let signed_out = tokio::time::Instant::now();
    browser.switch_to(&app).await;
    browser
        .wait_until("document.querySelector('#heard').value.startsWith('Closed (1008)')")
        .await;
    let took = signed_out.elapsed();
    assert!(took.as_secs() < 5, "the WebSocket lived on for {took:?}");
    browser
        .wait_until("document.querySelector('#clock').value.startsWith('The stream ended')")
        .await;
}

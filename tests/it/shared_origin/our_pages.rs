//! SEC-91: a script of the app may send requests to our pages, and gets nothing of them.

use bytes::Bytes;
use hyper::Method;

use crate::harness::*;

const ACCOUNT: &str = "/.vestibule/account";
const FORM: &str = "application/x-www-form-urlencoded";
const LOGIN: &str = "/.vestibule/login";
const LOGOUT: &str = "/.vestibule/logout";

type Fields = &'static [(&'static str, &'static str)];

/// What browsers say of requests that load no page into a tab.
const NO_PAGE_LOADS: [Fields; 8] = [
    &[
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-site", "same-origin"),
    ],
    &[
        ("sec-fetch-mode", "same-origin"),
        ("sec-fetch-dest", "empty"),
        ("accept", "text/html"),
    ],
    &[
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-dest", "script"),
        ("sec-fetch-site", "same-origin"),
    ],
    &[
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "iframe"),
        ("sec-fetch-site", "same-origin"),
    ],
    &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object")],
    &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "embed")],
    &[("sec-fetch-dest", "empty")],
    &[("sec-fetch-mode", "cors")],
];

/// What they say of a form that a script has sent as a person would.
const SUBMITTED: Fields = &[
    ("content-type", FORM),
    ("origin", "https://gate.test"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-site", "same-origin"),
];

async fn gate(app: &Upstream) -> Gate {
    Vestibule::before(app).user("ada", PASSWORD).start().await
}

async fn post(browser: &Browser, target: &str, headers: Fields, body: &str) -> Reply {
    let body = Bytes::from(body.to_owned());
    browser.request(Method::POST, target, headers, body).await
}

#[tokio::test]
async fn sec_91_no_page_of_ours_is_for_a_script_or_a_frame() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    for browser in [ada.clone(), ada.clone().over_http2(), gate.browser()] {
        for headers in NO_PAGE_LOADS {
            for target in [ACCOUNT, LOGIN, LOGOUT, "/.vestibule/form"] {
                for method in [Method::GET, Method::POST] {
                    let with_type = [headers, &[("content-type", FORM)]].concat();
                    let request = browser.request(method.clone(), target, &with_type, Bytes::new());
                    let reply = request.await;
                    assert_eq!(reply.status, 403, "{method} {target} {headers:?}: {reply}");
                    if method == Method::GET && headers.contains(&("sec-fetch-dest", "iframe")) {
                        // A page that leads to it in a tab, with nothing in it.
                        reply.assert_contains("href=\"\" target=\"_blank\" rel=\"noopener\"");
                        assert!(!reply.text().contains("csrf"), "{reply}");
                        assert_eq!(reply.value("www-authenticate"), None, "{reply}");
                        continue;
                    }
                    assert_eq!(reply.json()["error"], "page_load_required", "{reply}");
                }
            }
        }
        for target in ["/.vestibule/session", "/.vestibule/assets/style.css"] {
            let headers = NO_PAGE_LOADS[0];
            let reply = browser
                .request(Method::GET, target, headers, Bytes::new())
                .await;
            assert!([200, 401].contains(&reply.status), "{target}: {reply}");
        }
    }
    assert_eq!(app.requests(), 0);
    ada.get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_91_a_form_that_a_script_submits_has_no_token_and_changes_nothing() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let foreign = other.get(ACCOUNT).await.hidden("csrf");
    let of_login = gate.browser().get(LOGIN).await.hidden("csrf");
    for token in ["", &foreign, &of_login] {
        let body = format!("csrf={token}&action=end-others");
        post(&ada, ACCOUNT, SUBMITTED, &body)
            .await
            .assert_status(403);
        let page = post(&ada, LOGOUT, SUBMITTED, &format!("csrf={token}")).await;
        // The button, and no more: a link of an app to here is a form often enough.
        page.assert_status(200).assert_contains("signed in as");
        assert_eq!(page.value("set-cookie"), None, "{page}");
        for browser in [&ada, &other] {
            browser.get("/").await.assert_status(200);
        }
    }
    let token = post(&ada, LOGOUT, SUBMITTED, "").await.hidden("csrf");
    post(&ada, LOGOUT, SUBMITTED, &format!("csrf={token}"))
        .await
        .assert_redirects_to(LOGOUT);
    ada.fetch("/").await.assert_status(401);
    other.get("/").await.assert_status(200);
}

#[tokio::test]
async fn sec_91_the_token_is_for_one_host() {
    let (wiki, git) = (Upstream::echo().await, Upstream::echo().await);
    let gate = Vestibule::before(&wiki)
        .app("host = \"gate.test\"\n")
        .config(&format!(
            "[[app]]\nhost = \"localhost\"\nupstream = \"{}\"",
            git.url()
        ))
        .user("ada", PASSWORD)
        .start()
        .await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    // The same cookie, carried to another host by hand.
    let there = gate.browser_for("localhost").cookie(&ada.session_cookie());
    let token = ada.get(LOGOUT).await.hidden("csrf");
    let headers: Fields = &[("content-type", FORM)];
    let reply = post(&there, LOGOUT, headers, &format!("csrf={token}")).await;
    assert_eq!(reply.status, 403, "{reply}");
    ada.get("/").await.assert_status(200);
    let reply = post(&ada, LOGOUT, headers, &format!("csrf={token}")).await;
    reply.assert_redirects_to(LOGOUT);
}

#[tokio::test]
async fn sec_91_clients_that_say_nothing_of_themselves_go_on_with_a_token() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let ada = gate.browser().login("ada", PASSWORD).await;
    let other = gate.browser().login("ada", PASSWORD).await;
    let page = ada.request(Method::GET, ACCOUNT, &[], Bytes::new()).await;
    let token = page.assert_status(200).hidden("csrf");
    let headers: Fields = &[("content-type", FORM)];
    post(
        &ada,
        ACCOUNT,
        headers,
        &format!("csrf={token}&action=end-others"),
    )
    .await
    .assert_redirects_to(ACCOUNT);
    other.fetch("/").await.assert_status(401);
    post(&ada, LOGOUT, headers, &format!("csrf={token}"))
        .await
        .assert_redirects_to(LOGOUT);
    ada.fetch("/").await.assert_status(401);
}

#[tokio::test]
async fn sec_91_a_kept_form_is_not_sent_by_a_script() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let browser = gate.browser();
    let kept = post(&browser, "/save", SUBMITTED, "a=1").await;
    kept.assert_status(401);
    let (csrf, return_to) = (kept.hidden("csrf"), kept.hidden("return_to"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("return_to", &return_to),
        ("username", "ada"),
        ("password", PASSWORD),
    ];
    browser.post_form(LOGIN, &fields).await.assert_status(303);
    let page = browser.get("/.vestibule/form").await;
    let (csrf, id) = (page.hidden("csrf"), page.hidden("form"));
    let actions = page.actions();
    let send = actions
        .iter()
        .find(|action| action.contains("vestibule-form="));
    let send = send.unwrap();
    let plain: Fields = &[
        ("content-type", "text/plain"),
        ("origin", "https://gate.test"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-site", "same-origin"),
    ];
    let fetched = post(&browser, send, plain, &format!("csrf={csrf}")).await;
    fetched.assert_status(403);
    let submitted: Fields = &[
        ("content-type", "text/plain"),
        ("origin", "https://gate.test"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-site", "same-origin"),
    ];
    let guessed = post(&browser, send, submitted, "csrf=").await;
    guessed.assert_redirects_to("/.vestibule/form");
    let discard = format!("action=discard&form={id}");
    let guessed = post(&browser, "/.vestibule/form", SUBMITTED, &discard).await;
    guessed.assert_redirects_to("/.vestibule/form");
    assert_eq!(app.requests(), 0);
    let delivered = post(&browser, send, submitted, &format!("csrf={csrf}")).await;
    delivered.assert_status(200);
    assert_eq!(app.last().body, b"a=1");
}

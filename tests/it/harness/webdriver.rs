//! Chromium by the W3C's protocol for it: just what the tests say.

use std::net::SocketAddr;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::program::Program;
use super::{eventually_some, held_port, real, within};

/// The key by which an element is named (W3C `WebDriver` 2, §12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A Chromium with an empty profile; ends when dropped.
pub(crate) struct Chromium {
    address: SocketAddr,
    session: String,
    _driver: Program,
    _profile: TempDir,
}

impl Chromium {
    /// `None` when Chromium or its driver is not installed.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&json!({}), &[]).await
    }

    /// A browser that runs no script of any page; the tests' own scripts still run.
    pub(crate) async fn start_without_script() -> Option<Self> {
        let blocked = "profile.managed_default_content_settings.javascript";
        Self::start_with(&json!({blocked: 2}), &[]).await
    }

    /// A browser that knows no HTTP/2.
    pub(crate) async fn start_without_http2() -> Option<Self> {
        Self::start_with(&json!({}), &["--disable-http2"]).await
    }

    /// A browser for which these hosts are at these ports of this machine, by https.
    pub(crate) async fn start_for(hosts: &[(&str, u16)]) -> Option<Self> {
        let rules = hosts
            .iter()
            .map(|(host, port)| format!("MAP {host}:443 127.0.0.1:{port}"));
        let rules = rules.collect::<Vec<_>>().join(", ");
        let rules = format!("--host-resolver-rules={rules}");
        Self::start_with(&json!({}), &[&rules]).await
    }

    async fn start_with(preferences: &Value, more: &[&str]) -> Option<Self> {
        let (driver, browser) = (real::find("chromedriver")?, real::find("chromium")?);
        let (address, profile) = (held_port(), tempfile::tempdir().unwrap());
        let mut command = Command::new(driver);
        command
            .arg(format!("--port={}", address.port()))
            .env("HOME", profile.path());
        let mut driver = Program::spawn(command);
        driver.wait_for_port(address).await;
        let data = format!("--user-data-dir={}", profile.path().join("data").display());
        let mut arguments = vec![
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--ignore-certificate-errors",
            "--host-resolver-rules=MAP *.test 127.0.0.1",
            "--window-size=1200,900",
            &data,
        ];
        arguments.extend(more);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"binary": browser, "args": arguments, "prefs": preferences},
        }}});
        let mut chromium = Self {
            address,
            session: String::new(),
            _driver: driver,
            _profile: profile,
        };
        let session = chromium
            .ask(Method::POST, "/session", &wanted)
            .await
            .unwrap();
        session["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut chromium.session);
        Some(chromium)
    }

    pub(crate) async fn goto(&self, url: &str) {
        self.command(Method::POST, "/url", &json!({"url": url}))
            .await
            .unwrap();
    }

    pub(crate) async fn back(&self) {
        self.command(Method::POST, "/back", &json!({}))
            .await
            .unwrap();
    }

    pub(crate) async fn url(&self) -> String {
        let url = self
            .command(Method::GET, "/url", &Value::Null)
            .await
            .unwrap();
        url.as_str().unwrap().to_owned()
    }

    /// Types into what a CSS selector finds.
    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        self.use_found(css, "value", &json!({"text": text})).await;
    }

    /// Empties a field.
    pub(crate) async fn clear(&self, css: &str) {
        self.use_found(css, "clear", &json!({})).await;
    }

    pub(crate) async fn click(&self, css: &str) {
        self.use_found(css, "click", &json!({})).await;
    }

    /// The visible text of what a CSS selector finds.
    pub(crate) async fn text(&self, css: &str) -> String {
        let path = format!("/element/{}/text", self.find(css).await);
        let text = self
            .command(Method::GET, &path, &Value::Null)
            .await
            .unwrap();
        text.as_str().unwrap().to_owned()
    }

    /// Runs a function body in the page.
    pub(crate) async fn script(&self, body: &str) -> Value {
        let script = json!({"script": body, "args": []});
        self.command(Method::POST, "/execute/sync", &script)
            .await
            .unwrap()
    }

    /// Waits until an expression of the page is true.
    pub(crate) async fn wait_until(&self, expression: &str) {
        let script = json!({"script": format!("return Boolean({expression})"), "args": []});
        let what = format!("{expression} in the page");
        eventually_some(&what, async || {
            // A page that is just being left has nothing to run a script in.
            let done = self
                .command(Method::POST, "/execute/sync", &script)
                .await
                .ok()?;
            done.as_bool().filter(|&done| done)
        })
        .await;
    }

    /// Name and value of each cookie that the page's host gets, the hidden ones included.
    pub(crate) async fn cookies(&self) -> Vec<Value> {
        let cookies = self
            .command(Method::GET, "/cookie", &Value::Null)
            .await
            .unwrap();
        cookies.as_array().unwrap().clone()
    }

    /// The tab that commands go to.
    pub(crate) async fn tab(&self) -> String {
        let tab = self
            .command(Method::GET, "/window", &Value::Null)
            .await
            .unwrap();
        tab.as_str().unwrap().to_owned()
    }

    /// All tabs.
    pub(crate) async fn tabs(&self) -> Vec<String> {
        let tabs = self.command(Method::GET, "/window/handles", &Value::Null);
        let tabs = tabs.await.unwrap();
        let tabs = tabs.as_array().unwrap().iter();
        tabs.map(|tab| tab.as_str().unwrap().to_owned()).collect()
    }

    /// Opens another tab and goes there.
    pub(crate) async fn new_tab(&self) {
        let tab = self
            .command(Method::POST, "/window/new", &json!({"type": "tab"}))
            .await
            .unwrap();
        self.switch_to(tab["handle"].as_str().unwrap()).await;
    }

    pub(crate) async fn switch_to(&self, tab: &str) {
        self.command(Method::POST, "/window", &json!({"handle": tab}))
            .await
            .unwrap();
    }

    /// Shows the tab that commands go to, as a click on it does.
    pub(crate) async fn bring_to_front(&self) {
        self.devtools("Page.bringToFront", &json!({})).await;
    }

    /// A command of the protocol of Chromium's developer tools.
    pub(crate) async fn devtools(&self, command: &str, params: &Value) -> Value {
        let asked = json!({"cmd": command, "params": params});
        self.command(Method::POST, "/goog/cdp/execute", &asked)
            .await
            .unwrap()
    }

    /// What the tab shows, as PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        let picture = self
            .command(Method::GET, "/screenshot", &Value::Null)
            .await
            .unwrap();
        STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }

    /// What went wrong in the pages since the last call: scripts, blocked content, failed loads.
    pub(crate) async fn errors(&self) -> Vec<String> {
        let log = self
            .command(Method::POST, "/se/log", &json!({"type": "browser"}))
            .await
            .unwrap();
        let errors = log.as_array().unwrap().iter();
        errors
            .filter(|entry| entry["level"] == "SEVERE")
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Acts on what a CSS selector finds, once it can be used: pages open their sections bit by
    /// bit, and people wait for that, too.
    async fn use_found(&self, css: &str, action: &str, how: &Value) {
        let what = format!("{css} in the page can be used");
        eventually_some(&what, async || {
            let path = format!("/element/{}/{action}", self.find(css).await);
            let used = self.command(Method::POST, &path, how).await;
            match used {
                Err(error) if is_not_ready(&error) => None,
                used => Some(used.unwrap()),
            }
        })
        .await;
    }

    async fn find(&self, css: &str) -> String {
        let query = json!({"using": "css selector", "value": css});
        let what = format!("{css} in the page");
        eventually_some(&what, async || {
            let found = self.command(Method::POST, "/element", &query).await.ok()?;
            Some(found[ELEMENT].as_str()?.to_owned())
        })
        .await
    }

    async fn command(&self, method: Method, path: &str, body: &Value) -> Result<Value, Value> {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
            .await
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, Value> {
        let what = format!("WebDriver's answer to {path}");
        let request = Request::builder().method(&method).uri(path);
        let body = if method == Method::POST {
            body.to_string()
        } else {
            String::new()
        };
        let sent = real::http_with(self.address, request, Bytes::from(body));
        let (status, answer) = within(&what, sent).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = answer["value"].clone();
        if status == 200 { Ok(value) } else { Err(value) }
    }
}

/// Whether an element is there, but not for people yet, or no longer, because the page has put
/// another in its place. Nothing has been done to it then (`WebDriver` §6.6).
fn is_not_ready(error: &Value) -> bool {
    let error = error["error"].as_str();
    matches!(
        error,
        Some("element not interactable" | "stale element reference")
    )
}

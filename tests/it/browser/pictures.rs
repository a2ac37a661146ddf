//! Pictures of the documentation that show a browser. This makes them anew:
//! `VESTIBULE_PICTURES=docs/images cargo test --test it -- browser::pictures`

mod pages;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::sign_in;
use crate::harness::webdriver::Chromium;
use crate::harness::{PASSWORD, Upstream, Vestibule, held_port};

const LOGIN: &str = "login.example.org";
const WIKI: &str = "wiki.example.org";
const METRICS: &str = "metrics.example.com";

/// Of one page, in pixels of CSS.
const WIDTH: u32 = 440;
const HEIGHT: u32 = 470;

/// An app whose pages show the signed-in user.
async fn app(title: &'static str, colour: &'static str) -> Upstream {
    Upstream::scripted(move |exchange| {
        Box::pin(async move {
            let user = exchange.header("x-forwarded-user").unwrap_or_default();
            let page = format!(
                "<!doctype html><meta charset=utf-8><title>{title}</title><style>\
                 body {{ margin: 0; font: 16px/1.5 system-ui, sans-serif; color: #222 }}\
                 header {{ padding: 1rem 2rem; background: {colour}; color: #fff; font-weight: 600 }}\
                 main {{ padding: 2rem }}</style>\
                 <header>{title}</header><main><h1>{title}</h1>\
                 <p>Signed in as <strong>{user}</strong>.</main>"
            );
            let html = [("Content-Type", "text/html; charset=utf-8")];
            exchange.reply("200 OK", &html, page).await;
        })
    })
    .await
}

async fn is_so_large(browser: &Chromium, width: u32, height: u32) {
    let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
    browser
        .devtools("Emulation.setDeviceMetricsOverride", &size)
        .await;
}

/// What the tab shows, as PNG; where pictures are made, they are kept under this name.
async fn keep(browser: &Chromium, name: &str) -> Vec<u8> {
    let picture = browser.picture().await;
    assert!(picture.starts_with(b"\x89PNG"), "{name}");
    if let Some(folder) = std::env::var_os("VESTIBULE_PICTURES") {
        std::fs::write(Path::new(&folder).join(name), &picture).unwrap();
    }
    picture
}

/// The pages beside each other, each below its caption and its address.
fn beside_each_other(pages: &[(&str, &str, Vec<u8>)]) -> String {
    let page = |(caption, host, picture): &(&str, &str, Vec<u8>)| {
        format!(
            "<figure><figcaption>{caption}</figcaption><div><p><span>https://{host}</span></p>\
             <img src=\"data:image/png;base64,{}\" alt=\"\"></div></figure>",
            STANDARD.encode(picture)
        )
    };
    let pages: String = pages.iter().map(page).collect();
    format!(
        "<!doctype html><meta charset=utf-8><style>\
         body {{ margin: 0; padding: 10px; display: flex; font: 14px system-ui, sans-serif; background: #fff; color: #222 }}\
         figure {{ margin: 10px }} figcaption {{ font-size: 15px; font-weight: 600; margin-bottom: 10px }}\
         div {{ border: 1px solid #b0b8c0; border-radius: 8px; overflow: hidden }}\
         p {{ margin: 0; padding: 8px 12px; background: #e2e6ea }}\
         span {{ display: block; padding: 4px 12px; border-radius: 10px; background: #fff }}\
         img {{ display: block; width: {WIDTH}px; height: {HEIGHT}px }}</style>{pages}"
    )
}

#[tokio::test]
async fn one_sign_in_for_apps_on_two_domains_page_by_page() {
    let address = held_port();
    let hosts = [LOGIN, WIKI, METRICS].map(|host| (host, address.port()));
    let Some(browser) = Chromium::start_for(&hosts).await else {
        return;
    };
    let (wiki, metrics) = (app("Wiki", "#2a5").await, app("Metrics", "#752").await);
    let gate = Vestibule::before(&wiki)
        .app(&format!("name = \"wiki\"\ntitle = \"Wiki\"\nhost = \"{WIKI}\""))
        .login(&format!("host = \"{LOGIN}\""))
        .user("ada", PASSWORD)
        .config(&format!(
            "[[app]]\nname = \"metrics\"\ntitle = \"Metrics\"\nhost = \"{METRICS}\"\nupstream = \"{}\"",
            metrics.url()
        ))
        .spawn_at(address, crate::harness::command())
        .await;
    is_so_large(&browser, WIDTH, HEIGHT).await;

    browser.goto(&format!("https://{WIKI}/")).await;
    browser
        .wait_until(&format!("location.hostname === '{LOGIN}'"))
        .await;
    assert_eq!(browser.text("h1").await, "Sign in to Wiki");
    assert_eq!(browser.text(".host").await, LOGIN);
    let first = browser.picture().await;
    sign_in(&browser, "ada", PASSWORD).await;
    let is_at = |host: &str| format!("location.href === 'https://{host}/'");
    let mut pages = vec![("1. One sign-in", LOGIN, first)];
    for (caption, host, title) in [
        ("2. Back to the app", WIKI, "Wiki"),
        ("3. Another domain, no password", METRICS, "Metrics"),
    ] {
        if host == METRICS {
            browser.goto(&format!("https://{host}/")).await;
        }
        browser.wait_until(&is_at(host)).await;
        let main = format!("{title}\nSigned in as ada.");
        assert_eq!(browser.text("main").await, main);
        pages.push((caption, host, browser.picture().await));
    }
    for (at, (_, host, picture)) in pages.iter().enumerate() {
        assert!(picture.starts_with(b"\x89PNG"), "{host}");
        assert!(
            pages[..at].iter().all(|(.., before)| before != picture),
            "{host}"
        );
    }
    drop(gate);

    let page = beside_each_other(&pages);
    let url = format!("data:text/html;base64,{}", STANDARD.encode(page));
    browser.goto(&url).await;
    is_so_large(&browser, 1406, 580).await;
    browser
        .wait_until("[...document.images].every(image => image.naturalWidth > 0)")
        .await;
    keep(&browser, "one-login.png").await;
}

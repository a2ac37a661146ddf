//! The same of a server that runs: `status`.

use std::fs;

use serde_json::Value;
use tokio::time::Instant;

use super::{Checked, before};
use crate::harness::*;

/// What `status` finds, severity and words of each.
fn found(service: &Service) -> Vec<String> {
    let (code, stdout, stderr) = run(&service.files, &["status", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let status: Value = serde_json::from_str(&stdout).unwrap();
    let findings = status["findings"].as_array().unwrap().iter();
    let words = |finding: &Value, field| finding[field].as_str().unwrap().to_owned();
    let folder = service.files.path("").to_str().unwrap().to_owned();
    findings
        .map(|one| {
            let [severity, subject, message] =
                ["severity", "subject", "message"].map(|field| words(one, field));
            assert!(!words(one, "help").is_empty(), "{one}");
            format!("{severity} {subject}: {message}").replace(&folder, "")
        })
        .collect()
}

/// The admin socket is opened after the addresses.
async fn answers(service: &Service) {
    let socket = service.files.path("admin.sock");
    eventually("the admin socket", || socket.exists()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_says_what_is_wrong_with_it() {
    let mut app = Upstream::echo().await;
    let service = before(&app).config("# rules").spawn().await;
    answers(&service).await;
    assert_eq!(found(&service), [""; 0]);

    app.stop().await;
    fs::remove_file(service.files.path("key.pem")).unwrap();
    service.reload(|text| {
        format!("{text}[[app.rule]]\npath = \"/x\"\nallow = {{ groups = [\"no\"] }}\n")
    });
    // The reload fails for want of the key: the old configuration stays.
    let failed = || {
        run(&service.files, &["status"])
            .1
            .contains("reload       failed at ")
    };
    eventually("the reload", failed).await;
    let url = app.url();
    let gone = format!("warning app wiki: nothing listens at {url}");
    let key = "error key.pem: there is no such file".to_owned();
    eventually("another look", || {
        found(&service) == [key.clone(), gone.clone()]
    })
    .await;
    let (_, text, _) = run(&service.files, &["status"]);
    let certificate =
        "cert.pem: for gate.test, other.test, localhost, 127.0.0.1; until 4096-01-01 (";
    let certificate = text.lines().find(|line| line.contains(certificate));
    assert!(
        certificate.is_some_and(|line| line.starts_with("certificate  /")),
        "{text}"
    );
    let line = format!(
        "warning      app wiki: nothing listens at {url}; start the application, or correct `upstream`; \
         until then visitors get 502\n"
    );
    assert!(text.contains(&line), "{text}");

    service.files.set_certificate(tls::certificate());
    let (code, _, said) = run(&service.files, &["reload"]);
    assert_eq!(code, Some(0), "{said}");
    let rule =
        "warning app wiki, rule /x: no user is in the group \"no\": it lets nobody in".to_owned();
    assert_eq!(found(&service), [gone, rule], "at once after a reload");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_again_and_again_has_nobody_dialled_more_often() {
    let app = Upstream::echo().await;
    let service = before(&app).spawn().await;
    answers(&service).await;
    let begin = Instant::now();
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let config = service.files.path("config.toml");
            std::thread::spawn(move || {
                run_to_end(command().args(["status", "--config"]).arg(config), "").0
            })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.join().unwrap(), Some(0));
    }
    let looks = 1 + usize::try_from(begin.elapsed().as_secs() / 5).unwrap();
    eventually("the first connection", || app.connections() > 0).await;
    let dialled = app.connections();
    assert!(dialled <= looks, "{dialled} in {looks} looks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_knows_the_addresses_of_the_server_that_runs() {
    let app = Upstream::echo().await;
    let metrics = free_port();
    let service = before(&app)
        .admin(&format!("socket = \"admin.sock\"\nmetrics = \"{metrics}\""))
        .spawn()
        .await;
    answers(&service).await;
    let checked = Checked::of(&service.files);
    checked.is_ok(&[]);
    for (address, key) in [
        (service.address, "server.listen"),
        (metrics, "admin.metrics"),
    ] {
        let fact =
            format!("address      {address} ({key}), where the running server listens already\n");
        assert!(checked.stdout.contains(&fact), "{fact}: {}", checked.stdout);
    }
}

//! What an operator has to hear of before it hurts.

use std::process::Command;

use super::*;

#[tokio::test]
async fn rel_16_a_certificate_that_ends_soon_is_warned_of() {
    let app = Upstream::echo().await;
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400 + 3600);
    for (certificate, level, days_left) in [
        (tls::Certificate::ending_in(days(20)), "WARN", Some(20)),
        (tls::Certificate::ending_in(days(22)), "INFO", None),
        (tls::Certificate::ended(), "ERROR", None),
    ] {
        let address = held_port();
        let service = Vestibule::before(&app)
            .public()
            .prepare(|files| files.set_certificate(&certificate))
            .admin(&format!("socket = \"admin.sock\"\nmetrics = \"{address}\""))
            .config("[log]\nformat = \"json\"")
            .spawn()
            .await;
        let lines = |level: &str| {
            let log = service.program.log();
            let about = |line: &serde_json::Value| {
                line["message"]
                    .as_str()
                    .is_some_and(|message| message.contains("certificate"))
            };
            let lines = log.into_iter().filter(about);
            lines
                .filter(|line| line["level"] == level)
                .collect::<Vec<_>>()
        };
        if level == "INFO" {
            // Two looks later there is still nothing to say.
            service.browser().get("/").await;
            assert_eq!((lines("WARN"), lines("ERROR")), (vec![], vec![]));
        } else {
            eventually("a line", || !lines(level).is_empty()).await;
            let line = &lines(level)[0];
            assert!(
                line["file"].as_str().unwrap().ends_with("cert.pem"),
                "{line}"
            );
            assert_eq!(line["days_left"].as_u64(), days_left, "{line}");
        }
        let scrape = Scrape::of(address).await;
        let series = scrape
            .0
            .iter()
            .find(|(name, _)| name.starts_with("vestibule_certificate_remaining_seconds{file=\""));
        let (_, left) = series.unwrap();
        let expected = match level {
            "WARN" => 20.0..21.0,
            "INFO" => 22.0..23.0,
            _ => -2.0..0.0,
        };
        assert!(expected.contains(&(left / 86_400.0)), "{left}");
        assert!(lines(level).len() <= 1, "once a day");
    }
}

#[tokio::test]
async fn rel_09_lines_that_the_log_does_not_take_are_counted() {
    let app = Upstream::echo().await;
    let address = held_port();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "exec \"$@\" > /dev/full",
        "sh",
        env!("CARGO_BIN_EXE_vestibule"),
    ]);
    let service = Vestibule::before(&app)
        .admin(&format!("socket = \"admin.sock\"\nmetrics = \"{address}\""))
        .spawn_by(command)
        .await;
    let dropped = async || {
        let scrape = Scrape::of(address).await;
        scrape.value("vestibule_log_lines_dropped_total")
    };
    assert!(dropped().await < 1.0, "the queue has room yet");
    let request = format!(
        "GET /{} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
        "long".repeat(150)
    );
    let mut raw = service.raw().await;
    for _ in 0..240 {
        raw.send(request.repeat(50)).await;
        for _ in 0..50 {
            raw.response().await.assert_status(401);
        }
    }
    assert!(dropped().await > 0.0);
}

#[tokio::test]
async fn rel_01_totals_go_on_over_a_reload() {
    let app = Upstream::echo().await;
    let mut gate = gate(&app).await;
    let address = gate.metrics_address();
    let answered = "vestibule_requests_total{app=\"app\",status=\"2xx\"}";
    gate.browser().get("/public").await.assert_status(200);
    let two = format!("upstream = [\"{}\", \"http://{}\"]", app.url(), held_port());
    let one = format!("upstream = \"{}\"", app.url());
    let restart = gate.reload(|text| text.replace(&one, &two)).unwrap();
    assert_eq!(restart, Vec::<&str>::new());
    gate.browser().get("/public").await.assert_status(200);
    let scrape = Scrape::of(address).await;
    scrape.assert(&[(answered, 2.0)]);
    let addresses = ["up", "down"].map(|state| {
        scrape.value(&format!(
            "vestibule_upstream_addresses{{app=\"app\",state=\"{state}\"}}"
        ))
    });
    assert!((addresses.iter().sum::<f64>() - 2.0).abs() < 1e-9);

    let elsewhere = |text: &str| text.replace("metrics = \"127.0.0.1:0\"", "metrics = \"\"");
    assert_eq!(gate.reload(elsewhere).unwrap(), ["admin.metrics"]);
    Scrape::of(address).await.assert(&[(answered, 2.0)]);
}

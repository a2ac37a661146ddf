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
        let address = free_port();
        let service = Vestibule::before(&app)
            .public()
            .prepare(|files| files.set_certificate(&certificate))
            .config(&format!("[admin]\nmetrics = \"{address}\""))
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
    let address = free_port();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "exec \"$@\" > /dev/full",
        "sh",
        env!("CARGO_BIN_EXE_vestibule"),
    ]);
    let service = Vestibule::before(&app)
        .public()
        .config(&format!("[admin]\nmetrics = \"{address}\""))
        .spawn_by(command)
        .await;
    for _ in 0..3 {
        service.browser().get("/").await.assert_status(200);
    }
    eventually_some("lost lines", async || {
        let scrape = Scrape::of(address).await;
        (scrape.value("vestibule_log_lines_dropped_total") >= 3.0).then_some(())
    })
    .await;
}

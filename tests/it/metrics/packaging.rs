//! What comes with the program: a dashboard and alerts, and Prometheus itself.

use std::path::Path;
use std::process::Command;

use hyper::Request;
use serde_json::Value;

use super::*;

const DASHBOARD: &str = include_str!("../../../packaging/grafana/vestibule.json");
const ALERTS: &str = include_str!("../../../packaging/prometheus/alerts.yml");

/// Every metric that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let starts = text.match_indices("vestibule_");
    let names = starts.map(|(start, _)| {
        let name = &text[start..];
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &name[..end.unwrap_or(name.len())]
    });
    names.collect()
}

fn alerts() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/alerts.yml")
}

#[tokio::test]
async fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let known = names(&gate).await;
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    assert!(queries.clone().all(|targets| !targets.is_empty()));
    assert!(queries.count() > 8, "{}", panels.len());
    for text in [DASHBOARD, ALERTS] {
        let named = named(text);
        assert!(named.len() > 5, "{named:?}");
        for name in named {
            let base = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            assert!(
                known.contains(base) || known.contains(name),
                "there is no {name}"
            );
        }
    }
    let panels_never_overlap = panels.iter().enumerate().all(|(n, a)| {
        panels[n + 1..]
            .iter()
            .all(|b| !overlap(&a["gridPos"], &b["gridPos"]))
    });
    assert!(panels_never_overlap);
}

fn overlap(a: &Value, b: &Value) -> bool {
    let at = |place: &Value, key: &str| place[key].as_u64().unwrap();
    let apart = |start, length| {
        at(a, start) + at(a, length) <= at(b, start) || at(b, start) + at(b, length) <= at(a, start)
    };
    !apart("x", "w") && !apart("y", "h")
}

#[tokio::test]
async fn promtool_accepts_the_alerts_and_a_scrape() {
    let Some(promtool) = real::find("promtool") else {
        return;
    };
    let path = alerts();
    let check = ["check", "rules", path.to_str().unwrap()];
    let (code, output, errors) = run_to_end(Command::new(&promtool).args(check), "");
    assert_eq!(code, Some(0), "{output}{errors}");
    assert!(output.contains("SUCCESS"), "{output}{errors}");

    let folder = tempfile::tempdir().unwrap();
    let cases = folder.path().join("alerts-test.yml");
    let filled = include_str!("alerts-test.yml").replace("RULES", path.to_str().unwrap());
    std::fs::write(&cases, filled).unwrap();
    let test = ["test", "rules", cases.to_str().unwrap()];
    let (code, output, errors) = run_to_end(Command::new(&promtool).args(test), "");
    assert_eq!(code, Some(0), "{output}{errors}");

    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let scrape = get(&gate, "/metrics").await.text();
    let (code, output, errors) =
        run_to_end(Command::new(&promtool).args(["check", "metrics"]), &scrape);
    assert_eq!(code, Some(0), "{output}{errors}");
}

#[tokio::test]
async fn prometheus_scrapes_us_and_evaluates_the_alerts() {
    let app = Upstream::echo().await;
    let gate = gate(&app).await;
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
         scrape_configs:\n- job_name: vestibule\n  static_configs: [{{targets: ['{}']}}]\n",
        alerts().display(),
        gate.metrics_address()
    );
    let Some(prometheus) = real::prometheus_with(&config).await else {
        return;
    };
    let ask = async |target: &str| {
        let (status, body) = real::http(prometheus.address, Request::get(target))
            .await
            .unwrap();
        assert_eq!(status, 200, "{target}");
        serde_json::from_slice::<Value>(&body).unwrap()["data"].clone()
    };
    gate.browser().get("/public").await.assert_status(200);
    let requests =
        "/api/v1/query?query=vestibule_requests_total%7Bapp%3D%22app%22%2Cstatus%3D%222xx%22%7D";
    eventually_some("a sample", async || {
        let value = ask(requests).await["result"][0]["value"][1].clone();
        (value == "1").then_some(())
    })
    .await;
    let target = ask("/api/v1/targets").await["activeTargets"][0].clone();
    assert_eq!(target["health"], "up", "{target}");
    let rules = eventually_some("the rules to be evaluated", async || {
        let groups = ask("/api/v1/rules").await["groups"].clone();
        let rules = groups[0]["rules"].as_array()?.clone();
        rules
            .iter()
            .all(|rule| rule["health"] == "ok")
            .then_some(rules)
    })
    .await;
    for rule in rules {
        assert_eq!(
            rule["state"], "inactive",
            "a healthy service alarms nobody: {rule}"
        );
    }
}

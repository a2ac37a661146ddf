//! What the pages list is what there is, and all of it.

mod events;
mod fixed;

use std::collections::{BTreeMap, BTreeSet};

use hyper::Request;

use super::page::{Page, quoted};
use crate::harness::*;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// Each metric of a scrape with the values of each of its labels.
async fn scrape() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let app = Upstream::echo().await;
    let gate = Vestibule::before(&app)
        .admin("socket = \"admin.sock\"\nmetrics = \"127.0.0.1:0\"")
        .start()
        .await;
    gate.browser().get("/").await.assert_status(303);
    let address = gate.metrics_address();
    let (_, body) = real::http(address, Request::get("/metrics")).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut metrics = BTreeMap::<String, BTreeMap<String, BTreeSet<String>>>::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            declared.split(' ').next().unwrap().clone_into(&mut name);
            metrics.entry(name.clone()).or_default();
        }
        let labels = line.split_once('{').filter(|_| !line.starts_with('#'));
        let labels = labels.map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
        for pair in labels.split("\",").filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once("=\"").unwrap();
            if label != "le" {
                let values = metrics.get_mut(&name).unwrap();
                let values = values.entry(label.to_owned()).or_default();
                values.insert(value.trim_end_matches('"').to_owned());
            }
        }
    }
    metrics
}

#[tokio::test]
async fn each_metric_stands_in_the_page_with_its_labels_and_their_values() {
    let page = Page::open("metrics.md");
    let metrics = scrape().await;
    let rows = page.rows("metric");
    assert!(rows.len() > 20, "{rows:?}");
    let documented: BTreeSet<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let known: BTreeSet<_> = metrics.keys().map(String::as_str).collect();
    assert_eq!(documented, known);
    for row in rows {
        let labels = &metrics[row[0].trim_matches('`')];
        let names: BTreeSet<_> = labels.keys().map(String::as_str).collect();
        assert_eq!(quoted(row[1]), names, "the labels of {}", row[0]);
        let said = quoted(row[2]);
        let a_few = labels.iter().filter(|(label, _)| is_of_a_few(label));
        let mut values: BTreeSet<_> = a_few
            .flat_map(|(_, values)| values.iter().map(String::as_str))
            .collect();
        if said.contains("1xx") {
            let between = ["2xx", "3xx", "4xx"]; // "`1xx` to `5xx`"
            assert!(between.iter().all(|class| values.remove(class)));
        }
        assert!(values.is_subset(&said), "{}: {values:?}", row[0]);
        for other in said.difference(&values) {
            let known = *other == "none" || EXAMPLE.contains(other);
            assert!(known, "{} has no {other}", row[0]);
        }
    }
}

/// Whether all values of this label are known from the start.
fn is_of_a_few(label: &str) -> bool {
    !["app", "file", "version"].contains(&label)
}

#[test]
fn each_line_of_the_log_stands_in_the_page_with_its_fields() {
    let page = Page::open("logs.md");
    let mut known = BTreeSet::new();
    for event in events::all() {
        if event.level == "DEBUG" {
            continue; // not promised
        }
        known.insert((event.message, event.level, event.fields));
    }
    assert!(known.len() > 60, "{}", known.len());
    let rows = page.rows("message");
    let documented: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            let message = row[0].trim_matches('`').trim().to_owned();
            let message = Some(message).filter(|message| message != "none");
            let fields = quoted(row[3]).into_iter().map(str::to_owned).collect();
            (message, row[1].to_owned(), fields)
        })
        .collect();
    for (event, row) in [(&known, &documented), (&documented, &known)] {
        let missing: Vec<_> = event.difference(row).collect();
        assert!(missing.is_empty(), "only on one side: {missing:#?}");
    }
    assert_eq!(rows.len(), documented.len(), "each once");

    let fields: BTreeSet<String> = known
        .into_iter()
        .flat_map(|(_, _, fields)| fields)
        .collect();
    let rows = page.rows("field");
    let explained = rows.iter().flat_map(|row| quoted(row[0]));
    assert_eq!(fields, explained.map(str::to_owned).collect());
}

#[tokio::test]
async fn an_error_is_what_the_page_shows() {
    let mut page = Page::open("errors.md");
    let gate = Vestibule::before_url("http://127.0.0.1:1")
        .rule("/", "everyone")
        .start()
        .await;
    let reply = gate.browser().fetch("/").await;
    reply.assert_status(502);
    let mut told = reply.json();
    let example = page.next("json");
    let mut example: serde_json::Value = serde_json::from_str(&example).unwrap();
    for shown in [&mut told, &mut example] {
        assert!(shown["request_id"].take().is_string());
    }
    assert_eq!(told, example);
}

#[test]
fn each_exit_code_stands_in_the_page_and_each_command_there_ends_with_its_own() {
    let page = Page::open("exit-codes.md");
    let code = |cell: &str| cell.parse::<i32>().unwrap();
    let listed: BTreeSet<_> = page.rows("code").iter().map(|row| code(row[0])).collect();
    let source = include_str!("../../../src/cli.rs");
    let (_, report) = source.split_once("fn report").unwrap();
    let numbers = report.split_once("\n}\n").unwrap().0.split(" => ").skip(1);
    let numbers = numbers.filter_map(|rest| rest.split(',').next().unwrap().parse().ok());
    let of_failures: BTreeSet<i32> = numbers.collect();
    assert!(of_failures.len() > 3, "{of_failures:?}");
    assert_eq!(listed, of_failures.union(&[0].into()).copied().collect());

    let app = "http://127.0.0.1:9";
    let files = Vestibule::before_url(app).user("ada", PASSWORD).write();
    let mut shown = BTreeSet::new();
    for row in page.rows("command") {
        let words = row[0].trim_matches('`').split_whitespace().skip(1);
        let words: Vec<_> = words.collect();
        let ended = if words.contains(&"--config") || words.len() == 1 && words[0] == "sevre" {
            run_without_config(&words)
        } else {
            run(&files, &words)
        };
        assert_eq!(ended.0, Some(code(row[1])), "{words:?}: {ended:?}");
        shown.insert(code(row[1]));
    }
    assert_eq!(shown, listed, "an example of each");
}

/// Every key with a default, as `section.key`, in the spelling of the file.
fn defaults() -> BTreeMap<String, String> {
    let mut section = "";
    let mut defaults = BTreeMap::new();
    for line in EXAMPLE.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_start_matches('[').split(']').next().unwrap();
        }
        let default = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
        if let Some((key, value)) = default.and_then(|rest| rest.split_once(" = ")) {
            defaults.insert(format!("{section}.{key}"), value.to_owned());
        }
    }
    defaults
}

/// Whether a default is a number, a time or a size, and so a limit.
fn is_limit(value: &str) -> bool {
    let value = value.trim_matches('"');
    let unit = value.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < value.len() && ["", "s", "m", "h", "d", "KiB", "MiB"].contains(&unit)
}

#[test]
fn each_limit_stands_in_the_page_with_its_default() {
    let page = Page::open("limits.md");
    let defaults = defaults();
    let rows = page.rows("what");
    let mut keys = BTreeSet::new();
    let mut fixed = BTreeSet::new();
    for row in rows {
        let [what, default, key, _] = row[..] else {
            panic!("{row:?}")
        };
        if key == "fixed" {
            assert!(fixed.insert((what, default)), "{what} twice");
            continue;
        }
        let key = key.trim_matches('`');
        let expected = defaults.get(key).unwrap_or_else(|| panic!("no key {key}"));
        assert_eq!(default, expected.trim_matches('"'), "{key}");
        assert!(keys.insert(key.to_owned()), "{key} twice");
    }
    let known = defaults.into_iter().filter(|(_, value)| is_limit(value));
    let known: BTreeSet<_> = known.map(|(key, _)| key).collect();
    assert_eq!(keys, known, "every limit that has a key");
    fixed::assert_same(&fixed);
}

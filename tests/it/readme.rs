//! What the README shows is what the program takes.

use std::path::Path;

use vestibule::config::Config;

use crate::harness::run_without_config;

const README: &str = include_str!("../../README.md");

/// The content of each fenced block of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    README
        .split(&begin)
        .skip(1)
        .map(|rest| rest.split_once("```").expect("a block ends").0)
        .collect()
}

/// Every `vestibule …` of the shell blocks and of the running text, in words.
fn commands() -> Vec<Vec<&'static str>> {
    let lines = blocks("sh").into_iter().flat_map(str::lines);
    let text = README
        .split("```")
        .step_by(2)
        .flat_map(|text| text.split('`').skip(1).step_by(2));
    lines
        .chain(text)
        .filter(|code| code.starts_with("vestibule "))
        .map(|code| code.split_whitespace().skip(1).collect())
        .collect()
}

#[test]
fn each_configuration_of_the_readme_is_accepted() {
    let configurations = blocks("toml");
    assert_eq!(configurations.len(), 2, "the smallest one and a fuller one");
    for text in configurations {
        let config = Config::parse(text, Path::new("/etc/vestibule/config.toml"));
        assert!(config.is_ok(), "{}\nin:\n{text}", config.unwrap_err());
    }
}

#[test]
fn each_command_of_the_readme_exists_with_its_options() {
    let commands = commands();
    for expected in [
        "serve",
        "quickstart",
        "check",
        "user",
        "session",
        "status",
        "hash-password",
    ] {
        let named = commands.iter().any(|words| words[0] == expected);
        assert!(named, "the README does not name {expected}");
    }
    for words in commands {
        let depth = if ["user", "session"].contains(&words[0]) {
            2
        } else {
            1
        };
        let asked = [&words[..depth], &["--help"]].concat();
        let (code, help, errors) = run_without_config(&asked);
        assert_eq!(code, Some(0), "{asked:?}: {errors}");
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{words:?} has no {option}:\n{help}");
        }
    }
}

#[test]
fn each_file_that_the_readme_links_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let links = README
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next());
    let images = README
        .split("src=\"")
        .skip(1)
        .map(|rest| rest.split('"').next());
    let targets: Vec<_> = links.chain(images).flatten().collect();
    assert!(targets.len() > 5, "{targets:?}");
    let headings: Vec<_> = README
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    for target in targets {
        if let Some(anchor) = target.strip_prefix('#') {
            assert!(headings.iter().any(|known| known == anchor), "#{anchor}");
        } else if !target.starts_with("https://") {
            assert!(root.join(target).is_file(), "{target} is missing");
        }
    }
}

#[test]
fn check_and_serve_end_with_the_code_of_an_invalid_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, blocks("toml")[0]).unwrap();
    let path = path.to_str().unwrap();
    let ask = ["check", "--url", "https://a/", "--user", "ada"];
    for command in [&["check"][..], &ask, &["serve"]] {
        let ended = run_without_config(&[command, &["--config", path]].concat());
        assert_eq!(
            ended.0,
            Some(78),
            "{command:?} without users file and certificate: {ended:?}"
        );
    }
}

/// What the code gives the log for this target: the message, and the names of the fields.
fn events(target: &str) -> Vec<(String, Vec<String>)> {
    let marker = format!("target: \"{target}\",");
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut events = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(path).unwrap();
            for call in source.split(&marker).skip(1) {
                let call = call.split_once(");").expect("a call ends").0;
                events.push(event(call));
            }
        }
    }
    events
}

/// `client = %visit.client, %user, "login failed"`
fn event(call: &str) -> (String, Vec<String>) {
    let mut parts = call.split('"');
    let fields = parts.next().unwrap_or_default().split(',').map(str::trim);
    let fields = fields.filter(|field| !field.is_empty()).map(|field| {
        let name = field.split('=').next().unwrap_or_default().trim();
        name.trim_start_matches(['%', '?']).to_owned()
    });
    let message = parts.next().unwrap_or_default();
    (message.to_owned(), fields.collect())
}

#[test]
fn each_event_of_the_log_stands_in_the_readme_with_its_fields() {
    let row = |target: &str, message: &str| {
        let start = format!("| `{target}` | {message} |");
        let row = README.lines().find(|line| line.starts_with(&start));
        row.unwrap_or_else(|| panic!("the README does not have {start}"))
    };
    let mut audit = events("audit");
    audit.sort();
    audit.dedup(); // one event may be written in two places
    assert!(audit.len() >= 9, "{audit:?}");
    for (message, fields) in &audit {
        let row = row("audit", &format!("`{message}`"));
        for field in fields {
            assert!(row.contains(&format!("`{field}`")), "{message}: {field}");
        }
    }
    let rows = README.lines().filter(|line| line.starts_with("| `audit`"));
    assert_eq!(rows.count(), audit.len(), "and no other: {audit:?}");

    let access = events("access");
    let [(_, fields)] = &access[..] else {
        panic!("one event: {access:?}")
    };
    assert!(fields.len() > 10, "{fields:?}");
    for field in fields {
        let named = format!("`{field}`");
        assert!(row("access", "none").contains(&named), "{field}");
        let explained = README.lines().any(|line| {
            let first = line.split('|').nth(1).unwrap_or_default();
            first.contains(&named)
        });
        assert!(explained, "{field} has no line of its own");
    }
}

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

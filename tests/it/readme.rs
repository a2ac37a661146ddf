//! What the README shows is what the program takes. Its links and commands are checked with those
//! of the pages, in `docs`.

use std::path::Path;

use vestibule::config::Config;

use crate::harness::run_without_config;

const README: &str = include_str!("../../README.md");

/// The configuration that it shows.
fn smallest() -> &'static str {
    let mut blocks = README.split("```toml\n").skip(1);
    let block = blocks.next().expect("a configuration");
    assert!(blocks.next().is_none(), "one configuration");
    block.split_once("```").expect("a block ends").0
}

#[test]
fn the_configuration_of_the_readme_is_accepted() {
    let config = Config::parse(smallest(), Path::new("/etc/vestibule/config.toml"));
    assert!(config.is_ok(), "{}", config.unwrap_err());
}

#[test]
fn check_and_serve_end_with_the_code_of_an_invalid_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, smallest()).unwrap();
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

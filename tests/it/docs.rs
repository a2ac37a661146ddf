//! The pages of `docs/` do what they say: each has one story that runs all of its blocks, or a
//! test that holds its tables against the program.

mod apps;
mod configuration;
mod desk;
mod forward_auth;
mod front;
mod identity_token;
mod install;
mod migration;
mod one_login;
mod operations;
pub(crate) mod page;
mod performance;
mod recipes;
mod reference;
mod several_nodes;
mod tokens;
mod visitors;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::page::folder;
use crate::harness::run_without_config;

/// All pages below a folder, as paths from `docs/`.
fn pages_below(folder: &Path, prefix: &str) -> BTreeSet<String> {
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            pages.extend(pages_below(&entry.path(), &format!("{prefix}{name}/")));
        } else if entry.path().extension().is_some_and(|end| end == "md") {
            pages.insert(format!("{prefix}{name}"));
        }
    }
    pages
}

/// Everything that operators read, with its content.
fn texts() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let others = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "packaging/README.md",
    ];
    let others = others.iter().map(|file| root.join(file));
    let pages = pages_below(&folder(), "");
    let pages = pages.iter().map(|page| folder().join(page));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    others.chain(pages).map(read).collect()
}

/// The pages that the tests open.
fn opened() -> Vec<String> {
    let mut opened = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let source = fs::read_to_string(path).unwrap();
                let calls = source.split("Page::open(\"").skip(1);
                opened.extend(calls.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    opened
}

#[test]
fn each_page_has_one_story_and_a_line_in_the_index() {
    let mut pages = pages_below(&folder(), "");
    assert!(pages.remove("README.md"), "the index");
    let opened = opened();
    // Recipes have an index of their own, and some come from the documentation of their app.
    let is_recipe = |page: &str| page.starts_with("recipes/");
    let not_run = |page: &String| is_recipe(page) && !opened.contains(page);
    pages.retain(|page| page == recipes::INDEX || !not_run(page));
    assert!(pages.remove(recipes::INDEX), "the index of recipes");
    let told: BTreeSet<_> = opened.iter().cloned().collect();
    assert_eq!(
        told, pages,
        "a page without a story, or the other way round"
    );
    assert_eq!(opened.len(), told.len(), "one story a page: {opened:?}");
    let index = fs::read_to_string(folder().join("README.md")).unwrap();
    let readme = &texts()[0].1;
    let others = pages.into_iter().filter(|page| !is_recipe(page));
    for page in others.chain([recipes::INDEX.to_owned()]) {
        assert!(index.contains(&format!("({page})")), "{page} in the index");
        let link = format!("(docs/{page}");
        assert!(readme.contains(&link), "{page} in the README");
    }
}

#[test]
fn each_link_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    for (path, text) in texts() {
        let page = path.display();
        let prose: String = text.split("```").step_by(2).collect();
        let of_text = prose.split("](").skip(1).map(|rest| rest.split(')').next());
        let images = prose.split("src=\"").skip(1);
        let images = images.map(|rest| rest.split('"').next());
        for target in of_text.chain(images).flatten() {
            if target.starts_with("https://") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(linked.exists(), "{page}: {target}");
            let known = || page::anchors(&fs::read_to_string(&linked).unwrap());
            assert!(
                anchor.is_empty() || known().contains(anchor),
                "{page}: {target}"
            );
        }
    }
    assert!(links > 50, "{links}");
}

/// Every `vestibule …` of a text, in its shell blocks and its sentences, in words.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let of_shell = text.split("\n```sh\n").skip(1);
    let of_shell = of_shell.flat_map(|rest| rest.split("\n```").next().unwrap().lines());
    let prose = text.split("```").step_by(2);
    let quoted = prose.flat_map(|text| text.split('`').skip(1).step_by(2));
    of_shell
        .chain(quoted)
        .filter(|code| code.starts_with("vestibule "))
        .map(|code| code.split_whitespace().skip(1).collect())
        .collect()
}

#[test]
fn each_command_that_a_page_names_exists_with_its_options() {
    let mut seen = BTreeSet::new();
    for (path, text) in texts() {
        if path.ends_with("exit-codes.md") {
            continue; // names wrong ones on purpose, and has a test of its own
        }
        for words in commands(&text) {
            if !seen.insert(words.join(" ")) {
                continue;
            }
            let page = path.display();
            let has_parts =
                ["node", "session", "token", "user"].contains(&words[0]) && words.len() > 1;
            let depth = match words[0] {
                option if option.starts_with("--") => 0, // `vestibule --version`
                _ if has_parts => 2,
                _ => 1,
            };
            let asked = [&words[..depth], &["--help"]].concat();
            let (code, help, errors) = run_without_config(&asked);
            assert_eq!(code, Some(0), "{page}: {asked:?}: {errors}");
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(
                    help.contains(option),
                    "{page}: {words:?} has no {option}:\n{help}"
                );
            }
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
}

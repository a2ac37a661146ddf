//! The pages of `docs/` do what they say: each has one story that runs all of its blocks, or a
//! test that holds its tables against the program.

mod desk;
mod front;
mod install;
mod migration;
mod page;
mod recipes;
mod reference;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use self::page::folder;

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

/// The pages that the tests open.
fn opened() -> Vec<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/docs");
    let mut opened = Vec::new();
    for entry in fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let calls = source.split("Page::open(\"").skip(1);
        opened.extend(calls.map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    opened
}

#[test]
fn each_page_has_one_story_and_a_line_in_the_index() {
    let mut pages = pages_below(&folder(), "");
    assert!(pages.remove("README.md"), "the index");
    let opened = opened();
    let told: BTreeSet<_> = opened.iter().cloned().collect();
    assert_eq!(
        told, pages,
        "a page without a story, or the other way round"
    );
    assert_eq!(opened.len(), told.len(), "one story a page: {opened:?}");
    let index = fs::read_to_string(folder().join("README.md")).unwrap();
    for page in pages {
        assert!(index.contains(&format!("({page})")), "{page} in the index");
    }
}

#[test]
fn each_link_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    for page in pages_below(&folder(), "") {
        let path = folder().join(&page);
        let text = fs::read_to_string(&path).unwrap();
        let prose: String = text.split("```").step_by(2).collect();
        for target in prose.split("](").skip(1) {
            let target = target.split(')').next().unwrap();
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
    assert!(links > 5, "{links}");
}

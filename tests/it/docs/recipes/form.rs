//! All recipes have one form, load as they stand, and say whether the tests run them.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::super::page::folder;
use super::super::{opened, pages_below};
use crate::harness::tls::HOST;
use crate::harness::*;

/// The list of all recipes.
pub(crate) const INDEX: &str = "recipes/README.md";

const HEADINGS: [&str; 5] = [
    "In the app",
    "In Vestibule",
    "Works",
    "Does not",
    "Tested with",
];

const NOT_RUN: &str = "Not run by our tests: from the app's documentation.";

struct Recipe {
    page: String,
    title: String,
    /// What stands below each of the headings.
    parts: Vec<String>,
}

impl Recipe {
    fn all() -> Vec<Self> {
        let pages = pages_below(&folder().join("recipes"), "recipes/");
        let pages = pages.into_iter().filter(|page| page != INDEX);
        pages.map(Self::read).collect()
    }

    fn read(page: String) -> Self {
        let text = fs::read_to_string(folder().join(&page)).unwrap();
        let mut parts = vec![String::new()];
        let mut headings = Vec::new();
        let mut is_prose = true;
        for line in text.lines() {
            is_prose ^= line.starts_with("```");
            match line.strip_prefix("## ") {
                Some(heading) if is_prose => {
                    headings.push(heading.to_owned());
                    parts.push(String::new());
                }
                _ => parts.last_mut().unwrap().extend([line, "\n"]),
            }
        }
        assert_eq!(headings, HEADINGS, "{page}");
        let head = parts.remove(0);
        let head: Vec<_> = head.trim().split("\n\n").collect();
        let [title, _what_and_why] = *head else {
            panic!("{page}: a title and one paragraph: {head:?}");
        };
        Self {
            title: title.strip_prefix("# ").unwrap().to_owned(),
            page,
            parts,
        }
    }

    fn is_run(&self) -> bool {
        !self.parts[4].trim().starts_with(NOT_RUN)
    }

    /// The only block of TOML, which is in its place.
    fn toml(&self) -> &str {
        let page = &self.page;
        let part = &self.parts[1];
        let (_, block) = part.split_once("```toml\n").expect(page);
        let all = self.parts.concat();
        assert_eq!(all.matches("```toml").count(), 1, "{page}");
        block.split("```").next().unwrap()
    }

    /// Whom the rules name, behind `groups = [` or `users = [`.
    fn named(&self, key: &str) -> BTreeSet<&str> {
        let lists = self.toml().split(key).skip(1);
        let lists = lists.filter_map(|rest| rest.split(']').next());
        lists
            .flat_map(|list| list.split('"').skip(1).step_by(2))
            .collect()
    }
}

#[test]
fn each_recipe_has_the_same_parts() {
    let recipes = Recipe::all();
    assert!(recipes.len() > 3);
    for recipe in recipes {
        let page = &recipe.page;
        for part in &recipe.parts[2..4] {
            let part = part.trim();
            let lines = part.lines();
            let is_list = |line: &str| line.starts_with("- ") || line.starts_with("  ");
            assert!(
                !part.is_empty() && lines.clone().all(is_list),
                "{page}: {part}"
            );
        }
        let tested = &recipe.parts[4];
        let names_a_version = tested.contains(|c: char| c.is_ascii_digit());
        assert!(!recipe.is_run() || names_a_version, "{page}: {tested}");
    }
}

/// Only that nothing listens where the app would be is said of it.
#[test]
fn check_accepts_the_configuration_of_each_recipe() {
    for recipe in Recipe::all() {
        let (page, toml) = (&recipe.page, recipe.toml());
        let upstream = format!("upstream = \"http://{}\"", held_port());
        let lines = toml.lines().map(|line| match line.split_once(" = ") {
            Some(("upstream", _)) => upstream.clone(),
            Some(("host", _)) => format!("host = \"{HOST}\""),
            Some(("metrics", _)) => format!("metrics = \"{}\"", held_port()),
            _ => line.to_owned(),
        });
        let text: Vec<_> = lines.collect();
        let (tables, app) = match text.iter().position(|line| line == "[[app]]") {
            Some(0) => (String::new(), text.join("\n")),
            Some(at) => (text[..at].join("\n"), text[at..].join("\n")),
            None => panic!("{page}: no app"),
        };
        let tables = tables.replace("[admin]\n", "");
        let groups: Vec<_> = recipe.named("groups = [").into_iter().collect();
        let mut gate = Vestibule::before_app(&format!("{app}\n"));
        gate = gate.admin(&format!("{tables}\nsocket = \"admin.sock\""));
        for user in recipe.named("users = [").into_iter().chain(["zoe"]) {
            gate = gate.account(User::new(user, PASSWORD).groups(&groups));
        }
        let (code, out, said) = run(&gate.write(), &["check", "--json"]);
        assert_eq!(code, Some(0), "{page}: {out}{said}");
        let report: Value = serde_json::from_str(&out).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let messages: Vec<_> = findings.iter().map(|one| &one["message"]).collect();
        let is_expected = |message: &&Value| message.to_string().contains("nothing listens");
        assert!(
            messages.iter().copied().all(|one| is_expected(&one)),
            "{page}: {messages:?}"
        );
    }
}

#[test]
fn the_index_of_recipes_says_which_of_them_the_tests_run() {
    let index = fs::read_to_string(folder().join(INDEX)).unwrap();
    let rows = index.lines().filter(|line| line.starts_with("| ["));
    let rows: BTreeSet<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].to_owned(), cells[2] == "yes")
        })
        .collect();
    let opened = opened();
    let expected = Recipe::all().into_iter().map(|recipe| {
        let Recipe { page, title, .. } = &recipe;
        // The page of Grafana is followed without Grafana.
        let is_open = opened.contains(page) && !page.ends_with("/grafana.md");
        assert_eq!(recipe.is_run(), is_open, "{page}: whether tests open it");
        let file = page.strip_prefix("recipes/").unwrap();
        (format!("[{title}]({file})"), recipe.is_run())
    });
    assert_eq!(rows, expected.collect());
}

/// What a recipe is tested with is what `.ci/run` installs.
#[test]
fn versions_of_programs_are_those_that_are_installed() {
    let script = include_str!("../../../../.ci/run");
    let list = script
        .split("apps=(")
        .nth(1)
        .unwrap()
        .split(')')
        .next()
        .unwrap();
    let mut installed: Vec<_> = list
        .split_whitespace()
        .map(|one| one.split_once("==").unwrap())
        .collect();
    assert!(installed.len() > 3, "{installed:?}");
    let (_, verdaccio) = script.split_once("\nverdaccio=").unwrap();
    installed.push(("verdaccio", verdaccio.lines().next().unwrap()));
    for recipe in Recipe::all().iter().filter(|recipe| recipe.is_run()) {
        let tested = recipe.parts[4].to_lowercase();
        for (name, version) in &installed {
            if tested.contains(name) {
                assert!(tested.contains(version), "{}: {tested}", recipe.page);
            }
        }
    }
}

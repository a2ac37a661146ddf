//! One page of `docs/`, read as a visitor of the page reads it: block by block.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use crate::harness::Vestibule;

/// A page that is being followed. A block that nobody has taken at the end is a failure.
pub(crate) struct Page {
    name: String,
    text: String,
    blocks: VecDeque<(String, String)>,
}

/// Where the pages are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

impl Page {
    pub(crate) fn open(name: &str) -> Self {
        let text = fs::read_to_string(folder().join(name)).unwrap();
        let mut blocks = VecDeque::new();
        let mut parts = text.split("\n```");
        parts.next();
        while let Some(block) = parts.next() {
            let (language, content) = block.split_once('\n').unwrap();
            assert!(!language.is_empty(), "a block of {name} has no language");
            blocks.push_back((language.to_owned(), format!("{content}\n")));
            let after = parts.next().expect("a block ends");
            assert!(after.is_empty() || after.starts_with('\n'), "{after}");
        }
        Self {
            name: name.to_owned(),
            text,
            blocks,
        }
    }

    /// The block of this language with this part; the others are for other tests.
    pub(crate) fn block(name: &str, language: &str, part: &str) -> String {
        let mut page = Self::open(name);
        let mut blocks = std::mem::take(&mut page.blocks).into_iter();
        let found = blocks.find(|(found, content)| found == language && content.contains(part));
        let (_, content) = found.unwrap_or_else(|| panic!("{name}: no {language} with {part}"));
        content
    }

    /// The next block, which has to be of this language.
    pub(crate) fn next(&mut self, language: &str) -> String {
        let next = self.blocks.pop_front();
        let (found, content) = next.unwrap_or_else(|| panic!("{}: no more blocks", self.name));
        assert_eq!(
            found, language,
            "{}: the next block is\n{content}",
            self.name
        );
        content
    }

    /// Leaves the next block out, for a reason.
    pub(crate) fn skip(&mut self, language: &str, reason: &str) {
        let block = self.next(language);
        eprintln!("{}: not run, because {reason}:\n{block}", self.name);
    }

    /// The next block as the app of a gate, at this address; with any host name.
    pub(crate) fn gate(&mut self, url: &str) -> Vestibule {
        let text = self.next("toml");
        let lines = text.lines().filter(|line| !line.starts_with("host = "));
        let lines = lines.map(|line| match line.split_once(" = ") {
            Some(("upstream", _)) => format!("upstream = \"{url}\"\n"),
            _ => format!("{line}\n"),
        });
        Vestibule::before_app(&lines.collect::<String>())
    }

    /// All of these stand in it, in backticks.
    pub(crate) fn assert_names(&self, names: &BTreeSet<&str>) {
        for name in names {
            let quoted = format!("`{name}`");
            assert!(self.text.contains(&quoted), "{}: no {quoted}", self.name);
        }
    }

    /// The cells of each row of the tables whose first column has this name.
    pub(crate) fn rows(&self, first: &str) -> Vec<Vec<&str>> {
        let header = format!("| {first} |");
        let tables = self.text.split("\n\n");
        let tables = tables.filter(|table| table.starts_with(&header));
        let rows = tables.flat_map(|table| table.lines().skip(2));
        rows.map(|row| {
            let cells = row.trim_matches('|').split('|');
            cells.map(str::trim).collect()
        })
        .collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        assert!(
            thread::panicking() || self.blocks.is_empty(),
            "{}: nobody runs {:?}",
            self.name,
            self.blocks
        );
    }
}

/// What is in backticks.
pub(crate) fn quoted(cell: &str) -> BTreeSet<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What a link may name after `#`.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let prose: String = text.split("\n```").step_by(2).collect();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

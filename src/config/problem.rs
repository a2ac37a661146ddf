//! What is wrong with a configuration, shown the way a compiler shows it.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::source_text::{Fault, Problem};

/// Collects everything that is wrong, so that one run shows all of it.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    text: &'a str,
    /// Where its lines end. Each app and each rule asks for its line.
    newlines: Vec<usize>,
    found: RefCell<Vec<(Option<Range<usize>>, Fault)>>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            newlines: memchr::memchr_iter(b'\n', text.as_bytes()).collect(),
            found: RefCell::default(),
        }
    }

    /// `at` are bytes of the text; `None` is the file as a whole.
    pub(super) fn push(&self, at: Option<Range<usize>>, fault: Fault) {
        self.found.borrow_mut().push((at, fault));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The line of a place, for a problem that points to another one.
    pub(super) fn line(&self, at: &Range<usize>) -> usize {
        self.newlines.partition_point(|end| *end < at.start) + 1
    }

    /// The problems in the order of the file.
    pub(super) fn into_error(self, path: &Path) -> ConfigError {
        let mut problems = self.found.into_inner();
        problems.sort_by_key(|(at, _)| at.as_ref().map_or(usize::MAX, |at| at.start));
        let locate = |(at, fault): (Option<Range<usize>>, Fault)| match at {
            Some(at) => fault.marked(self.text, &at),
            None => fault.anywhere(),
        };
        ConfigError {
            path: path.to_owned(),
            cause: Cause::Invalid(problems.into_iter().map(locate).collect()),
        }
    }
}

/// Everything that is wrong with a configuration, each with its place, cause and fix.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Invalid(Vec<Problem>),
    Unreadable(io::Error),
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            cause: Cause::Unreadable(error),
        }
    }

    /// What is wrong inside the file; nothing when it could not be read.
    pub(crate) fn problems(&self) -> &[Problem] {
        match &self.cause {
            Cause::Invalid(problems) => problems,
            Cause::Unreadable(_) => &[],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let problems = match &self.cause {
            Cause::Invalid(problems) => problems,
            Cause::Unreadable(error) => {
                write!(f, "{path}: cannot read this file: {error}")?;
                return match error.kind() {
                    // A folder, a pipe or a device.
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => {
                        write!(f, "\n      help: name the file with --config FILE")
                    }
                    _ => Ok(()),
                };
            }
        };
        for problem in problems {
            problem.report(&self.path, f)?;
            writeln!(f)?;
        }
        match problems.len() {
            1 => write!(f, "{path}: 1 problem"),
            many => write!(f, "{path}: {many} problems"),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Invalid(_) => None,
            Cause::Unreadable(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_text::position;

    fn shown(text: &str, part: &str) -> String {
        let start = text.find(part).unwrap();
        let problems = Problems::new(text);
        let fault = Fault::new("wrong").of("key").help("fix it");
        problems.push(Some(start..start + part.len()), fault);
        problems.into_error(Path::new("x.toml")).to_string()
    }

    #[test]
    fn a_problem_shows_its_line_and_marks_the_place() {
        let expected = "x.toml:2:5: key: wrong\n    2 | b = 30\n      |     ^^\n      help: fix it\n\nx.toml: 1 problem";
        assert_eq!(shown("a = 1\nb = 30\r\nc = 2", "30"), expected);
    }

    #[test]
    fn lines_are_counted_as_in_reports() {
        let text = "a\n\nb\r\n\u{e4}\nc";
        let problems = Problems::new(text);
        for at in 0..=text.len() {
            let (line, _) = position(text, at);
            assert_eq!(problems.line(&(at..at)), line, "byte {at}");
        }
    }

    #[test]
    fn columns_count_characters_and_tabs_stay_tabs() {
        let report = shown("\ttitle = \"Häuser\" # x", "# x");
        assert!(report.contains("x.toml:1:19: "), "{report}");
        assert!(report.contains("| \t                 ^^^\n"), "{report}");
    }

    #[test]
    fn a_terminal_escape_in_the_file_is_not_sent_to_the_terminal() {
        let report = shown("a = 1 \u{1b}[31m", "1");
        assert!(!report.contains('\u{1b}'), "{report:?}");
    }

    #[test]
    fn sec_72_a_password_in_an_address_is_not_shown() {
        let report = shown(r#"upstream = "http://ada:pa@ss@wiki:1" # @"#, "wiki");
        assert!(
            report.contains(r#""http://*********@wiki:1" # @"#),
            "{report}"
        );
    }

    #[test]
    fn problems_stand_in_the_order_of_the_file() {
        let problems = Problems::new("a\nb\nc");
        problems.push(None, Fault::new("whole"));
        problems.push(Some(4..5), Fault::new("second"));
        problems.push(Some(0..1), Fault::new("first"));
        let report = problems.into_error(Path::new("x")).to_string();
        let at = |word| report.find(word).unwrap();
        assert!(at("first") < at("second") && at("second") < at("whole"));
        assert!(report.ends_with("x: 3 problems"), "{report}");
    }
}

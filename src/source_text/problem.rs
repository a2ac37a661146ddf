//! What is wrong in a file that people wrote, where, and how to fix it.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::{line_start, position};

/// What is wrong with one value, and how to fix it; its place comes from whoever read it.
#[derive(Debug)]
pub(crate) struct Fault {
    message: String,
    help: Option<String>,
    is_secret: bool,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            is_secret: false,
        }
    }

    /// Hides the source line, which may contain a secret.
    #[must_use]
    pub(crate) fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong and how to fix it, where no file has it.
    pub(crate) fn sentence(self) -> String {
        match self.help {
            Some(help) => format!("{}: {help}", self.message),
            None => self.message,
        }
    }

    /// The same fault with the key or section it belongs to in front.
    #[must_use]
    pub(crate) fn of(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Of the file as a whole.
    pub(crate) fn anywhere(self) -> Problem {
        Problem {
            position: None,
            message: self.message,
            help: self.help,
            excerpt: None,
        }
    }

    /// At a byte of the text. What stands there is not shown: it may be secret.
    pub(crate) fn at(self, text: &str, offset: usize) -> Problem {
        Problem {
            position: Some(Position::of(text, offset)),
            ..self.anywhere()
        }
    }

    /// At these bytes of the text, which are shown.
    pub(crate) fn marked(self, text: &str, at: &Range<usize>) -> Problem {
        let excerpt = (!self.is_secret).then(|| Excerpt::cut(text, at));
        Problem {
            excerpt,
            ..self.at(text, at.start)
        }
    }
}

/// One thing to fix.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(flatten)]
    position: Option<Position>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// Lines and columns count from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Position {
    line: usize,
    column: usize,
}

impl Position {
    fn of(text: &str, offset: usize) -> Self {
        let (line, column) = position(text, offset);
        Self { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Problem {
    pub(crate) fn position(&self) -> Option<Position> {
        self.position
    }

    /// The way a compiler shows it, in several lines.
    pub(crate) fn report(&self, path: &std::path::Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", path.display())?;
        if let Some(position) = self.position {
            write!(f, "{position}:")?;
        }
        writeln!(f, " {}", self.message)?;
        if let (Some(excerpt), Some(position)) = (&self.excerpt, self.position) {
            excerpt.show(position, f)?;
        }
        match &self.help {
            Some(help) => writeln!(f, "      help: {help}"),
            None => Ok(()),
        }
    }
}

/// In one line, to stand behind the name of its file.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "{position}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// A piece of one line, to be shown.
#[derive(Debug)]
struct Excerpt {
    line: String,
    /// Characters that are marked.
    width: usize,
}

impl Excerpt {
    fn cut(text: &str, at: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(at.start);
        let begin = line_start(&text[..start]);
        let end = text[start..]
            .find('\n')
            .map_or(text.len(), |newline| start + newline);
        let marked = &text[start..text.floor_char_boundary(at.end.min(end)).max(start)];
        Self {
            // A terminal must not obey what a broken file says.
            line: masked(text[begin..end].trim_end())
                .replace(|c: char| c.is_control() && c != '\t', "\u{fffd}"),
            width: marked.trim_end().chars().count().max(1),
        }
    }

    fn show(&self, position: Position, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pad: String = (self.line.chars().take(position.column - 1))
            .map(|c| if c == '\t' { c } else { ' ' })
            .collect();
        writeln!(f, "{:>5} | {}", position.line, self.line)?;
        writeln!(f, "      | {pad}{}", "^".repeat(self.width))
    }
}

/// The line with the user and password of every address in it struck out: what is shown here
/// ends up in the journal (SEC-72).
fn masked(line: &str) -> String {
    let mut pieces = line.split("://");
    let mut masked = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(['/', '"', '\'', ' ']).unwrap_or(piece.len());
        let shown = piece[..end].rfind('@').unwrap_or(0);
        masked.push_str("://");
        masked.extend(piece[..shown].chars().map(|_| '*'));
        masked.push_str(&piece[shown..]);
    }
    masked
}

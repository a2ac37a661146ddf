//! One event, formatted, on its way into a queue.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::queue::{NOTE, Queue, Worth};

/// Hands each event to a queue as one line.
pub(super) struct Lines {
    pub(super) queue: Arc<Queue>,
    /// Text, in which a value could hold the end of a line; JSON escapes it.
    pub(super) text: bool,
    /// The reader is systemd's journal, which takes the priority of a line from its beginning.
    pub(super) journal: bool,
}

/// Takes the one write of one event.
pub(super) struct Line<'q> {
    lines: &'q Lines,
    worth: Worth,
    prefix: &'static [u8],
}

impl<'q> MakeWriter<'q> for Lines {
    type Writer = Line<'q>;

    fn make_writer(&'q self) -> Line<'q> {
        Line {
            lines: self,
            worth: Worth::Kept,
            prefix: b"",
        }
    }

    fn make_writer_for(&'q self, event: &Metadata<'_>) -> Line<'q> {
        Line {
            lines: self,
            worth: worth(event),
            prefix: if self.journal {
                priority(*event.level())
            } else {
                b""
            },
        }
    }
}

fn worth(event: &Metadata<'_>) -> Worth {
    match event.target() {
        NOTE => Worth::Note,
        "access" => Worth::Expendable,
        _ if *event.level() > Level::INFO => Worth::Expendable,
        _ => Worth::Kept,
    }
}

/// sd-daemon(3)
pub(super) fn priority(level: Level) -> &'static [u8] {
    match level {
        Level::ERROR => b"<3>",
        Level::WARN => b"<4>",
        Level::INFO => b"<6>",
        _ => b"<7>",
    }
}

impl io::Write for Line<'_> {
    /// The formatter gives the whole event at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = if self.lines.text {
            on_one_line(event)
        } else {
            event.into()
        };
        self.lines.queue.push(self.worth, self.prefix, &line);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes what would start a second line, of which a reader would believe that we wrote it, and
/// what steers a terminal (SEC-71).
fn on_one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let text = event.strip_suffix(b"\n").unwrap_or(event);
    if !text.iter().any(u8::is_ascii_control) {
        return event.into();
    }
    let mut line = Vec::with_capacity(event.len() + 16);
    for byte in text {
        if byte.is_ascii_control() {
            line.extend(char::from(*byte).escape_unicode().map(|c| c as u8));
        } else {
            line.push(*byte);
        }
    }
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_71_an_event_of_several_lines_is_one() {
        for (event, line) in [
            ("INFO a: b\n", "INFO a: b\n"),
            ("ERROR a: b\nc\r\n\n", "ERROR a: b\\u{a}c\\u{d}\\u{a}\n"),
            ("\u{1b}[2J ä\n", "\\u{1b}[2J ä\n"),
        ] {
            let found = on_one_line(event.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), line);
        }
    }
}

//! Events as JSON, each an object on a line: `timestamp`, `level`, what the event says, `target`.
//!
//! tracing-subscriber has this, too; but there each piece of a line passes several layers that know
//! nothing of the others, which was an eighth of all that a request costs.

use std::fmt::{self, Debug, Write};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::timestamp;
use crate::clock::Clock;

pub(super) struct Json;

/// Of most lines, to allocate once.
const USUAL_LENGTH: usize = 512;
const USUAL_LENGTH_SHOWN: usize = 64;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut object = Object::new();
        begin(&mut object.text, event.metadata().level().as_str());
        event.record(&mut object);
        end(&mut object.text, event.metadata().target());
        let text = String::from_utf8(object.text).map_err(|_| fmt::Error)?;
        writer.write_str(&text)
    }
}

/// Begins the object of what happens now.
pub(super) fn begin(line: &mut Vec<u8>, level: &str) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    timestamp::push(line, Clock::wall());
    line.extend_from_slice(b"\",\"level\":");
    push_quoted(line, level.as_bytes());
}

/// Ends the object, and the line.
pub(super) fn end(line: &mut Vec<u8>, target: &str) {
    line.extend_from_slice(b",\"target\":");
    push_string(line, target);
    line.extend_from_slice(b"}\n");
}

/// An object that is being written.
struct Object {
    text: Vec<u8>,
    /// The value that is shown as text, before it is escaped.
    shown: String,
}

impl Object {
    fn new() -> Self {
        Self {
            text: Vec::with_capacity(USUAL_LENGTH),
            shown: String::with_capacity(USUAL_LENGTH_SHOWN),
        }
    }

    fn add_name(&mut self, name: &str) {
        self.text.push(b',');
        push_quoted(&mut self.text, name.as_bytes()); // names stand in the sources, and need no escapes
        self.text.push(b':');
    }

    /// Writing to memory cannot fail, and what is logged are numbers and truth values besides texts.
    fn add(&mut self, name: &str, value: &impl Serialize) {
        self.add_name(name);
        let _ = serde_json::to_writer(&mut self.text, value);
    }

    fn add_text(&mut self, name: &str, value: &str) {
        self.add_name(name);
        push_string(&mut self.text, value);
    }

    fn add_shown(&mut self, name: &str, show: impl FnOnce(&mut String)) {
        let mut text = std::mem::take(&mut self.shown);
        text.clear();
        show(&mut text);
        self.add_text(name, &text);
        self.shown = text;
    }
}

/// Nearly every text of a line is short and written as it is: to look at eight of its bytes at a
/// time is cheaper than at each.
pub(super) fn push_string(line: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        push_quoted(line, text.as_bytes());
    } else {
        let _ = serde_json::to_writer(line, text); // writing to memory cannot fail
    }
}

/// A text that is known to need no escapes.
pub(super) fn push_quoted(line: &mut Vec<u8>, text: &[u8]) {
    line.reserve(text.len() + 2);
    line.push(b'"');
    line.extend_from_slice(text);
    line.push(b'"');
}

/// Whether JSON has no escape for any of it (RFC 8259 §7).
fn is_plain(text: &[u8]) -> bool {
    if let Some(last) = text.last_chunk::<8>() {
        let (words, _) = text.as_chunks::<8>(); // the last one holds the rest, too
        let is_plain = |word: &[u8; 8]| is_plain_word(u64::from_le_bytes(*word));
        words.iter().all(is_plain) && is_plain(last)
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let halves = [first, last].map(|half| u64::from(u32::from_le_bytes(*half)));
        is_plain_word(halves[0] | halves[1] << 32)
    } else {
        text.iter()
            .all(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\')
    }
}

/// Eight bytes at a time: a byte of `word - ONES * n`, where the same of `word` is below 0x80, has
/// its highest bit set if it was below `n`, or if a byte to its right was.
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    let has_below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let is_byte = |byte: u8| has_below(word ^ (ONES * u64::from(byte)), 1);
    (has_below(word, b' ') | is_byte(b'"') | is_byte(b'\\')) & HIGHEST == 0
}

impl Visit for Object {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add_shown(field.name(), |text| {
            let _ = write!(text, "{value:?}"); // writing to a String cannot fail
        });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &value);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line that an event makes.
    pub(in crate::telemetry) fn line_of(tell: impl FnOnce()) -> String {
        let written = Written::default();
        let lines = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Json)
            .with_writer(move || lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, tell);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_text_is_written_as_serde_json_writes_it() {
        for at in 0..33 {
            for odd in 0..0x80u8 {
                let mut text = "y".repeat(33);
                text.replace_range(at..=at, &char::from(odd).to_string());
                for text in [&text, &text[..=at], &text[at..]] {
                    let mut line = Vec::new();
                    push_string(&mut line, text);
                    let line = String::from_utf8(line).unwrap();
                    assert_eq!(line, serde_json::to_string(text).unwrap());
                }
            }
        }
    }

    #[test]
    fn sec_71_an_event_is_one_object_on_one_line() {
        let text = line_of(|| {
            tracing::warn!(
                target: "access", text = "a\"\\\r\n\u{1b}\u{e9}", none = None::<&str>,
                debug = ?("b", '\n'), shown = %"c\n", yes = true, less = -1, more = u64::MAX,
                broken = 1.25, nothing = f64::NAN, "it\nis \"said\""
            );
        });
        let (timestamp, rest) = text.split_once(',').unwrap();
        assert_eq!(
            rest,
            "\"level\":\"WARN\",\"message\":\"it\\nis \\\"said\\\"\",\
             \"text\":\"a\\\"\\\\\\r\\n\\u001b\u{e9}\",\"debug\":\"(\\\"b\\\", '\\\\n')\",\
             \"shown\":\"c\\n\",\"yes\":true,\"less\":-1,\"more\":18446744073709551615,\
             \"broken\":1.25,\"nothing\":null,\"target\":\"access\"}\n"
        );
        let timestamp = timestamp.strip_prefix("{\"timestamp\":\"").unwrap();
        assert!(
            timestamp.len() == "2026-01-31T23:59:59.000000Z\"".len() && timestamp.ends_with("Z\"")
        );
    }
}

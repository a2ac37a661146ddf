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
        object.add_shown("timestamp", |text| timestamp::push(text, Clock::wall()));
        object.add("level", event.metadata().level().as_str());
        event.record(&mut object);
        object.add("target", event.metadata().target());
        writer.write_str(&object.end()?)
    }
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

    /// Writing to memory cannot fail, and what is logged are texts, numbers and truth values.
    fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        let separator = if self.text.is_empty() { b'{' } else { b',' };
        self.text.push(separator);
        let _ = serde_json::to_writer(&mut self.text, name);
        self.text.push(b':');
        let _ = serde_json::to_writer(&mut self.text, value);
    }

    fn add_shown(&mut self, name: &str, show: impl FnOnce(&mut String)) {
        let mut text = std::mem::take(&mut self.shown);
        text.clear();
        show(&mut text);
        self.add(name, text.as_str());
        self.shown = text;
    }

    fn end(mut self) -> Result<String, fmt::Error> {
        self.text.extend(b"}\n");
        String::from_utf8(self.text).map_err(|_| fmt::Error)
    }
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
        self.add(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &value);
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn sec_71_an_event_is_one_object_on_one_line() {
        let written = Written::default();
        let lines = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Json)
            .with_writer(move || lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(
                target: "access", text = "a\"\\\r\n\u{1b}\u{e9}", none = None::<&str>,
                debug = ?("b", '\n'), shown = %"c\n", yes = true, less = -1, more = u64::MAX,
                broken = 1.25, nothing = f64::NAN, "it\nis \"said\""
            );
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
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

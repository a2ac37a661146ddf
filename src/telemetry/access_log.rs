//! The access log as JSON, each line written at once.
//!
//! As an event of tracing, a line passes a dispatcher, filters and a formatter that ask for its
//! fields one by one, each by a virtual call: two thirds of what a line costs, which each request
//! has.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::Targets;

use super::access_line::{AccessLine, hex, microseconds, name_of};
use super::json::{self, push_quoted, push_string};
use super::line::priority;
use super::queue::{Queue, Worth};
use super::{printable, timestamp};
use crate::principal::Identity;

const TARGET: &str = "access";
const LEVEL: Level = Level::INFO;

static OF_PROCESS: OnceLock<AccessLog> = OnceLock::new();

thread_local! {
    /// The line that is being written: its memory is used again.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where the lines go, where they are JSON.
pub(super) struct AccessLog {
    queue: Arc<Queue>,
    prefix: &'static [u8],
    /// Whether `[log] level` wants them.
    is_wanted: AtomicBool,
}

impl AccessLog {
    /// Has the lines of the process written to this queue from now on, which is the one of the
    /// other lines. `journal` says that systemd's journal reads them.
    pub(super) fn start(queue: &Arc<Queue>, journal: bool, targets: &Targets) {
        let log = Self {
            queue: Arc::clone(queue),
            prefix: if journal { priority(LEVEL) } else { b"" },
            is_wanted: AtomicBool::new(wants(targets)),
        };
        let _ = OF_PROCESS.set(log); // there is one subscriber in a process, and one of these
    }

    /// Another level, from the next line on.
    pub(super) fn set_level(targets: &Targets) {
        if let Some(log) = Self::of_process() {
            log.is_wanted.store(wants(targets), Ordering::Relaxed);
        }
    }

    pub(super) fn of_process() -> Option<&'static Self> {
        OF_PROCESS.get()
    }

    pub(super) fn write(&self, line: &AccessLine, total: Duration) {
        if !self.is_wanted.load(Ordering::Relaxed) {
            return;
        }
        LINE.with_borrow_mut(|text| {
            text.clear();
            push(text, line, total);
            self.queue.push(Worth::Expendable, self.prefix, text);
        });
    }
}

fn wants(targets: &Targets) -> bool {
    targets.would_enable(TARGET, &LEVEL)
}

/// Between two values.
macro_rules! name {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}

/// As [`AccessLine::tell`] has it.
fn push(text: &mut Vec<u8>, line: &AccessLine, total: Duration) {
    let plain = |text: &mut Vec<u8>, name: &[u8], value: &[u8]| {
        text.extend_from_slice(name);
        push_quoted(text, value);
    };
    let string = |text: &mut Vec<u8>, name: &[u8], value: Option<&str>| {
        if let Some(value) = value {
            text.extend_from_slice(name);
            push_string(text, value);
        }
    };
    let number = |text: &mut Vec<u8>, name: &[u8], value: u64| {
        text.extend_from_slice(name);
        let _ = serde_json::to_writer(text, &value); // writing to memory cannot fail
    };
    json::begin(text, LEVEL.as_str());
    plain(text, name!("request"), line.request.as_str().as_bytes());
    plain(text, name!("client"), line.client.as_bytes());
    string(
        text,
        name!("user"),
        line.user.as_deref().map(Identity::user),
    );
    if let Some(session) = line.session {
        plain(text, name!("session"), &hex(session));
    }
    if let Some(token) = line.token {
        plain(text, name!("token"), &hex(token));
    }
    string(text, name!("app"), line.app.as_deref());
    if let Some(kind) = line.asked_by {
        plain(text, name!("asked_by"), kind.name().as_bytes());
    }
    string(text, name!("method"), Some(line.method.as_str()));
    string(text, name!("path"), Some(&*printable(&line.path)));
    plain(text, name!("version"), name_of(line.version).as_bytes());
    text.extend_from_slice(name!("status"));
    text.extend_from_slice(line.status.as_str().as_bytes());
    number(text, name!("received"), line.received);
    number(text, name!("sent"), line.sent);
    if let Some(head) = line.head {
        text.extend_from_slice(name!("head_ms"));
        push_milliseconds(text, head);
    }
    text.extend_from_slice(name!("total_ms"));
    push_milliseconds(text, total);
    text.extend_from_slice(name!("complete"));
    text.extend_from_slice(if line.complete { b"true" } else { b"false" });
    string(text, name!("reason"), line.reason);
    string(text, name!("error"), line.error);
    json::end(text, TARGET);
}

/// As JSON has a floating-point number: without the zeros at its end, but with one digit behind the
/// point.
fn push_milliseconds(text: &mut Vec<u8>, time: Duration) {
    let microseconds = microseconds(time);
    let _ = serde_json::to_writer(&mut *text, &(microseconds / 1000)); // memory cannot fail
    let digits = timestamp::digits::<3>(u32::try_from(microseconds % 1000).unwrap_or(0));
    let used = match digits {
        [_, b'0', b'0'] => 1,
        [_, _, b'0'] => 2,
        _ => 3,
    };
    text.push(b'.');
    text.extend_from_slice(&digits[..used]);
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, StatusCode, Version};

    use super::super::RequestId;
    use super::super::json::tests::line_of;
    use super::*;

    fn pushed(line: &AccessLine, total: Duration) -> String {
        let mut text = Vec::new();
        push(&mut text, line, total);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_line_is_the_same_as_its_event() {
        let request = |path: &str| Request::get(path).body(()).unwrap().into_parts().0;
        let odd = "/a%20b\"c{d}/\u{e9}";
        let lines =
            [("/", 0), (odd, 1), (&*format!("/{}", "x".repeat(1000)), 2)].map(|(path, n)| {
                let id = RequestId::own(1, n);
                let mut line = AccessLine::begin(id, "2001:db8::1".into(), &request(path));
                if n > 0 {
                    line.method = Method::from_bytes(b"M'!#$%").unwrap();
                    line.version = Version::HTTP_2;
                    line.app = Some("an \"app\"".into());
                    line.user = Some(Arc::new(Identity::new(
                        "\u{e9}da\\".into(),
                        Vec::new(),
                        None,
                    )));
                    line.asked_by = Some(crate::request::ProxyKind::Nginx);
                    line.session = Some(0x0012_abcd);
                    line.token = Some(0x9876_00ef);
                    line.status = StatusCode::from_u16(999).unwrap();
                    line.received = u64::MAX;
                    line.sent = 5;
                    line.head = Some(Duration::from_nanos(1_499));
                    line.complete = true;
                    line.reason = Some("a_reason");
                    line.error = Some("a \"word\"");
                }
                line
            });
        for line in lines {
            for nanos in [0, 499, 500, 1_000, 12_300_000, 999_999_500, 61_000_010_000] {
                let total = Duration::from_nanos(nanos);
                let since = |line: &str| line.split_once(',').unwrap().1.to_owned();
                let (expected, found) = (line_of(|| line.tell(total)), pushed(&line, total));
                assert_eq!(since(&found), since(&expected));
                assert_eq!(found.find(','), expected.find(','), "{found}");
            }
        }
    }

    #[test]
    fn milliseconds_are_written_as_serde_json_writes_them() {
        for microseconds in (0..3000).chain([59_999_900, 86_400_000_000, 1 << 52]) {
            let mut text = Vec::new();
            push_milliseconds(&mut text, Duration::from_micros(microseconds));
            #[expect(clippy::cast_precision_loss, reason = "up to 2^52")]
            let expected = serde_json::to_string(&(microseconds as f64 / 1000.0)).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }

    #[test]
    fn the_level_decides_whether_there_are_lines() {
        for (level, wanted) in [
            ("info", true),
            ("warn", false),
            ("warn,access=info", true),
            ("info,access=off", false),
            ("debug", true),
        ] {
            assert_eq!(wants(&level.parse().unwrap()), wanted, "{level}");
        }
    }
}

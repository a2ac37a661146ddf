//! The time of a line, as in `2026-01-31T23:59:59.000000Z` (RFC 3339 §5.6).

use std::cell::RefCell;
use std::time::Duration;

use crate::clock::Timestamp;

thread_local! {
    /// All but the fraction changes once a second, and is formatted as seldom; nginx keeps the time
    /// for its log in the same way.
    static SECOND: RefCell<Second> = const { RefCell::new(Second::NONE) };
}

/// A second since the Unix epoch, and its text up to the fraction.
struct Second {
    number: Option<u64>,
    text: String,
}

impl Second {
    const NONE: Self = Self {
        number: None,
        text: String::new(),
    };

    fn text(&mut self, number: u64) -> &str {
        if self.number != Some(number) {
            let time = Timestamp::default().plus(Duration::from_secs(number));
            self.text = time.to_rfc3339();
            self.text.pop(); // the `Z`
            self.number = Some(number);
        }
        &self.text
    }
}

/// Appends a time since the Unix epoch to a line, to the microsecond.
pub(super) fn push(line: &mut Vec<u8>, since_epoch: Duration) {
    SECOND.with_borrow_mut(|second| {
        line.extend_from_slice(second.text(since_epoch.as_secs()).as_bytes());
    });
    line.push(b'.');
    line.extend_from_slice(&digits::<6>(since_epoch.subsec_micros()));
    line.push(b'Z');
}

/// The last `N` digits of a number; `format!` takes ten times as long.
pub(super) fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10).to_le_bytes()[0];
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_its_microseconds() {
        for (seconds, nanos, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 1_000, "2000-02-29T00:00:00.000001Z"),
            (951_782_400, 20_000_000, "2000-02-29T00:00:00.020000Z"),
            (951_782_399, 0, "2000-02-28T23:59:59.000000Z"),
            (1_769_903_999, 500_000, "2026-01-31T23:59:59.000500Z"),
        ] {
            let mut line = b"at ".to_vec();
            push(&mut line, Duration::new(seconds, nanos));
            assert_eq!(String::from_utf8(line).unwrap(), format!("at {expected}"));
        }
    }
}

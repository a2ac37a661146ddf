//! Times as people say them.

use std::time::Duration;

use super::messages::texts::{self, fill};
use crate::clock::Timestamp;

/// `12 minutes`, rounded up: who waits that long has waited long enough.
pub(super) fn wait(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    span(seconds, u64::div_ceil)
}

/// `3 hours ago`, `in 20 minutes`, `just now`; what was is rounded down, and what is to come to the
/// nearest: 90 days are not 89 a moment later.
pub(super) fn relative(moment: Timestamp, now: Timestamp) -> String {
    let (past, ahead) = (now.since(moment), moment.since(now));
    if past.max(ahead) < Duration::from_secs(10) {
        texts::WORDS_JUST_NOW.into()
    } else if ahead.is_zero() {
        let span = span(past.as_secs(), std::ops::Div::div);
        fill(texts::WORDS_AGO, &[("span", &span)])
    } else {
        let span = span(ahead.as_secs(), |seconds, unit| (seconds + unit / 2) / unit);
        fill(texts::WORDS_AHEAD, &[("span", &span)])
    }
}

fn span(seconds: u64, divide: impl Fn(u64, u64) -> u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..=5400 => (divide(seconds, 60), "minute"),
        5401..=129_600 => (divide(seconds, 3600), "hour"),
        _ => (divide(seconds, 86_400), "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// `512 bytes`, `48 KB`, `1.0 MB`; rounded up.
pub(super) fn size(bytes: usize) -> String {
    match bytes {
        1 => "1 byte".into(),
        0..1000 => format!("{bytes} bytes"),
        1000..=999_000 => format!("{} KB", bytes.div_ceil(1000)),
        _ => {
            let tenths = bytes.div_ceil(100_000);
            format!("{}.{} MB", tenths / 10, tenths % 10)
        }
    }
}

/// The same for what something may have: rounded down, and round numbers as they are.
pub(super) fn limit(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1000 => return size(usize::try_from(bytes).unwrap_or_default()),
        1000..1_000_000 => (1000, "KB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    match (bytes / unit, bytes % unit * 10 / unit) {
        (whole, 0) => format!("{whole} {name}"),
        (whole, tenth) => format!("{whole}.{tenth} {name}"),
    }
}

/// A path that nobody reads to its end is cut.
pub(super) fn shortened(path: &str) -> String {
    const MAX: usize = 120;
    match path.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &path[..end]),
        None => path.to_owned(),
    }
}

/// `23 Nov 2026, 18:35 UTC`.
pub(super) fn date(moment: Timestamp) -> String {
    let imf = httpdate::fmt_http_date(moment.to_system_time()); // Mon, 23 Nov 2026 18:35:36 GMT
    format!("{}, {} UTC", &imf[5..16], &imf[17..22])
}

/// `2026-11-23T18:35Z`, for `<time>`.
pub(super) fn machine(moment: Timestamp) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let imf = httpdate::fmt_http_date(moment.to_system_time());
    let month = MONTHS.find(&imf[8..11]).map_or(0, |at| at / 3 + 1);
    let (year, day, time) = (&imf[12..16], &imf[5..7], &imf[17..22]);
    format!("{year}-{month:02}-{day}T{time}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_said_to_be_more_than_it_is() {
        for (bytes, expected) in [
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1 KB"),
            (1024, "1 KB"),
            (65_536, "65.5 KB"),
            (10_485_760, "10.4 MB"),
            (25_000_000, "25 MB"),
            (2_147_483_648, "2.1 GB"),
            (u64::MAX, "18446744073.7 GB"),
        ] {
            assert_eq!(limit(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn a_wait_is_said_in_words_and_never_too_short() {
        for (seconds, expected) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (61, "2 minutes"),
            (720, "12 minutes"),
            (5400, "90 minutes"),
            (5401, "2 hours"),
            (43_200, "12 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(wait(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(wait(Duration::from_millis(1)), "1 second");
    }

    #[test]
    fn a_moment_is_said_by_how_far_it_is() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        for (seconds, ahead, ago) in [
            (9, "just now", "just now"),
            (59, "in 59 seconds", "59 seconds ago"),
            (119, "in 2 minutes", "1 minute ago"),
            (43_199, "in 12 hours", "11 hours ago"),
            (90 * 86_400 - 30, "in 90 days", "89 days ago"),
        ] {
            let span = Duration::from_secs(seconds);
            assert_eq!(relative(now.plus(span), now), ahead);
            assert_eq!(relative(now, now.plus(span)), ago);
        }
    }

    #[test]
    fn a_size_is_said_in_words() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1 KB"),
            (1001, "2 KB"),
            (999_000, "999 KB"),
            (999_001, "1.0 MB"),
            (1_048_576, "1.1 MB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn a_long_path_is_cut_between_characters() {
        assert_eq!(shortened("/a"), "/a");
        assert_eq!(shortened(&"é".repeat(121)), format!("{}…", "é".repeat(120)));
    }

    #[test]
    fn a_moment_is_told_from_now() {
        let now = Timestamp::from_millis(1_795_458_936_000);
        let ago = Timestamp::from_millis(now.as_millis() - 7_900_000);
        assert_eq!(relative(now, now), "just now");
        assert_eq!(relative(ago, now), "2 hours ago");
        assert_eq!(
            relative(now.plus(Duration::from_mins(20)), now),
            "in 20 minutes"
        );
        assert_eq!(date(now), "23 Nov 2026, 18:35 UTC");
        assert_eq!(machine(now), "2026-11-23T18:35Z");
        assert_eq!(machine(Timestamp::default()), "1970-01-01T00:00Z");
    }
}

//! What an application says of how long it keeps a connection: `Keep-Alive: timeout=5, max=100`
//! (RFC 2068 §19.7.1.1).

use std::time::Duration;

use http::{HeaderMap, HeaderName};

pub(super) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The application closes on time whatever is on its way: a request that has left by then, and
/// cannot be sent twice, would be lost (REL-03).
const MARGIN: u64 = 1;

/// How long from now on the connection may be used again: zero for no time at all, `None` where the
/// application does not say. Of several, the shortest; what is no number says nothing.
pub(super) fn limit(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(KEEP_ALIVE).iter();
    let parameters = values.flat_map(|value| value.as_bytes().split(|byte| b",;".contains(byte)));
    parameters.filter_map(of_parameter).min()
}

fn of_parameter(parameter: &[u8]) -> Option<Duration> {
    let (name, value) = std::str::from_utf8(parameter).ok()?.split_once('=')?;
    let value = value.trim();
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let value = quoted.unwrap_or(value);
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = value.parse().unwrap_or(u64::MAX);
    let name = name.trim();
    if name.eq_ignore_ascii_case("timeout") {
        return Some(Duration::from_secs(number.saturating_sub(MARGIN)));
    }
    // So many more requests.
    (name.eq_ignore_ascii_case("max") && number == 0).then_some(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn rel_03_a_keep_alive_timeout_is_heeded_less_a_second() {
        for (value, seconds) in [
            ("timeout=5, max=100", Some(4)),
            ("timeout=5", Some(4)),
            ("TimeOut = 5 ;max=1", Some(4)),
            ("max=100, timeout=\"5\"", Some(4)),
            ("timeout=60, timeout=3", Some(2)),
            ("timeout=005", Some(4)),
            ("timeout=1", Some(0)),
            ("timeout=0", Some(0)),
            ("timeout=5, max=0", Some(0)),
            ("max=0", Some(0)),
            ("max=1", None),
            ("timeout=99999999999999999999999", Some(u64::MAX - 1)),
            ("timeout=-1", None),
            ("timeout=5s", None),
            ("timeout=5.5", None),
            ("timeout=", None),
            ("timeout=\"\"", None),
            ("timeout=\"", None),
            ("timeout", None),
            ("xtimeout=5", None),
            ("5", None),
            ("", None),
            ("\u{fc}=5, timeout=3", Some(2)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                KEEP_ALIVE,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(limit(&headers), expected, "{value:?}");
        }
        let mut several = HeaderMap::new();
        several.append(KEEP_ALIVE, HeaderValue::from_static("timeout=9"));
        several.append(KEEP_ALIVE, HeaderValue::from_static("timeout=4"));
        assert_eq!(limit(&several), Some(Duration::from_secs(3)));
        assert_eq!(limit(&HeaderMap::new()), None);
    }
}

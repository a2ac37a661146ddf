//! The counter in the session data, as an app without state of its own would keep it.

use http::{HeaderMap, HeaderName};

pub(super) const DATA: HeaderName = HeaderName::from_static("x-session-data");
pub(super) const SET: HeaderName = HeaderName::from_static("x-session-set");

/// The largest Structured Fields integer (RFC 9651 section 3.3.1).
pub(super) const MAX: u64 = 999_999_999_999_999;

/// `count` of the dictionary in `X-Session-Data`; 0 when it has none. The last of several wins
/// (RFC 9651 section 4.2.2).
pub(super) fn read(headers: &HeaderMap) -> u64 {
    headers
        .get_all(DATA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(members)
        .filter_map(|member| member.strip_prefix("count="))
        .filter_map(|count| count.split(';').next()?.parse().ok())
        .next_back()
        .unwrap_or(0)
        .min(MAX)
}

/// The members of a dictionary; a comma inside a string separates nothing.
fn members(dictionary: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    dictionary
        .split(move |c: char| {
            let literal = escaped;
            escaped = quoted && !literal && c == '\\';
            quoted ^= c == '"' && !literal;
            c == ',' && !quoted
        })
        .map(|member| member.trim_matches([' ', '\t']))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_other_members() {
        for (data, expected) in [
            ("", 0),
            ("count=3", 3),
            ("count=3, theme=\"dark\"", 3),
            ("theme=\"dark\" ,\tcount=12", 12),
            ("count=1, count=2", 2),
            ("count=4;unit=\"visits\"", 4),
            ("theme=\"a, count=9\"", 0),
            (r#"theme="a\", count=9, b", count=5"#, 5),
            (r#"theme="a\\", count=5"#, 5),
            ("discount=9", 0),
            ("count=\"9\"", 0),
            ("count=-1", 0),
            ("count", 0),
            ("count=9999999999999999", MAX),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(DATA, data.parse().unwrap());
            assert_eq!(read(&headers), expected, "{data}");
        }
        assert_eq!(read(&HeaderMap::new()), 0);
    }
}

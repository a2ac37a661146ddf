//! Tokens for people, a line each.

use std::fmt::Write;

use crate::admin::protocol::TokenView;
use crate::cli::columns;
use crate::cli::session::safe;

pub(super) fn of(tokens: &[TokenView]) -> String {
    let header = ["KEY", "USER", "NAME", "ENDS", "LAST USED", "OPENS"];
    columns::of(header, tokens.iter().map(row))
}

fn row(token: &TokenView) -> [String; 6] {
    let ends = day(&token.expires);
    let ends = if token.expired {
        format!("{ends} over")
    } else {
        ends.to_owned()
    };
    [
        token.key.get(..8).unwrap_or(&token.key).to_owned(),
        safe(&token.user),
        safe(&token.name),
        ends,
        token.last_used.as_deref().map_or("never", day).to_owned(),
        safe(&opens(token)),
    ]
}

/// `2026-01-31T23:59:59Z` by its day.
fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}

pub(in crate::cli) fn opens(token: &TokenView) -> String {
    let TokenView {
        apps,
        paths,
        methods,
        networks,
        ..
    } = token;
    let apps = if apps.is_empty() {
        "every app".to_owned()
    } else {
        apps.join(" ")
    };
    let mut opens = apps;
    for (word, list) in [("below", paths), ("by", methods), ("from", networks)] {
        if !list.is_empty() {
            let _ = write!(opens, " {word} {}", list.join(" "));
        }
    }
    opens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_that_no_name_can_break() {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let token = TokenView {
            key: "0123abcd".repeat(8),
            user: "ada".to_owned(),
            name: "phone\u{202e}".to_owned(),
            apps: texts(&["wiki", "files"]),
            paths: texts(&["/dav"]),
            methods: texts(&["GET"]),
            networks: texts(&["10.0.0.0/8"]),
            created: "2026-01-31T08:00:59Z".to_owned(),
            expires: "2026-05-01T08:00:59Z".to_owned(),
            expired: false,
            last_used: None,
        };
        let free = TokenView {
            key: "89abcdef".repeat(8),
            apps: vec![],
            paths: vec![],
            methods: vec![],
            networks: vec![],
            name: "ci".to_owned(),
            expired: true,
            last_used: Some("2026-02-01T00:00:00Z".to_owned()),
            ..token_like(&token)
        };
        assert_eq!(
            of(&[token, free]),
            "KEY       USER  NAME           ENDS             LAST USED   OPENS\n\
             0123abcd  ada   phone\\u{202e}  2026-05-01       never       wiki files below /dav by GET from 10.0.0.0/8\n\
             89abcdef  ada   ci             2026-05-01 over  2026-02-01  every app\n"
        );
    }

    fn token_like(token: &TokenView) -> TokenView {
        TokenView {
            key: String::new(),
            user: token.user.clone(),
            name: String::new(),
            apps: vec![],
            paths: vec![],
            methods: vec![],
            networks: vec![],
            created: token.created.clone(),
            expires: token.expires.clone(),
            expired: false,
            last_used: None,
        }
    }
}

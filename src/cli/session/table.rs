//! Sessions for people, a line each. The columns have fixed widths: how long the values of a
//! million sessions are is not known before the first is printed.

use std::io;

use crate::admin::protocol::SessionView;

const USER: usize = 12;
const TIME: usize = "01-31 23:59".len();
const ADDRESS: usize = 15;
const HOST: usize = 20;
const STREAMS: usize = 20;

pub(super) struct Table {
    /// Of the terminal; nothing is cut for a file or a pipe.
    width: Option<usize>,
}

impl Table {
    /// As wide as standard output.
    pub(super) fn new() -> Self {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let width = size.map(|size| usize::from(size.ws_col));
        Self {
            width: width.filter(|&width| width > 0),
        }
    }

    /// Streams have a column where there can be several nodes.
    pub(super) fn header(&self, with_streams: bool) -> String {
        let cells = [
            "KEY",
            "USER",
            "SIGNED IN",
            "LAST ACTIVE",
            "ENDS",
            "ADDRESS",
            "HOST",
        ];
        self.line(cells, with_streams.then_some("STREAMS"), "BROWSER")
    }

    pub(super) fn row(&self, session: &SessionView) -> String {
        let [created, last_accessed, expires] =
            [&session.created, &session.last_accessed, &session.expires].map(|time| minute(time));
        let streams = session.streams.as_ref().map(|nodes| {
            let nodes = nodes.iter();
            let nodes = nodes.map(|of| format!("{} {}", safe(&of.node), of.open));
            nodes.collect::<Vec<_>>().join(", ")
        });
        let cells = [
            session.key.get(..8).unwrap_or(&session.key),
            &safe(&session.user),
            &created,
            &last_accessed,
            &expires,
            &session.client,
            &session.hosts.join(" "),
        ];
        self.line(cells, streams.as_deref(), &safe(&session.user_agent))
    }

    fn line(
        &self,
        [key, user, created, accessed, expires, address, host]: [&str; 7],
        streams: Option<&str>,
        browser: &str,
    ) -> String {
        let streams = streams.map_or_else(String::new, |nodes| format!("{nodes:STREAMS$}  "));
        let mut line = format!(
            "{key:8}  {user:USER$}  {created:TIME$}  {accessed:TIME$}  {expires:TIME$}  \
             {address:ADDRESS$}  {host:HOST$}  {streams}{browser}"
        );
        line.truncate(line.trim_end().len());
        match self.width.and_then(|width| line.char_indices().nth(width)) {
            Some((end, _)) => line[..end].to_owned(),
            None => line,
        }
    }
}

/// `2026-01-31T23:59:59Z` as people read it: no session is a year old.
fn minute(time: &str) -> String {
    time.get(5..16).unwrap_or(time).replace('T', " ")
}

/// `text` from a browser: what could steer a terminal, or looks like nothing, is escaped.
pub(in crate::cli) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() {
            safe.push(c);
        } else {
            safe.extend(c.escape_unicode());
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::StreamsView;

    fn session(user: &str, client: &str, user_agent: &str) -> SessionView {
        SessionView {
            key: "0123abcd".repeat(8),
            user: user.to_owned(),
            groups: vec![],
            email: None,
            method: "password".to_owned(),
            created: "2026-01-31T08:00:59Z".to_owned(),
            last_accessed: "2026-01-31T23:59:59Z".to_owned(),
            expires: "2026-02-01T08:00:59Z".to_owned(),
            client: client.to_owned(),
            hosts: vec!["wiki.example.org".to_owned()],
            user_agent: user_agent.to_owned(),
            streams: None,
        }
    }

    #[test]
    fn a_session_is_one_line_that_no_browser_can_break() {
        let table = Table { width: None };
        assert_eq!(
            table.header(false),
            "KEY       USER          SIGNED IN    LAST ACTIVE  ENDS         ADDRESS          \
             HOST                  BROWSER"
        );
        assert_eq!(
            table.row(&session("ada", "192.0.2.1", "Mozilla/5.0 (X11)")),
            "0123abcd  ada           01-31 08:00  01-31 23:59  02-01 08:00  192.0.2.1        \
             wiki.example.org      Mozilla/5.0 (X11)"
        );
        let row = table.row(&session(
            "ada",
            "2001:db8::1",
            "a\r\nb\u{1b}[31mc\u{202e}d\u{e9}",
        ));
        assert!(
            row.ends_with(
                "2001:db8::1      wiki.example.org      a\\u{d}\\u{a}b\\u{1b}[31mc\\u{202e}d\u{e9}"
            ),
            "{row}"
        );
        assert!(
            table
                .row(&session("ada", "192.0.2.1", ""))
                .ends_with("wiki.example.org")
        );
    }

    #[test]
    fn streams_are_shown_with_their_nodes() {
        let table = Table { width: None };
        let streams = |node: &str, open| StreamsView {
            node: node.to_owned(),
            open,
        };
        let with = |streams| SessionView {
            streams: Some(streams),
            ..session("ada", "192.0.2.1", "curl")
        };
        assert!(
            table
                .header(true)
                .ends_with("HOST                  STREAMS               BROWSER")
        );
        for (streams, end) in [
            (vec![], "wiki.example.org                            curl"),
            (
                vec![streams("web1-5c07", 2)],
                "wiki.example.org      web1-5c07 2           curl",
            ),
            (
                vec![streams("web1-5c07", 2), streams("web2\u{1b}", 1)],
                "wiki.example.org      web1-5c07 2, web2\\u{1b} 1  curl",
            ),
        ] {
            let row = table.row(&with(streams));
            assert!(row.ends_with(end), "{row}");
        }
    }

    #[test]
    fn a_line_is_as_wide_as_the_terminal_at_most() {
        for width in [1, 40, 100, 120] {
            let table = Table { width: Some(width) };
            for line in [
                table.header(false),
                table.row(&session("ad\u{e4}", "192.0.2.1", &"\u{e9}".repeat(200))),
            ] {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}

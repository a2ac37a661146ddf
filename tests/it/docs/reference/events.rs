//! What the sources give the log.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One place that logs.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) level: String,
    /// The access log has none.
    pub(super) message: Option<String>,
    pub(super) fields: BTreeSet<String>,
}

/// All of the program, without its tests.
pub(super) fn all() -> Vec<Event> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut events = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let source = fs::read_to_string(path).unwrap();
                let program = source.split("mod tests {").next();
                events.extend(of_source(program.unwrap()));
            }
        }
    }
    events
}

fn of_source(source: &str) -> Vec<Event> {
    let levels = ["error", "warn", "info", "debug"];
    let calls = levels.iter().flat_map(|level| {
        let begin = format!("tracing::{level}!(");
        let starts: Vec<_> = source.match_indices(&begin).collect();
        let level = level.to_uppercase();
        starts
            .into_iter()
            .map(move |(at, begin)| (level.clone(), at + begin.len()))
    });
    calls
        .map(|(level, at)| event(level, &arguments(&source[at..])))
        .collect()
}

/// The arguments of a call, from behind its opening parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut in_string, mut escaped) =
        (vec![String::new()], 0, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => {}
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
        arguments.last_mut().unwrap().push(c);
    }
    arguments
}

/// `target: "audit", client = %visit.client, %user, "login failed"`
fn event(level: String, arguments: &[String]) -> Event {
    let (mut message, mut fields) = (None, BTreeSet::new());
    let arguments = arguments.iter().map(|argument| argument.trim());
    for argument in arguments.filter(|argument| !argument.is_empty()) {
        if let Some(text) = argument.strip_prefix('"') {
            message = Some(literal(text.trim_end_matches('"')));
        } else if !argument.starts_with("target:") {
            let name = argument.split('=').next().unwrap().trim();
            fields.insert(name.trim_start_matches(['%', '?']).to_owned());
        }
    }
    Event {
        level,
        message,
        fields,
    }
}

/// A literal may go on in the next line, after a backslash.
fn literal(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

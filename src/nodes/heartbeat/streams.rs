//! Which sessions have streams open, and on which nodes.
//!
//! Each node writes its own with its heartbeat, and an operator's list of sessions reads those of all:
//! nothing on the way of a request knows of it.

use std::collections::HashMap;
use std::time::Duration;

use super::{Kind, Told};

/// The first 64 bits of a session key, by which a store that nodes share finds it: no two sessions
/// there have the same.
pub(crate) type SessionName = [u8; NAME];

const NAME: usize = 8;
const COUNT: usize = 4;
const ENTRY: usize = NAME + COUNT;

/// Sessions with streams that a node tells of.
const MOST: usize = 16 * 1024;

/// They are told with each heartbeat: those of a node that is gone end soon.
pub(super) const STREAMS: Told = Told {
    kind: Kind::new("stream", 1, 1 + MOST * ENTRY),
    kept_for: Duration::from_secs(30),
};

/// How many streams a node has open, by session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) by_session: Vec<(SessionName, u32)>,
    /// There are others that it does not tell of.
    pub(super) has_more: bool,
}

/// A byte that says whether there are more, then name and count of each.
pub(super) fn encode(by_session: &[(SessionName, u32)]) -> Vec<u8> {
    let told = &by_session[..by_session.len().min(MOST)];
    let mut bytes = Vec::with_capacity(1 + told.len() * ENTRY);
    bytes.push(u8::from(by_session.len() > MOST));
    for (name, count) in told {
        bytes.extend_from_slice(name);
        bytes.extend(count.to_be_bytes());
    }
    bytes
}

/// `None` for what no node has written.
pub(super) fn decode(bytes: &[u8]) -> Option<Open> {
    let (has_more, entries) = bytes.split_first()?;
    let (entries, []) = entries.as_chunks::<ENTRY>() else {
        return None;
    };
    let by_session = entries.iter().map(|entry| {
        let (name, count) = entry.split_first_chunk::<NAME>()?;
        let count = count.try_into().ok()?;
        Some((*name, u32::from_be_bytes(count)))
    });
    Some(Open {
        by_session: by_session.collect::<Option<_>>()?,
        has_more: *has_more != 0,
    })
}

/// The open streams of all nodes.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    nodes: Vec<String>,
    by_session: HashMap<SessionName, Vec<(usize, u32)>>,
    unknown_of: Vec<String>,
}

impl Streams {
    pub(super) fn add(&mut self, node: &str, by_session: &[(SessionName, u32)]) {
        let number = self.nodes.len();
        self.nodes.push(node.to_owned());
        for (name, count) in by_session {
            let nodes = self.by_session.entry(*name).or_default();
            nodes.push((number, *count));
        }
    }

    pub(super) fn do_not_know(&mut self, node: &str) {
        self.unknown_of.push(node.to_owned());
    }

    /// The nodes on which a session has streams, and how many.
    pub(crate) fn of(&self, session: SessionName) -> impl Iterator<Item = (&str, u32)> {
        let nodes = self.by_session.get(&session).into_iter().flatten();
        nodes.map(|(number, count)| (&*self.nodes[*number], *count))
    }

    /// Nodes that may have others than these.
    pub(crate) fn unknown_of(&self) -> &[String] {
        &self.unknown_of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_tells_of_its_streams_is_bounded_and_read_as_it_was_written() {
        let some = |count: u64| -> Vec<(SessionName, u32)> {
            (0..count).map(|it| (it.to_be_bytes(), 7)).collect()
        };
        for count in [0, 1, 3, MOST as u64] {
            let open = Open {
                by_session: some(count),
                has_more: false,
            };
            assert_eq!(decode(&encode(&open.by_session)), Some(open));
        }
        let more = encode(&some(MOST as u64 + 1));
        assert!(more.len() <= STREAMS.kind.most);
        let open = decode(&more).unwrap();
        assert_eq!((open.by_session.len(), open.has_more), (MOST, true));
        for damaged in [&b""[..], b"\0too short", b"\0one byte more "] {
            assert_eq!(decode(damaged), None);
        }
    }
}

//! `vestibule node`: the nodes that serve one site together.

use clap::Subcommand;
use serde_json::json;

use super::admin_client::foreign;
use super::session::safe;
use super::{ConfigFile, Failure, columns, print};
use crate::admin::protocol::{Done, NodeState, NodeView, Request};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the nodes: version, address, since when, last seen; times are in UTC
    List(List),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print JSON: an array with one node on each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let Action::List(args) = &args.action;
    let answer = args.config.client()?.ask(&Request::NodeList {})?;
    let Done::Nodes { alone } = answer.done? else {
        return Err(foreign());
    };
    let nodes = &answer.nodes;
    if args.json {
        let lines: Vec<_> = nodes.iter().map(|node| json!(node).to_string()).collect();
        return print(format!("[\n{}\n]\n", lines.join(",\n")));
    }
    print(table(nodes))?;
    if alone {
        eprintln!(
            "vestibule: this node is alone: several share their sessions with `store = \"redis\"` in \
             [session]"
        );
    }
    Ok(())
}

fn table(nodes: &[NodeView]) -> String {
    let header = ["NODE", "VERSION", "ADDRESS", "SINCE", "LAST SEEN", "STATE"];
    columns::of(header, nodes.iter().map(row))
}

fn row(node: &NodeView) -> [String; 6] {
    let shown = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), safe);
    let state = match node.state {
        NodeState::Damaged => "damaged, or sealed with another key",
        NodeState::Newer => "of a later version, which this one cannot read",
        NodeState::Running => "running",
        NodeState::Silent => "silent",
    };
    let this = if node.this { ", this node" } else { "" };
    [
        shown(&node.name),
        shown(&node.version),
        safe(&node.addresses.join(" ")),
        second(node.started.as_deref()),
        second(node.last_seen.as_deref()),
        format!("{state}{this}"),
    ]
}

/// `2026-01-31T23:59:59Z` as people read it.
fn second(time: Option<&str>) -> String {
    let Some(time) = time else {
        return "-".to_owned();
    };
    safe(time.get(..19).unwrap_or(time)).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_one_line_that_no_name_can_break() {
        let this = NodeView {
            id: "0011223344556677".to_owned(),
            name: Some("web1-0011".to_owned()),
            version: Some("0.1.0".to_owned()),
            addresses: vec!["10.0.0.1:443".to_owned(), "[::1]:443".to_owned()],
            started: Some("2026-01-31T08:00:59Z".to_owned()),
            last_seen: Some("2026-01-31T23:59:59Z".to_owned()),
            state: NodeState::Running,
            this: true,
        };
        let silent = NodeView {
            name: Some("web\u{202e}2".to_owned()),
            addresses: vec![],
            state: NodeState::Silent,
            this: false,
            ..view(&this)
        };
        let newer = NodeView {
            name: None,
            version: None,
            addresses: vec![],
            started: None,
            state: NodeState::Newer,
            this: false,
            ..view(&this)
        };
        assert_eq!(
            table(&[this, silent, newer]),
            "NODE          VERSION  ADDRESS                 SINCE                LAST SEEN            STATE\n\
             web1-0011     0.1.0    10.0.0.1:443 [::1]:443  2026-01-31 08:00:59  2026-01-31 23:59:59  running, this node\n\
             web\\u{202e}2  0.1.0                            2026-01-31 08:00:59  2026-01-31 23:59:59  silent\n\
             -             -                                -                    2026-01-31 23:59:59  of a later version, which this one cannot read\n"
        );
    }

    fn view(node: &NodeView) -> NodeView {
        serde_json::from_value(json!(node)).unwrap()
    }
}

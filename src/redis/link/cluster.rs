//! Follows a cluster: which of its servers has which slots.

use std::collections::HashSet;
use std::sync::Arc;

use ::redis::{Value, cmd};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::Shared;
use super::connect::Connection;
use super::error::ConnectError;
use super::node::Pause;
use super::routes::{Range, Routes};
use super::target::Target;
use crate::redis::{Address, Settings};

/// The largest clusters that Redis recommends; each of them has a connection.
const MOST_SERVERS: usize = 1000;

/// Asks for the slots again and again: soon while something is missing, or when a server says that
/// it has moved, and else when connections are old, too.
pub(super) async fn follow(shared: Arc<Shared>, named: Vec<Address>) {
    let mut pause = Pause::default();
    loop {
        match ask(&shared, &named).await {
            Ok(ranges) => {
                let before = shared.routes.load_full();
                let routes = Routes::cluster(ranges, |address| {
                    let mut members = before.members.iter();
                    let known = members.find(|known| known.address.as_ref() == Some(address));
                    if let Some(known) = known {
                        return Arc::clone(known);
                    }
                    let target = Target::OfCluster(address.clone());
                    Arc::new(shared.member(target, Some(address.clone())))
                });
                shared.set_cluster_error(None);
                shared.set_routes(routes);
            }
            Err(error) => shared.set_cluster_error(Some(Arc::new(error))),
        }
        shared.changed();
        pause.wait().await; // however often it is asked for
        if shared.routes.load().are_whole() {
            pause = Pause::default();
            let _ = timeout(shared.age, shared.moved.notified()).await;
        }
    }
}

/// All servers that are known are asked at once, and the first good answer counts: a wrong one is
/// set right by the next server that says where a key is.
async fn ask(shared: &Shared, named: &[Address]) -> Result<Vec<Range>, ConnectError> {
    let routes = shared.routes.load_full();
    let current = routes
        .members
        .iter()
        .filter_map(|member| member.node.current());
    let current: Vec<_> = current.collect();
    let mut asked: FuturesUnordered<_> = (current.iter())
        .map(|connection| of_connection(connection, &shared.settings))
        .collect();
    while let Some(answer) = asked.next().await {
        if let Ok(ranges) = answer {
            return Ok(ranges);
        }
    }
    let members = routes
        .members
        .iter()
        .filter_map(|member| member.address.as_ref());
    let others: HashSet<_> = named.iter().chain(members).collect();
    let mut asked: FuturesUnordered<_> = (others.into_iter())
        .map(|address| of_address(address, &shared.settings))
        .collect();
    let mut error = ConnectError::TimedOut;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(ranges) => return Ok(ranges),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

async fn of_address(address: &Address, settings: &Settings) -> Result<Vec<Range>, ConnectError> {
    let opening = Connection::open_silent(settings, address, &settings.login);
    let opened = timeout(settings.timeout, opening).await;
    let connection = opened.map_err(|_| ConnectError::TimedOut)??;
    of_connection(&connection, settings).await
}

async fn of_connection(
    connection: &Connection,
    settings: &Settings,
) -> Result<Vec<Range>, ConnectError> {
    let answer = slots(connection, settings).await?;
    let ranges = read(answer, &connection.address).ok_or(ConnectError::Nonsense)?;
    let servers: HashSet<_> = ranges.iter().map(|range| &range.address).collect();
    match servers.len() {
        0 => Err(ConnectError::Incomplete),
        1..=MOST_SERVERS => Ok(ranges),
        _ => Err(ConnectError::Nonsense),
    }
}

async fn slots(connection: &Connection, settings: &Settings) -> Result<Value, ConnectError> {
    let question = cmd("CLUSTER").arg("SLOTS").take();
    let mut handle = connection.handle();
    let asked = timeout(settings.timeout, question.query_async(&mut handle)).await;
    Ok(asked.map_err(|_| ConnectError::TimedOut)??)
}

/// All nodes with slots, masters and replicas, as the first of these knows them that answers.
pub(super) async fn nodes(
    settings: &Settings,
    named: &[Address],
) -> Result<Vec<Address>, ConnectError> {
    let asking = named.iter().map(async |address| {
        let opening = Connection::open_silent(settings, address, &settings.login);
        let opened = timeout(settings.timeout, opening).await;
        let connection = opened.map_err(|_| ConnectError::TimedOut)??;
        let answer = slots(&connection, settings).await?;
        let nodes = read_all(&answer, address).filter(|nodes| nodes.len() <= MOST_SERVERS);
        nodes.ok_or(ConnectError::Nonsense)
    });
    let mut asking: FuturesUnordered<_> = asking.collect();
    let mut error = ConnectError::TimedOut;
    while let Some(answer) = asking.next().await {
        match answer {
            Ok(nodes) => return Ok(nodes),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

/// Each server once.
fn read_all(answer: &Value, asked: &Address) -> Option<Vec<Address>> {
    let Value::Array(ranges) = answer else {
        return None;
    };
    let mut nodes = Vec::new();
    for range in ranges {
        let Value::Array(parts) = range else {
            return None;
        };
        for server in parts.get(2..)? {
            let node = server_of(server, asked)?;
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
    }
    Some(nodes)
}

/// A server without a name is the one that was asked.
fn server_of(server: &Value, asked: &Address) -> Option<Address> {
    let (Address::Tcp { host, tls, .. }, Value::Array(parts)) = (asked, server) else {
        return None;
    };
    let [name, Value::Int(port), ..] = &parts[..] else {
        return None;
    };
    let name = match name {
        Value::BulkString(name) if !name.is_empty() => String::from_utf8(name.clone()).ok()?,
        Value::BulkString(_) | Value::Nil => host.clone(),
        _ => return None,
    };
    Some(Address::Tcp {
        host: name,
        port: u16::try_from(*port).ok()?,
        tls: *tls,
    })
}

/// First slot, last slot, and the servers that have them, the master first.
fn read(answer: Value, asked: &Address) -> Option<Vec<Range>> {
    let Value::Array(ranges) = answer else {
        return None;
    };
    let ranges = ranges.into_iter().map(|range| {
        let Value::Array(parts) = range else {
            return None;
        };
        let [Value::Int(first), Value::Int(last), master, ..] = &parts[..] else {
            return None;
        };
        Some(Range {
            first: u16::try_from(*first).ok()?,
            last: u16::try_from(*last).ok()?,
            address: server_of(master, asked)?,
        })
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
            tls: true,
        }
    }

    #[test]
    fn slots_are_read_with_their_masters() {
        let range = |first, last, name: Value| {
            let master = Value::Array(vec![name, Value::Int(7000), bulk("id")]);
            let replica = Value::Array(vec![bulk("10.0.0.9"), Value::Int(7009)]);
            Value::Array(vec![Value::Int(first), Value::Int(last), master, replica])
        };
        let answer = Value::Array(vec![
            range(0, 99, bulk("10.0.0.1")),
            range(100, 16383, Value::Nil),
        ]);
        let nodes = read_all(&answer, &tcp("10.0.0.5", 6379)).unwrap();
        let all = [
            tcp("10.0.0.1", 7000),
            tcp("10.0.0.9", 7009),
            tcp("10.0.0.5", 7000),
        ];
        assert_eq!(nodes, all);
        let ranges = read(answer, &tcp("10.0.0.5", 6379)).unwrap();
        let expected = [(0, 99, "10.0.0.1"), (100, 16383, "10.0.0.5")];
        let expected = expected.map(|(first, last, host)| Range {
            first,
            last,
            address: tcp(host, 7000),
        });
        assert_eq!(ranges, expected);
        for nonsense in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![range(-1, 9, Value::Nil)]),
            Value::Array(vec![range(0, 70000, Value::Nil)]),
            Value::Array(vec![range(0, 9, Value::Int(1))]),
        ] {
            assert_eq!(read(nonsense.clone(), &tcp("a", 1)), None);
        }
    }
}

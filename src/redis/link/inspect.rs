//! Looks at the servers, for `check`.

use ::redis::aio::MultiplexedConnection;
use ::redis::{ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::time::timeout;

use super::cluster::nodes;
use super::connect::{Connection, open_pub_sub};
use super::error::ConnectError;
use super::server::{Server, field};
use super::target::{Target, replicas};
use crate::redis::rights::{COMMANDS, OF_CLUSTER, rule};
use crate::redis::{Address, Servers, Settings};

/// What was seen of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspected {
    pub(crate) server: Server,
    /// It writes down what it keeps, command by command (`appendonly`).
    pub(crate) is_appending: bool,
    /// What it does when its memory is full (`maxmemory-policy`).
    pub(crate) policy: String,
    /// Rules of the ACL that its user lacks.
    pub(crate) missing: Vec<String>,
}

/// What was seen of all servers.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) servers: Vec<(Address, Result<Inspected, ConnectError>)>,
    /// Whom nobody could ask for the others, and why: they are not among these.
    pub(crate) unlisted: Option<(Address, ConnectError)>,
}

/// The one server; the master that sentinels name, and its replicas, which may take its place; or each node
/// of the cluster, of which the configuration names some.
pub(crate) async fn inspect(settings: &Settings) -> Seen {
    match &settings.servers {
        Servers::One(address) => {
            let target = Target::One(address.clone());
            let inspected = look_at(settings, target.open(settings)).await;
            Seen {
                servers: vec![(address.clone(), inspected)],
                unlisted: None,
            }
        }
        Servers::Sentinel(sentinel) => {
            let named = sentinel.nodes.first().cloned();
            let target = Target::Sentinel(sentinel.clone());
            let master = look_at(settings, target.open(settings));
            let (master, others) = tokio::join!(master, replicas(sentinel, settings));
            let (others, error) = listed(others);
            let mut servers = each(settings, &others).await;
            servers.splice(..0, named.clone().map(|named| (named, master)));
            Seen {
                servers,
                unlisted: named.zip(error),
            }
        }
        Servers::Cluster(named) => {
            let (others, error) = listed(nodes(settings, named).await);
            let mut addresses = named.clone();
            addresses.extend(others.into_iter().filter(|other| !named.contains(other)));
            Seen {
                servers: each(settings, &addresses).await,
                unlisted: named.first().cloned().zip(error),
            }
        }
    }
}

fn listed(servers: Result<Vec<Address>, ConnectError>) -> (Vec<Address>, Option<ConnectError>) {
    match servers {
        Ok(servers) => (servers, None),
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// All at once, whatever their roles are.
async fn each(
    settings: &Settings,
    addresses: &[Address],
) -> Vec<(Address, Result<Inspected, ConnectError>)> {
    let inspecting = addresses.iter().map(async |address| {
        let open = Connection::open(settings, address, &settings.login);
        (address.clone(), look_at(settings, open).await)
    });
    futures_util::future::join_all(inspecting).await
}

async fn look_at(
    settings: &Settings,
    open: impl Future<Output = Result<Connection, ConnectError>>,
) -> Result<Inspected, ConnectError> {
    let connection = open.await?;
    if connection.server.is_loading {
        return Err(ConnectError::Loading);
    }
    look(settings, &connection).await
}

async fn look(settings: &Settings, connection: &Connection) -> Result<Inspected, ConnectError> {
    let looking = async {
        let mut handle = connection.handle();
        let info: String = cmd("INFO").query_async(&mut handle).await?;
        let mut missing = missing(settings, &mut handle).await?;
        missing.extend(subscribe(settings, &connection.address).await?);
        missing.sort_unstable();
        missing.dedup();
        Ok(Inspected {
            server: connection.server.clone(),
            is_appending: field(&info, "aof_enabled") == Some("1"),
            policy: field(&info, "maxmemory_policy")
                .unwrap_or("unknown")
                .to_owned(),
            missing,
        })
    };
    let looked = timeout(settings.timeout * 2, looking).await;
    looked.map_err(|_| ConnectError::TimedOut)?
}

/// Tries each command on a key of our own: the ACL is asked before anything else is.
async fn missing(
    settings: &Settings,
    handle: &mut MultiplexedConnection,
) -> Result<Vec<String>, ConnectError> {
    let (key, channel) = (format!("{}check", settings.prefix), channel(settings));
    let is_cluster = matches!(settings.servers, Servers::Cluster(_));
    let of_cluster = OF_CLUSTER.iter().filter(|_| is_cluster);
    let mut commands: Vec<_> = COMMANDS.iter().chain(of_cluster).collect();
    // A text is there while everything is tried on it, and for a second at most.
    commands.sort_by_key(|(command, _)| match *command {
        "SET" => 0,
        "DEL" => 2,
        _ => 1,
    });
    let mut missing = Vec::new();
    for (command, words) in commands {
        let mut parts = command.split(' ');
        let mut attempt = cmd(parts.next().unwrap_or_default());
        attempt.arg(parts.collect::<Vec<_>>());
        for word in *words {
            attempt.arg(match *word {
                "KEY" => &key,
                "CHANNEL" => &channel,
                other => other,
            });
        }
        let answer: Result<Value, RedisError> = attempt.query_async(handle).await;
        let Err(error) = answer else {
            continue;
        };
        if error.is_unrecoverable_error() {
            return Err(error.into());
        }
        missing.extend(lacking(&error, command, settings));
    }
    Ok(missing)
}

fn channel(settings: &Settings) -> String {
    format!("{}check", settings.prefix)
}

/// What a channel takes has rights of its own.
async fn subscribe(settings: &Settings, address: &Address) -> Result<Option<String>, ConnectError> {
    let pub_sub = open_pub_sub(settings, address).await?;
    let (mut sink, _messages) = pub_sub.split();
    match sink.subscribe(channel(settings)).await {
        Ok(()) => Ok(None),
        Err(error) => match lacking(&error, "SUBSCRIBE", settings) {
            Some(rule) => Ok(Some(rule)),
            None => Err(error.into()),
        },
    }
}

/// The rule that would have let it pass, by what Redis and Valkey say of keys and channels.
fn lacking(error: &RedisError, command: &str, settings: &Settings) -> Option<String> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::NoPerm) {
        return None;
    }
    let said = error.detail().unwrap_or_default();
    let is_of =
        |what: &str| said.contains(&format!(" a {what}")) || said.contains(&format!("the {what}s"));
    Some(if is_of("key") {
        format!("~{}*", settings.prefix)
    } else if is_of("channel") {
        format!("&{}*", settings.prefix)
    } else {
        rule(command)
    })
}

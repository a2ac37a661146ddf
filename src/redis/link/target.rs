//! Which server a connection goes to.

use std::time::Duration;

use ::redis::{cmd, pipe};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use super::connect::Connection;
use super::error::ConnectError;
use crate::redis::{Address, Sentinel, Settings};

/// After the first answer, for the others.
const OTHERS: Duration = Duration::from_millis(200);

/// While a master does not answer, how often the sentinels are asked whether it still is one.
const AGAIN: Duration = Duration::from_millis(250);

/// While there is a connection, how often they are asked whether its server still is the master.
const WATCH: Duration = Duration::from_secs(1);

/// Asked anew for each connection.
pub(super) enum Target {
    /// The only server.
    One(Address),
    /// A node that a cluster has named.
    OfCluster(Address),
    Sentinel(Sentinel),
}

impl Target {
    /// A connection to a server that takes writes.
    pub(super) async fn open(&self, settings: &Settings) -> Result<Connection, ConnectError> {
        let connection = match self {
            Self::One(address) | Self::OfCluster(address) => {
                Connection::open(settings, address, &settings.login).await?
            }
            Self::Sentinel(sentinel) => of_sentinel(sentinel, settings).await?,
        };
        let server = &connection.server;
        match self {
            _ if server.is_loading => Err(ConnectError::Loading),
            _ if !server.is_master => Err(ConnectError::Replica),
            Self::One(_) | Self::Sentinel(_) if server.is_of_cluster => {
                Err(ConnectError::OfCluster)
            }
            _ => Ok(connection),
        }
    }
}

impl Target {
    /// When another server is the master: one that was demoted, or is cut off with some of the
    /// sentinels, still answers reads.
    pub(super) async fn replaced(&self, settings: &Settings, current: &Address) {
        let Self::Sentinel(sentinel) = self else {
            return std::future::pending().await;
        };
        loop {
            sleep(WATCH).await;
            match ask(sentinel, settings).await {
                Ok(named) if named != *current => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// To the master that they name, unless they name another one before it answers.
async fn of_sentinel(sentinel: &Sentinel, settings: &Settings) -> Result<Connection, ConnectError> {
    let mut master = ask(sentinel, settings).await?;
    loop {
        let another = async {
            loop {
                sleep(AGAIN).await;
                match ask(sentinel, settings).await {
                    Ok(named) if named != master => return named,
                    Ok(_) | Err(_) => {}
                }
            }
        };
        tokio::select! {
            opened = Connection::open(settings, &master, &settings.login) => return opened,
            named = another => master = named,
        }
    }
}

/// What a sentinel says counts by when it was configured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Precedence {
    /// Sentinel's "configuration epoch": one that is cut off may still name the master before.
    epoch: u64,
    /// It has promoted a replica to the next master: the epoch is that of this configuration already,
    /// while `ip` and `port` are of the master before until the other replicas have been told, which may
    /// take a second.
    has_promoted: bool,
}

/// All are asked at once, so that one that is silent keeps nobody waiting.
async fn ask(sentinel: &Sentinel, settings: &Settings) -> Result<Address, ConnectError> {
    let mut asked: FuturesUnordered<_> = (sentinel.nodes.iter())
        .map(|node| master(node, sentinel, settings))
        .collect();
    let (mut newest, mut error) = (None::<(Precedence, Address)>, ConnectError::TimedOut);
    loop {
        let next = match newest {
            None => asked.next().await,
            Some(_) => timeout(OTHERS, asked.next()).await.unwrap_or(None),
        };
        match next {
            Some(Ok(named)) if newest.as_ref().is_none_or(|newest| newest.0 < named.0) => {
                newest = Some(named);
            }
            Some(Ok(_)) => {}
            Some(Err(failed)) => error = failed,
            None => break,
        }
    }
    let newest = newest.map(|(_, address)| address);
    newest.ok_or_else(|| ConnectError::NoMaster(error.to_string()))
}

/// As one sentinel has it.
async fn master(
    node: &Address,
    sentinel: &Sentinel,
    settings: &Settings,
) -> Result<(Precedence, Address), ConnectError> {
    let asking = async {
        let connection = Connection::open_silent(settings, node, &sentinel.login).await?;
        let mut questions = pipe();
        for question in ["MASTER", "GET-MASTER-ADDR-BY-NAME"] {
            questions.cmd("SENTINEL").arg(question).arg(&sentinel.name);
        }
        let answers: (Vec<String>, Vec<String>) =
            questions.query_async(&mut connection.handle()).await?;
        named(&answers.0, &answers.1, node.is_tls()).ok_or(ConnectError::Nonsense)
    };
    let asked = timeout(settings.timeout, asking).await;
    asked.map_err(|_| ConnectError::TimedOut)?
}

/// The replicas that the sentinels know of: of the first answer.
pub(super) async fn replicas(
    sentinel: &Sentinel,
    settings: &Settings,
) -> Result<Vec<Address>, ConnectError> {
    let asking = sentinel.nodes.iter().map(async |node| {
        let asking = async {
            let connection = Connection::open_silent(settings, node, &sentinel.login).await?;
            let question = cmd("SENTINEL").arg("REPLICAS").arg(&sentinel.name).take();
            let known: Vec<Vec<String>> = question.query_async(&mut connection.handle()).await?;
            let known = known.iter().map(|fields| address_of(fields, node.is_tls()));
            known
                .collect::<Option<Vec<_>>>()
                .ok_or(ConnectError::Nonsense)
        };
        let asked = timeout(settings.timeout, asking).await;
        asked.map_err(|_| ConnectError::TimedOut)?
    });
    let mut asking: FuturesUnordered<_> = asking.collect();
    let mut error = ConnectError::TimedOut;
    while let Some(answer) = asking.next().await {
        match answer {
            Ok(replicas) => return Ok(replicas),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

/// `fields` are names and values in turn.
fn field<'a>(fields: &'a [String], name: &str) -> Option<&'a str> {
    let mut pairs = fields.chunks_exact(2);
    let pair = pairs.find(|pair| pair[0] == name)?;
    Some(pair[1].as_str())
}

fn address_of(fields: &[String], tls: bool) -> Option<Address> {
    Some(Address::Tcp {
        host: field(fields, "ip")?.to_owned(),
        port: field(fields, "port")?.parse().ok()?,
        tls,
    })
}

/// `fields` are names and values in turn, of the master before while a replica is promoted; `current` is
/// the host and the port of the one to write to.
fn named(fields: &[String], current: &[String], tls: bool) -> Option<(Precedence, Address)> {
    let field = |name| field(fields, name);
    let [host, port] = current else {
        return None;
    };
    let precedence = Precedence {
        epoch: field("config-epoch")?.parse().ok()?,
        has_promoted: (field("ip")?, field("port")?) != (host, port),
    };
    let address = Address::Tcp {
        host: host.clone(),
        port: port.parse().ok()?,
        tls,
    };
    Some((precedence, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(epoch: &str, port: &str, current: &str) -> Option<(Precedence, Address)> {
        let fields = [
            "name",
            "main",
            "ip",
            "10.0.0.1",
            "port",
            port,
            "config-epoch",
            epoch,
        ];
        let [fields, current] = [&fields[..], &["10.0.0.1", current]]
            .map(|words| words.iter().map(|&it| it.to_owned()).collect::<Vec<_>>());
        named(&fields, &current, false)
    }

    #[test]
    fn rel_18_a_sentinel_that_has_promoted_a_replica_counts_before_those_that_have_not_heard() {
        let [before, promoted, after] = [
            of("7", "6379", "6379"),
            of("8", "6379", "6380"),
            of("8", "6380", "6380"),
        ]
        .map(|named| named.unwrap());
        assert_eq!(promoted.1, after.1);
        assert!(before.0 < after.0 && after.0 < promoted.0);
        let next = of("9", "6380", "6380").unwrap();
        assert!(promoted.0 < next.0);
        assert!(of("7", "6379", "x").is_none() && of("", "6379", "6379").is_none());
    }
}

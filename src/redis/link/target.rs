//! Which server a connection goes to.

use std::time::Duration;

use ::redis::{Value, cmd, from_redis_value};
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

/// All are asked at once, so that one that is silent keeps nobody waiting. What was configured last
/// counts (Sentinel's "configuration epoch"): one that is cut off may still name the master before.
async fn ask(sentinel: &Sentinel, settings: &Settings) -> Result<Address, ConnectError> {
    let mut asked: FuturesUnordered<_> = (sentinel.nodes.iter())
        .map(|node| master(node, sentinel, settings))
        .collect();
    let (mut newest, mut error) = (None::<(u64, Address)>, ConnectError::TimedOut);
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

/// As one sentinel has it, with the epoch of its configuration.
async fn master(
    node: &Address,
    sentinel: &Sentinel,
    settings: &Settings,
) -> Result<(u64, Address), ConnectError> {
    let asking = async {
        let connection = Connection::open_silent(settings, node, &sentinel.login).await?;
        let question = cmd("SENTINEL").arg("MASTER").arg(&sentinel.name).take();
        let answer: Value = question.query_async(&mut connection.handle()).await?;
        let fields: Vec<String> = from_redis_value(answer).map_err(|_| ConnectError::Nonsense)?;
        let field = |name: &str| {
            let mut pairs = fields.chunks_exact(2);
            pairs
                .find(|pair| pair[0] == name)
                .map(|pair| pair[1].as_str())
        };
        let read = || {
            let address = Address::Tcp {
                host: field("ip")?.to_owned(),
                port: field("port")?.parse().ok()?,
                tls: node.is_tls(),
            };
            Some((field("config-epoch")?.parse().ok()?, address))
        };
        read().ok_or(ConnectError::Nonsense)
    };
    let asked = timeout(settings.timeout, asking).await;
    asked.map_err(|_| ConnectError::TimedOut)?
}

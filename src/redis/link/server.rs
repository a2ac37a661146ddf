//! What a server says of itself.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Value, cmd, from_redis_value};

use super::error::ConnectError;
use crate::clock::Clock;

/// What was learned when the connection was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// As in `redis://10.0.0.5:6379`.
    pub(crate) address: String,
    /// Another one after each start of the server.
    pub(crate) run_id: String,
    /// As in `Redis 7.0.15`.
    pub(crate) version: String,
    pub(crate) is_master: bool,
    pub(crate) is_of_cluster: bool,
    /// It reads what it keeps from the disk, and answers nothing until then.
    pub(crate) is_loading: bool,
    /// Replicas that were connected.
    pub(crate) replicas: usize,
    /// Clock offset in milliseconds; positive if the server's clock is ahead.
    pub(crate) clock_ahead: i64,
}

impl Server {
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, ConnectError> {
        // Of several commands at once, the crate does not tell a wrong answer from none.
        let info: Value = cmd("INFO").query_async(connection).await?;
        let info: String = from_redis_value(info).map_err(|_| ConnectError::Nonsense)?;
        let said = Self::read(&info).ok_or(ConnectError::Nonsense)?;
        let before = Clock::stopwatch();
        let time: Value = cmd("TIME").query_async(connection).await?;
        // Half of the way there and back.
        let ours = Clock::wall().saturating_sub(before.elapsed() / 2);
        let time: (u64, u64) = from_redis_value(time).map_err(|_| ConnectError::Nonsense)?;
        let theirs = i128::from(time.0) * 1000 + i128::from(time.1 / 1000);
        let ours = i128::try_from(ours.as_millis()).unwrap_or(i128::MAX);
        Ok(Self {
            clock_ahead: i64::try_from(theirs - ours).unwrap_or(i64::MAX),
            ..said
        })
    }

    fn read(info: &str) -> Option<Self> {
        let version = match (field(info, "valkey_version"), field(info, "redis_version")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, version) => format!("Redis {}", version?),
        };
        Some(Self {
            run_id: field(info, "run_id")?.to_owned(),
            version,
            is_master: field(info, "role") == Some("master"),
            is_of_cluster: field(info, "cluster_enabled") == Some("1"),
            is_loading: field(info, "loading") == Some("1"),
            replicas: replicas(info),
            ..Self::default()
        })
    }
}

/// How many are connected.
pub(super) fn replicas(info: &str) -> usize {
    let count = field(info, "connected_slaves").and_then(|count| count.parse().ok());
    count.unwrap_or(0)
}

/// Of what INFO says.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

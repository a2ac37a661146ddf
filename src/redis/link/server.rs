//! What a server says of itself.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Value, from_redis_value, pipe};

use super::error::ConnectError;
use crate::clock::Clock;

/// What was learned when the connection was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// Another one after each start of the server.
    pub(crate) run_id: String,
    /// As in `Redis 7.0.15`.
    pub(crate) version: String,
    pub(crate) is_master: bool,
    /// Replicas that were connected.
    pub(crate) replicas: usize,
    /// Milliseconds that its clock is ahead of ours.
    pub(crate) clock_ahead: i64,
}

impl Server {
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, ConnectError> {
        let mut questions = pipe();
        questions.cmd("INFO").arg("server");
        questions.cmd("INFO").arg("replication");
        questions.cmd("TIME");
        let before = Clock::stopwatch();
        let answers: Vec<Value> = questions.query_async(connection).await?;
        // Half of the way there and back.
        let ours = Clock::wall().saturating_sub(before.elapsed() / 2);
        let [server, replication, time] =
            <[Value; 3]>::try_from(answers).map_err(|_| ConnectError::Nonsense)?;
        let (server, replication) = (text(server)?, text(replication)?);
        let time: (u64, u64) = from_redis_value(time).map_err(|_| ConnectError::Nonsense)?;
        let theirs = i128::from(time.0) * 1000 + i128::from(time.1 / 1000);
        let ours = i128::try_from(ours.as_millis()).unwrap_or(i128::MAX);
        let run_id = field(&server, "run_id").ok_or(ConnectError::Nonsense)?;
        let version = match (
            field(&server, "valkey_version"),
            field(&server, "redis_version"),
        ) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => return Err(ConnectError::Nonsense),
        };
        Ok(Self {
            run_id: run_id.to_owned(),
            version,
            is_master: field(&replication, "role") == Some("master"),
            replicas: field(&replication, "connected_slaves")
                .and_then(|count| count.parse().ok())
                .unwrap_or(0),
            clock_ahead: i64::try_from(theirs - ours).unwrap_or(i64::MAX),
        })
    }
}

fn text(value: Value) -> Result<String, ConnectError> {
    from_redis_value(value).map_err(|_| ConnectError::Nonsense)
}

/// Of what INFO says.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

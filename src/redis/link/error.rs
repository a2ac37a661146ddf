//! Why there is no connection, and why a command failed.

use std::fmt;
use std::io;

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::redis::FileError;

/// Why a command was not done, or perhaps was and nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// There is no connection, or no answer.
    Unavailable,
    /// The server has no memory left for it.
    Full,
    /// What the server said, without anything of the command.
    Refused(String),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("the session store cannot be reached"),
            Self::Full => f.write_str("the session store has no memory left"),
            Self::Refused(answer) => write!(f, "the session store refuses: {answer}"),
        }
    }
}

impl std::error::Error for LinkError {}

impl LinkError {
    /// What somebody has to do so that the server does it; `None` where it may do so by itself.
    pub(crate) fn fix(&self) -> Option<&'static str> {
        let answer = match self {
            Self::Unavailable => return None,
            Self::Full => return Some("raise `maxmemory` of the server, or give it more memory"),
            Self::Refused(answer) => answer,
        };
        Some(match answer.split(' ').next() {
            Some("BUSY" | "UNKILLABLE") => {
                "end the script that keeps the server busy, there, with SCRIPT KILL"
            }
            Some("MISCONF") => "see the log of the server: it cannot write to its disk",
            Some("NOPERM") => {
                "give the user all rights of docs/several-nodes.md; `vestibule check` names those \
                 that are missing"
            }
            Some("NOREPLICAS") => {
                "see that its replicas run and follow it, or lower `min-replicas-to-write` there"
            }
            _ => "run `vestibule check`, which says what is wrong with the server",
        })
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// It closed the connection, or said something before it was asked.
    Closed,
    File(FileError),
    Io(io::Error),
    /// Not every slot of the cluster has a server that answers for it.
    Incomplete,
    /// It still reads what it keeps.
    Loading,
    /// A server that does not follow the protocol.
    Nonsense,
    /// The sentinels know no master of this name, or are not reached.
    NoMaster(String),
    /// It is a node of a cluster, and there are others.
    OfCluster,
    Refused(String),
    /// It takes no writes.
    Replica,
    TimedOut,
    Tls(io::Error),
}

impl ConnectError {
    /// What to do, where somebody has to do something.
    pub(crate) fn fix(&self) -> Option<String> {
        Some(match self {
            Self::Closed => {
                "see that it is Redis or Valkey; one that speaks TLS wants rediss://, and \
                             perhaps `cert` and `client_key` in [session.redis]"
                    .to_owned()
            }
            Self::File(error) => error.fix(),
            Self::Refused(answer) if is_login(answer) => {
                "set `username` and `password_file` in [session.redis], as the ACL of the server \
                 has them"
                    .to_owned()
            }
            Self::Refused(answer) if answer.starts_with("NOPERM") => {
                "give the user these rights: docs/several-nodes.md has them".to_owned()
            }
            Self::Tls(_) => "see `ca`, and for a server that asks for a certificate `cert` and \
                             `client_key`, in [session.redis]"
                .to_owned(),
            Self::Replica => {
                "name the master in `url` of [session.redis], or let `sentinel` find it".to_owned()
            }
            Self::NoMaster(_) => {
                "see `name` and `nodes` of `sentinel` in [session.redis]".to_owned()
            }
            Self::OfCluster => {
                "write `cluster` in place of `url` in [session.redis], with some of the nodes"
                    .to_owned()
            }
            Self::Incomplete
            | Self::Io(_)
            | Self::Loading
            | Self::Nonsense
            | Self::Refused(_)
            | Self::TimedOut => return None,
        })
    }
}

fn is_login(answer: &str) -> bool {
    ["NOAUTH", "WRONGPASS", "ERR AUTH", "ERR Client sent AUTH"]
        .iter()
        .any(|begin| answer.starts_with(begin))
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FileError> for ConnectError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        let error = first(error);
        match error.kind() {
            ErrorKind::Io if error.is_connection_dropped() => Self::Closed,
            ErrorKind::Io => Self::Io(io::Error::other(error)),
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
                Self::Refused(said(&error))
            }
            _ => Self::Nonsense,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{}: {}", error.subject(), error.message()),
            Self::Closed => f.write_str("it closed the connection"),
            Self::Io(error) => error.fmt(f),
            Self::Incomplete => f.write_str("not every slot of the cluster has a master"),
            Self::Loading => f.write_str("it still reads what it keeps from its disk"),
            Self::OfCluster => f.write_str("it is one node of a cluster"),
            Self::Nonsense => f.write_str("what answers there is neither Redis nor Valkey"),
            Self::NoMaster(said) => write!(f, "the sentinels name no master: {said}"),
            Self::Refused(answer) => write!(f, "it refuses: {answer}"),
            Self::Replica => f.write_str("it is a replica, which takes no writes"),
            Self::TimedOut => f.write_str("it did not answer in time"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// What becomes of a connection, and of the command, after an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing more can be expected of this connection: another one may do better.
    Lost(String),
    /// It is the command's own fault, or passes.
    Failed(LinkError),
    /// Another server of the cluster has the key, or is getting it.
    Elsewhere { address: String, asking: bool },
    /// Some keys of the command are on their way to another server.
    Split,
}

pub(super) fn judge(error: RedisError) -> Verdict {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    let error = &first(error);
    match error.kind() {
        ErrorKind::Server(ReadOnly | BusyLoading | MasterDown | ClusterDown) => {
            Verdict::Lost(said(error))
        }
        ErrorKind::Server(kind @ (Moved | Ask)) => match error.redirect_node() {
            Some((address, _)) => Verdict::Elsewhere {
                address: address.to_owned(),
                asking: kind == Ask,
            },
            None => Verdict::Lost(said(error)),
        },
        ErrorKind::Server(TryAgain) => Verdict::Split,
        ErrorKind::Server(_) | ErrorKind::Extension => match error.code() {
            Some("OOM") => Verdict::Failed(LinkError::Full),
            // The user was changed: the server is asked for a new connection.
            Some("NOAUTH") => Verdict::Lost(said(error)),
            _ => Verdict::Failed(LinkError::Refused(said(error))),
        },
        _ => Verdict::Lost(error.category().to_owned()),
    }
}

/// Of several commands at once, the first that failed.
fn first(error: RedisError) -> RedisError {
    let errors = error.clone().into_server_errors();
    let first = errors.and_then(|errors| errors.first().map(|(_, error)| error.clone()));
    first.map_or(error, RedisError::from)
}

/// The answer of the server. Of an unknown command it repeats the arguments, which are nobody's
/// business (SEC-72).
fn said(error: &RedisError) -> String {
    const LONGEST: usize = 200;
    let whole = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, Some(detail)) => detail.to_owned(),
        (None, None) => error.category().to_owned(),
    };
    let end = whole.find(", with args").unwrap_or(whole.len());
    let end = whole.floor_char_boundary(end.min(LONGEST));
    whole[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use ::redis::{Value, parse_redis_value};

    use super::*;

    fn judged(answer: &str) -> Verdict {
        match parse_redis_value(format!("-{answer}\r\n").as_bytes()) {
            Ok(Value::ServerError(error)) => judge(error.into()),
            other => panic!("{answer}: {other:?}"),
        }
    }

    #[test]
    fn rel_10_a_server_that_cannot_serve_now_loses_its_connection() {
        for answer in [
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "CLUSTERDOWN Hash slot not served",
            "CLUSTERDOWN The cluster is down",
            "READONLY You can't write against a read only replica.",
            "READONLY You can't write against a read only replica. script: 5f, on @user_script:1.",
            "NOAUTH Authentication required.",
            "MOVED nowhere",
        ] {
            let code = answer.split(' ').next().unwrap();
            let Verdict::Lost(said) = judged(answer) else {
                panic!("{answer}: {:?}", judged(answer));
            };
            assert!(said.starts_with(code), "{answer}: {said}");
        }
    }

    #[test]
    fn what_a_command_is_refused_for_leaves_the_connection_and_tells_nothing_of_the_command() {
        assert_eq!(
            judged("OOM command not allowed when used memory > 'maxmemory'."),
            Verdict::Failed(LinkError::Full)
        );
        for answer in [
            "NOPERM this user has no permissions to run the 'xadd' command",
            "MISCONF Redis is configured to save RDB snapshots, but it is currently unable to",
            "NOREPLICAS Not enough good replicas to write.",
            "BUSY Redis is busy running a script.",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR unknown command 'nope', with args beginning with: 'a secret'",
        ] {
            let Verdict::Failed(LinkError::Refused(said)) = judged(answer) else {
                panic!("{answer}: {:?}", judged(answer));
            };
            assert!(answer.starts_with(&*said), "{answer}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_key_that_another_server_of_the_cluster_has_is_asked_for_there() {
        for (answer, asking) in [
            ("MOVED 3999 127.0.0.1:6381", false),
            ("ASK 3999 127.0.0.1:6381", true),
        ] {
            let address = "127.0.0.1:6381".to_owned();
            assert_eq!(judged(answer), Verdict::Elsewhere { address, asking });
        }
        assert_eq!(
            judged("TRYAGAIN Multiple keys request during rehashing of slot"),
            Verdict::Split
        );
    }
}

//! What the user of the ACL has to be allowed.

/// Each command, with arguments that try it on a key that holds a string. The server checks the right
/// first; a command for another type then fails without effect. `KEY` stands for that key, `CHANNEL`
/// for a channel below the prefix.
pub(crate) const COMMANDS: &[(&str, &[&str])] = &[
    ("DECR", &["KEY"]),
    ("DEL", &["KEY"]),
    (
        "EVALSHA",
        &["0000000000000000000000000000000000000000", "1", "KEY"],
    ),
    ("EXISTS", &["KEY"]),
    ("GET", &["KEY"]),
    ("GETDEL", &["KEY"]),
    ("GETRANGE", &["KEY", "0", "0"]),
    ("HDEL", &["KEY", "a"]),
    ("HEXISTS", &["KEY", "a"]),
    ("HGET", &["KEY", "a"]),
    ("HGETALL", &["KEY"]),
    ("HKEYS", &["KEY"]),
    ("HLEN", &["KEY"]),
    ("HSCAN", &["KEY", "0"]),
    ("HSET", &["KEY", "a", "b"]),
    ("HSTRLEN", &["KEY", "a"]),
    ("INCR", &["KEY"]),
    ("INFO", &["server"]),
    ("MGET", &["KEY"]),
    ("PEXPIRE", &["KEY", "1000"]),
    ("PERSIST", &["KEY"]),
    ("PING", &[]),
    ("PTTL", &["KEY"]),
    ("PUBLISH", &["CHANNEL", ""]),
    ("RENAME", &["KEY", "KEY"]),
    ("SADD", &["KEY", "a"]),
    ("SCARD", &["KEY"]),
    ("SCRIPT LOAD", &["return 1"]),
    ("SET", &["KEY", "a", "PX", "1000"]),
    ("SETRANGE", &["KEY", "0", "a"]),
    ("SMEMBERS", &["KEY"]),
    ("SRANDMEMBER", &["KEY", "1"]),
    ("SREM", &["KEY", "a"]),
    ("TIME", &[]),
    ("WAIT", &["0", "1"]),
    ("XADD", &["KEY", "*", "a", "b"]),
    ("XRANGE", &["KEY", "-", "+"]),
    ("XREVRANGE", &["KEY", "+", "-"]),
];

/// Those that only a cluster is sent.
pub(crate) const OF_CLUSTER: &[(&str, &[&str])] = &[("ASKING", &[]), ("CLUSTER SLOTS", &[])];

/// As `ACL SETUSER` takes it: `+script|load`.
pub(crate) fn rule(command: &str) -> String {
    format!("+{}", command.to_ascii_lowercase().replace(' ', "|"))
}

//! Redis or Valkey, in which several nodes keep what they share: where the servers are, what seals
//! each value, and the connections.
//!
//! Nothing here knows what is kept. Whoever keeps something names its key, seals the value, and hands
//! over commands.

#![cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "settings are read there, too, and refused")
)]

mod address;
mod files;
#[cfg(feature = "redis")]
mod link;
mod rights;
mod seal;
mod settings;
mod tls;

pub(crate) use address::Address;
pub(crate) use files::{FileError, SecretSource, make_key};
#[cfg(feature = "redis")]
pub(crate) use link::{ConnectError, Inspected, Link, LinkError, Mark, Pause, inspect};
#[cfg(feature = "redis")]
pub(crate) use seal::Unreadable;
pub(crate) use seal::{KeyFault, SealKeys};
pub(crate) use settings::{Login, Sentinel, Servers, Settings, TlsFiles};

#[cfg(test)]
#[cfg(feature = "redis")]
#[path = "../tests/it/harness/redis.rs"]
pub(crate) mod servers;
#[cfg(test)]
#[cfg(feature = "redis")]
pub(crate) mod test_server;

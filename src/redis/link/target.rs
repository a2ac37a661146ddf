//! Which server a connection goes to.

use super::connect::Connection;
use super::error::ConnectError;
use crate::redis::{Address, Settings};

/// Asked anew for each connection.
pub(super) enum Target {
    Address(Address),
}

impl Target {
    /// A connection to a server that takes writes.
    pub(super) async fn open(&self, settings: &Settings) -> Result<Connection, ConnectError> {
        let Self::Address(address) = self;
        let connection = Connection::open(settings, address, &settings.login).await?;
        if connection.server.is_master {
            Ok(connection)
        } else {
            Err(ConnectError::Replica)
        }
    }
}

//! A real server for tests.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use super::servers::Redis;
use super::{Address, Link, Login, SecretSource, Servers, Settings, TlsFiles};
use crate::clock::Clock;
use crate::secret::Secret;

/// Killed when it is dropped.
pub(crate) struct TestServer(pub(crate) Redis);

impl TestServer {
    /// `None`, and a line that says so, where no server is installed; a failure where
    /// `VESTIBULE_TEST_REQUIRE=all` asks for every real part.
    pub(crate) fn start() -> Option<Self> {
        Redis::start().map(Self)
    }

    pub(crate) fn address(&self) -> Address {
        address(&self.0)
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(Servers::One(self.address()))
    }

    /// A link to it.
    pub(crate) fn link(&self) -> Link {
        link(self.settings())
    }

    /// The same place, a new process, and nothing of what was kept.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }
}

impl Deref for TestServer {
    type Target = Redis;

    fn deref(&self) -> &Redis {
        &self.0
    }
}

impl DerefMut for TestServer {
    fn deref_mut(&mut self) -> &mut Redis {
        &mut self.0
    }
}

pub(crate) fn address(server: &Redis) -> Address {
    Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        tls: false,
    }
}

/// How these are reached; what is kept there is sealed with a key of zeros.
pub(crate) fn settings(servers: Servers) -> Settings {
    Settings {
        servers,
        login: Login::default(),
        tls: TlsFiles::default(),
        prefix: "vestibule:".to_owned(),
        timeout: Duration::from_secs(1),
        stale_for: Duration::from_secs(30),
        wait_replicas: Some(0),
        key: SecretSource::Given(Secret::new("0".repeat(64))),
        state: "/nowhere/sessions.redb".into(),
    }
}

pub(crate) fn link(settings: Settings) -> Link {
    Link::open(&Arc::new(settings), &Clock::system()).unwrap()
}

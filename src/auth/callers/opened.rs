//! What a node of a test has besides its accounts: sessions, and API tokens in memory.

use std::time::Duration;

use super::*;
use crate::auth::authenticators;
use crate::clock::Clock;
use crate::nodes::Nodes;
use crate::session::{self, Backend, SessionStore};

pub(super) struct Opened {
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) tokens: Arc<ApiTokens>,
    pub(super) callers: Callers,
}

impl Opened {
    pub(super) fn by(backend: &Backend, accounts: &Arc<Accounts>, clock: &Clock) -> Self {
        let store = session::open(backend, &Nodes::alone(), clock).unwrap();
        let settings = session::Settings {
            backend: backend.clone(),
            idle_timeout: Duration::from_hours(1),
            lifetime: Duration::from_hours(12),
            remember_for: Duration::ZERO,
            max_per_user: 20,
            max_sessions: 20,
        };
        let sessions = Arc::new(Sessions::new(settings, Arc::clone(&store), clock.clone()));
        let memory = authenticators::open(None, &Nodes::alone(), clock).unwrap();
        let tokens = Arc::new(ApiTokens::open(memory, clock.clone()).unwrap());
        let callers = Callers::new(
            Arc::clone(accounts),
            sessions,
            Arc::new(FormerUsers::new(false)),
            Arc::clone(&tokens),
        );
        Self {
            store,
            tokens,
            callers,
        }
    }
}

//! A request in flight, as far as limits count it.

use std::sync::{Arc, OnceLock};

use super::connection_state::ConnectionState;
use crate::load::{Cause, HeldBody, Uploading, Usage};

/// Counts a request until its response is gone.
#[derive(Debug)]
pub(crate) struct InFlight {
    connection: Arc<ConnectionState>,
    /// For whom it counts among those of the whole service, once it was admitted.
    counted: OnceLock<Arc<Usage>>,
    /// For whom a response of ours waits, in place of the request.
    response: Option<Arc<Usage>>,
}

impl InFlight {
    pub(super) fn new(connection: Arc<ConnectionState>) -> Self {
        Self {
            connection,
            counted: OnceLock::new(),
            response: None,
        }
    }

    /// Goes on, unless there is too much to do and others come first (REL-13). It counts for
    /// `usage`; see [`Load::begin`](crate::load::Load::begin).
    pub(super) fn admit(
        &self,
        usage: &Arc<Usage>,
        has_few_connections: impl FnOnce() -> bool,
    ) -> Result<(), Cause> {
        self.connection.load().begin(usage, has_few_connections)?;
        let counted = self.counted.set(Arc::clone(usage));
        debug_assert!(counted.is_ok(), "a request is admitted once");
        Ok(())
    }

    /// A request body goes to an application from now on.
    pub(super) fn begin_upload(&self) -> Uploading {
        self.connection.place().begin_upload(self.counted.get())
    }

    /// Its body is to be read whole before an application gets it.
    pub(super) fn hold_body(&self) -> Option<HeldBody> {
        let usage = self.counted.get()?;
        let load = Arc::clone(self.connection.load());
        Some(HeldBody::new(load, Arc::clone(usage)))
    }

    /// The request is done but for its client, who has a response of ours to take: from now on it
    /// holds no request that others could have (SEC-87). `false` when its client leaves too many
    /// of them. Who was not admitted counts for `otherwise`, if that is anybody.
    pub(super) fn hold_response(&mut self, otherwise: Option<&Arc<Usage>>) -> bool {
        let load = self.connection.load();
        let usage = match self.counted.take() {
            Some(usage) => {
                load.end(&usage);
                usage
            }
            None => match otherwise {
                Some(usage) => Arc::clone(usage),
                None => return true,
            },
        };
        let granted = load.begin_answer(&usage);
        self.response = granted.then_some(usage);
        granted
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let load = self.connection.load();
        if let Some(usage) = self.counted.get() {
            load.end(usage);
        }
        if let Some(usage) = &self.response {
            load.end_answer(usage);
        }
        self.connection.end_request();
    }
}

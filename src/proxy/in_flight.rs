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
    /// For whom a response of ours waits for its turn, in place of the request.
    waiting: Option<Arc<Usage>>,
    /// For whom one waits for its client, after that.
    response: Option<Arc<Usage>>,
}

impl InFlight {
    pub(super) fn new(connection: Arc<ConnectionState>) -> Self {
        Self {
            connection,
            counted: OnceLock::new(),
            waiting: None,
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

    /// A response of ours to a stranger waits for its turn, and holds no request meanwhile (REL-13). Where
    /// too many wait, it goes at once, and then its connection does. Who was not admitted counts for
    /// `otherwise`, if that is anybody.
    pub(super) async fn take_turn(&mut self, otherwise: Option<&Arc<Usage>>) {
        let counted = self.counted.get().or(otherwise);
        let Some(usage) = counted.filter(|usage| !usage.is_of_user()).cloned() else {
            return;
        };
        let load = Arc::clone(self.connection.load());
        if let Some(usage) = self.counted.take() {
            load.end(&usage);
        }
        self.waiting = Some(Arc::clone(&usage));
        if !load.turn(&usage).await {
            self.connection.end();
        }
    }

    /// The request is done but for its client, who has a response of ours to take: from now on it
    /// holds no request that others could have (SEC-87). `false` when its client leaves too many
    /// of them. Who was not admitted counts for `otherwise`, if that is anybody.
    pub(super) fn hold_response(&mut self, otherwise: Option<&Arc<Usage>>) -> bool {
        let load = self.connection.load();
        let counted = self.counted.take();
        if let Some(usage) = &counted {
            load.end(usage);
        }
        let usage = counted.or_else(|| self.waiting.take());
        let Some(usage) = usage.or_else(|| otherwise.cloned()) else {
            return true;
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::load::tests::load;
    use crate::load::{Consumer, Load, Place};

    /// Admitted requests, each on a connection of its own.
    fn request(load: &Arc<Load>, usage: &Arc<Usage>) -> (InFlight, Arc<ConnectionState>) {
        let state = ConnectionState::new(Arc::clone(load), Place::uncounted());
        let in_flight = state.begin(false);
        assert!(in_flight.admit(usage, || true).is_ok());
        (in_flight, state)
    }

    #[tokio::test]
    async fn rel_13_only_strangers_wait_for_the_turn_of_an_answer() {
        let load = Arc::new(load(1000));
        let stranger = load.usages().of_address("192.0.2.1".parse().unwrap());
        let (mut first, _) = request(&load, &stranger);
        assert!(first.take_turn(None).now_or_never().is_some());
        let mut waits = loop {
            let (mut request, state) = request(&load, &stranger);
            if request.take_turn(None).now_or_never().is_none() {
                break (request, state);
            }
        };
        assert_eq!(load.requests().0, 0, "whoever waits holds no request");
        let ada = load.usages().of(Consumer::User("ada".into()));
        let (mut of_user, _) = request(&load, &ada);
        assert!(of_user.take_turn(Some(&stranger)).now_or_never().is_some());
        assert_eq!(load.requests().0, 1);

        let ends = loop {
            let (mut request, state) = request(&load, &stranger);
            if request.take_turn(None).now_or_never().is_some() {
                break state.ends();
            }
        };
        assert!(ends, "too many wait: a flood needs a new connection");
        assert!(!waits.1.ends());
        assert!(waits.0.hold_response(None));
    }
}

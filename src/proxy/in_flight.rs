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
    /// For whom a response of Vestibule's own counts as unread, in place of the request.
    response: Option<Arc<Usage>>,
    /// There were too many of them.
    is_refused: bool,
}

impl InFlight {
    pub(super) fn new(connection: Arc<ConnectionState>) -> Self {
        Self {
            connection,
            counted: OnceLock::new(),
            response: None,
            is_refused: false,
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

    /// Delays a response of Vestibule's own to a stranger until its turn (REL-13). Meanwhile it counts
    /// as one that its client has not read, not as a request in flight. If too many are waiting already,
    /// the connection is closed after this response: on a connection that stays open, the client would
    /// ask again at once. A request that was not admitted counts for `network`.
    pub(super) async fn take_turn(&mut self, network: &Arc<Usage>) {
        let usage = Arc::clone(self.counted.get().unwrap_or(network));
        if usage.is_of_user() {
            return;
        }
        let load = Arc::clone(self.connection.load());
        let has_turn = self.hold_response(Some(network)) && load.turn(&usage).await;
        if !has_turn && self.connection.end() {
            load.note_closed();
        }
    }

    /// Counts a response of Vestibule's own as unread, in place of its request, which no longer counts
    /// as in flight (SEC-87). `false` if the client leaves too many responses unread. A request that was
    /// not admitted counts for `otherwise`, if given.
    pub(super) fn hold_response(&mut self, otherwise: Option<&Arc<Usage>>) -> bool {
        if self.response.is_some() || self.is_refused {
            return !self.is_refused;
        }
        let load = self.connection.load();
        let counted = self.counted.take();
        if let Some(usage) = &counted {
            load.end(usage);
        }
        let Some(usage) = counted.or_else(|| otherwise.cloned()) else {
            return true;
        };
        let granted = load.begin_answer(&usage);
        self.response = granted.then_some(usage);
        self.is_refused = !granted;
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
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;
    use crate::load::tests::load;
    use crate::load::{Consumer, Load, Place, Resource};

    /// Admitted requests, each on a connection of its own.
    fn request(load: &Arc<Load>, usage: &Arc<Usage>) -> (InFlight, Arc<ConnectionState>) {
        let state = ConnectionState::new(Arc::clone(load), Place::uncounted());
        let in_flight = state.begin(false);
        assert!(in_flight.admit(usage, || true).is_ok());
        (in_flight, state)
    }

    #[tokio::test]
    async fn rel_13_only_strangers_wait_for_the_turn_of_an_answer() {
        let load = Arc::new(load(100_000));
        let stranger = load.usages().of_address("192.0.2.1".parse().unwrap());
        let ada = load.usages().of(Consumer::User("ada".into()));
        let mut waiting = loop {
            let (mut request, state) = request(&load, &stranger);
            if request.take_turn(&stranger).now_or_never().is_none() {
                break (request, state);
            }
        };
        assert_eq!(load.requests().0, 0, "whoever waits holds no request");
        assert_eq!(stranger.held(Resource::Unread), 1, "but an answer");
        assert!(waiting.0.hold_response(None) && !waiting.1.ends());
        assert_eq!(stranger.held(Resource::Unread), 1, "the same one");
        assert_eq!(load.paced(), [("delayed", 1), ("closed", 0)]);

        let (mut of_user, _) = request(&load, &ada);
        assert!(of_user.take_turn(&stranger).now_or_never().is_some());
        assert_eq!(load.requests().0, 1);
        drop((waiting, of_user));
        assert_eq!(stranger.held(Resource::Unread), 0);
    }

    #[tokio::test]
    async fn sec_87_answers_that_wait_are_no_more_than_those_that_nobody_takes() {
        let load = Arc::new(load(8)); // six of strangers
        let stranger = load.usages().of_address("192.0.2.1".parse().unwrap());
        let mut kept = Vec::new();
        for nth in 0..4 {
            let (mut request, state) = request(&load, &stranger);
            request.take_turn(&stranger).now_or_never();
            assert_eq!(request.hold_response(None), nth < 3, "{nth}");
            assert_eq!(state.ends(), nth == 3, "{nth}");
            kept.push(request);
        }
        assert_eq!(load.paced(), [("delayed", 0), ("closed", 1)]);
    }

    #[tokio::test]
    async fn rel_13_a_connection_that_is_closed_for_several_responses_is_counted_once() {
        let load = Arc::new(load(8));
        let stranger = load.usages().of_address("192.0.2.1".parse().unwrap());
        let mut unread: Vec<_> = (0..3).map(|_| request(&load, &stranger)).collect();
        for (request, _) in &mut unread {
            assert!(request.hold_response(None));
        }
        let state = ConnectionState::new(Arc::clone(&load), Place::uncounted());
        for _ in 0..3 {
            let mut request = state.begin(false);
            request.take_turn(&stranger).await;
        }
        assert!(state.ends());
        assert_eq!(load.paced(), [("delayed", 0), ("closed", 1)]);
    }

    #[tokio::test]
    async fn rel_13_when_too_many_wait_a_response_is_late_and_the_last_of_its_connection() {
        let load = Arc::new(load(100));
        let stranger = load.usages().of_address("192.0.2.1".parse().unwrap());
        load.pace().hold_up();
        let (mut request, state) = request(&load, &stranger);
        let started = Instant::now();
        request.take_turn(&stranger).await;
        assert!(started.elapsed() >= Duration::from_secs(2), "it has waited");
        assert!(state.ends());
        assert!(request.hold_response(None), "it is sent all the same");
        assert_eq!(load.paced(), [("delayed", 0), ("closed", 1)]);
    }
}

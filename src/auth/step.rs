//! What a login still needs when its first proof is given.

use std::sync::Arc;
use std::time::Duration;

use super::{Account, SignedIn, Verdict};
use crate::clock::Timestamp;
use crate::principal::{Method, Methods};

/// How long a login may take from its first proof to its last.
const TIME: Duration = Duration::from_mins(5);

/// How far a login has come.
#[derive(Debug)]
#[must_use]
pub(crate) enum Step {
    Done(SignedIn),
    /// Another proof is due.
    Challenge(PendingLogin),
    Refused,
}

/// A login that has proved something and owes a second factor. No session starts with it: that
/// takes a [`SignedIn`].
#[derive(Debug)]
pub(crate) struct PendingLogin {
    account: Arc<Account>,
    methods: Methods,
    expires: Timestamp,
}

impl Step {
    /// After the first proof, of an account that has a second factor or has none.
    pub(crate) fn first(verdict: Verdict, second_factor: bool, now: Timestamp) -> Self {
        match verdict {
            Verdict::Refused => Self::Refused,
            Verdict::SignedIn(signed_in) if !second_factor => Self::Done(signed_in),
            Verdict::SignedIn(SignedIn { account, methods }) => {
                let expires = now.plus(TIME);
                PendingLogin {
                    account,
                    methods,
                    expires,
                }
                .step(now)
            }
        }
    }
}

impl PendingLogin {
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// After another proof for the same account.
    pub(crate) fn proved(mut self, method: Method, now: Timestamp) -> Step {
        self.methods = self.methods.and(method);
        self.step(now)
    }

    fn step(self, now: Timestamp) -> Step {
        if now >= self.expires {
            Step::Refused
        } else if self.methods.are_two_factors() {
            Step::Done(SignedIn {
                account: self.account,
                methods: self.methods,
            })
        } else {
            Step::Challenge(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::incarnation::Incarnation;
    use crate::principal::{CredentialFingerprint, Identity};

    fn now() -> Timestamp {
        Timestamp::from_millis(1_000)
    }

    fn verdict(method: Method) -> Verdict {
        let identity = Identity::new("ada".to_owned(), vec![], None);
        let account = Account {
            identity: Arc::new(identity),
            fingerprint: CredentialFingerprint::of("hash"),
            incarnation: Incarnation::default(),
        };
        Verdict::SignedIn(SignedIn {
            account: Arc::new(account),
            methods: method.into(),
        })
    }

    fn pending() -> PendingLogin {
        match Step::first(verdict(Method::Password), true, now()) {
            Step::Challenge(pending) => pending,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_password_is_enough_where_there_is_no_second_factor() {
        let step = Step::first(verdict(Method::Password), false, now());
        assert!(matches!(step, Step::Done(_)));
        let step = Step::first(Verdict::Refused, false, now());
        assert!(matches!(step, Step::Refused));
    }

    #[test]
    fn a_login_is_done_when_it_has_proved_two_factors_and_not_before() {
        let step = Step::first(Verdict::Refused, true, now());
        assert!(matches!(step, Step::Refused));
        let step = Step::first(verdict(Method::Passkey), true, now());
        assert!(matches!(step, Step::Done(_)), "two factors in one");
        assert_eq!(pending().account().identity().user(), "ada");
        let step = pending().proved(Method::Password, now());
        assert!(matches!(step, Step::Challenge(_)), "the same once more");
        let Step::Done(signed_in) = pending().proved(Method::Totp, now()) else {
            panic!("not signed in");
        };
        assert_eq!(signed_in.methods().names(), "password+totp");
    }

    #[test]
    fn a_login_that_takes_too_long_begins_anew() {
        let step = pending().proved(Method::Totp, now().plus(TIME));
        assert!(matches!(step, Step::Refused));
    }
}

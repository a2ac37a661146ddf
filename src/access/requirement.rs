//! What a part of an app asks of a login, beyond that there was one.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::principal::{AuthContext, Method};

/// What a login has to be good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// Proofs of two kinds, as of a password and of a device (NIST SP 800-63B-4, AAL2).
    pub(crate) second_factor: bool,
    /// The last proof is younger.
    pub(crate) max_age: Option<Duration>,
}

/// What a user has to prove now, although signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepUp {
    /// Anything that the login was made of.
    Again,
    SecondFactor,
}

impl Requirement {
    /// What two requirements come to that both have to be met.
    pub(crate) fn and(self, other: Self) -> Self {
        let ages = self.max_age.into_iter().chain(other.max_age);
        Self {
            second_factor: self.second_factor || other.second_factor,
            max_age: ages.min(),
        }
    }

    /// What is missing in a login; `None` when it will do.
    pub(crate) fn missing(self, context: &AuthContext, now: Timestamp) -> Option<StepUp> {
        if self.second_factor && !context.methods().are_two_factors() {
            return Some(StepUp::SecondFactor);
        }
        let age = now.since(context.at());
        // However young a token is, nobody has proved anything since (SEC-96).
        let is_token = context.methods().include(&Method::ApiToken);
        let too_old = self
            .max_age
            .is_some_and(|max_age| age >= max_age || is_token);
        too_old.then_some(StepUp::Again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Methods;

    const HOUR: Duration = Duration::from_hours(1);

    fn context(methods: &str) -> AuthContext {
        AuthContext::new(Methods::parse(methods), Timestamp::from_millis(1000))
    }

    #[test]
    fn a_login_meets_a_requirement_or_it_is_known_what_is_missing() {
        let at = context("password").at();
        let (soon, late) = (at.plus(HOUR / 2), at.plus(HOUR));
        let requirement = |second_factor, max_age| Requirement {
            second_factor,
            max_age,
        };
        for (asked, methods, now, expected) in [
            (Requirement::default(), "pigeon", late, None),
            (requirement(false, Some(HOUR)), "password", soon, None),
            (
                requirement(false, Some(HOUR)),
                "password",
                late,
                Some(StepUp::Again),
            ),
            (
                requirement(true, None),
                "password",
                soon,
                Some(StepUp::SecondFactor),
            ),
            (requirement(true, None), "password+totp", late, None),
            (
                requirement(false, Some(HOUR)),
                "API token",
                soon,
                Some(StepUp::Again),
            ),
            (
                requirement(true, None),
                "API token",
                soon,
                Some(StepUp::SecondFactor),
            ),
            (
                requirement(true, Some(HOUR)),
                "password+totp",
                late,
                Some(StepUp::Again),
            ),
            (
                requirement(true, Some(HOUR)),
                "password",
                late,
                Some(StepUp::SecondFactor),
            ),
        ] {
            let missing = asked.missing(&context(methods), now);
            assert_eq!(missing, expected, "{asked:?} {methods} {now:?}");
        }
    }

    #[test]
    fn of_two_requirements_the_stricter_one_counts_in_each_respect() {
        let strict = Requirement {
            second_factor: true,
            max_age: None,
        };
        let fresh = |max_age| Requirement {
            second_factor: false,
            max_age: Some(max_age),
        };
        let both = Requirement {
            second_factor: true,
            max_age: Some(HOUR),
        };
        assert_eq!(strict.and(fresh(HOUR)), both);
        assert_eq!(fresh(HOUR * 2).and(both), both);
        assert_eq!(strict.and(Requirement::default()), strict);
    }
}

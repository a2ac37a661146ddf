//! Tokens of this second: a signature costs more than all else that a request needs.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use http::HeaderValue;

/// Tokens that are kept.
const PLACES: usize = 1024;

/// A longer token, of somebody in very many groups, is signed each time. Bounds the memory to 2 MiB.
const LONGEST: usize = 2048;

/// Each token has one place, and makes way for the next one that has the same.
///
/// What is looked up is all that would be signed, the second of it included: a token that is found
/// is the one that would be made, whoever asks. Nothing has to expire.
pub(super) struct Cache {
    places: Box<[Mutex<Option<HeaderValue>>]>,
    hasher: RandomState,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Where the token is, or belongs, whose text before the signature is `unsigned`, with a dot at
    /// its end.
    pub(super) fn place(&self, unsigned: &str) -> Place<'_> {
        let place = self.hasher.hash_one(unsigned) % PLACES as u64;
        Place(&self.places[usize::try_from(place).unwrap_or_default()])
    }
}

/// The place of a token. Nobody waits for another request that is there just now: signing anew is
/// as good.
pub(super) struct Place<'c>(&'c Mutex<Option<HeaderValue>>);

impl Place<'_> {
    pub(super) fn get(&self, unsigned: &str) -> Option<HeaderValue> {
        let kept = self.0.try_lock().ok()?;
        let token = kept.as_ref()?;
        let is_it = token.as_bytes().starts_with(unsigned.as_bytes());
        is_it.then(|| token.clone())
    }

    pub(super) fn put(&self, token: &HeaderValue) {
        if token.len() <= LONGEST
            && let Ok(mut kept) = self.0.try_lock()
        {
            *kept = Some(token.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    #[test]
    fn a_token_is_found_by_all_that_it_says() {
        let cache = Cache::new();
        let put = |unsigned: &str| cache.place(unsigned).put(&token(&format!("{unsigned}1")));
        let get = |unsigned: &str| cache.place(unsigned).get(unsigned);
        assert_eq!(get("a.b."), None);
        put("a.b.");
        assert_eq!(get("a.b."), Some(token("a.b.1")));
        for n in 0..10 * PLACES {
            let unsigned = format!("a.{n}.");
            assert_eq!(get(&unsigned), None, "another one has its place");
            put(&unsigned);
            assert_eq!(get(&unsigned), Some(token(&format!("a.{n}.1"))));
        }
    }

    #[test]
    fn a_very_long_token_takes_no_room() {
        let cache = Cache::new();
        let long = "a".repeat(LONGEST) + ".";
        cache.place(&long).put(&token(&long));
        assert_eq!(cache.place(&long).get(&long), None);
    }
}

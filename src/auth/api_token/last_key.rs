//! What a connection remembers of the token that its last request showed.

use std::sync::{Mutex, PoisonError};

use super::{ApiToken, TokenKey};

/// The hash of the last token: programs show the same one with each request, and to hash it is most of
/// what it costs. Whether there is such a token, and for whom, is looked up each time. The text is kept, and
/// wiped, with the connection.
#[derive(Default)]
pub(crate) struct LastKey(Mutex<Option<Box<(ApiToken, TokenKey)>>>);

impl LastKey {
    pub(crate) fn of(&self, token: &ApiToken) -> TokenKey {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_deref() {
            Some((known, key)) if known == token => *key,
            _ => {
                let key = token.key();
                *last = Some(Box::new((token.clone(), key)));
                key
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_96_a_connection_takes_no_token_for_the_one_before() {
        let [one, other] = [(); 2].map(|()| ApiToken::generate().unwrap());
        let last = LastKey::default();
        for token in [&one, &one, &other, &one] {
            assert_eq!(last.of(token), token.key());
        }
    }
}

//! A token as it stands in the store: the tag of its user, and what is sealed.

use sha2::{Digest, Sha256};

use super::super::codec;
use super::{MOST_BYTES, Redis, StoreError, TAG};
use crate::auth::api_token::{TokenKey, TokenRecord};
use crate::clock::Timestamp;
use crate::principal::{AccountRef, user_name};
use crate::random::NoRandomness;
use crate::redis::Unreadable;

/// What a sealed token is.
pub(super) const KIND: &str = "api-token";

impl Redis {
    /// A token as it stands in the store.
    pub(super) fn seal(&self, token: &TokenRecord) -> Result<Vec<u8>, StoreError> {
        let tag = tag(&token.account);
        let place = self.place(&token.key, &tag);
        let row = codec::encode(&TokenRecord {
            created: self.time_there(token.created),
            expires: self.time_there(token.expires),
            ..token.clone()
        });
        let sealed = self.link.keys().seal(KIND, &place, &row);
        let sealed = sealed.map_err(|NoRandomness| StoreError::Unavailable)?;
        let value = [&tag[..], &sealed].concat();
        if value.len() > MOST_BYTES {
            return Err(StoreError::TooLarge);
        }
        Ok(value)
    }

    /// What another key than the first has sealed is sealed anew, so that the other one can be taken
    /// away some day: tokens may be there for a year.
    pub(super) async fn unseal(&self, key: TokenKey, value: &[u8]) -> Result<TokenRecord, String> {
        let (tag, sealed) = value.split_first_chunk::<TAG>().ok_or("it is damaged")?;
        let opened = (self.link.keys()).open_noting_age(KIND, &self.place(&key, tag), sealed);
        let (row, is_of_first) = opened.map_err(|error| match error {
            Unreadable::Damaged => "it is damaged, or another key has sealed it".to_owned(),
            Unreadable::Version(version) => {
                format!("a later version of vestibule sealed it (format {version})")
            }
        })?;
        let mut token = codec::decode(key, &row).map_err(|error| error.to_string())?;
        token.created = self.time_here(token.created);
        token.expires = self.time_here(token.expires);
        if !is_of_first && let Ok(anew) = self.seal(&token) {
            // Or it is another by now, and is read again.
            let _renewed = self.renew(&[(key, value.to_vec(), anew)]).await;
        }
        Ok(token)
    }

    /// A time of this node by the clock of the store, by which all times are kept there: a node with a
    /// wrong one ends no token for all.
    pub(super) fn time_there(&self, at: Timestamp) -> Timestamp {
        shifted(at, self.link.clock_offset())
    }

    pub(super) fn time_here(&self, at: Timestamp) -> Timestamp {
        shifted(at, self.link.clock_offset().saturating_neg())
    }

    /// What a seal is bound to: neither another token nor one of another user can be put there.
    pub(super) fn place(&self, key: &TokenKey, tag: &[u8; TAG]) -> Vec<u8> {
        [self.names.tokens.as_bytes(), b"\0", key.as_bytes(), tag].concat()
    }
}

/// The same for all tokens of a user, without case, whichever key seals them.
pub(super) fn tag(account: &AccountRef) -> [u8; TAG] {
    let hash = Sha256::digest(user_name::key(account.subject()));
    std::array::from_fn(|at| hash[at])
}

fn shifted(at: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_add_signed(by))
}

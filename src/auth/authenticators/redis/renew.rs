//! Another value in the place of the one that was read, unless somebody else was quicker.

use ::redis::Value;

use super::{AT_ONCE, Redis, StoreError, foreign, scripts, values};
use crate::auth::api_token::{TokenKey, TokenRecord};
use crate::auth::incarnation::UserId;

/// Changes of a token that other nodes may make while this one makes its own: more are a fault.
const TRIES: usize = 3;

impl Redis {
    /// Those that cannot be read are left alone.
    pub(super) async fn set_users(&self, users: &[(TokenKey, UserId)]) -> Result<(), StoreError> {
        for some in users.chunks(AT_ONCE) {
            let mut left = some.to_vec();
            for _ in 0..TRIES {
                left = self.set_users_once(&left).await?;
                if left.is_empty() {
                    break;
                }
            }
            if !left.is_empty() {
                return Err(StoreError::Unavailable); // it is tried again
            }
        }
        Ok(())
    }

    /// Gives those whose value was another one by the time that it was to be written: another node may
    /// have sealed it anew, as reading one of an old key does.
    async fn set_users_once(
        &self,
        users: &[(TokenKey, UserId)],
    ) -> Result<Vec<(TokenKey, UserId)>, StoreError> {
        let keys: Vec<_> = users.iter().map(|(key, _)| *key).collect();
        let (mut asked, mut renewals) = (Vec::new(), Vec::new());
        for ((key, value), user) in keys.iter().zip(self.values(&keys).await?).zip(users) {
            let Value::BulkString(value) = value.sealed else {
                continue;
            };
            let Ok(token) = self.unseal(*key, &value).await else {
                continue;
            };
            if token.user_id != UserId::Unknown {
                continue;
            }
            let user_id = user.1.clone();
            let anew = self.seal(&TokenRecord { user_id, ..token })?;
            renewals.push((*key, value, anew));
            asked.push(user.clone());
        }
        let renewed = self.renew(&renewals).await?;
        let left = asked.into_iter().zip(renewed);
        Ok(left
            .filter_map(|(user, is_done)| (!is_done).then_some(user))
            .collect())
    }

    /// Puts the second value in the place of the first, for each key; says which had the first.
    pub(super) async fn renew(
        &self,
        renewals: &[(TokenKey, Vec<u8>, Vec<u8>)],
    ) -> Result<Vec<bool>, StoreError> {
        if renewals.is_empty() {
            return Ok(Vec::new());
        }
        let args = renewals.iter().flat_map(|(key, before, anew)| {
            let of_one: [&[u8]; 3] = [key.as_bytes(), before, anew];
            of_one
        });
        let args: Vec<_> = args.collect();
        let keys = [&self.names.tokens];
        let renewed = values(self.script(&scripts::RENEW, &keys, &args).await?)?;
        if renewed.len() != renewals.len() {
            return Err(foreign());
        }
        Ok((renewed.into_iter().map(|done| done == Value::Int(1))).collect())
    }
}

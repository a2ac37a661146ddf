//! Authenticators in this process: gone with it, as its sessions are.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Answer, AuthenticatorStore, StoreError};
use crate::auth::api_token::{TokenKey, TokenRecord};
use crate::auth::incarnation::UserId;
use crate::clock::Timestamp;

#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<TokenKey, TokenRecord>>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<TokenKey, TokenRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuthenticatorStore for Memory {
    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        Ok(self.lock().values().cloned().collect())
    }

    fn insert_token(&self, token: Arc<TokenRecord>) -> Answer<'_, ()> {
        self.lock().insert(token.key, Arc::unwrap_or_clone(token));
        Box::pin(ready(Ok(())))
    }

    fn remove_tokens(&self, keys: Vec<TokenKey>) -> Answer<'_, usize> {
        let mut tokens = self.lock();
        let removed = keys.iter().filter_map(|key| tokens.remove(key)).count();
        Box::pin(ready(Ok(removed)))
    }

    fn touch_tokens(&self, uses: Vec<(TokenKey, Timestamp)>) -> Answer<'_, ()> {
        let mut tokens = self.lock();
        for (key, at) in uses {
            if let Some(token) = tokens.get_mut(&key) {
                token.last_used = token.last_used.max(Some(at));
            }
        }
        Box::pin(ready(Ok(())))
    }

    fn set_users(&self, users: Vec<(TokenKey, UserId)>) -> Answer<'_, ()> {
        let mut tokens = self.lock();
        for (key, user_id) in users {
            if let Some(token) = tokens.get_mut(&key)
                && token.user_id == UserId::Unknown
            {
                token.user_id = user_id;
            }
        }
        Box::pin(ready(Ok(())))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::conformance_tests;
    use super::*;

    conformance_tests!(((), Arc::new(Memory::default())));
}

//! Verifies passwords.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::identity::Identity;

#[derive(Debug)]
pub(crate) struct Account {
    identity: Arc<Identity>,
    credential: CredentialStamp,
}

impl Account {
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(crate) fn credential(&self) -> CredentialStamp {
        self.credential
    }
}

#[derive(Debug)]
pub(crate) struct SignedIn {
    account: Arc<Account>,
    method: &'static str,
}

impl SignedIn {
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn method(&self) -> &'static str {
        self.method
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CredentialStamp([u8; 8]);

impl CredentialStamp {
    pub(crate) fn of(stored_hash: &str) -> Self {
        let mut stamp = [0; 8];
        stamp.copy_from_slice(&Sha256::digest(stored_hash)[..8]);
        Self(stamp)
    }
}

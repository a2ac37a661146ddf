//! Tokens that a node kept in a file of its own before it shared them.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::super::disk::Disk;
use super::super::{AuthenticatorStore, OpenError};
use super::{AT_ONCE, MAX_TOKENS, Redis, StoreError, scripts, version};
use crate::auth::api_token::TokenRecord;

/// What is to be taken over.
pub(super) struct Import {
    file: PathBuf,
    /// By key: each try has the same parts.
    tokens: Vec<TokenRecord>,
}

impl Import {
    /// Reads the file; `None` where there is none.
    pub(super) fn read(file: PathBuf) -> Result<Option<Self>, OpenError> {
        if !file.try_exists().is_ok_and(|exists| exists) {
            return Ok(None);
        }
        let disk = Disk::open(&file)?;
        let Ok(mut tokens) = disk.tokens() else {
            let error = std::io::Error::other("its tokens cannot be read, as the log says");
            return Err(OpenError::Io(file, error));
        };
        tokens.sort_by_key(|token| token.key);
        Ok(Some(Self { file, tokens }))
    }
}

impl Redis {
    /// Brings the tokens of the file into the store, once, and renames the file: it would bring back
    /// what was revoked since.
    pub(super) async fn take_over(&self) -> Result<(), StoreError> {
        let mut import = self.import.lock().await;
        let Some(Import { file, tokens }) = &*import else {
            return Ok(());
        };
        let mark = self.link.mark();
        for some in tokens.chunks(AT_ONCE) {
            if !self.take_over_some(some).await? {
                tracing::error!(
                    file = %file.display(),
                    "the API tokens of the file are not all taken over into the session store: there \
                     would be too many; revoke some and start again"
                );
                *import = None;
                return Ok(());
            }
        }
        self.wait_for_replicas(mark).await;
        let (count, from, mut to) = (tokens.len(), file.clone(), file.clone().into_os_string());
        *import = None;
        to.push(".taken-over");
        let renaming = {
            let (from, to) = (from.clone(), to.clone());
            tokio::task::spawn_blocking(move || std::fs::rename(from, to))
        };
        let renamed = renaming.await.unwrap_or_else(|error| Err(error.into()));
        match renamed {
            Ok(()) => tracing::info!(
                target: "vestibule", tokens = count, file = %from.display(),
                moved_to = %PathBuf::from(to).display(),
                "the API tokens of the file were taken over into the session store"
            ),
            Err(error) => tracing::warn!(
                tokens = count, file = %from.display(), %error,
                "the API tokens of the file were taken over into the session store: move the file away"
            ),
        }
        Ok(())
    }

    /// Gives whether there was room.
    async fn take_over_some(&self, tokens: &[TokenRecord]) -> Result<bool, StoreError> {
        let (mut part, mut rows) = (Sha256::new(), Vec::with_capacity(tokens.len()));
        for token in tokens {
            part.update(token.key.as_bytes());
            let used = token.last_used.map(|at| self.time_there(at));
            let used = used.map(|at| at.as_millis().to_string());
            rows.push((token.key, self.seal(token)?, used.unwrap_or_default()));
        }
        let (version, names) = (version()?, &self.names);
        let (most, part) = (MAX_TOKENS.to_string(), part.finalize());
        let mut args = vec![
            &version[..],
            names.channel.as_bytes(),
            most.as_bytes(),
            &part,
        ];
        for (key, value, used) in &rows {
            args.extend([&key.as_bytes()[..], value, used.as_bytes()]);
        }
        let keys = [
            &names.tokens,
            &names.users,
            &names.used,
            &names.version,
            &names.taken_over,
        ];
        Ok(self.number(&scripts::TAKE_OVER, &keys, &args).await? == 1)
    }
}

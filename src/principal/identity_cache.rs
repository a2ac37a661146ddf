//! Who an account is, remembered by what signs it in.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Identity;

/// Who an account is by the accounts of one generation: requests ask for nothing else as long as no
/// account has changed.
#[derive(Debug, Default)]
pub(crate) struct IdentityCache(ArcSwapOption<(u64, Arc<Identity>)>);

impl IdentityCache {
    pub(crate) fn get(&self, generation: u64) -> Option<Arc<Identity>> {
        let remembered = self.0.load();
        let (of, identity) = remembered.as_deref()?;
        (*of == generation).then(|| Arc::clone(identity))
    }

    /// `generation` is from before the account was looked up.
    pub(crate) fn set(&self, generation: u64, identity: Arc<Identity>) {
        self.0.store(Some(Arc::new((generation, identity))));
    }
}

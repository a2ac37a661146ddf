//! What a node keeps alone goes to the store that several nodes share.

use super::shared::SharedPosts;
use super::{Duration, HandOver, Put, SavedPostStore};

/// How often forms of this node alone are brought to the store, if there are any.
const SHARE_EVERY: Duration = Duration::from_secs(1);

/// How often it is asked which forms in the store are still there.
const COUNT_EVERY: u32 = 15;

impl SavedPostStore {
    /// Brings to the store what this node has alone, as soon as it can be reached; does not end.
    pub(crate) async fn follow(&self) {
        let Some(shared) = &self.shared else {
            return std::future::pending().await;
        };
        for round in 1_u32.. {
            tokio::time::sleep(SHARE_EVERY).await;
            if shared.is_connected() {
                self.share(shared).await;
                if round % COUNT_EVERY == 0 {
                    shared.recount().await;
                }
            }
        }
    }

    pub(super) async fn share(&self, shared: &SharedPosts) {
        for (owner, id) in self.local.all() {
            let Some((form, may_be_shared)) = self.local.lend(owner, id) else {
                continue;
            };
            let put = match shared.put(owner, &form).await {
                Ok(Put::NoRoom) => continue,
                Ok(put) => put,
                // It is tried again.
                Err(failed) => {
                    if !failed.was_sent && !may_be_shared {
                        self.local.is_unsent(id);
                    }
                    return;
                }
            };
            let Some((now, form)) = self.local.remove(&form) else {
                continue; // whoever has taken it has asked the store, too
            };
            if put == Put::Gone {
                continue;
            }
            // A login may have come in between.
            let moved = now == owner
                || matches!(
                    shared.hand_over(owner, now, &form).await,
                    Ok(HandOver::Done | HandOver::Absent)
                );
            if moved {
                shared.count(form);
            } else {
                self.local.put_back(now, form);
            }
        }
    }
}

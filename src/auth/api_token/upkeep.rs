//! What no request does for API tokens.

use std::sync::Arc;
use std::time::Duration;

use super::{ApiTokens, StoreError, Token, TokenKey};
use crate::auth::authenticators::Answer;

/// Uses go to the store once in this time: a crash loses at most the last minute of them.
pub(super) const FLUSH_EVERY: Duration = Duration::from_mins(1);

/// For how long people still see that a token has expired.
pub(super) const SHOWN_EXPIRED: Duration = Duration::from_hours(24 * 30);

impl ApiTokens {
    /// The tokens of users who were removed or disabled, as `is_over` judges them at this `generation` of
    /// the accounts: each time that those have changed.
    pub(crate) fn over(
        &self,
        generation: u64,
        is_over: impl Fn(&Token) -> bool,
    ) -> Vec<Arc<Token>> {
        let have_changed = self.state().generation.replace(generation) != Some(generation);
        let index = self.read();
        // Others are looked at to know whose they are before that is another one.
        let asked = (index.tokens.values()).filter(|it| have_changed || !it.has_seen_user());
        let over = asked.filter(|token| is_over(token) && have_changed);
        over.cloned().collect()
    }

    /// All are to be looked at again, whether the accounts change or not.
    pub(crate) fn look_again(&self) {
        self.state().generation = None;
    }

    /// Looks after what no request does: streams of tokens that expire, tokens that are `over` with
    /// their users, last uses, and what could not be removed.
    pub(crate) async fn tick(&self, over: Vec<Arc<Token>>) {
        let now = self.clock.now();
        let (looked, flush, retry) = {
            let mut state = self.state();
            let looked = std::mem::replace(&mut state.looked, now);
            let flush = now.since(state.flushed) >= FLUSH_EVERY;
            if flush {
                state.flushed = now;
            }
            (looked, flush, std::mem::take(&mut state.unremoved))
        };
        for token in &over {
            tracing::info!(
                target: "audit", user = token.user(), token = %token.key().short(),
                "API token ended: the user is gone or disabled"
            );
        }
        let mut over: Vec<_> = over.iter().map(|token| token.key()).collect();
        let mut expire = false;
        for token in self.read().tokens.values() {
            let expires = token.expires();
            expire |= looked < expires && expires <= now;
            if now.since(expires) >= SHOWN_EXPIRED {
                over.push(token.key());
            }
        }
        if expire {
            self.ended.notify_one();
        }
        if let Err(error) = self.revoke(over).await {
            tracing::error!(%error, "API tokens that have ended were not removed; it is tried again");
        }
        if !retry.is_empty() && self.remove(retry.clone()).await.is_err() {
            self.state().unremoved.extend(retry);
        }
        if flush {
            self.flush().await;
            self.learn_uses().await;
        }
    }

    /// Writes down when tokens were last used, and whose those are that do not say so.
    pub(super) async fn flush(&self) {
        let users = self.write_each(
            Token::take_unwritten_user,
            Token::put_back_unwritten_user,
            |users| self.store.set_users(users),
        );
        if users.await.is_err() {
            tracing::error!("the users of API tokens were not written down");
        }
        let last_uses = self.write_each(Token::take_unflushed, Token::put_back_unflushed, |uses| {
            self.store.touch_tokens(uses)
        });
        if last_uses.await.is_err() {
            tracing::error!("the last uses of API tokens were not written down");
        }
    }

    /// Writes what there is to `take` of each token; where that fails, it is put back.
    async fn write_each<'a, T: Send>(
        &'a self,
        take: impl Fn(&Token) -> Option<T>,
        put_back: impl Fn(&Token),
        write: impl FnOnce(Vec<(TokenKey, T)>) -> Answer<'a, ()>,
    ) -> Result<(), StoreError> {
        let new = |token: &Arc<Token>| Some((token.key(), take(token)?));
        let new: Vec<_> = self.read().tokens.values().filter_map(new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = new.iter().map(|(key, _)| *key).collect();
        let written = write(new).await;
        if written.is_err() {
            let index = self.read();
            let tokens = keys.iter().filter_map(|key| index.tokens.get(key));
            tokens.for_each(|token| put_back(token));
        }
        written
    }
}

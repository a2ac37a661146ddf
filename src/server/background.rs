//! What has to be done whether requests come or not.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::auth::Accounts;
use crate::auth::api_token::ApiTokens;
use crate::clock::Clock;
use crate::identity::token::Signer;
use crate::load::{Admission, Load};
use crate::nodes::{Heartbeat, KeyRing};
use crate::portal::saved_posts::store::SavedPostStore;
use crate::proxy::Service;
use crate::session::Sessions;
use crate::tls::Certificates;

/// How often streams of ended sessions are looked for, and files that have changed.
const TICK: Duration = Duration::from_millis(500);

/// What has to be done whether requests come or not.
pub(super) struct Background {
    pub(super) service: Arc<Service>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) admission: Arc<Admission>,
    pub(super) load: Arc<Load>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) signer: Arc<Signer>,
    pub(super) tokens: Arc<ApiTokens>,
    pub(super) keys: [Arc<KeyRing>; 2],
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) posts: Arc<SavedPostStore>,
}

impl Background {
    /// Does it until what is returned is dropped; `tasks` learns of what may not end before.
    pub(super) fn begin(self, tasks: &mut Vec<AbortHandle>) -> JoinSet<()> {
        let mut background = JoinSet::new();
        let (load, admission) = (Arc::clone(&self.load), Arc::clone(&self.admission));
        tasks.push(background.spawn(load.watch(admission)));
        let sessions = Arc::clone(&self.sessions);
        tasks.push(background.spawn(async move { sessions.follow_store().await }));
        let sessions = Arc::clone(&self.sessions);
        tasks.push(background.spawn(async move { sessions.keep_flushed().await }));
        let (tokens, service) = (Arc::clone(&self.tokens), Arc::clone(&self.service));
        tasks.push(background.spawn(async move {
            loop {
                tokens.have_ended().await;
                service.judge_again();
            }
        }));
        let signer = Arc::clone(&self.signer);
        tasks.push(background.spawn(async move { signer.follow().await }));
        let posts = Arc::clone(&self.posts);
        tasks.push(background.spawn(async move { posts.follow().await }));
        let tokens = Arc::clone(&self.tokens);
        tasks.push(background.spawn(async move { tokens.follow().await }));
        let accounts = Arc::clone(&self.accounts);
        tasks.push(background.spawn(async move { accounts.follow().await }));
        let (accounts, service) = (Arc::clone(&self.accounts), Arc::clone(&self.service));
        tasks.push(background.spawn(async move {
            loop {
                accounts.have_changed().await;
                service.judge_again();
            }
        }));
        let service = Arc::clone(&self.service);
        tasks.push(background.spawn(async move {
            let mut tick = tokio::time::interval(TICK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                service.tick_tokens().await;
            }
        }));
        for keys in self.keys.clone() {
            tasks.push(background.spawn(async move { keys.follow().await }));
        }
        let (heartbeat, sessions) = (Arc::clone(&self.heartbeat), Arc::clone(&self.sessions));
        tasks.push(background.spawn(async move {
            heartbeat.keep(|| sessions.open_streams()).await;
        }));
        tasks.push(background.spawn(self.tick()));
        background
    }

    async fn tick(self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            self.certificates.refresh();
            self.certificates.warn_of_ends(Clock::system().now());
            self.service.tick().await;
            if self.signer.is_due() {
                let signer = Arc::clone(&self.signer);
                let _turned = tokio::task::spawn_blocking(move || signer.turn()).await;
            }
            self.load
                .set_users(self.accounts.hashing_memory(), self.accounts.memory());
        }
    }
}

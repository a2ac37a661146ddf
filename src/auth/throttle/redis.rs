//! The counters that all nodes share, in Redis or Valkey: with the limits, the windows and the waits
//! of those in this process.
//!
//! A try is one atomic step. All counters have one hash tag, since a try counts at an account and at
//! networks in one step; hashing passwords bounds how often that is. A key says nothing of whom it is
//! about: names and networks are keyed hashes. Every key ends by itself, counters with their window;
//! and a network fills no more of them than it has tries.

mod names;
mod scripts;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Script, Value};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::names::{Names, Place as Named};
use super::known::{KNOWN_FOR, NOTE_EVERY, OF_ACCOUNT};
use super::nodes::{Claimed, Place, Said};
use super::{EVERYWHERE, KNOWN, LEVELS, Settings, Wait, scaled, shared};
use crate::clock::Timestamp;
use crate::redis::Link;

/// A login waits no longer for the store: the counters of this node decide then.
const WAIT: Duration = Duration::from_millis(250);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedCounts {
    link: Link,
    names: Arc<Names>,
}

/// A try that is counted.
pub(super) struct Counted {
    named: Named,
    window: Duration,
    by_proxy: bool,
    /// Each counter that has it, and when its window began.
    counters: Vec<(String, u64)>,
    /// The failures of the account at the network, if a login has made others forgotten.
    pub(super) since_login: Option<u32>,
    /// It is one of those that networks share.
    shared: bool,
    /// When the user last signed in from there.
    pub(super) known_since: Option<Timestamp>,
    /// It was the last one for so long.
    pub(super) last_for: Option<Wait>,
}

impl SharedCounts {
    pub(crate) fn new(link: &Link) -> Self {
        Self {
            names: Arc::new(Names::new(link)),
            link: link.clone(),
        }
    }

    /// When the user has last signed in from there, if that is not too long ago.
    pub(super) async fn known_since(&self, place: &Place<'_>) -> Option<Timestamp> {
        let named = self.names.of(place.account, place.network);
        let known_for = millis(KNOWN_FOR);
        let keys = [named.known];
        let args = [named.network, known_for];
        let run = self.run(&scripts::KNOWN_SINCE, &keys, &args);
        let answer = timeout(WAIT, run).await.ok()??;
        seen(number(&answer)?)
    }

    /// Goes on when it takes too long for the login to wait.
    pub(super) async fn claim(&self, place: &Place<'_>, settings: &Settings) -> Said {
        let named = self.names.of(place.account, place.network);
        let known = match (place.by_proxy, place.known) {
            (true, _) => "never",
            (false, true) => "yes",
            (false, false) => "look",
        };
        let of_account = settings.account_failures;
        let of_network = settings.address_failures;
        let mut args = vec![
            millis(settings.window),
            named.network.clone(),
            named.site.clone(),
            known.to_owned(),
            millis(KNOWN_FOR),
            of_account.to_string(),
            of_network.saturating_mul(KNOWN).to_string(),
            of_account.saturating_mul(EVERYWHERE).to_string(),
            millis(shared::EVERY),
            shared::SAVED.to_string(),
        ];
        let mut keys = vec![&named.known, &named.account, &named.bucket, &named.at_known];
        for (level, tenths) in named.levels.iter().zip(LEVELS) {
            keys.extend([&level.account, &level.network]);
            args.push(scaled(of_account, tenths).to_string());
            args.push(scaled(of_network, tenths).to_string());
        }
        let keys: Vec<_> = keys.into_iter().cloned().collect();
        let (store, window, by_proxy) = (self.clone(), settings.window, place.by_proxy);
        let known = place.known;
        let mut claim = tokio::spawn(async move {
            let answer = store.run(&scripts::CLAIM, &keys, &args).await?;
            claimed(&answer, named, window, (by_proxy, known))
        });
        match timeout(WAIT, &mut claim).await {
            Ok(Ok(Some(claimed))) => Said::InTime(claimed),
            Ok(_) => Said::Nothing,
            Err(_) => Said::Later(claim),
        }
    }

    /// The password was right, or was not looked at: whatever a late claim has counted is taken back.
    pub(super) fn take_back_later(&self, claim: JoinHandle<Option<Claimed>>, has_succeeded: bool) {
        let store = self.clone();
        tokio::spawn(async move {
            if let Ok(Some(Claimed::Counted(counted))) = claim.await {
                store.take_back(&counted, has_succeeded).await;
            }
        });
    }

    pub(super) async fn succeeded(&self, counted: Box<Counted>) {
        self.settle(counted, true).await;
    }

    pub(super) async fn withdraw(&self, counted: Box<Counted>) {
        self.settle(counted, false).await;
    }

    /// Goes on when it takes too long for the login to wait.
    async fn settle(&self, counted: Box<Counted>, has_succeeded: bool) {
        let store = self.clone();
        let settled = tokio::spawn(async move { store.take_back(&counted, has_succeeded).await });
        let _late = timeout(WAIT, settled).await;
    }

    async fn take_back(&self, counted: &Counted, has_succeeded: bool) {
        let named = &counted.named;
        let text = |holds: bool, text: &str| {
            if holds {
                text.to_owned()
            } else {
                String::new()
            }
        };
        let mut keys = vec![&named.known, &named.bucket, &named.levels[0].account];
        let mut args = vec![
            millis(counted.window),
            text(has_succeeded && !counted.by_proxy, &named.network),
            text(has_succeeded, "forget"),
            text(counted.shared, &named.site),
            millis(KNOWN_FOR),
            millis(NOTE_EVERY),
            OF_ACCOUNT.to_string(),
            millis(shared::EVERY),
        ];
        for (key, since) in &counted.counters {
            keys.push(key);
            args.push(since.to_string());
        }
        let keys: Vec<_> = keys.into_iter().cloned().collect();
        // Without an answer it stays counted until its window ends.
        let _answer = self.run(&scripts::TAKE_BACK, &keys, &args).await;
    }

    async fn run(&self, script: &Script, keys: &[String], args: &[String]) -> Option<Value> {
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        // The link tells the log of an error; this node counts alone then.
        self.link.script(script, &keys, &args).await.ok()
    }
}

/// What the script that counts has answered.
fn claimed(
    answer: &Value,
    named: Named,
    window: Duration,
    (by_proxy, known): (bool, bool),
) -> Option<Claimed> {
    let Value::Array(answer) = answer else {
        return None;
    };
    let answer: Option<Vec<u64>> = answer.iter().map(number).collect();
    let answer = answer?;
    let (&[is_counted, known_since, wait, shared], counts) = answer.split_first_chunk()?;
    if is_counted == 0 {
        // Refused is refused, however soon it ends.
        return Some(Claimed::Refused(Wait(Duration::from_millis(wait.max(1)))));
    }
    let (counts, _) = counts.as_chunks::<3>();
    let since_login = counts.first().filter(|[.., forgot]| *forgot == 1);
    let since_login = since_login.map(|[_, failures, _]| u32::try_from(*failures));
    let counters = named.counters(known || known_since > 0).zip(counts);
    let counters = counters.map(|(key, &[since, ..])| (key.clone(), since));
    Some(Claimed::Counted(Box::new(Counted {
        counters: counters.collect(),
        since_login: since_login.and_then(Result::ok),
        window,
        by_proxy,
        shared: shared == 1,
        known_since: seen(known_since),
        last_for: (wait > 0).then(|| Wait(Duration::from_millis(wait))),
        named,
    })))
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// Zero is never.
fn seen(at: u64) -> Option<Timestamp> {
    (at > 0).then(|| Timestamp::from_millis(at))
}

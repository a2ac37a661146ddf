//! Targets in the store that several nodes share: a version byte, the time by the clock of the store,
//! the name, and the target.

use super::{KEPT_FOR, NAME, Nodes, OF_ONE_BROWSER, Owner, ReturnTo, SessionKey, Timestamp};
use crate::portal::pending::{HandOver, Listed, Name, NewItem, PendingStore, Put};
use crate::session::StoreError;

/// What another version has written is left alone.
const VERSION: u8 = 1;

/// Nothing takes a target out.
const NOBODY: [u8; 16] = [0; 16];

type Answer<T> = Result<T, StoreError>;

pub(super) struct SharedTargets(PendingStore);

struct Kept {
    since: Timestamp,
    name: String,
    target: ReturnTo,
}

impl SharedTargets {
    /// `None` where this node is alone.
    pub(super) fn of(nodes: &Nodes) -> Option<Self> {
        PendingStore::of(nodes, "targets", KEPT_FOR).map(Self)
    }

    /// What waits for an owner, the oldest first.
    async fn list(&self, owner: Owner) -> Answer<(Timestamp, Vec<Kept>)> {
        let Listed { now, items } = self.0.list(owner.name()).await?;
        let targets = items.iter().filter_map(|item| {
            let target = Kept::decode(&item.text)?;
            (item.name == key(&target.name)).then_some(target)
        });
        let mut targets: Vec<_> = targets.collect();
        targets.sort_by_key(|target| target.since);
        Ok((now, targets))
    }

    /// Keeps a target from now on; the oldest of too many goes for it.
    pub(super) async fn keep(&self, owner: Owner, name: &str, target: &ReturnTo) -> Answer<()> {
        let (now, others) = self.list(owner).await?;
        let text = encode(now, name, target);
        let is_there = others.iter().any(|other| other.name == name);
        if is_there {
            let owner = owner.name();
            let again = self
                .0
                .hand_over((owner, owner), (key(name), &text), KEPT_FOR);
            if again.await? == HandOver::Done {
                return Ok(());
            }
        }
        let too_many = (others.len() + 1).saturating_sub(OF_ONE_BROWSER);
        let oldest = others.iter().take(too_many).map(|other| key(&other.name));
        let item = NewItem {
            name: key(name),
            text: &text,
            body: None,
            replaced: &oldest.collect::<Vec<_>>(),
        };
        match self.0.put(owner.name(), &item, &NOBODY, KEPT_FOR).await? {
            Put::Kept => Ok(()),
            Put::Gone | Put::NoRoom => Err(StoreError::Full),
        }
    }

    pub(super) async fn find(&self, owners: &[Owner], name: &str) -> Answer<Option<ReturnTo>> {
        for owner in owners {
            let (_, targets) = self.list(*owner).await?;
            let found = targets.into_iter().find(|target| target.name == name);
            if let Some(found) = found {
                return Ok(Some(found.target));
            }
        }
        Ok(None)
    }

    pub(super) async fn hand_over(&self, owners: &[Owner], session: SessionKey) -> Answer<()> {
        let session = Owner::Session(session);
        for owner in owners.iter().filter(|owner| **owner != session) {
            let (now, targets) = self.list(*owner).await?;
            for Kept {
                since,
                name,
                target,
            } in targets
            {
                let text = encode(since, &name, &target);
                let left = KEPT_FOR.saturating_sub(now.since(since));
                let names = (owner.name(), session.name());
                // What there is no room for stays, and leads nowhere.
                self.0.hand_over(names, (key(&name), &text), left).await?;
            }
        }
        Ok(())
    }
}

fn key(name: &str) -> Name {
    Name::of("target", name.as_bytes())
}

fn encode(since: Timestamp, name: &str, target: &ReturnTo) -> Vec<u8> {
    let since = since.as_millis().to_be_bytes();
    let texts = [name.as_bytes(), target.as_str().as_bytes()].concat();
    [&[VERSION], &since[..], &texts].concat()
}

impl Kept {
    /// `None` for what is no target.
    fn decode(text: &[u8]) -> Option<Self> {
        let (&version, rest) = text.split_first()?;
        let (since, rest) = rest.split_first_chunk()?;
        let (name, target) = std::str::from_utf8(rest).ok()?.split_at_checked(NAME)?;
        (version == VERSION).then_some(Self {
            since: Timestamp::from_millis(u64::from_be_bytes(*since)),
            name: name.to_owned(),
            target: ReturnTo::check(target, usize::MAX)?,
        })
    }
}

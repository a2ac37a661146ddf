//! Forms that wait in the memory of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shared::{SharedPosts, Trying};
use super::{
    Adopted, Clock, OF_ONE_OWNER, Owner, PostHead, PostId, SavedPost, SessionKey, Take, Timestamp,
    Waiting,
};

type Forms = HashMap<Owner, Vec<SavedPost>>;

/// By whom they wait for. Clones share them.
#[derive(Clone)]
pub(super) struct LocalPosts {
    clock: Clock,
    forms: Arc<Mutex<Forms>>,
}

impl LocalPosts {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            forms: Arc::default(),
        }
    }

    /// `false` where the owner has too many.
    pub(super) fn add(&self, owner: Owner, form: SavedPost) -> bool {
        let mut forms = self.forms();
        let of_owner = forms.entry(owner).or_default();
        of_owner.retain(|other| !other.is_the_same(&form));
        let has_room = of_owner.len() < OF_ONE_OWNER;
        if has_room {
            of_owner.push(form);
        }
        has_room
    }

    /// It was here before.
    pub(super) fn put_back(&self, owner: Owner, form: SavedPost) {
        self.forms().entry(owner).or_default().push(form);
    }

    pub(super) fn adopt(
        &self,
        owners: &[Owner],
        host: &str,
        user: &str,
        key: SessionKey,
    ) -> Adopted {
        let now = self.clock.now();
        let mut adopted = Adopted::default();
        let mut forms = self.forms();
        for owner in owners {
            let Some(all) = forms.remove(owner) else {
                continue;
            };
            let (here, elsewhere): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|form| form.head.is_for(host));
            if !elsewhere.is_empty() {
                forms.insert(*owner, elsewhere);
            }
            for mut form in here.into_iter().filter(|form| form.head.is_fresh(now)) {
                if form.head.adopt(user) {
                    forms.entry(Owner::Session(key)).or_default().push(form);
                    adopted.waiting += 1;
                } else {
                    adopted.dropped += 1;
                }
            }
        }
        adopted
    }

    pub(super) fn waiting(&self, owner: Owner, host: &str) -> Vec<Waiting> {
        let now = self.clock.now();
        let forms = self.forms();
        let of_owner = forms.get(&owner).into_iter().flatten();
        let here = of_owner.filter(|form| form.head.is_fresh(now) && form.head.is_for(host));
        here.map(|form| form.head.describe(form.body.len(), now))
            .collect()
    }

    pub(super) fn take_if(
        &self,
        owner: Owner,
        is_it: impl Fn(&PostHead) -> bool,
    ) -> Option<SavedPost> {
        take_from(&mut self.forms(), owner, self.clock.now(), is_it)
    }

    /// Notes a click, and has the form wait for `browser`; whether one of `owners` has it.
    pub(super) fn claim(
        &self,
        owners: &[Owner],
        browser: Owner,
        is_it: impl Fn(&PostHead) -> bool,
    ) -> bool {
        let now = self.clock.now();
        let mut forms = self.forms();
        let mut owners = owners.iter();
        let form = owners.find_map(|owner| take_from(&mut forms, *owner, now, &is_it));
        let Some(mut form) = form else {
            return false;
        };
        form.head.confirmed = Some(now);
        forms.entry(browser).or_default().push(form);
        true
    }

    /// Asks the store until it says whether this node has taken a form that it asked for; then the
    /// form waits here.
    pub(super) fn take_back_later(
        &self,
        shared: &SharedPosts,
        owner: Owner,
        mut form: SavedPost,
        trying: Trying,
    ) {
        let Some(permit) = shared.later() else {
            tracing::warn!(
                app = &*form.head.app,
                bytes = form.body.len(),
                "a form may be lost: too many wait for the session store to answer"
            );
            return;
        };
        let (local, shared) = (self.clone(), shared.clone());
        form.head.confirmed = None; // as in `put_back` of the store
        tokio::spawn(async move {
            let _held = (permit, trying);
            if shared.ask_again(owner, &form).await == Some(Take::Taken) {
                local.put_back(owner, form);
            }
        });
    }

    pub(super) fn all(&self) -> Vec<(Owner, PostId)> {
        let forms = self.forms();
        let ids = |(owner, of_owner): (&Owner, &Vec<SavedPost>)| {
            let owner = *owner;
            let ids: Vec<_> = of_owner.iter().map(|form| (owner, form.head.id)).collect();
            ids
        };
        forms.iter().flat_map(ids).collect()
    }

    /// A form to be brought to the store, and whether that may have it already. It stays here, and
    /// whoever takes it meanwhile asks there.
    pub(super) fn lend(&self, owner: Owner, id: PostId) -> Option<(SavedPost, bool)> {
        let now = self.clock.now();
        let mut forms = self.forms();
        let mut of_owner = forms.get_mut(&owner)?.iter_mut();
        let form = of_owner.find(|form| form.head.id == id && form.head.is_fresh(now))?;
        let may_be_shared = std::mem::replace(&mut form.may_be_shared, true);
        let lent = SavedPost {
            head: form.head.clone(),
            body: form.body.clone(),
            token: form.token,
            may_be_shared: true,
            slot: None,
        };
        Some((lent, may_be_shared))
    }

    /// What was lent has not gone to the store.
    pub(super) fn is_unsent(&self, id: PostId) {
        let mut forms = self.forms();
        let form = forms.values_mut().flatten().find(|form| form.head.id == id);
        if let Some(form) = form {
            form.may_be_shared = false;
        }
    }

    /// Takes a form out that was lent, whoever has it by now; not one that was taken meanwhile, and
    /// has come back.
    pub(super) fn remove(&self, lent: &SavedPost) -> Option<(Owner, SavedPost)> {
        let (now, id) = (self.clock.now(), lent.head.id);
        let mut forms = self.forms();
        let is_it = |form: &SavedPost| form.head.id == id && form.token == lent.token;
        let has_it = |of_owner: &Vec<SavedPost>| of_owner.iter().any(is_it);
        let owner = forms.iter().find(|(_, of_owner)| has_it(of_owner));
        let owner = *owner?.0;
        let form = take_from(&mut forms, owner, now, |head| head.id == id)?;
        Some((owner, form))
    }

    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        self.forms().retain(|_, of_owner| {
            of_owner.retain(|form| form.head.is_fresh(now));
            !of_owner.is_empty()
        });
    }

    /// How many owners have something.
    #[cfg(test)]
    pub(super) fn owners(&self) -> usize {
        self.forms().len()
    }

    /// No code that holds the lock can leave the forms half changed (REL-11).
    fn forms(&self) -> MutexGuard<'_, Forms> {
        self.forms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_from(
    forms: &mut Forms,
    owner: Owner,
    now: Timestamp,
    is_it: impl Fn(&PostHead) -> bool,
) -> Option<SavedPost> {
    let of_owner = forms.get_mut(&owner)?;
    let at = of_owner
        .iter()
        .position(|form| form.head.is_fresh(now) && is_it(&form.head))?;
    let form = of_owner.remove(at);
    if of_owner.is_empty() {
        forms.remove(&owner);
    }
    Some(form)
}

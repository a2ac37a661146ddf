//! Forms that go from one owner to another: to the session of a login, to the browser that has clicked.

use super::super::{Adopted, HandOver, Owner, PostHead, SAVED_FOR, SavedPost, SessionKey, Take};
use super::{AGAIN, Answer, Described, SharedPosts, Times, token};

impl SharedPosts {
    pub(in super::super) async fn adopt(
        &self,
        owners: &[Owner],
        host: &str,
        user: &str,
        key: SessionKey,
    ) -> Answer<Adopted> {
        let mut adopted = Adopted::default();
        for owner in owners {
            let (times, forms) = self.list(*owner).await?;
            for mut form in forms {
                if !form.head.is_for(host) {
                    continue;
                }
                if !form.head.adopt(user) {
                    let taken = self.take(*owner, form.head.id, &token()?, None).await?;
                    if taken == Take::Taken {
                        self.uncount(form.head.id);
                        adopted.dropped += 1;
                    }
                    continue;
                }
                let handed = self.move_to((*owner, Owner::Session(key)), &form, &times);
                if handed.await? == HandOver::Done {
                    adopted.waiting += 1;
                }
            }
        }
        Ok(adopted)
    }

    /// The same as soon as the store can be asked.
    pub(in super::super) fn adopt_later(
        &self,
        owners: Vec<Owner>,
        host: &str,
        user: &str,
        key: SessionKey,
    ) {
        let Some(permit) = self.later() else {
            return;
        };
        let (shared, host, user) = (self.clone(), host.to_owned(), user.to_owned());
        tokio::spawn(async move {
            let _permit = permit;
            let begun = shared.inner.clock.now();
            while shared.inner.clock.now().since(begun) < SAVED_FOR {
                tokio::time::sleep(AGAIN).await;
                if shared.adopt(&owners, &host, &user, key).await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Notes a click, and has the form wait for `browser`; whether one of `owners` has it.
    pub(in super::super) async fn claim(
        &self,
        owners: &[Owner],
        browser: Owner,
        is_it: impl Fn(&PostHead) -> bool,
    ) -> Answer<bool> {
        for owner in owners {
            let (times, forms) = self.list(*owner).await?;
            for mut form in forms.into_iter().filter(|form| is_it(&form.head)) {
                form.head.confirmed = Some(times.here);
                let moved = self.move_to((*owner, browser), &form, &times).await?;
                if moved == HandOver::Done {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Hands over a form that another node may have in its hands by now.
    pub(in super::super) async fn hand_over(
        &self,
        from: Owner,
        to: Owner,
        form: &SavedPost,
    ) -> Answer<HandOver> {
        let (times, _) = self.list(from).await?;
        self.move_to((from, to), &Described::of(form), &times).await
    }

    async fn move_to(
        &self,
        (from, to): (Owner, Owner),
        form: &Described,
        times: &Times,
    ) -> Answer<HandOver> {
        let Some(text) = form.encode(times) else {
            return Ok(HandOver::NoRoom);
        };
        let (owners, item) = ((from.name(), to.name()), (form.head.id.name(), &*text));
        let left = form.head.left(times.here);
        self.store().hand_over(owners, item, left).await
    }
}

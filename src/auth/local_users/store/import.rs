//! Users of another file: many at once, in steps that do not grow with the number of users that there are.

use super::change::TRIES;
use super::record::{Field, State};
use super::{BATCH, ChangeError, Memory, Put, SharedUsers, StoreFault, ToPut};
use crate::auth::users_file::User;

/// What became of somebody who was to be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Added,
    /// Was there, and is as before.
    Kept,
    /// Was there, and has the password of the other one now.
    Replaced,
}

/// Where an import stopped, and what is wrong with the store or the key: with it, nobody else can be imported
/// either.
type Stopped = (String, ChangeError);

impl SharedUsers {
    /// Adds those of another file; who is there is kept, or gets the password when `replace` says so.
    /// Tells what became of each as soon as it holds: of one who cannot be imported why, and goes on with
    /// the others.
    pub(crate) async fn import(
        &self,
        users: &[User],
        replace: bool,
        mut tell: impl FnMut(&str, Result<Outcome, ChangeError>) + Send,
    ) -> Result<(), Stopped> {
        let mut left: Vec<_> = users.iter().collect();
        for _ in 0..TRIES {
            let Some(first) = left.first() else {
                return Ok(());
            };
            let caught_up = self.catch_up().await;
            caught_up.map_err(|fault| (first.name().to_owned(), fault.into()))?;
            let mut overtaken = Vec::new();
            for some in left.chunks(BATCH) {
                overtaken.extend(self.import_some(some, replace, &mut tell).await?);
            }
            left = overtaken;
        }
        for user in left {
            tell(user.name(), Err(ChangeError::Overtaken));
        }
        Ok(())
    }

    /// In one step of somebody at least; gives for whom another node was quicker.
    async fn import_some<'a>(
        &self,
        users: &[&'a User],
        replace: bool,
        tell: &mut (impl FnMut(&str, Result<Outcome, ChangeError>) + Send),
    ) -> Result<Vec<&'a User>, Stopped> {
        let _turn = self.turn.lock().await;
        let has_key = self.check_key();
        has_key.map_err(|error| (users[0].name().to_owned(), error))?;
        let (mut to_put, mut whose) = (Vec::<ToPut>::new(), Vec::new());
        for user in users {
            let place = match self.looked_up(user.name()) {
                Ok(place) => place.unwrap_or_default(),
                Err(error) => {
                    tell(user.name(), Err(error));
                    continue;
                }
            };
            let (state, outcome) = match &place.user {
                None => (State::Here((*user).clone()), Outcome::Added),
                Some(there) if replace => {
                    let there = there.clone().with_password(user.password().clone());
                    (State::Here(there), Outcome::Replaced)
                }
                Some(_) => {
                    tell(user.name(), Ok(Outcome::Kept));
                    continue;
                }
            };
            let Some(field) = Field::of(user.name()) else {
                tell(user.name(), Err(self.no_such_user(user.name())));
                continue;
            };
            let record = place.next(state);
            to_put.push((field, place.stamp, record));
            whose.push((*user, outcome));
        }
        let Some((first, _)) = whose.first() else {
            return Ok(Vec::new());
        };
        let put = self.records.put(&to_put, Memory::WhatIsFree).await;
        let put = put.map_err(|fault| (first.name().to_owned(), fault.into()))?;
        let mut overtaken = Vec::new();
        for (((field, _, record), (user, outcome)), put) in to_put.into_iter().zip(whose).zip(put) {
            let became = match put {
                Put::Done(stamp) => {
                    self.insert_own(field, stamp, record);
                    Ok(outcome)
                }
                Put::Overtaken => {
                    overtaken.push(user);
                    continue;
                }
                Put::TooLarge => Err(StoreFault::TooLarge.into()),
                Put::TooMany => Err(StoreFault::TooMany.into()),
            };
            tell(user.name(), became);
        }
        self.publish();
        Ok(overtaken)
    }
}

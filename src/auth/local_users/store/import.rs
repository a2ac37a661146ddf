//! Users of another file: many at once, in steps that do not grow with the number of users that there are.

use super::change::TRIES;
use super::record::{Field, State};
use super::{BATCH, ChangeError, Memory, Put, SharedUsers, StoreFault, ToPut};
use crate::auth::users_file::User;
use crate::auth::users_file::edit::EditError;

/// What became of somebody who was to be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Added,
    /// Was there, and is as before.
    Kept,
    /// Was there, and has the password of the other one now.
    Replaced,
}

/// The first who was not imported, and why. Others are, of whom that was told.
type NotImported = (String, ChangeError);

impl SharedUsers {
    /// Adds those of another file; who is there is kept, or gets the password when `replace` says so.
    /// Tells what became of each as soon as it holds.
    pub(crate) async fn import(
        &self,
        users: &[User],
        replace: bool,
        mut tell: impl FnMut(&str, Outcome) + Send,
    ) -> Result<(), NotImported> {
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
        match left.first() {
            Some(first) => Err((first.name().to_owned(), ChangeError::Overtaken)),
            None => Ok(()),
        }
    }

    /// In one step; gives for whom another node was quicker.
    async fn import_some<'a>(
        &self,
        users: &[&'a User],
        replace: bool,
        tell: &mut (impl FnMut(&str, Outcome) + Send),
    ) -> Result<Vec<&'a User>, NotImported> {
        let _turn = self.turn.lock().await;
        let (mut to_put, mut whose, mut failed) = (Vec::<ToPut>::new(), Vec::new(), None);
        for user in users {
            let place = match self.looked_up(user.name()) {
                Ok(place) => place.unwrap_or_default(),
                Err(error) => {
                    // Those before it are imported.
                    failed = Some((user.name().to_owned(), error));
                    break;
                }
            };
            let (state, outcome) = match &place.user {
                None => (State::Here((*user).clone()), Outcome::Added),
                Some(there) if replace => {
                    let there = there.clone().with_password(user.password().clone());
                    (State::Here(there), Outcome::Replaced)
                }
                Some(_) => {
                    tell(user.name(), Outcome::Kept);
                    continue;
                }
            };
            let Some(field) = Field::of(user.name()) else {
                let name = user.name().to_owned();
                let error = EditError::NoSuchUser {
                    name: name.clone(),
                    nearest: None,
                };
                return Err((name, ChangeError::Name(error)));
            };
            let record = place.next(state);
            to_put.push((field, place.stamp, record));
            whose.push((*user, outcome));
        }
        let Some((first, _)) = whose.first() else {
            return failed.map_or(Ok(Vec::new()), Err);
        };
        let put = self.records.put(&to_put, Memory::WhatIsFree).await;
        let put = put.map_err(|fault| (first.name().to_owned(), fault.into()))?;
        let mut overtaken = Vec::new();
        for (((field, _, record), (user, outcome)), put) in to_put.into_iter().zip(whose).zip(put) {
            let fault = match put {
                Put::Done(stamp) => {
                    self.insert_own(field, stamp, record);
                    tell(user.name(), outcome);
                    continue;
                }
                Put::Overtaken => {
                    overtaken.push(user);
                    continue;
                }
                Put::TooLarge => StoreFault::TooLarge,
                Put::TooMany => StoreFault::TooMany,
            };
            failed.get_or_insert_with(|| (user.name().to_owned(), fault.into()));
        }
        self.publish();
        failed.map_or(Ok(overtaken), Err)
    }
}

//! What takes turns on all nodes at once: it is in the store, and each turn is made by the node that
//! gets the lease.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{Kind, ValueError, Values};
use crate::random::NoRandomness;

/// The lease of a node that makes a turn. If it fails before the turn is made, another one may.
const LEASE: Duration = Duration::from_secs(30);

const TURNED: Kind = Kind::new("turn", 1, 0);

/// Keys that take turns, and how.
pub(crate) trait Turns {
    type Keys: Clone;

    /// How they are kept.
    const KIND: Kind;

    /// How long a turn is.
    const TURN: Duration;

    /// Keys that no node has turned for so long are gone.
    const KEPT_FOR: Duration;

    /// What they are called.
    fn name(&self) -> &'static [u8];

    /// Where there are none.
    fn first(&self) -> Result<Self::Keys, NoRandomness>;

    /// Whether a turn is due.
    fn are_due(&self, keys: &Self::Keys) -> bool;

    fn turned(&self, keys: &Self::Keys) -> Result<Self::Keys, NoRandomness>;

    fn encode(keys: &Self::Keys) -> Result<Zeroizing<Vec<u8>>, NoRandomness>;

    /// `None` for what is none.
    fn decode(bytes: &[u8]) -> Option<Self::Keys>;
}

/// Reads the keys, and makes what is missing of them, or due. `own` are those that this node has had
/// from the store.
pub(crate) async fn read<T: Turns>(
    turns: &T,
    values: &Values,
    own: Option<&T::Keys>,
) -> Result<T::Keys, ValueError> {
    let Some(found) = there(turns, values).await? else {
        return begin(turns, values, own).await;
    };
    let keys = match found.keys {
        Ok(keys) => keys,
        Err(ValueError::Damaged) => return mend(turns, values, &found.sealed, own).await,
        Err(error) => return Err(error),
    };
    if !turns.are_due(&keys) || !lease(turns, values).await? {
        return Ok(keys);
    }
    // They were read before the lease, and somebody may have made the turn meanwhile.
    let Some(found) = there(turns, values).await? else {
        return Ok(keys);
    };
    turn(turns, values, found).await
}

/// Makes the turn of what was found, if it is due.
pub(super) async fn turn<T: Turns>(
    turns: &T,
    values: &Values,
    found: There<T::Keys>,
) -> Result<T::Keys, ValueError> {
    let keys = found.keys?;
    if !turns.are_due(&keys) {
        return Ok(keys);
    }
    let turned = turns.turned(&keys).map_err(no_randomness)?;
    if !replace(turns, values, &found.sealed, &turned).await? {
        // The lease had ended before, and another node has made it.
        let theirs = kept(turns, values).await?;
        return theirs.ok_or(ValueError::Damaged);
    }
    // Nodes whose clocks are far apart do not turn them again and again.
    values.put(&TURNED, turns.name(), b"", T::TURN / 2).await?;
    Ok(turned)
}

/// What the store has, and the keys that it stands for.
pub(super) struct There<K> {
    /// Empty where it is no value.
    sealed: Vec<u8>,
    keys: Result<K, ValueError>,
}

pub(super) async fn there<T: Turns>(
    turns: &T,
    values: &Values,
) -> Result<Option<There<T::Keys>>, ValueError> {
    let sealed = match values.sealed(&T::KIND, turns.name()).await {
        Ok(Some(sealed)) => sealed,
        Ok(None) => return Ok(None),
        Err(ValueError::Damaged) => Vec::new(),
        Err(error) => return Err(error),
    };
    let keys = match values.opened(&T::KIND, turns.name(), &sealed) {
        Ok(bytes) => T::decode(&bytes).ok_or(ValueError::Damaged),
        Err(ValueError::TooLarge) => Err(ValueError::Damaged),
        Err(error) => Err(error),
    };
    Ok(Some(There { sealed, keys }))
}

/// The keys of now.
pub(super) async fn kept<T: Turns>(
    turns: &T,
    values: &Values,
) -> Result<Option<T::Keys>, ValueError> {
    let found = there(turns, values).await?;
    found.map(|found| found.keys).transpose()
}

async fn lease<T: Turns>(turns: &T, values: &Values) -> Result<bool, ValueError> {
    let leased = values.put_if_absent(&TURNED, turns.name(), b"", LEASE);
    leased.await
}

/// Puts keys in place of what was there; gives whether it still was.
async fn replace<T: Turns>(
    turns: &T,
    values: &Values,
    there: &[u8],
    keys: &T::Keys,
) -> Result<bool, ValueError> {
    let bytes = T::encode(keys).map_err(no_randomness)?;
    let replaced = values.replace(&T::KIND, turns.name(), there, &bytes, T::KEPT_FOR);
    replaced.await
}

/// There are none: they are those that this node has, if the store has lost them, else new ones.
async fn begin<T: Turns>(
    turns: &T,
    values: &Values,
    own: Option<&T::Keys>,
) -> Result<T::Keys, ValueError> {
    let keys = match own {
        Some(own) => own.clone(),
        None => turns.first().map_err(no_randomness)?,
    };
    let (name, bytes) = (turns.name(), T::encode(&keys).map_err(no_randomness)?);
    let is_ours = values.put_if_absent(&T::KIND, name, &bytes, T::KEPT_FOR);
    if is_ours.await? {
        return Ok(keys);
    }
    let theirs = kept(turns, values).await?;
    theirs.ok_or(ValueError::Damaged)
}

/// They cannot be read: whoever has read them before puts them back. A node that has not may
/// have another key than the others, and would take theirs away.
async fn mend<T: Turns>(
    turns: &T,
    values: &Values,
    there: &[u8],
    own: Option<&T::Keys>,
) -> Result<T::Keys, ValueError> {
    let own = own.ok_or(ValueError::Damaged)?;
    if !lease(turns, values).await? || !replace(turns, values, there, own).await? {
        return Err(ValueError::Damaged);
    }
    Ok(own.clone())
}

fn no_randomness(NoRandomness: NoRandomness) -> ValueError {
    ValueError::NoRandomness
}

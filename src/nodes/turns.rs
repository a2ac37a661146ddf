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
    let name = turns.name();
    let keys = match kept(turns, values).await {
        Ok(Some(keys)) => keys,
        Ok(None) => return begin(turns, values, own).await,
        Err(ValueError::Damaged) => return mend(turns, values, own).await,
        Err(error) => return Err(error),
    };
    if !turns.are_due(&keys) || !values.put_if_absent(&TURNED, name, b"", LEASE).await? {
        return Ok(keys);
    }
    // They were read before the lease, and somebody may have made the turn meanwhile.
    let Some(keys) = kept(turns, values).await? else {
        return Ok(keys);
    };
    if !turns.are_due(&keys) {
        return Ok(keys);
    }
    let turned = turns.turned(&keys).map_err(no_randomness)?;
    put(turns, values, &turned).await?;
    // Nodes whose clocks are far apart do not turn them again and again.
    values.put(&TURNED, name, b"", T::TURN / 2).await?;
    Ok(turned)
}

/// As the store has them.
pub(super) async fn kept<T: Turns>(
    turns: &T,
    values: &Values,
) -> Result<Option<T::Keys>, ValueError> {
    match values.get(&T::KIND, turns.name()).await {
        Ok(Some(bytes)) => T::decode(&bytes).map(Some).ok_or(ValueError::Damaged),
        Ok(None) => Ok(None),
        Err(ValueError::TooLarge) => Err(ValueError::Damaged),
        Err(error) => Err(error),
    }
}

async fn put<T: Turns>(turns: &T, values: &Values, keys: &T::Keys) -> Result<(), ValueError> {
    let bytes = T::encode(keys).map_err(no_randomness)?;
    let put = values.put(&T::KIND, turns.name(), &bytes, T::KEPT_FOR);
    put.await
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
    own: Option<&T::Keys>,
) -> Result<T::Keys, ValueError> {
    let own = own.ok_or(ValueError::Damaged)?;
    let leased = values.put_if_absent(&TURNED, turns.name(), b"", LEASE);
    if !leased.await? {
        return Err(ValueError::Damaged);
    }
    put(turns, values, own).await?;
    Ok(own.clone())
}

fn no_randomness(NoRandomness: NoRandomness) -> ValueError {
    ValueError::NoRandomness
}

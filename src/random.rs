//! Random bytes of the operating system, for what nobody may guess.

use rand::TryRng;
use rand::rngs::SysRng;

/// The operating system gave no random bytes; there is nothing to fall back to.
#[derive(Debug)]
pub(crate) struct NoRandomness;

pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(bytes)
}

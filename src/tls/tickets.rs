//! TLS tickets that every node opens: a connection to one resumes on another.
//!
//! A ticket is the name of its key (16 bytes), random bytes (32), and what AES-256-GCM makes of the
//! state. Key and nonce come from the key of the ring by HKDF with the random bytes for context: no
//! two tickets share them, whichever nodes have made them.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::ProducesTickets;

use crate::nodes::{KeyRing, RingKey};
use crate::random::random;

const NAME: usize = 16;
const SALT: usize = 32;
const KEY: usize = 32;

/// Seconds, as rustls has it for its own. Browsers forget a ticket then.
const LIFETIME: u32 = 12 * 60 * 60;

/// Bytes of the longest ticket. One of a session without a client certificate has about 200.
const LONGEST: usize = 4096;

pub(super) struct Ticketer(Arc<KeyRing>);

impl Ticketer {
    pub(super) fn new(ring: Arc<KeyRing>) -> Self {
        Self(ring)
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.0.keys();
        let key = keys.current();
        let (name, salt) = (name(key), random::<SALT>().ok()?);
        let mut ticket = Vec::with_capacity(NAME + SALT + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&name);
        ticket.extend_from_slice(&salt);
        ticket.extend_from_slice(plain);
        let (cipher, nonce) = cipher(key, &salt);
        let sealed = &mut ticket[NAME + SALT..];
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(name), sealed);
        ticket.extend_from_slice(tag.ok()?.as_ref());
        (ticket.len() <= LONGEST).then_some(ticket)
    }

    /// Of anything that clients send. `None` has them make a full handshake.
    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > LONGEST {
            return None;
        }
        let (named, rest) = ticket.split_first_chunk::<NAME>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
        let keys = self.0.keys();
        // The name is no secret: it goes over the wire.
        let key = keys.accepted().find(|key| name(key) == *named)?;
        let (cipher, nonce) = cipher(key, salt);
        let mut state = sealed.to_vec();
        let length = {
            let opened = cipher.open_in_place(nonce, Aad::from(named), &mut state);
            opened.ok()?.len()
        };
        state.truncate(length);
        Some(state)
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer(..)")
    }
}

fn name(key: &RingKey) -> [u8; NAME] {
    *key.derive("ticket name", b"")
}

fn cipher(key: &RingKey, salt: &[u8; SALT]) -> (LessSafeKey, Nonce) {
    let bytes = key.derive::<{ KEY + NONCE_LEN }>("ticket", salt);
    let (key, nonce) = bytes.split_at(KEY);
    let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the length of AES-256");
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("the nonce has its length");
    (LessSafeKey::new(key), nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::RingOf;

    fn ticketer() -> Ticketer {
        Ticketer::new(KeyRing::alone(RingOf::Tickets))
    }

    #[test]
    fn sec_78_only_a_ticket_of_ours_opens() {
        let (ours, theirs) = (ticketer(), ticketer());
        let ticket = ours.encrypt(b"state").unwrap();
        assert_eq!(ours.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_ne!(ours.encrypt(b"state").unwrap(), ticket);
        assert_eq!(theirs.decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(ours.decrypt(&changed), None, "{at}");
            assert_eq!(ours.decrypt(&ticket[..at]), None, "{at}");
        }
        let longer = [&ticket[..], b"x"].concat();
        assert_eq!(ours.decrypt(&longer), None);
        assert_eq!(ours.decrypt(&[0; LONGEST + 1]), None);
        assert_eq!(ours.encrypt(&[0; LONGEST]), None);
    }
}

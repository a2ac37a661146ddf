//! What the shared counters are called.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::network::Network;
use crate::redis::Link;
use crate::secret::Secret;

/// Makes names that tell whoever reads the store neither accounts nor addresses: without the key,
/// nobody can try which of them they are. Nodes with another first key count apart from these, for as
/// long as keys are being changed.
pub(super) struct Names {
    key: Secret<[u8; 32]>,
    /// With the tag that has all of them in one slot.
    prefix: String,
}

/// The keys of one account at one network, and how the network is named in values.
pub(super) struct Place {
    /// The networks that the account is known at.
    pub(super) known: String,
    /// The account from everywhere.
    pub(super) account: String,
    /// The tries that networks share.
    pub(super) bucket: String,
    /// The network, for accounts that are known there.
    pub(super) at_known: String,
    /// The narrowest first.
    pub(super) levels: Vec<Level>,
    pub(super) network: String,
    pub(super) site: String,
}

pub(super) struct Level {
    /// The account at this network.
    pub(super) account: String,
    pub(super) network: String,
}

impl Names {
    pub(super) fn new(link: &Link) -> Self {
        Self {
            key: link.keys().derive("throttle"),
            prefix: format!("{}{{throttle}}:", link.prefix()),
        }
    }

    pub(super) fn of(&self, account: &str, network: Network) -> Place {
        let of_account = self.tag("account", account);
        let levels = network.levels().map(|level| {
            let level = level.to_string();
            Level {
                account: self.key("p", &self.tag("pair", &format!("{level}\0{account}"))),
                network: self.key("n", &self.tag("network", &level)),
            }
        });
        let levels = levels.collect();
        let site = self.tag("network", &network.site().to_string());
        let network = self.tag("network", &network.to_string());
        Place {
            known: self.key("k", &of_account),
            account: self.key("a", &of_account),
            bucket: self.key("s", &of_account),
            at_known: self.key("m", &network),
            levels,
            network,
            site,
        }
    }

    fn key(&self, kind: &str, tag: &str) -> String {
        format!("{}{kind}:{tag}", self.prefix)
    }

    /// 128 bits, in 22 letters, digits, `-` and `_`.
    fn tag(&self, kind: &str, name: &str) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(self.key.expose());
        let mut mac = mac.expect("any length will do");
        mac.update(kind.as_bytes());
        mac.update(b"\0"); // in no kind
        mac.update(name.as_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
    }
}

impl Place {
    /// Those that count a try, in the order in which the script counts it.
    pub(super) fn counters(&self, is_known: bool) -> impl Iterator<Item = &String> {
        let (known, others) = if is_known {
            (vec![&self.levels[0].account, &self.at_known], None)
        } else {
            (Vec::new(), Some(&self.levels))
        };
        let others = others.into_iter().flatten();
        let others = others.flat_map(|level| [&level.account, &level.network]);
        let account = (!is_known).then_some(&self.account);
        known.into_iter().chain(others).chain(account)
    }
}

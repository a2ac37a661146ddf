//! Where a login on another host leads: signed and sent along, not kept.

use super::codes::Browser;
use crate::portal::long_targets::LongTargets;
use crate::portal::return_to::ReturnTo;
use crate::portal::seal::{Purpose, Seal};
use crate::request::Host;

/// A page load that went to the login from the host of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::portal) struct State {
    /// Of the app.
    pub(in crate::portal) host: Host,
    /// That of `host` in the browser; `None` is 443.
    pub(super) port: Option<u16>,
    /// The browser that asked.
    pub(super) browser: Browser,
    /// What it asked for, or the path of that where it is too long to be sent along.
    pub(in crate::portal) target: ReturnTo,
    /// The name of a target that is kept at the app's host, in [`LongTargets`].
    pub(super) kept: Option<String>,
    /// How often this sign-in has begun anew.
    pub(super) tries: u8,
}

impl State {
    /// Host and port as the browser has them.
    pub(super) fn authority(&self) -> String {
        super::with_port(&self.host, self.port)
    }

    pub(super) fn seal(&self, seal: &Seal) -> String {
        let Self {
            host,
            port,
            browser,
            target,
            kept,
            tries,
        } = self;
        let (host, target) = (host.as_str(), target.as_str());
        let port = port.map_or_else(String::new, |port| port.to_string());
        let kept = kept.as_deref().unwrap_or_default();
        let text = format!("{tries}\n{browser}\n{host}\n{port}\n{kept}\n{target}");
        seal.close(Purpose::State, &text)
    }

    /// What this process, or another node, has sealed, and nothing else.
    pub(super) fn open(seal: &Seal, sealed: &str) -> Option<Self> {
        let text = seal.open(Purpose::State, sealed)?;
        let mut parts = text.splitn(6, '\n');
        let mut next = || parts.next();
        Some(Self {
            tries: next()?.parse().ok()?,
            browser: Browser::parse(next()?)?,
            host: Host::parse(next()?)?,
            port: match next()? {
                "" => None,
                port => Some(port.parse().ok()?),
            },
            kept: Some(next()?)
                .filter(|kept| !kept.is_empty())
                .map(str::to_owned),
            target: ReturnTo::parse(next()?, usize::MAX),
        })
    }

    /// Where it leads on the app's host.
    pub(super) async fn target_of(
        &self,
        context: &super::RequestContext<'_>,
        kept: &LongTargets,
    ) -> ReturnTo {
        let found = match &self.kept {
            Some(name) => kept.find(context, name).await,
            None => None,
        };
        found.unwrap_or_else(|| self.target.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{KeyRing, RingOf};

    #[test]
    fn sec_97_a_state_comes_back_as_it_left() {
        let seal = Seal::new(KeyRing::alone(RingOf::Forms));
        for (port, kept, target) in [
            (None, None, "/"),
            (Some(8443), Some("name".to_owned()), "/a?b=%0A&c=d//e"),
        ] {
            let state = State {
                host: Host::parse("wiki.test").unwrap(),
                port,
                browser: Browser::of(b"mine"),
                target: ReturnTo::parse(target, 2048),
                kept,
                tries: 3,
            };
            assert_eq!(state.target.as_str(), target);
            let sealed = state.seal(&seal);
            assert!(
                sealed
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            );
            assert_eq!(State::open(&seal, &sealed), Some(state));
        }
        for text in ["", "0", "0\nx\nwiki.test\n\n\n/", "x\n\n\n\n\n/"] {
            let sealed = seal.close(Purpose::State, text);
            assert_eq!(State::open(&seal, &sealed), None, "{text:?}");
        }
    }
}

//! A sign-out that began on the host of an app.

use std::time::Duration;

use super::Sso;
use crate::clock::Timestamp;
use crate::portal::seal::Purpose;
use crate::session::SessionKey;

/// How long a page may stand open between the host of the app and the button.
const GOOD_FOR: Duration = Duration::from_mins(10);

/// The page lists at most this many hosts.
const MAX_HOSTS: usize = 12;

impl Sso {
    /// Names a session, for the sign-out of whoever has it open on the host of an app.
    pub(super) fn name_session(&self, key: &SessionKey) -> String {
        self.timed(Purpose::SignOut, &key.to_string())
    }

    pub(in crate::portal) fn named_session(&self, name: &str) -> Option<SessionKey> {
        SessionKey::parse(&self.text(Purpose::SignOut, name)?)
    }

    /// Names the hosts that a sign-out has ended a session for. Signed: nobody else has our page say
    /// what has ended.
    pub(in crate::portal) fn name_hosts(&self, hosts: &[String]) -> String {
        self.timed(Purpose::SignedOut, &shown(hosts).join("\n"))
    }

    pub(in crate::portal) fn named_hosts(&self, name: &str) -> Vec<String> {
        let text = self.text(Purpose::SignedOut, name).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn timed(&self, purpose: Purpose, text: &str) -> String {
        let now = self.sessions.now().as_millis();
        self.seal.close(purpose, &format!("{now}\n{text}"))
    }

    fn text(&self, purpose: Purpose, sealed: &str) -> Option<String> {
        let text = self.seal.open(purpose, sealed)?;
        let (at, text) = text.split_once('\n')?;
        let at = Timestamp::from_millis(at.parse().ok()?);
        (self.sessions.now().since(at) < GOOD_FOR).then(|| text.to_owned())
    }
}

/// As many hosts as a page names.
pub(in crate::portal) fn shown(hosts: &[String]) -> &[String] {
    &hosts[..hosts.len().min(MAX_HOSTS)]
}

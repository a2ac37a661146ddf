//! One session as stores keep it.

use std::net::IpAddr;

use super::data::AppData;
use super::id::SessionKey;
use crate::auth::CredentialStamp;
use crate::clock::Timestamp;
use crate::request::Host;

/// One session as stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Names the session; the hash of the id that its login gave out.
    pub(crate) key: SessionKey,
    /// What opens the session. None before the first use of one that [is old](Self::is_old).
    pub(crate) ids: Vec<HostId>,
    /// Begun by a version that bound no id to a host and gave the cookie another name.
    pub(crate) is_old: bool,
    pub(crate) user: String,
    /// Groups and e-mail at the login; what counts now says the users file.
    pub(crate) groups: Vec<String>,
    pub(crate) email: Option<String>,
    /// How they signed in.
    pub(crate) method: String,
    /// The password they signed in with: when it changes, the session ends (SEC-51).
    pub(crate) credential: CredentialStamp,
    /// When they signed in.
    pub(crate) created: Timestamp,
    pub(crate) last_accessed: Timestamp,
    /// The end of the lifetime, whatever the session does.
    pub(crate) expires: Timestamp,
    /// They asked to stay signed in: the idle timeout is not for this session.
    pub(crate) remembered: bool,
    pub(crate) client: IpAddr,
    pub(crate) user_agent: String,
    pub(crate) data: AppData,
    /// Goes up with each change of `data`.
    pub(crate) revision: u64,
}

/// An id of a session, by its hash, and the one host that it opens (SEC-88).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostId {
    pub(crate) key: SessionKey,
    pub(crate) host: Host,
}

impl Record {
    /// The host that the id of this hash opens; `None` when it opens none yet.
    pub(crate) fn host_of(&self, id: &SessionKey) -> Option<&Host> {
        let id = self.ids.iter().find(|known| known.key == *id);
        id.map(|id| &id.host)
    }

    /// Binds the id of an old session to the host of its first use, and gives the app there what
    /// was kept for all apps. Gives whether there was something to bind.
    pub(super) fn bind(&mut self, host: &Host, app: &str) -> bool {
        if !self.is_old || !self.ids.is_empty() {
            return false;
        }
        self.ids.push(HostId {
            key: self.key,
            host: host.clone(),
        });
        if self.data.give_to(app) {
            self.revision += 1;
        }
        true
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::id::SessionId;
    use super::*;

    /// A session of `user` at `gate.test`.
    pub(crate) fn record(user: &str) -> Arc<Record> {
        let now = Timestamp::from_millis(1_000);
        let key = SessionId::generate().unwrap().key();
        Arc::new(Record {
            key,
            ids: vec![HostId {
                key,
                host: Host::parse("gate.test").unwrap(),
            }],
            is_old: false,
            user: user.to_owned(),
            groups: vec!["staff".to_owned()],
            email: None,
            method: "password".to_owned(),
            credential: CredentialStamp::of("hash"),
            created: now,
            last_accessed: now,
            expires: now.plus(Duration::from_mins(1)),
            remembered: false,
            client: IpAddr::from([192, 0, 2, 1]),
            user_agent: "test".to_owned(),
            data: AppData::default(),
            revision: 0,
        })
    }
}

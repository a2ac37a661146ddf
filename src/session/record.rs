//! One session as stores keep it.

use std::net::IpAddr;
use std::sync::Arc;

use super::data::AppData;
use super::id::SessionKey;
use crate::clock::Timestamp;
use crate::principal::{AccountRef, AuthContext, CredentialFingerprint};
use crate::request::Host;

/// Ids of one session: hosts that are open at a time. One more takes the place of the oldest, whose
/// browser goes by the login host once more.
pub(super) const MAX_IDS: usize = 128;

/// One session as stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Names the session; the hash of the id that its login gave out.
    pub(crate) key: SessionKey,
    /// What opens the session. None before the first use of one that [is old](Self::is_old).
    pub(crate) ids: Vec<HostId>,
    /// Begun by a version that bound no id to a host and gave the cookie another name.
    pub(crate) is_old: bool,
    pub(crate) account: AccountRef,
    /// Groups and e-mail at the login; what counts now says the users file.
    pub(crate) groups: Vec<String>,
    pub(crate) email: Option<String>,
    /// How they signed in.
    pub(crate) context: Arc<AuthContext>,
    /// Of the password they signed in with: when it changes, the session ends (SEC-51).
    pub(crate) fingerprint: CredentialFingerprint,
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
    pub(crate) fn user(&self) -> &str {
        self.account.subject()
    }

    /// The host that the id of this hash opens; `None` when it opens none yet.
    pub(crate) fn host_of(&self, id: &SessionKey) -> Option<&Host> {
        let id = self.ids.iter().find(|known| known.key == *id);
        id.map(|id| &id.host)
    }

    /// Ids besides the one that names the session.
    pub(super) fn other_ids(&self) -> impl Iterator<Item = &HostId> {
        self.ids.iter().filter(|id| id.key != self.key)
    }

    /// Has one more id open the session. Gives the keys of ids that open it no more; `None` where
    /// there is nothing to change.
    pub(super) fn add_id(&mut self, id: &HostId) -> Option<Vec<SessionKey>> {
        if self.ids.contains(id) {
            return None;
        }
        let mut others = self.ids.iter().filter(|other| other.key != self.key);
        let dropped = if self.ids.len() >= MAX_IDS {
            others.next().map(|oldest| oldest.key)
        } else {
            None
        };
        self.ids.retain(|other| Some(other.key) != dropped);
        self.ids.push(id.clone());
        Some(dropped.into_iter().collect())
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
    use std::time::Duration;

    use super::super::id::SessionId;
    use super::*;
    use crate::principal::Method;

    #[test]
    fn sec_88_a_session_has_so_many_ids_and_never_loses_its_own() {
        let mut ada = Arc::unwrap_or_clone(record("ada"));
        let id = |n: usize| HostId {
            key: SessionId::generate().unwrap().key(),
            host: Host::parse(&format!("h{n}.test")).unwrap(),
        };
        let ids: Vec<_> = (0..=MAX_IDS).map(id).collect();
        for id in &ids[..MAX_IDS - 1] {
            assert_eq!(ada.add_id(id), Some(vec![]));
            assert_eq!(ada.add_id(id), None);
        }
        assert_eq!(ada.add_id(&ids[MAX_IDS]), Some(vec![ids[0].key]));
        assert_eq!(ada.ids.len(), MAX_IDS);
        assert!(ada.host_of(&ada.key).is_some() && ada.host_of(&ids[0].key).is_none());
    }

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
            account: AccountRef::of_users_file(user),
            groups: vec!["staff".to_owned()],
            email: None,
            context: Arc::new(AuthContext::new(Method::Password.into(), now)),
            fingerprint: CredentialFingerprint::of("hash"),
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

//! How a record is written down: JSON with short names, its key beside it.
//!
//! `v` is the oldest version whose readers understand the record, not the one that wrote it: new
//! fields that readers may leave out do not raise it. So a file goes up and down by one version
//! (REL-19); what a reader does not understand it leaves alone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::data::AppData;
use super::id::SessionKey;
use super::record::{HostId, Record};
use crate::clock::Timestamp;
use crate::principal::{AccountRef, AuthContext, CredentialFingerprint, Methods};
use crate::request::Host;

/// Of records that say nothing of it: their ids open every host.
const UNBOUND: u32 = 1;

/// Of records whose ids are bound to hosts.
const BOUND: u32 = 2;

/// Why a record cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It needs a reader of this version.
    Version(u32),
    Malformed(serde_json::Error),
    /// A host or session data that are none.
    Value(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(
                    f,
                    "a later version of vestibule wrote it (format {version})"
                )
            }
            Self::Malformed(error) => error.fmt(f),
            Self::Value(field) => write!(f, "the field `{field}` has no valid value"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    #[serde(rename = "u")]
    user: Cow<'a, str>,
    #[serde(rename = "v", default = "unbound", skip_serializing_if = "is_unbound")]
    version: u32,
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty")]
    ids: Vec<IdRow<'a>>,
    #[serde(rename = "o", default, skip_serializing_if = "is_false")]
    is_old: bool,
    #[serde(rename = "g", default, skip_serializing_if = "slice_is_empty")]
    groups: Cow<'a, [String]>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    email: Option<Cow<'a, str>>,
    #[serde(rename = "m")]
    methods: Cow<'a, str>,
    /// When they proved who they are, unless that was when the session began.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    proved: Option<Timestamp>,
    #[serde(rename = "p")]
    fingerprint: CredentialFingerprint,
    #[serde(rename = "c")]
    created: Timestamp,
    #[serde(rename = "l")]
    last_accessed: Timestamp,
    #[serde(rename = "x")]
    expires: Timestamp,
    #[serde(rename = "r", default, skip_serializing_if = "is_false")]
    remembered: bool,
    #[serde(rename = "a")]
    client: IpAddr,
    #[serde(rename = "b")]
    user_agent: Cow<'a, str>,
    /// For all apps.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, str>>,
    /// By app.
    #[serde(rename = "s", default, skip_serializing_if = "BTreeMap::is_empty")]
    data_of_apps: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    revision: u64,
}

#[derive(Serialize, Deserialize)]
struct IdRow<'a> {
    #[serde(rename = "h")]
    host: Cow<'a, str>,
    /// Left out for the id that the session has its name from.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    key: Option<SessionKey>,
}

/// What a record of any version says of itself.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "v")]
    version: u32,
}

fn unbound() -> u32 {
    UNBOUND
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_unbound(version: &u32) -> bool {
    *version == UNBOUND
}

fn slice_is_empty(groups: &[String]) -> bool {
    groups.is_empty()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// The key is kept beside it.
pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let id = |id: &'_ HostId| (id.key != record.key).then_some(id.key);
    let ids = record.ids.iter().map(|known| IdRow {
        host: known.host.as_str().into(),
        key: id(known),
    });
    let is_unbound = record.is_old && record.ids.is_empty();
    let of_apps = record.data.of_apps();
    let row = Row {
        user: record.user().into(),
        version: if is_unbound { UNBOUND } else { BOUND },
        ids: ids.collect(),
        is_old: record.is_old && !is_unbound,
        groups: (&record.groups).into(),
        email: record.email.as_deref().map(Cow::from),
        methods: record.context.methods().names().into(),
        proved: Some(record.context.at()).filter(|at| *at != record.created),
        fingerprint: record.fingerprint,
        created: record.created,
        last_accessed: record.last_accessed,
        expires: record.expires,
        remembered: record.remembered,
        client: record.client,
        user_agent: (&record.user_agent).into(),
        data: record.data.of_all().text().map(Cow::from),
        data_of_apps: of_apps
            .filter_map(|(app, data)| Some((app.into(), data.text()?.into())))
            .collect(),
        revision: record.revision,
    };
    serde_json::to_vec(&row).expect("a row has no key but texts and no value that JSON lacks")
}

/// Nobody is signed in by what cannot be read.
pub(crate) fn decode(key: SessionKey, bytes: &[u8]) -> Result<Record, Unreadable> {
    let version = |row: &Row<'_>| (row.version > BOUND).then_some(row.version);
    let row: Row<'_> = match serde_json::from_slice(bytes) {
        Ok(row) => match version(&row) {
            None => row,
            Some(version) => return Err(Unreadable::Version(version)),
        },
        Err(error) => {
            let header = serde_json::from_slice::<Header>(bytes);
            return Err(match header {
                Ok(Header { version }) if version > BOUND => Unreadable::Version(version),
                _ => Unreadable::Malformed(error),
            });
        }
    };
    let is_unbound = row.version == UNBOUND;
    let ids = row.ids.into_iter().filter(|_| !is_unbound).map(|id| {
        Some(HostId {
            key: id.key.unwrap_or(key),
            host: Host::parse(&id.host)?,
        })
    });
    let ids: Option<Vec<_>> = ids.collect();
    let data = AppData::restore(row.data.as_deref(), row.data_of_apps);
    Ok(Record {
        key,
        ids: ids.ok_or(Unreadable::Value("i"))?,
        is_old: row.is_old || is_unbound,
        account: AccountRef::of_users_file(&row.user),
        groups: row.groups.into_owned(),
        email: row.email.map(Cow::into_owned),
        context: Arc::new(AuthContext::new(
            Methods::parse(&row.methods),
            row.proved.unwrap_or(row.created),
        )),
        fingerprint: row.fingerprint,
        created: row.created,
        last_accessed: row.last_accessed,
        expires: row.expires,
        remembered: row.remembered,
        client: row.client,
        user_agent: row.user_agent.into_owned(),
        data: data.ok_or(Unreadable::Value("d or s"))?,
        revision: row.revision,
    })
}

#[cfg(test)]
mod tests {
    use super::super::data::SET;
    use super::super::id::SessionId;
    use super::super::record::tests::record;
    use super::super::store::conformance::change;
    use super::*;
    use crate::principal::Method;

    // Rows, byte by byte, as each version of the program that wrote other ones than its
    // predecessor left them in files: by the commit that began it. A file may hold any of them.

    /// 8c9850b, which knew no version and bound no id to a host.
    const UNBOUND_ROWS: [&[u8]; 3] = [
        br#"{"u":"bob","m":"password","p":[27,146,92,48,137,30,175,112],"c":1795894500992,"l":1795894500992,"x":2111254500992,"r":true,"a":"127.0.0.1","b":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0","d":"n=1, s=\"x\"","n":1}"#,
        br#"{"u":"ada","g":["staff","wiki"],"m":"password","p":[27,146,92,48,137,30,175,112],"c":1795894501044,"l":1795894501044,"x":1795937701044,"a":"127.0.0.1","b":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}"#,
        br#"{"u":"eve","e":"eve@example.org","m":"new password","p":[0,1,2,3,4,5,6,255],"c":1,"l":2,"x":3,"a":"2001:db8::1","b":""}"#,
    ];

    /// a38e17d, which bound them and kept data by app: a new session, and one that the version
    /// before had begun.
    const BOUND_ROWS: [&[u8]; 2] = [
        br#"{"u":"ada","v":2,"i":[{"h":"wiki.test"}],"g":["staff"],"e":"ada@example.org","m":"password","p":[0,1,2,3,4,5,6,255],"c":1,"l":2,"x":3,"r":true,"a":"192.0.2.1","b":"test","s":{"files":"b=2","wiki":"a=1"},"n":2}"#,
        br#"{"u":"bob","v":2,"i":[{"h":"wiki.test"}],"o":true,"m":"password","p":[27,146,92,48,137,30,175,112],"c":1795894500992,"l":1795894500992,"x":2111254500992,"a":"127.0.0.1","b":"","s":{"wiki":"n=1, s=\"x\""},"n":2}"#,
    ];

    /// Of the version that kept the time of a proof after the login, and of the one that kept
    /// several methods.
    const PROOF_ROWS: [&[u8]; 2] = [
        br#"{"u":"ada","v":2,"i":[{"h":"wiki.test"}],"m":"new password","t":2,"p":[0,1,2,3,4,5,6,255],"c":1,"l":2,"x":3,"a":"192.0.2.1","b":""}"#,
        br#"{"u":"ada","v":2,"i":[{"h":"wiki.test"}],"m":"password+totp","p":[0,1,2,3,4,5,6,255],"c":1,"l":2,"x":3,"a":"192.0.2.1","b":""}"#,
    ];

    /// What 8c9850b reads; it ignores every other field.
    #[derive(Deserialize)]
    struct OldRow {
        u: String,
        m: String,
        p: CredentialFingerprint,
        c: Timestamp,
        l: Timestamp,
        x: Timestamp,
        a: IpAddr,
        b: String,
    }

    fn key() -> SessionKey {
        SessionId::generate().unwrap().key()
    }

    #[test]
    fn rel_19_rows_of_every_version_before_are_read_and_stay_as_they_are() {
        let rows = [&UNBOUND_ROWS[..], &BOUND_ROWS, &PROOF_ROWS].concat();
        for row in rows {
            let record = decode(key(), row).unwrap();
            let (again, row) = (encode(&record), row.to_vec());
            assert_eq!(String::from_utf8(again), String::from_utf8(row));
        }
    }

    #[test]
    fn rel_19_a_row_without_a_version_is_of_an_old_session() {
        for row in UNBOUND_ROWS {
            let record = decode(key(), row).unwrap();
            assert!(record.is_old && record.ids.is_empty(), "{record:?}");
        }
        let key = key();
        let mut bob = decode(key, UNBOUND_ROWS[0]).unwrap();
        assert_eq!(bob.data.header("wiki"), None);
        assert!(bob.bind(&Host::parse("wiki.test").unwrap(), "wiki"));
        assert_eq!(bob.data.header("wiki").unwrap(), "n=1, s=\"x\"");
        assert_eq!(bob.revision, 2);
        let bound = decode(key, &encode(&bob)).unwrap();
        assert_eq!(bound, bob);
        assert!(bound.is_old, "the cookie of the old name opens it still");
    }

    #[test]
    fn rel_19_every_field_of_a_row_with_hosts_is_read() {
        let at = Timestamp::from_millis;
        let (key, mut data) = (key(), AppData::default());
        for (app, value) in [("wiki", "a=1"), ("files", "b=2")] {
            data = data.apply(app, &change(&SET, value)).unwrap();
        }
        let ada = Record {
            key,
            ids: vec![HostId {
                key,
                host: Host::parse("wiki.test").unwrap(),
            }],
            is_old: false,
            account: AccountRef::of_users_file("ada"),
            groups: vec!["staff".to_owned()],
            email: Some("ada@example.org".to_owned()),
            context: Arc::new(AuthContext::new(Method::Password.into(), at(1))),
            fingerprint: serde_json::from_str("[0,1,2,3,4,5,6,255]").unwrap(),
            created: at(1),
            last_accessed: at(2),
            expires: at(3),
            remembered: true,
            client: IpAddr::from([192, 0, 2, 1]),
            user_agent: "test".to_owned(),
            data,
            revision: 2,
        };
        assert_eq!(decode(key, BOUND_ROWS[0]).unwrap(), ada);
        let bob = decode(key, BOUND_ROWS[1]).unwrap();
        assert!(bob.is_old && bob.host_of(&key) == ada.host_of(&key));
        assert_eq!(bob.data.header("wiki").unwrap(), "n=1, s=\"x\"");
    }

    #[test]
    fn rel_19_the_proofs_of_a_login_are_read() {
        let context = |row| decode(key(), row).unwrap().context;
        let proof = |methods, at| AuthContext::new(methods, Timestamp::from_millis(at)).into();
        let [renewed, two] = PROOF_ROWS.map(context);
        assert_eq!(renewed, proof(Method::NewPassword.into(), 2));
        assert_eq!(
            two,
            proof(Methods::from(Method::Password).and(Method::Totp), 1)
        );
    }

    #[test]
    fn rel_19_the_version_before_reads_the_rows_of_this_one() {
        let ada = record("ada");
        let row: OldRow = serde_json::from_slice(&encode(&ada)).unwrap();
        assert_eq!(
            (row.u, row.m, row.b),
            (ada.user().to_owned(), "password".into(), "test".into())
        );
        assert_eq!((row.p, row.a), (ada.fingerprint, ada.client));
        assert_eq!(
            [row.c, row.l, row.x],
            [ada.created, ada.last_accessed, ada.expires]
        );
    }

    #[test]
    fn a_row_names_the_methods_and_the_time_of_a_proof_after_the_login() {
        let mut ada = Arc::unwrap_or_clone(record("ada"));
        let row = |ada: &Record| String::from_utf8(encode(ada)).unwrap();
        assert!(row(&ada).contains(r#""m":"password","p":"#), "as ever");
        let later = ada.created.plus(std::time::Duration::from_secs(1));
        ada.context = AuthContext::new(Methods::parse("password+pigeon"), later).into();
        assert!(row(&ada).contains(r#""m":"password+pigeon","t":2000,"p":"#));
        assert_eq!(decode(ada.key, row(&ada).as_bytes()).unwrap(), ada);
    }

    #[test]
    fn sec_88_a_record_has_room_for_several_ids_each_for_its_host() {
        let mut ada = Arc::unwrap_or_clone(record("ada"));
        let (second, host) = (key(), Host::parse("metrics.test").unwrap());
        ada.ids.push(HostId {
            key: second,
            host: host.clone(),
        });
        let read = decode(ada.key, &encode(&ada)).unwrap();
        assert_eq!(read, ada);
        assert_eq!(read.host_of(&second), Some(&host));
        assert_eq!(read.host_of(&key()), None);
    }

    #[test]
    fn rel_19_unknown_fields_are_ignored_and_unknown_versions_are_not_guessed_at() {
        let row = String::from_utf8(encode(&record("ada"))).unwrap();
        let with = |field: &str| row.replacen('{', &format!("{{{field},"), 1);
        let later = with(r#""q":{"more":[1,2]},"z":null"#);
        assert_eq!(decode(key(), later.as_bytes()).unwrap().user(), "ada");
        let other_version = row.replace(r#""v":2"#, r#""v":3"#);
        for unknown in [&*other_version, r#"{"v":3,"user":{"name":"ada"}}"#] {
            let read = decode(key(), unknown.as_bytes());
            assert!(matches!(read, Err(Unreadable::Version(3))), "{unknown}");
        }
        for broken in [
            "",
            "null",
            "{}",
            &row[1..],
            &row[..row.len() - 1],
            &with(r#""u":1"#),
        ] {
            let read = decode(key(), broken.as_bytes());
            assert!(matches!(read, Err(Unreadable::Malformed(_))), "{broken}");
        }
        for value in [r#""i":[{"h":"a/b"}]"#, r#""i":[{"h":""}]"#] {
            let row = row.replace(r#""i":[{"h":"gate.test"}]"#, value);
            let read = decode(key(), row.as_bytes());
            assert!(matches!(read, Err(Unreadable::Value("i"))), "{row}");
        }
    }

    #[test]
    fn sec_88_a_record_without_an_id_opens_nothing_unless_it_is_old() {
        let row = String::from_utf8(encode(&record("ada"))).unwrap();
        let row = row.replace(r#""i":[{"h":"gate.test"}],"#, "");
        let read = decode(key(), row.as_bytes()).unwrap();
        assert!(read.ids.is_empty() && !read.is_old);
    }
}

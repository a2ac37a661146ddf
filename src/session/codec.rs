//! How a record is written down: a [row] with short names, its key beside it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::data::AppData;
use super::id::SessionKey;
use super::record::{HostId, Record};
use crate::clock::Timestamp;
use crate::principal::{AccountRef, AuthContext, CredentialFingerprint, Methods};
use crate::request::Host;
use crate::storage::row::{self, Unreadable, Versioned};

/// Of records that say nothing of it: their ids open every host.
const UNBOUND: u32 = 1;

/// Of records whose ids are bound to hosts.
const BOUND: u32 = 2;

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

impl Versioned for Row<'_> {
    const NEWEST: u32 = BOUND;

    fn version(&self) -> u32 {
        self.version
    }
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
    let row: Row<'_> = row::decode(bytes)?;
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
mod tests;

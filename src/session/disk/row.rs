//! How a record stands in the file: JSON with short names, its key beside it.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::auth::CredentialStamp;
use crate::clock::Timestamp;
use crate::session::data::SessionData;
use crate::session::id::SessionKey;
use crate::session::store::Record;

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    #[serde(rename = "u")]
    user: Cow<'a, str>,
    #[serde(rename = "g", default, skip_serializing_if = "slice_is_empty")]
    groups: Cow<'a, [String]>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    email: Option<Cow<'a, str>>,
    #[serde(rename = "m")]
    method: Cow<'a, str>,
    #[serde(rename = "p")]
    credential: CredentialStamp,
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
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, str>>,
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    revision: u64,
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

pub(super) fn encode(record: &Record) -> Vec<u8> {
    let data = record.data.header().and_then(|data| data.to_str().ok());
    let row = Row {
        user: (&record.user).into(),
        groups: (&record.groups).into(),
        email: record.email.as_deref().map(Cow::from),
        method: (&record.method).into(),
        credential: record.credential,
        created: record.created,
        last_accessed: record.last_accessed,
        expires: record.expires,
        remembered: record.remembered,
        client: record.client,
        user_agent: (&record.user_agent).into(),
        data: data.map(Cow::from),
        revision: record.revision,
    };
    serde_json::to_vec(&row).expect("a row has no map and no value that JSON lacks")
}

/// `None` for what is no row of this version: nobody is signed in by it.
pub(super) fn decode(key: SessionKey, bytes: &[u8]) -> Option<Record> {
    let row: Row<'_> = serde_json::from_slice(bytes).ok()?;
    let data = match row.data {
        Some(text) => SessionData::restore(&text)?,
        None => SessionData::default(),
    };
    Some(Record {
        key,
        user: row.user.into_owned(),
        groups: row.groups.into_owned(),
        email: row.email.map(Cow::into_owned),
        method: row.method.into_owned(),
        credential: row.credential,
        created: row.created,
        last_accessed: row.last_accessed,
        expires: row.expires,
        remembered: row.remembered,
        client: row.client,
        user_agent: row.user_agent.into_owned(),
        data,
        revision: row.revision,
    })
}

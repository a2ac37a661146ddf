//! How a token is written down: a [row] with short names, its key beside it. A field that narrows
//! what a token opens raises the version: readers that do not know it would let the token open more.

use std::borrow::Cow;

use http::Method;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::auth::api_token::{TokenKey, TokenRecord};
use crate::auth::incarnation::UserId;
use crate::clock::Timestamp;
use crate::principal::{AccountRef, Scope, SourceName};
use crate::request::Networks;
use crate::storage::row::{self, Unreadable, Versioned};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "s")]
    source: Cow<'a, str>,
    #[serde(rename = "u")]
    user: Cow<'a, str>,
    #[serde(rename = "n")]
    name: Cow<'a, str>,
    #[serde(rename = "c")]
    created: Timestamp,
    #[serde(rename = "x")]
    expires: Timestamp,
    #[serde(rename = "a", default, skip_serializing_if = "slice_is_empty")]
    apps: Cow<'a, [String]>,
    #[serde(rename = "p", default, skip_serializing_if = "slice_is_empty")]
    paths: Cow<'a, [String]>,
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    methods: Vec<Cow<'a, str>>,
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    networks: Vec<Cow<'a, str>>,
    /// Earlier versions know nothing of it, and go by the name alone, as they always did.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    user_id: Option<Cow<'a, str>>,
}

impl Versioned for Row<'_> {
    const NEWEST: u32 = VERSION;

    fn version(&self) -> u32 {
        self.version
    }
}

fn slice_is_empty(slice: &[String]) -> bool {
    slice.is_empty()
}

/// Neither its key nor its last use is in it: both are kept beside it.
pub(super) fn encode(token: &TokenRecord) -> Vec<u8> {
    let scope = &*token.scope;
    let networks = scope.networks().list();
    let row = Row {
        version: VERSION,
        source: token.account.source().name().into(),
        user: token.account.subject().into(),
        name: (&*token.name).into(),
        created: token.created,
        expires: token.expires,
        apps: scope.apps().into(),
        paths: scope.paths().into(),
        methods: scope.methods().iter().map(|m| m.as_str().into()).collect(),
        networks: networks.into_iter().map(Cow::Owned).collect(),
        user_id: token.user_id.field().map(Cow::Borrowed),
    };
    serde_json::to_vec(&row).expect("a row of text and numbers can be written")
}

pub(super) fn decode(key: TokenKey, row: &[u8]) -> Result<TokenRecord, Unreadable> {
    let row: Row<'_> = row::decode(row)?;
    let account = match SourceName::parse(&row.source) {
        Some(SourceName::UsersFile) => AccountRef::of_users_file(&row.user),
        None => return Err(Unreadable::Value("s")),
    };
    let user_id = UserId::of_field(row.user_id.as_deref()).ok_or(Unreadable::Value("i"))?;
    let methods: Result<Vec<Method>, _> = row.methods.iter().map(|m| m.parse()).collect();
    let networks: Result<Vec<IpNet>, _> = row.networks.iter().map(|net| network(net)).collect();
    let scope = Scope::new(
        row.apps.into_owned(),
        row.paths.into_owned(),
        methods.map_err(|_| Unreadable::Value("m"))?,
        Networks::new(networks.map_err(|_| Unreadable::Value("w"))?),
    );
    Ok(TokenRecord {
        key,
        account,
        user_id,
        name: row.name.into(),
        scope: scope.into(),
        created: row.created,
        expires: row.expires,
        last_used: None,
    })
}

/// As [`Networks::list`] writes one.
fn network(text: &str) -> Result<IpNet, ipnet::AddrParseError> {
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => text.parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::record;
    use super::*;

    #[test]
    fn a_token_is_read_back_as_it_was() {
        let token = record("Ada");
        let row = encode(&token);
        assert_eq!(decode(token.key, &row).unwrap(), *token);
        let text = String::from_utf8(row).unwrap();
        assert!(!text.contains("vst_"), "{text}");
    }

    #[test]
    fn rel_19_what_a_later_version_wrote_is_not_guessed_at() {
        let token = record("ada");
        let row = String::from_utf8(encode(&token)).unwrap();
        for (from, to, expected) in [
            ("\"v\":1", "\"v\":2", "a later version"),
            ("\"s\":\"users file\"", "\"s\":\"ldap\"", "field `s`"),
            ("\"GET\"", "\"G E T\"", "field `m`"),
            ("10.0.0.0/8", "10.0.0.0/80", "field `w`"),
            ("\"v\":1,", "", "missing field"),
            ("\"i\":\"e-42\"", "\"i\":\"e 42\"", "field `i`"),
        ] {
            assert!(row.contains(from), "{row}");
            let row = row.replace(from, to);
            let error = decode(token.key, row.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        // What a reader may leave out.
        let more = row.replace("\"v\":1", "\"v\":1,\"new\":[7]");
        assert_eq!(decode(token.key, more.as_bytes()).unwrap(), *token);
        // What an earlier version does not write.
        let less = row.replace(",\"i\":\"e-42\"", "");
        assert_ne!(less, row);
        let read = decode(token.key, less.as_bytes()).unwrap();
        assert_eq!(read.user_id, UserId::Unknown);
        assert_eq!(encode(&read), less.as_bytes());
    }
}

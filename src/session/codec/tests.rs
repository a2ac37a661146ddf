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

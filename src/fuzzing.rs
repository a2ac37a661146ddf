//! What the fuzz targets in `fuzz/` call (SEC-86): each takes any bytes, and panics where something
//! does not hold that has to hold of everything that a parser accepts.

mod answer;
mod credentials;
mod response;
mod wire;

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::percent_decode_str;
use toml_edit::DocumentMut;

use crate::auth::password::StoredHash;
use crate::auth::{htpasswd, users_file};
use crate::forwarded::{self, TrustedSources};
use crate::listener::proxy_protocol;
use crate::portal::Endpoint;
use crate::portal::form::Form;
use crate::portal::return_to::ReturnTo;
use crate::principal::user_name::canonical;
use crate::request::{
    AllowInPath, AuthRequest, PathCase, PathForm, Readings, Target, normal_path, own_path,
};
use crate::session::cookie::{self, RequestCookies};
use crate::session::data::{self, AppData, DataChange};

pub use answer::answer_head;
pub use credentials::credentials;
pub use response::response;
pub use wire::wire;

/// The path of a request: its normal form is its own, and neither it nor a reading of it leaves
/// the folder that it names.
pub fn path(data: &[u8]) {
    let Some((&flags, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let forms = PathForm::ALL.into_iter().enumerate();
    let allowed = forms.filter(|(bit, _)| flags & (1 << bit) != 0);
    let allow: AllowInPath = allowed.map(|(_, form)| form).collect();
    let Ok(path) = normal_path(text, allow) else {
        return;
    };
    assert_eq!(normal_path(&path, allow).as_ref(), Ok(&path));
    stays_inside(&path);
    for case in [PathCase::Sensitive, PathCase::Insensitive] {
        let Ok(readings) = Readings::of(&path, case) else {
            continue;
        };
        stays_inside(readings.path());
        for other in readings.others() {
            stays_inside(other);
        }
    }
    let decoded: Vec<u8> = percent_decode_str(&path).collect();
    let has = |form| allow.has(form);
    let upper = path.to_ascii_uppercase();
    assert!(
        has(PathForm::EncodedSlash) || !upper.contains("%2F"),
        "{path}"
    );
    assert!(
        has(PathForm::EncodedBackslash) || !decoded.contains(&b'\\'),
        "{path}"
    );
    assert!(has(PathForm::DoubleSlash) || !path.contains("//"), "{path}");
    assert!(
        !decoded.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')),
        "{path}"
    );
    if !has(PathForm::AnyBytes) {
        assert!(!decoded.iter().any(u8::is_ascii_control), "{path}");
        assert!(std::str::from_utf8(&decoded).is_ok(), "{path}");
    }
}

fn stays_inside(path: &str) {
    assert!(path.starts_with('/'), "{path}");
    for segment in path.split('/') {
        let decoded = percent_decode_str(segment).collect::<Vec<_>>();
        for part in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
            let name = part.split(|&byte| byte == b';').next();
            assert!(!matches!(name, Some(b"." | b"..")), "{path}");
        }
    }
}

/// Cookies, a field a line: ours are gone, and the others stand as they stood.
pub fn cookie(data: &[u8]) {
    let mut headers = fields(&header::COOKIE, data);
    let before = pairs(&headers);
    let _ = RequestCookies::take(&mut headers);
    assert!(headers.get_all(header::COOKIE).iter().count() <= 1);
    let after = pairs(&headers);
    let others = before.into_iter().filter(|pair| !is_our_name(pair));
    assert_eq!(after, others.collect::<Vec<_>>());

    let rest = headers.clone();
    let again = RequestCookies::take(&mut headers);
    assert!(again.session.is_none() && again.login.is_none());
    assert_eq!(headers, rest);

    let mut answer = fields(&header::SET_COOKIE, data);
    let all = answer.len();
    assert_eq!(cookie::drop_ours(&mut answer) + answer.len(), all);
    assert_eq!(cookie::drop_ours(&mut answer), 0);
}

/// Each pair of the cookies, trimmed; empty ones, which say nothing, are left out.
fn pairs(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let fields = headers.get_all(header::COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b';'));
    let pairs = pairs.map(|pair| pair.trim_ascii().to_vec());
    pairs.filter(|pair| !pair.is_empty()).collect()
}

fn is_our_name(pair: &[u8]) -> bool {
    let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
    let name = name.trim_ascii().to_ascii_lowercase();
    let names: [&[u8]; 4] = [
        b"__host-http-vestibule",
        b"__host-http-vestibule-login",
        b"__host-vestibule",
        b"__host-vestibule-login",
    ];
    names.contains(&&*name)
}

/// `X-Forwarded-For` and `Forwarded`, a field a line: only who is trusted names a client, and what
/// the upstream is told names the same one.
pub fn forwarded(data: &[u8]) {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
    let trusted = TrustedSources::new(trusted.to_vec());
    for name in ["x-forwarded-for", "forwarded"] {
        let headers = fields(&HeaderName::from_static(name), data);
        let stranger = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
        let client = trusted.client(stranger, &headers);
        assert_eq!(client.known_address(), Some(stranger));
        assert_eq!(client.unreadable, None);

        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let client = trusted.client(peer, &headers);
        assert_eq!(client.address, client.address.to_canonical());
        assert!(client.address == peer || names(data, client.address));
        let mut told = HeaderMap::new();
        let host = HeaderValue::from_static("a.example");
        client.describe(&mut told, &forwarded::header_of(peer), host);
        let again = trusted.client(peer, &told);
        assert_eq!(again.address, client.address);
        assert_eq!(again.known_address(), client.known_address());
    }
}

/// Whether an address stands somewhere in it, with a port or without.
fn names(data: &[u8], address: IpAddr) -> bool {
    let text = String::from_utf8_lossy(data);
    let mut words = text.split(|c: char| !(c.is_ascii_hexdigit() || ":.".contains(c)));
    words.any(|word| {
        let before_port = word.rsplit_once(':').map(|(before, _)| before);
        [Some(word), before_port].into_iter().flatten().any(|word| {
            let named = word.parse::<IpAddr>();
            named.is_ok_and(|named| named.to_canonical() == address)
        })
    })
}

/// An auth request of a proxy, its target in the first line and a field in each other one: only the names
/// of its proxy count, and what it is about is a request like any other.
pub fn original(data: &[u8]) {
    const NAMES: [&str; 12] = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-method",
        "x-forwarded-proto",
        "x-forwarded-uri",
        "x-original-host",
        "x-original-method",
        "x-original-proto",
        "x-original-uri",
        "x-original-url",
        "x-real-ip",
    ];
    let mut lines = data.split(|&byte| byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let Ok(request) = http::Request::get(target).body(()) else {
        return;
    };
    let (mut plain, ()) = request.into_parts();
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else {
            return;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        let (Ok(name), Ok(value)) = (name, value) else {
            return;
        };
        plain.headers.append(name, value);
    }
    let mut forged = plain.clone();
    for name in NAMES {
        if !plain.headers.contains_key(name) {
            let value = HeaderValue::from_static("/forged");
            forged.headers.append(name, value);
        }
    }
    let asked = AuthRequest::read(&mut plain, None);
    let with_forged = AuthRequest::read(&mut forged, None);
    let Ok(auth_request) = asked else {
        return; // a forged name may have been the one that was missing
    };
    assert_eq!(Ok(&auth_request), with_forged.as_ref());
    assert_eq!((&plain.method, &plain.uri), (&forged.method, &forged.uri));
    assert_eq!(plain.headers.get("host"), forged.headers.get("host"));
    assert_eq!(plain.headers.get_all("host").iter().count(), 1);
    let target = plain.uri.to_string();
    assert!(target.starts_with('/') || target == "*", "{target}");
    for allow in [AllowInPath::default(), AllowInPath::everything()] {
        if let Ok(judged) = Target::parse(&plain, allow)
            && let Ok(Some(literal)) = Target::as_it_stands(&plain, allow)
        {
            assert_ne!(literal, judged.path(), "one more reading");
            let _ = Readings::of(&literal, PathCase::Sensitive);
        }
    }
}

/// A PROXY header: it ends where it says, whatever follows, and a part of one is none.
pub fn proxy_header(data: &[u8]) {
    let read = |mut bytes: &[u8]| {
        let all = bytes.len();
        let read = proxy_protocol::read_header(&mut bytes).now_or_never();
        let read = read.expect("bytes in memory are ready");
        read.map(|client| (client, all - bytes.len())).ok()
    };
    let Some((client, length)) = read(data) else {
        return;
    };
    assert!(length <= 16 + 520, "{length}");
    assert_eq!(read(&data[..length]), Some((client, length)));
    assert_eq!(
        read(&[data, b"\x16\x03\x01"].concat()),
        Some((client, length))
    );
    assert_eq!(read(&data[..length - 1]), None);
}

/// A form: whatever was put in comes out, and a field that is there twice is none.
pub fn form(data: &[u8]) {
    let _ = Form::parse(data);
    let mut fields: Vec<(&str, &[u8])> = Vec::new();
    for line in data.split(|&byte| byte == b'\n') {
        let equals = line.iter().position(|&byte| byte == b'=');
        let (name, value) = line.split_at(equals.unwrap_or(line.len()));
        match std::str::from_utf8(name) {
            Ok("") | Err(_) => {}
            Ok(name) => fields.push((name, value.get(1..).unwrap_or_default())),
        }
    }
    let encode = |text: &[u8]| form_urlencoded::byte_serialize(text).collect::<String>();
    let encoded: Vec<_> = (fields.iter())
        .map(|(name, value)| format!("{}={}", encode(name.as_bytes()), encode(value)))
        .collect();
    let mut form = Form::parse(encoded.join("&").as_bytes());
    for (name, value) in &fields {
        let count = fields.iter().filter(|(other, _)| other == name).count();
        let found = form.take_bytes(name).ok();
        assert_eq!(found.as_deref(), (count == 1).then_some(*value), "{name:?}");
    }
}

/// Where a login leads: to a path of this host, which stays the same when it is checked again.
pub fn return_to(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let longest = 8192;
    let checked = ReturnTo::parse(text, longest);
    let to = checked.as_str();
    assert!(to.bytes().all(|byte| byte.is_ascii_graphic()), "{to}");
    assert!(to.starts_with('/') && to.len() <= 3 * longest, "{to}");
    assert!(!to.starts_with("//") && !to.starts_with("/\\"), "{to}");
    assert_eq!(ReturnTo::parse(to, 3 * longest).as_str(), to);
    let path = to.split('?').next().unwrap_or_default();
    assert!(!path.contains('\\'), "{to}");
    stays_inside(path);
    assert!(
        Endpoint::of(path).is_none() || path == own_path!("account"),
        "{to}"
    );
}

/// Session data, a field a line, those that begin with `-` of keys to drop: what is kept is within
/// the limits, and given back it is kept as it is.
pub fn session_data(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n') {
        let (name, value) = match line.strip_prefix(b"-") {
            Some(line) => (data::UNSET, line),
            None => (data::SET, line),
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let Some(Ok(change)) = DataChange::take(&mut headers) else {
        return;
    };
    assert!(headers.is_empty());
    let Ok(kept) = AppData::default().apply("app", &change) else {
        return;
    };
    let Some(value) = kept.header("app") else {
        return;
    };
    assert!(value.len() <= 4096);
    assert!(kept.header("other").is_none());
    headers.insert(data::SET, value.clone());
    let again = DataChange::take(&mut headers);
    let again = again.and_then(Result::ok).expect("what is kept can be set");
    assert_eq!(AppData::default().apply("app", &again).as_ref(), Ok(&kept));
    assert_eq!(kept.apply("app", &again).as_ref(), Ok(&kept));
}

/// A password file of Apache: each line is taken or refused, what is taken can be written into a
/// users file, and no refusal shows a password.
pub fn htpasswd(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (entries, refused) = htpasswd::parse(text.as_bytes());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split('\n').map(str::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(lines.count(), entries.len() + refused.len());
    let mut names: Vec<_> = entries.iter().map(|entry| &*entry.name).collect();
    for entry in &entries {
        assert!(canonical(&entry.name).is_some());
        assert_eq!(
            StoredHash::parse(entry.hash.as_str()).as_ref(),
            Ok(&entry.hash)
        );
    }
    names.sort_unstable_by_key(|name| name.to_ascii_lowercase());
    assert!(
        !names
            .windows(2)
            .any(|two| two[0].eq_ignore_ascii_case(two[1]))
    );
    let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
    let pairs: Vec<_> = pairs.collect();
    let is_name = |text: &str| pairs.iter().any(|(name, _)| name.contains(text));
    let passwords = pairs.iter().map(|(_, password)| *password);
    let passwords = passwords.filter(|password| !password.contains(' '));
    // What is short or has spaces may be of our sentence, and what is a name, too, is no secret.
    for password in passwords.filter(|password| password.len() >= 24 && !is_name(password)) {
        for refused in &refused {
            let said = refused.explain(Path::new("f"));
            assert!(!said.contains(password), "{said}");
        }
    }
}

/// A users file: what is accepted has good names, groups and addresses, and can be edited.
pub fn users_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let users = match users_file::parse(text) {
        Ok(users) => users,
        Err(problems) => return assert!(!problems.is_empty()),
    };
    for user in users.iter() {
        assert_eq!(users.get(&user.name().to_ascii_uppercase()), Some(user));
        assert!(
            user.groups()
                .iter()
                .all(|group| users_file::is_group(group))
        );
        assert!(user.email().is_none_or(users_file::is_email));
        let hash = StoredHash::parse(user.password().as_str());
        assert_eq!(hash.as_ref(), Ok(user.password()));
    }
    let document = text.parse::<DocumentMut>().map(|_| ());
    assert_ok(&document);
}

fn assert_ok<T: Debug, E: Debug>(result: &Result<T, E>) {
    assert!(result.is_ok(), "{result:?}");
}

/// A field of this name for each line that can be its value.
fn fields(name: &HeaderName, lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n').take(64) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

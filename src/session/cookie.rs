//! Our cookies: found and cut out of a request in one reading, set, expired, and kept from
//! upstreams.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderValue, header};

use super::id::SessionId;

/// `__Host-`: the browser takes it only with Secure, Path=/ and without Domain, so no other host
/// and no plain connection can set it (RFC 6265bis §4.1.3.2, SEC-43).
pub(crate) const SESSION: &str = "__Host-vestibule";

/// Binds a login form to the browser that asked for it; holds no session and becomes none.
pub(crate) const LOGIN: &str = "__Host-vestibule-login";

/// What a request showed of our cookies.
#[derive(Debug, Default)]
pub(crate) struct Presented {
    /// `None` when there was none, one that is no id, or more than one: which of two is ours is
    /// not ours to guess (SEC-49).
    pub(crate) session: Option<SessionId>,
    /// The value of the login cookie, when there was exactly one.
    pub(crate) login: Option<HeaderValue>,
}

impl Presented {
    /// Reads our cookies and cuts every copy of them out of `headers` (SEC-47). Other cookies keep
    /// every byte; the crumbs of HTTP/2 become one field (RFC 9113 §8.2.3).
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        let mut sessions = Copies::default();
        let mut logins = Copies::default();
        let (mut fields, mut kept) = (0, BytesMut::new());
        for field in headers.get_all(header::COOKIE) {
            fields += 1;
            for (at, pair) in field.as_bytes().split(|&byte| byte == b';').enumerate() {
                let (name, value) = split(pair);
                if name.eq_ignore_ascii_case(SESSION.as_bytes()) {
                    sessions.add(name == SESSION.as_bytes(), value);
                } else if name.eq_ignore_ascii_case(LOGIN.as_bytes()) {
                    logins.add(name == LOGIN.as_bytes(), value);
                } else if kept.is_empty() {
                    kept.put_slice(pair.trim_ascii_start());
                } else {
                    kept.put_slice(if at == 0 { b"; " } else { b";" });
                    kept.put_slice(pair);
                }
            }
        }
        let presented = Self {
            session: sessions.only().and_then(SessionId::parse),
            login: logins
                .only()
                .and_then(|value| HeaderValue::from_bytes(value).ok()),
        };
        if sessions.count + logins.count > 0 || fields > 1 {
            match HeaderValue::from_maybe_shared(kept.freeze()) {
                Ok(rest) if !rest.is_empty() => headers.insert(header::COOKIE, rest),
                _ => headers.remove(header::COOKIE),
            };
        }
        presented
    }
}

#[derive(Default)]
struct Copies<'a> {
    count: usize,
    value: Option<&'a [u8]>,
}

impl<'a> Copies<'a> {
    fn add(&mut self, exact: bool, value: &'a [u8]) {
        self.count += 1;
        self.value = exact.then_some(value);
    }

    fn only(&self) -> Option<&'a [u8]> {
        if self.count == 1 { self.value } else { None }
    }
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let equals = pair
        .iter()
        .position(|&byte| byte == b'=')
        .unwrap_or(pair.len());
    let value = pair.get(equals + 1..).unwrap_or_default();
    (pair[..equals].trim_ascii(), value.trim_ascii())
}

/// The `Set-Cookie` that gives `id` to the browser (SEC-43), for as long as it is open or for
/// `kept_for`. How long the session is good for is decided here, not there.
pub(crate) fn set_session(id: &SessionId, kept_for: Option<Duration>) -> HeaderValue {
    let max_age = kept_for.map(|time| format!("; Max-Age={}", time.as_secs()));
    build(SESSION, &id.to_cookie_text(), &max_age.unwrap_or_default())
}

pub(crate) fn expire_session() -> HeaderValue {
    build(SESSION, "", "; Max-Age=0")
}

/// `value` is ours: base64url.
pub(crate) fn set_login(value: &str) -> HeaderValue {
    build(LOGIN, value, "")
}

pub(crate) fn expire_login() -> HeaderValue {
    build(LOGIN, "", "; Max-Age=0")
}

fn build(name: &str, value: &str, more: &str) -> HeaderValue {
    let text = format!("{name}={value}; Secure; HttpOnly; SameSite=Lax; Path=/{more}");
    let mut value = HeaderValue::try_from(text).expect("names and values of ours are ASCII");
    value.set_sensitive(true);
    value
}

/// Drops each `Set-Cookie` by which an upstream would set a cookie of ours (SEC-48); gives how
/// many there were.
pub(crate) fn drop_ours(headers: &mut HeaderMap) -> usize {
    if !headers.get_all(header::SET_COOKIE).iter().any(is_ours) {
        return 0;
    }
    let header::Entry::Occupied(entry) = headers.entry(header::SET_COOKIE) else {
        return 0;
    };
    let (_, values) = entry.remove_entry_mult();
    let (ours, others): (Vec<_>, Vec<_>) = values.partition(is_ours);
    for value in others {
        headers.append(header::SET_COOKIE, value);
    }
    ours.len()
}

fn is_ours(set_cookie: &HeaderValue) -> bool {
    let pair = set_cookie
        .as_bytes()
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default();
    let (name, value) = split(pair);
    // A browser takes a nameless cookie's value for its name=value text (RFC 6265bis §5.7).
    let name = if name.is_empty() {
        split(value).0
    } else {
        name
    };
    name.eq_ignore_ascii_case(SESSION.as_bytes()) || name.eq_ignore_ascii_case(LOGIN.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(cookies: &[&str]) -> (bool, Option<String>) {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        let session = Presented::take(&mut headers).session.is_some();
        assert!(headers.get_all(header::COOKIE).iter().count() <= 1);
        let rest = headers
            .get(header::COOKIE)
            .map(|value| value.to_str().unwrap().to_owned());
        (session, rest)
    }

    #[test]
    fn sec_47_our_cookie_is_cut_out_and_the_others_keep_every_byte() {
        let id = SessionId::generate().unwrap().to_cookie_text().to_string();
        let ours = format!("{SESSION}={id}");
        let upper = format!("__HOST-VESTIBULE={id}");
        for (sent, session, rest) in [
            (vec!["a=1; b=2".to_owned()], false, Some("a=1; b=2")),
            (vec!["a=1;b=2;  c".to_owned()], false, Some("a=1;b=2;  c")),
            (vec![ours.clone()], true, None),
            (
                vec![format!("a=\"x y\"; {ours}; b=2=3")],
                true,
                Some("a=\"x y\"; b=2=3"),
            ),
            (vec![format!("{ours}; a=1")], true, Some("a=1")),
            (vec![format!("a=1;{ours}")], true, Some("a=1")),
            (
                vec![format!("{ours};a=\"2;3\";b")],
                true,
                Some("a=\"2;3\";b"),
            ),
            (
                vec!["a=1".to_owned(), ours.clone(), "b=2".to_owned()],
                true,
                Some("a=1; b=2"),
            ),
            (
                vec![format!("a=1; {SESSION}x=1; x{ours}")],
                false,
                Some(&*format!("a=1; {SESSION}x=1; x{ours}")),
            ),
            (vec![format!("{SESSION} ={id}; a=1")], true, Some("a=1")),
            (vec![format!("{upper}; a=1")], false, Some("a=1")),
            (vec![format!("{SESSION}; a=1")], false, Some("a=1")),
            (vec![format!("{LOGIN}=abc; a=1")], false, Some("a=1")),
        ] {
            let sent: Vec<_> = sent.iter().map(String::as_str).collect();
            assert_eq!(take(&sent), (session, rest.map(str::to_owned)), "{sent:?}");
        }
    }

    #[test]
    fn sec_49_two_cookies_of_our_name_are_anonymous_in_any_order() {
        let good = SessionId::generate().unwrap().to_cookie_text().to_string();
        for (a, b) in [(&*good, "x"), ("x", &*good), (&*good, &*good), ("", &*good)] {
            let pair = format!("{SESSION}={a}; {SESSION}={b}");
            assert_eq!(take(&[&pair]), (false, None), "{pair}");
            let (one, two) = (format!("{SESSION}={a}"), format!("{SESSION}={b}"));
            assert_eq!(take(&[&one, &two]), (false, None), "{pair}");
        }
    }

    #[test]
    fn sec_43_the_cookie_has_its_attributes_and_stays_below_100_bytes() {
        let id = SessionId::generate().unwrap();
        let set = set_session(&id, None);
        let (pair, attributes) = set.to_str().unwrap().split_once("; ").unwrap();
        assert_eq!(pair.len(), SESSION.len() + 1 + 43);
        assert_eq!(attributes, "Secure; HttpOnly; SameSite=Lax; Path=/");
        assert!(pair.len() < 100);
    }

    #[test]
    fn sec_48_an_upstream_cannot_set_our_cookies() {
        for (value, ours) in [
            ("__Host-vestibule=x; Secure; Path=/", true),
            (" __Host-vestibule =x", true),
            ("__host-VESTIBULE=x", true),
            ("__Host-vestibule", true),
            ("=__Host-vestibule=x", true),
            ("__Host-vestibule-login=x", true),
            ("__Host-vestibule2=x", false),
            ("a=__Host-vestibule", false),
            ("a=1; Path=/; __Host-vestibule=x", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::SET_COOKIE, HeaderValue::from_static("first=1"));
            headers.append(header::SET_COOKIE, HeaderValue::from_str(value).unwrap());
            headers.append(header::SET_COOKIE, HeaderValue::from_static("last=1"));
            assert_eq!(drop_ours(&mut headers), usize::from(ours), "{value}");
            let left = headers.get_all(header::SET_COOKIE).iter().count();
            assert_eq!(left, 3 - usize::from(ours), "{value}");
        }
    }
}

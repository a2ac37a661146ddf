//! Our cookies: found and cut out of a request in one reading, set, expired, and kept from
//! upstreams.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use super::id::SessionId;

/// `__Host-`: the browser takes it only with Secure, Path=/ and without Domain, so no other host
/// and no plain connection can set it (RFC 6265bis §4.1.3.2, SEC-43). `__Host-Http-`: and only from
/// an answer with `HttpOnly`, so no script of an app can set it either. A browser that does not know
/// the longer prefix sees the shorter one.
pub(crate) const SESSION: &str = "__Host-Http-vestibule";

/// Binds a login form to the browser that asked for it; holds no session and becomes none.
pub(crate) const LOGIN: &str = "__Host-Http-vestibule-login";

/// The names of versions that scripts could set cookies for. Kept from applications and cut out as
/// ours; the first opens sessions that began in those versions, and no other.
const OLD_SESSION: &str = "__Host-vestibule";
const OLD_LOGIN: &str = "__Host-vestibule-login";

const OURS: [&str; 4] = [SESSION, LOGIN, OLD_SESSION, OLD_LOGIN];

/// What a request showed of our cookies.
#[derive(Debug, Default)]
pub(crate) struct RequestCookies {
    /// The request had one of our own cookies, valid or not.
    pub(crate) any: bool,
    /// `None` when there was none, one that is no id, or more than one: which of two is ours is
    /// not ours to guess (SEC-49). Beside the name of now, the old one does not count: a script may
    /// have set it.
    pub(crate) session: Option<SessionId>,
    /// The session is from a cookie of the old name.
    pub(crate) by_old_name: bool,
    /// There was a cookie of an old name, whatever it held.
    has_old: bool,
    /// The value of the login cookie, when there was exactly one.
    pub(crate) login: Option<HeaderValue>,
}

impl RequestCookies {
    /// Reads our cookies and cuts every copy of them out of `headers` (SEC-47). Other cookies keep
    /// every byte; the crumbs of HTTP/2 become one field (RFC 9113 §8.2.3).
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        let mut ours: [Copies<'_>; OURS.len()] = Default::default();
        let (mut fields, mut kept) = (0, Vec::new());
        for field in headers.get_all(header::COOKIE) {
            fields += 1;
            for (at, pair) in pairs(field.as_bytes()).enumerate() {
                let (name, value) = split(pair);
                if let Some(our) = find_ours(name) {
                    ours[our].add(name == OURS[our].as_bytes(), value);
                } else if kept.is_empty() {
                    kept.reserve_exact(field.len());
                    kept.extend_from_slice(pair.trim_ascii_start());
                } else {
                    kept.extend_from_slice(if at == 0 { b"; " } else { b";" });
                    kept.extend_from_slice(pair);
                }
            }
        }
        let [sessions, logins, old_sessions, old_logins] = &ours;
        let by_old_name = sessions.count == 0 && old_sessions.count > 0;
        let sessions = if by_old_name { old_sessions } else { sessions };
        let any = ours.iter().any(|copies| copies.count > 0);
        let cookies = Self {
            any,
            session: sessions.only().and_then(SessionId::parse),
            by_old_name,
            has_old: old_sessions.count + old_logins.count > 0,
            login: logins
                .only()
                .and_then(|value| HeaderValue::from_bytes(value).ok()),
        };
        if fields > 1 || any {
            match HeaderValue::from_bytes(&kept) {
                Ok(rest) if !rest.is_empty() => match headers.get_mut(header::COOKIE) {
                    Some(one) if fields == 1 => *one = rest,
                    _ => {
                        headers.insert(header::COOKIE, rest);
                    }
                },
                _ => {
                    headers.remove(header::COOKIE);
                }
            }
        }
        cookies
    }

    /// What has the browser forget what it showed under old names.
    pub(crate) fn expire_old(&self) -> impl Iterator<Item = HeaderValue> + use<> {
        let names = self.has_old.then_some([OLD_SESSION, OLD_LOGIN]);
        names.into_iter().flatten().map(expire)
    }
}

/// Which of ours a name is, in any case: what an application may take for our cookie is no cookie
/// of its own.
fn find_ours(name: &[u8]) -> Option<usize> {
    OURS.iter()
        .position(|our| name.eq_ignore_ascii_case(our.as_bytes()))
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

/// The parts of a field between its semicolons.
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let field = rest?;
        let end = memchr::memchr(b';', field);
        rest = end.map(|end| &field[end + 1..]);
        Some(&field[..end.unwrap_or(field.len())])
    })
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
    let value = pair.get(equals + 1..).unwrap_or_default();
    (pair[..equals].trim_ascii(), value.trim_ascii())
}

/// The `Set-Cookie` that gives `id` to the browser (SEC-43), for as long as it is open or for
/// `kept_for`. How long the session is good for is decided here, not there.
pub(crate) fn set_session(id: &SessionId, kept_for: Option<Duration>) -> HeaderValue {
    let max_age = kept_for.map(|time| format!("; Max-Age={}", time.as_secs()));
    build(SESSION, &id.to_cookie_text(), &max_age.unwrap_or_default())
}

/// Has the browser forget its session, by both names.
pub(crate) fn expire_session(headers: &mut HeaderMap) {
    for name in [SESSION, OLD_SESSION] {
        headers.append(header::SET_COOKIE, expire(name));
    }
}

/// `value` is ours: base64url.
pub(crate) fn set_login(value: &str) -> HeaderValue {
    build(LOGIN, value, "")
}

pub(crate) fn expire_login() -> HeaderValue {
    expire(LOGIN)
}

fn expire(name: &str) -> HeaderValue {
    build(name, "", "; Max-Age=0")
}

fn build(name: &str, value: &str, more: &str) -> HeaderValue {
    let text = format!("{name}={value}; Secure; HttpOnly; SameSite=Lax; Path=/{more}");
    let mut value = HeaderValue::try_from(text).expect("names and values of ours are ASCII");
    value.set_sensitive(true);
    value
}

/// Drops each `Set-Cookie` by which an upstream would set our own cookie (SEC-48); gives how
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
    find_ours(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(cookies: &[&str]) -> (bool, Option<String>) {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        let session = RequestCookies::take(&mut headers).session.is_some();
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
        let upper = format!("__HOST-HTTP-VESTIBULE={id}");
        let old = format!("{OLD_SESSION}={id}");
        let old_upper = format!("__HOST-VESTIBULE={id}");
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
            (vec![format!("{old}; a=1")], true, Some("a=1")),
            (vec![format!("a=1; {old}; {ours}")], true, Some("a=1")),
            (vec![format!("{old_upper}; a=1")], false, Some("a=1")),
            (
                vec![format!("{OLD_LOGIN}=abc; a=1; {OLD_SESSION}2=x")],
                false,
                Some("a=1; __Host-vestibule2=x"),
            ),
        ] {
            let sent: Vec<_> = sent.iter().map(String::as_str).collect();
            assert_eq!(take(&sent), (session, rest.map(str::to_owned)), "{sent:?}");
        }
    }

    #[test]
    fn sec_49_two_cookies_of_our_name_are_anonymous_in_any_order() {
        let good = SessionId::generate().unwrap().to_cookie_text().to_string();
        for name in [SESSION, OLD_SESSION] {
            for (a, b) in [(&*good, "x"), ("x", &*good), (&*good, &*good), ("", &*good)] {
                let pair = format!("{name}={a}; {name}={b}");
                assert_eq!(take(&[&pair]), (false, None), "{pair}");
                let (one, two) = (format!("{name}={a}"), format!("{name}={b}"));
                assert_eq!(take(&[&one, &two]), (false, None), "{pair}");
            }
        }
    }

    #[test]
    fn sec_49_beside_the_name_of_now_the_old_one_does_not_count_in_any_order() {
        let [good, other] = [(); 2].map(|()| SessionId::generate().unwrap());
        let new = |value: &str| format!("{SESSION}={value}");
        let old = |id: &SessionId| format!("{OLD_SESSION}={}", &*id.to_cookie_text());
        for (now, expected) in [
            (new(&good.to_cookie_text()), Some(&good)),
            (new("x"), None),
            (new(""), None),
        ] {
            for old in [old(&other), format!("{0}; {0}", old(&other))] {
                for sent in [format!("{now}; {old}"), format!("{old}; {now}")] {
                    let mut headers = HeaderMap::new();
                    headers.insert(header::COOKIE, sent.parse().unwrap());
                    let cookies = RequestCookies::take(&mut headers);
                    assert_eq!(cookies.session.as_ref(), expected, "{sent}");
                    assert!(!cookies.by_old_name && cookies.has_old, "{sent}");
                }
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, old(&other).parse().unwrap());
        let cookies = RequestCookies::take(&mut headers);
        assert_eq!(cookies.session, Some(other));
        assert!(cookies.by_old_name);
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
            ("__Host-Http-vestibule=x; Secure; Path=/", true),
            (" __host-HTTP-vestibule =x", true),
            ("=__Host-Http-vestibule=x", true),
            ("__Host-Http-vestibule-login=x", true),
            ("__Host-Http-vestibule2=x", false),
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

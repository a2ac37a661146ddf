//! Whether a form was sent from one of our own pages (SEC-54).
//!
//! Browsers say where a request comes from: `Sec-Fetch-Site`, else `Origin`; and the hidden token of
//! a form fits the cookie that came with it. For a login one of the two is enough. `Origin: null`
//! says nothing: under `Referrer-Policy: no-referrer`, which a proxy in front may add, browsers send
//! it with every form (Fetch, "append a request `Origin` header"). But a form that acts on a session
//! is refused where nothing else is said: frames in a sandbox send it, too. Whatever acts on
//! a session needs the token as well: a script of the app, which has our origin, can submit a form
//! as a person would, but it cannot read our pages (SEC-91).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::form::Form;
use super::saved_posts::store::PostId;
use crate::error::RequestError;
use crate::nodes::{KeyRing, RingKey};
use crate::random::{NoRandomness, random};
use crate::request::{Authority, Forgery};
use crate::session::SessionKey;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Makes and checks tokens.
pub(crate) struct Csrf {
    keys: Arc<KeyRing>,
}

/// What a browser says of the page that sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// It is of this host.
    OwnHost,
    Unknown,
    /// The browser hides it, and says nothing else.
    Hidden,
}

/// What a token is bound to, besides the host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Binding<'a> {
    /// The value of the login cookie, before there is a session.
    LoginCookie(&'a [u8]),
    /// The form of another site that a page shows.
    Page(PostId),
    Session(&'a SessionKey),
}

impl Csrf {
    pub(crate) fn new(keys: Arc<KeyRing>) -> Self {
        Self { keys }
    }

    /// A value for the login cookie.
    pub(crate) fn login_cookie() -> Result<String, NoRandomness> {
        Ok(URL_SAFE_NO_PAD.encode(random::<16>()?))
    }

    pub(crate) fn token(&self, binding: Binding<'_>, authority: &Authority) -> String {
        token_by(self.keys.keys().current(), binding, authority)
    }

    /// A value for the login cookie of a browser that has none when it sends on the form of a page.
    /// The same for each click: of two in a row, neither shows the cookie, and only the second one
    /// gets an answer.
    pub(super) fn login_cookie_after(&self, page: PostId, authority: &Authority) -> String {
        let keys = self.keys.keys();
        let page = page.to_string();
        let mac = mac(keys.current(), b"cookie\0", page.as_bytes(), authority);
        URL_SAFE_NO_PAD.encode(&mac[..16])
    }

    /// What the login asks for: that the form was sent from this host, or has the token.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        authority: &Authority,
        token: &str,
        binding: Option<Binding<'_>>,
    ) -> Result<(), Forgery> {
        match sender(headers, authority)? {
            Sender::OwnHost => Ok(()),
            _ if self.fits(token, binding, authority) => Ok(()),
            Sender::Unknown | Sender::Hidden => Err(unproven(binding)),
        }
    }

    /// Whether a form was sent from one of our own pages: whatever acts on a session has its token
    /// (SEC-91). `false` is for a form of another page of this host, which may be a script's doing;
    /// what comes from elsewhere is refused (SEC-54).
    pub(super) fn is_sent_by_us(
        &self,
        head: &Parts,
        authority: &Authority,
        form: &mut Form,
        session: Option<&SessionKey>,
    ) -> Result<bool, RequestError> {
        let token = form.take_optional("csrf")?;
        self.proves(head, authority, &token, session.map(Binding::Session))
    }

    /// Whether a button of the page that shows a form of another site was pressed: it has the token
    /// of that form, and the browser says that the page is of this host.
    ///
    /// Such a page is bound to no cookie. Whoever writes the `Origin` of a listed site by hand gets
    /// one, and can have another browser send its token from a page elsewhere. But no page elsewhere
    /// has a browser call it ours. So silence proves nothing here, nor does `Origin: null`,
    /// nor `Sec-Fetch-Site: none`: Safari says that of any page whose `Referrer-Policy` hides it.
    ///
    /// `Sec-Fetch-User` is not asked for: Safari has none, and no browser sends it with a reload. It
    /// would keep out the scripts of this host alone, which can send the app what they like.
    pub(super) fn proves_click(
        &self,
        head: &Parts,
        authority: &Authority,
        token: &str,
        page: PostId,
    ) -> Result<bool, RequestError> {
        if !self.fits(token, Some(Binding::Page(page)), authority) {
            return Ok(false);
        }
        sender(&head.headers, authority).map_err(RequestError::Forged)?;
        if is_from_own_page(&head.headers, authority) {
            Ok(true)
        } else {
            Err(RequestError::Forged(Forgery::OriginHidden))
        }
    }

    /// Whether a form was sent from one of our own pages, by the token of a session or a login cookie.
    pub(super) fn proves(
        &self,
        head: &Parts,
        authority: &Authority,
        token: &str,
        binding: Option<Binding<'_>>,
    ) -> Result<bool, RequestError> {
        let sender = sender(&head.headers, authority).map_err(RequestError::Forged)?;
        match (self.fits(token, binding, authority), sender) {
            (_, Sender::Hidden) => Err(RequestError::Forged(Forgery::OriginHidden)),
            (true, _) => Ok(true),
            (false, Sender::OwnHost) => Ok(false),
            (false, Sender::Unknown) => Err(RequestError::Forged(unproven(binding))),
        }
    }

    /// Whether a form has the token of this session, browser or page, at this host.
    fn fits(&self, token: &str, binding: Option<Binding<'_>>, authority: &Authority) -> bool {
        let Some(binding) = binding else { return false };
        self.keys.keys().accepted().any(|key| {
            let expected = token_by(key, binding, authority);
            expected.as_bytes().ct_eq(token.as_bytes()).into()
        })
    }
}

fn token_by(key: &RingKey, binding: Binding<'_>, authority: &Authority) -> String {
    let mac = match binding {
        Binding::LoginCookie(value) => mac(key, b"login\0", value, authority),
        Binding::Page(id) => mac(key, b"page\0", id.to_string().as_bytes(), authority),
        Binding::Session(of) => mac(key, b"session\0", of.to_string().as_bytes(), authority),
    };
    URL_SAFE_NO_PAD.encode(mac)
}

fn mac(key: &RingKey, purpose: &[u8], value: &[u8], authority: &Authority) -> [u8; 32] {
    let key = key.derive::<32>("csrf", b"");
    let mut mac = Hmac::<Sha256>::new_from_slice(&*key).expect("any length will do");
    mac.update(purpose);
    mac.update(value);
    mac.update(b"\0");
    mac.update(authority.as_str().to_ascii_lowercase().as_bytes());
    mac.finalize().into_bytes().into()
}

/// One header that says "elsewhere" is enough to refuse.
fn sender(headers: &HeaderMap, authority: &Authority) -> Result<Sender, Forgery> {
    let (mut is_same_origin, mut is_own, mut is_null) = (false, false, false);
    for site in headers.get_all(SEC_FETCH_SITE) {
        match site.as_bytes() {
            b"same-origin" => is_same_origin = true,
            b"none" => {}
            _ => return Err(Forgery::OtherSite),
        }
        is_own = true;
    }
    for origin in headers.get_all(header::ORIGIN) {
        match origin.as_bytes() {
            b"null" => is_null = true,
            origin if authority.is_origin(origin) => is_own = true,
            // The browser says both: it is our page, under a name that did not arrive here.
            _ if is_same_origin => return Err(Forgery::HostChanged),
            _ => return Err(Forgery::OtherSite),
        }
    }
    Ok(if is_null && !is_same_origin {
        Sender::Hidden
    } else if is_own {
        Sender::OwnHost
    } else {
        Sender::Unknown
    })
}

/// Nothing says who sent a form, and its token does not fit either.
fn unproven(binding: Option<Binding<'_>>) -> Forgery {
    match binding {
        Some(_) => Forgery::Outdated,
        None => Forgery::NoCookie,
    }
}

/// Whether a browser says that a page of this host sent the request; silence does not count, and
/// neither does an address that somebody typed. `Origin: null` says nothing where `Sec-Fetch-Site`
/// does: pages with `Referrer-Policy: no-referrer` send it.
pub(super) fn is_from_own_page(headers: &HeaderMap, authority: &Authority) -> bool {
    let said = headers.contains_key(SEC_FETCH_SITE);
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    (said || headers.contains_key(header::ORIGIN))
        && sites.all(|site| site.as_bytes() == b"same-origin")
        && origins.all(|origin| {
            authority.is_origin(origin.as_bytes()) || (said && origin.as_bytes() == b"null")
        })
}

/// Whether a browser says that a page of another site sent the request: then it has kept the session
/// back (RFC 6265bis §5.2, `SameSite=Lax`).
pub(super) fn is_from_another_site(headers: &HeaderMap, authority: &Authority) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site.as_bytes() == b"cross-site";
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    origins.any(|origin| !authority.is_origin(origin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::nodes::RingOf;

    #[test]
    fn sec_54_where_a_form_comes_from_is_judged_by_all_that_is_said() {
        let authority = Authority::parse(&HeaderValue::from_static("gate.test:8443")).unwrap();
        let own = ("origin", "https://gate.test:8443");
        let other = ("origin", "https://evil.test");
        let null = ("origin", "null");
        let site = |site| ("sec-fetch-site", site);
        for (fields, expected) in [
            (&[][..], Ok(Sender::Unknown)),
            (&[own], Ok(Sender::OwnHost)),
            (&[null], Ok(Sender::Hidden)),
            (&[other], Err(Forgery::OtherSite)),
            (&[("origin", "https://gate.test")], Err(Forgery::OtherSite)),
            (&[own, other], Err(Forgery::OtherSite)),
            (&[own, null], Ok(Sender::Hidden)),
            (&[null, own], Ok(Sender::Hidden)),
            (&[site("same-origin")], Ok(Sender::OwnHost)),
            (&[site("same-origin"), own], Ok(Sender::OwnHost)),
            (&[site("same-origin"), null], Ok(Sender::OwnHost)),
            (&[null, site("same-origin")], Ok(Sender::OwnHost)),
            (&[site("same-origin"), other], Err(Forgery::HostChanged)),
            (&[site("none")], Ok(Sender::OwnHost)),
            (&[site("none"), null], Ok(Sender::Hidden)),
            (&[site("none"), other], Err(Forgery::OtherSite)),
            (&[site("same-site"), own], Err(Forgery::OtherSite)),
            (&[site("same-site"), null], Err(Forgery::OtherSite)),
            (&[site("cross-site"), null], Err(Forgery::OtherSite)),
            (
                &[site("same-origin"), site("cross-site")],
                Err(Forgery::OtherSite),
            ),
            (&[site("Same-Origin"), null], Err(Forgery::OtherSite)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(sender(&headers, &authority), expected, "{fields:?}");
        }
    }

    #[test]
    fn sec_54_each_token_is_of_one_kind_one_thing_and_one_host() {
        let csrf = Csrf::new(KeyRing::alone(RingOf::Forms));
        let host = |host| Authority::parse(&HeaderValue::from_static(host)).unwrap();
        let (page, other) = (PostId::ANY.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let key = crate::session::SessionId::generate().unwrap().key();
        let tokens = [
            csrf.token(Binding::Page(PostId::ANY), &host("gate.test")),
            csrf.token(Binding::Page(PostId::ANY), &host("gate.test:444")),
            csrf.token(
                Binding::Page(PostId::parse(other).unwrap()),
                &host("gate.test"),
            ),
            csrf.token(Binding::LoginCookie(page.as_bytes()), &host("gate.test")),
            csrf.token(Binding::Session(&key), &host("gate.test")),
        ];
        for token in &tokens {
            let same = tokens.iter().filter(|other| *other == token).count();
            assert_eq!((same, token.len()), (1, 43), "{token}");
        }
        let token = &tokens[0];
        assert_eq!(
            *token,
            csrf.token(Binding::Page(PostId::ANY), &host("GATE.test"))
        );
        let cookie = csrf.login_cookie_after(PostId::ANY, &host("gate.test"));
        assert_eq!(cookie.len(), Csrf::login_cookie().ok().unwrap().len());
        assert!(!token.starts_with(&cookie), "the page does not show it");
    }

    #[test]
    fn only_what_a_browser_says_was_sent_by_a_page_of_this_host_is_from_there() {
        let authority = Authority::parse(&HeaderValue::from_static("gate.test:8443")).unwrap();
        let own = "https://gate.test:8443";
        for (fields, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("origin", own)], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", own)], true),
            (
                &[("sec-fetch-site", "same-origin"), ("origin", "null")],
                true,
            ),
            (&[], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://gate.test")], false),
            (&[("origin", own), ("origin", "https://evil.test")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "none"), ("origin", own)], false),
            (&[("sec-fetch-site", "same-site"), ("origin", own)], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://evil.test"),
                ],
                false,
            ),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-site", "cross-site"),
                ],
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(
                is_from_own_page(&headers, &authority),
                expected,
                "{fields:?}"
            );
        }
    }
}

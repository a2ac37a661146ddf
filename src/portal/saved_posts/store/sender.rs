//! Saved POSTs of other sites: they wait for a click, and go on as what they were.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Owner, PostId, SavedPost, SavedPostStore, take_from};
use crate::request::Authority;
use crate::session::SessionKey;

/// What a browser says of the page that sent a form, where that is of another site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    origin: HeaderValue,
    referer: Option<HeaderValue>,
    /// `Sec-Fetch-Site`
    site: Option<HeaderValue>,
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Sender {
    /// `None` where a browser says nothing, or two things that cannot both be.
    pub(in crate::portal) fn of(headers: &HeaderMap, authority: &Authority) -> Option<Self> {
        let one = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            let value = values.next();
            // Copied: the head of a request is one buffer, and would stay as a whole.
            let copy = value.map(|value| HeaderValue::from_bytes(value.as_bytes()));
            (values.next().is_none()).then_some(copy.and_then(Result::ok))
        };
        let (origin, site) = (one(&header::ORIGIN)??, one(&SEC_FETCH_SITE)?);
        let is_elsewhere = match &site {
            Some(site) => matches!(site.as_bytes(), b"cross-site" | b"same-site"),
            None => true,
        };
        (is_elsewhere && !authority.is_origin(origin.as_bytes())).then_some(Self {
            origin,
            referer: one(&header::REFERER)?,
            site,
        })
    }

    /// As it stands in `Origin`.
    pub(crate) fn origin(&self) -> &HeaderValue {
        &self.origin
    }

    /// Has the application see who sent the form, and not that our page sent it on: the request of
    /// the click says otherwise.
    pub(crate) fn restore(&self, headers: &mut HeaderMap) {
        headers.insert(header::ORIGIN, self.origin.clone());
        for (name, value) in [
            (header::REFERER, &self.referer),
            (SEC_FETCH_SITE, &self.site),
        ] {
            match value {
                Some(value) => headers.insert(name, value.clone()),
                None => headers.remove(name),
            };
        }
    }

    pub(super) fn length(&self) -> usize {
        let others = [&self.referer, &self.site].into_iter().flatten();
        self.origin.len() + others.map(HeaderValue::len).sum::<usize>()
    }
}

impl SavedPostStore {
    /// Takes out the form that a page shows, for `user` to send it; or the session has it by now.
    /// Of two at once, one gets it. What came with another user's session stays theirs.
    pub(in crate::portal) fn take_of_page(
        &self,
        (session, user): (SessionKey, &str),
        host: &str,
        target: &str,
        id: PostId,
    ) -> Option<SavedPost> {
        let is_it = |form: &SavedPost| {
            form.is_of_page(host, target, id) && (form.user.is_none() || form.is_of(Some(user)))
        };
        let mut owners = [Owner::Page(id), Owner::Session(session)].into_iter();
        let form = owners.find_map(|owner| self.take_if(owner, is_it))?;
        Some(form.of(user))
    }

    /// Notes a click on Send before the login, and has the form that the page shows wait for this
    /// browser; whether it is there. A click before, whose answer may be lost, may have left it with
    /// this browser, or with `new`, which has the cookie that a browser without one gets.
    pub(in crate::portal) fn claim(
        &self,
        (browser, new): (Owner, Owner),
        host: &str,
        target: &str,
        id: PostId,
    ) -> bool {
        let now = self.clock.now();
        let mut forms = self.forms();
        let mut owners = [Owner::Page(id), browser, new].into_iter();
        let form = owners.find_map(|owner| {
            take_from(&mut forms, owner, now, |form| {
                form.is_of_page(host, target, id)
            })
        });
        let Some(mut form) = form else {
            return false;
        };
        form.confirmed = Some(now);
        forms.entry(browser).or_default().push(form);
        true
    }

    /// Takes out the form that a page shows, or that one of `owners` has by now, to forget it.
    pub(in crate::portal) fn discard_of_page(
        &self,
        owners: impl IntoIterator<Item = Owner>,
        host: &str,
        id: PostId,
    ) -> Option<SavedPost> {
        let mut owners = std::iter::once(Owner::Page(id)).chain(owners);
        owners.find_map(|owner| {
            self.take_if(owner, |form| {
                form.sender.is_some() && form.id == id && form.is_for(host)
            })
        })
    }
}

impl SavedPost {
    fn is_of_page(&self, host: &str, target: &str, id: PostId) -> bool {
        self.sender.is_some() && self.is(host, target, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_of_a_form_is_known_where_a_browser_names_one_other_origin() {
        let authority = Authority::parse(&HeaderValue::from_static("gate.test:8443")).unwrap();
        let origin = ("origin", "https://idp.test");
        let site = |site| ("sec-fetch-site", site);
        for (fields, expected) in [
            (&[origin][..], true),
            (&[origin, site("cross-site")], true),
            (&[origin, site("same-site")], true),
            (
                &[origin, site("cross-site"), ("referer", "https://idp.test/")],
                true,
            ),
            (&[], false),
            (&[site("cross-site")], false),
            (&[origin, origin], false),
            (&[origin, ("origin", "https://gate.test:8443")], false),
            (&[("origin", "https://gate.test:8443")], false),
            (&[origin, site("same-origin")], false),
            (&[origin, site("none")], false),
            (&[origin, site("")], false),
            (&[origin, site("cross-site"), site("cross-site")], false),
            (
                &[origin, ("referer", "https://a"), ("referer", "https://b")],
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let sender = Sender::of(&headers, &authority);
            assert_eq!(sender.is_some(), expected, "{fields:?}");
            let Some(sender) = sender else { continue };
            let mut replayed = HeaderMap::new();
            for name in ["origin", "referer", "sec-fetch-site", "sec-fetch-mode"] {
                replayed.append(name, HeaderValue::from_static("ours"));
            }
            sender.restore(&mut replayed);
            assert_eq!(replayed.remove("sec-fetch-mode").unwrap(), "ours");
            assert_eq!(replayed, headers);
        }
    }
}

//! Saved POSTs of other sites: they wait for a click, and go on as what they were.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::request::Authority;

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

    /// Origin, `Referer` and `Sec-Fetch-Site`.
    pub(super) fn fields(&self) -> [Option<&HeaderValue>; 3] {
        [
            Some(&self.origin),
            self.referer.as_ref(),
            self.site.as_ref(),
        ]
    }

    pub(super) fn from_fields(
        origin: HeaderValue,
        referer: Option<HeaderValue>,
        site: Option<HeaderValue>,
    ) -> Self {
        Self {
            origin,
            referer,
            site,
        }
    }

    pub(super) fn length(&self) -> usize {
        let others = [&self.referer, &self.site].into_iter().flatten();
        self.origin.len() + others.map(HeaderValue::len).sum::<usize>()
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

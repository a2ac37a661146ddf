//! Session data: a few values that a stateless app keeps in the session, as Structured Fields
//! (RFC 9651).

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{Dictionary, FieldType, Parser};

/// To the upstream: what is kept.
pub(crate) const DATA: HeaderName = HeaderName::from_static("x-session-data");
/// From the upstream: keys to set.
pub(crate) const SET: HeaderName = HeaderName::from_static("x-session-set");
/// From the upstream: keys to drop.
pub(crate) const UNSET: HeaderName = HeaderName::from_static("x-session-unset");

const MAX_KEYS: usize = 32;
pub(super) const MAX_BYTES: usize = 4096;

/// What the apps keep in one session, each for itself: no app believes what another one lets its
/// users write (SEC-88).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppData {
    /// By the name of the app.
    of_apps: BTreeMap<Box<str>, SessionData>,
    /// From a version that kept one for all apps; the first app that uses the session gets it.
    of_all: SessionData,
}

/// A dictionary of at most 32 keys and 4 KiB, in its canonical text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionData(Option<HeaderValue>);

/// Why a change was not kept; nothing of its response was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataError {
    /// Not a dictionary of Structured Fields.
    Malformed,
    /// More than 32 keys or 4 KiB with this change.
    TooLarge,
}

impl AppData {
    /// The value of `X-Session-Data` for an app; `None` when there is nothing.
    pub(crate) fn header(&self, app: &str) -> Option<&HeaderValue> {
        self.of_apps.get(app)?.header()
    }

    /// The data after a change by an app.
    pub(crate) fn apply(&self, app: &str, change: &DataChange) -> Result<Self, DataError> {
        let mut after = self.clone();
        after.give_to(app);
        let data = after.of_apps.remove(app).unwrap_or_default();
        let data = data.apply(change)?;
        if data.header().is_some() {
            after.of_apps.insert(app.into(), data);
        }
        Ok(after)
    }

    /// Gives an app what was kept for all apps; gives whether there was something.
    pub(super) fn give_to(&mut self, app: &str) -> bool {
        let of_all = std::mem::take(&mut self.of_all);
        let is_some = of_all.header().is_some();
        if is_some {
            self.of_apps.insert(app.into(), of_all);
        }
        is_some
    }

    pub(super) fn of_apps(&self) -> impl Iterator<Item = (&str, &SessionData)> {
        self.of_apps.iter().map(|(app, data)| (&**app, data))
    }

    pub(super) fn of_all(&self) -> &SessionData {
        &self.of_all
    }

    /// Bytes of all of it.
    #[cfg(feature = "redis")]
    pub(super) fn size(&self) -> usize {
        let data = self.of_apps.values().chain([&self.of_all]);
        let names = self.of_apps.keys().map(|app| app.len()).sum::<usize>();
        names
            + data
                .filter_map(SessionData::header)
                .map(HeaderValue::len)
                .sum::<usize>()
    }

    /// The data whose texts a store kept; `None` when one of them is none.
    pub(super) fn restore(
        of_all: Option<&str>,
        of_apps: BTreeMap<Cow<'_, str>, Cow<'_, str>>,
    ) -> Option<Self> {
        let of_app = |(app, text): (Cow<'_, str>, Cow<'_, str>)| {
            Some((app.into_owned().into(), SessionData::restore(&text)?))
        };
        Some(Self {
            of_apps: of_apps.into_iter().map(of_app).collect::<Option<_>>()?,
            of_all: of_all.map_or(Some(SessionData::default()), SessionData::restore)?,
        })
    }
}

impl SessionData {
    fn header(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }

    /// What a store keeps; `None` when there is nothing.
    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_ref()?.to_str().ok()
    }

    fn restore(text: &str) -> Option<Self> {
        Some(Self(Some(HeaderValue::from_str(text).ok()?)))
    }

    /// The data after `change`. Each change is applied to what is kept now, so that two responses
    /// at once lose nothing of each other.
    fn apply(&self, change: &DataChange) -> Result<Self, DataError> {
        let text = self.0.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let mut data: Dictionary = Parser::new(text)
            .parse()
            .map_err(|_| DataError::Malformed)?;
        for key in change.unset.keys() {
            data.shift_remove(key);
        }
        for (key, value) in &change.set {
            data.insert(key.clone(), value.clone());
        }
        let Some(text) = data.serialize() else {
            return Ok(Self(None));
        };
        if data.len() > MAX_KEYS || text.len() > MAX_BYTES {
            return Err(DataError::TooLarge);
        }
        HeaderValue::try_from(text)
            .map(|text| Self(Some(text)))
            .map_err(|_| DataError::Malformed)
    }
}

/// What one response asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataChange {
    set: Dictionary,
    unset: Dictionary,
}

impl DataChange {
    /// Cuts the three headers out of a response; `None` when it asks for no change.
    pub(crate) fn take(headers: &mut HeaderMap) -> Option<Result<Self, DataError>> {
        // One walk over the few fields that there are costs less than a look-up of each name.
        let is_ours = |name: &HeaderName| name.as_str().starts_with("x-session-");
        if !headers.keys().any(is_ours) {
            return None;
        }
        headers.remove(DATA);
        if !headers.contains_key(SET) && !headers.contains_key(UNSET) {
            return None;
        }
        let set = take_dictionary(headers, &SET);
        let unset = take_dictionary(headers, &UNSET);
        Some(set.and_then(|set| Ok(Self { set, unset: unset? })))
    }
}

/// Lines of one field are one list (RFC 9651 §4.2).
fn take_dictionary(headers: &mut HeaderMap, name: &HeaderName) -> Result<Dictionary, DataError> {
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let text = lines.join(&b", "[..]);
    headers.remove(name);
    if text.len() > MAX_BYTES {
        return Err(DataError::TooLarge);
    }
    Parser::new(&text).parse().map_err(|_| DataError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(lines: &[(&HeaderName, &str)]) -> Result<DataChange, DataError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let change = DataChange::take(&mut headers).unwrap();
        assert!(headers.is_empty(), "both headers are cut from the response");
        change
    }

    fn text(data: &SessionData) -> &str {
        data.header().map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn keys_are_set_and_dropped_on_what_is_there() {
        let data = SessionData::default();
        let data = data
            .apply(&change(&[(&SET, "count=3, theme=\"dark\"")]).unwrap())
            .unwrap();
        assert_eq!(text(&data), "count=3, theme=\"dark\"");
        let data = data
            .apply(&change(&[(&SET, "count=4"), (&SET, "on")]).unwrap())
            .unwrap();
        assert_eq!(text(&data), "count=4, theme=\"dark\", on");
        let data = data
            .apply(&change(&[(&UNSET, "theme, count")]).unwrap())
            .unwrap();
        assert_eq!(text(&data), "on");
        let data = data
            .apply(&change(&[(&UNSET, "on, never")]).unwrap())
            .unwrap();
        assert_eq!(data, SessionData::default());
    }

    #[test]
    fn sec_88_each_app_has_data_of_its_own_and_old_data_goes_to_the_first() {
        let of_app = |data: &AppData, app| data.header(app).map(|v| v.to_str().unwrap().to_owned());
        let mut data = AppData::restore(Some("old=1"), BTreeMap::new()).unwrap();
        assert_eq!(of_app(&data, "wiki"), None, "nobody's yet");
        assert!(data.give_to("wiki") && !data.give_to("metrics"));
        let set = change(&[(&SET, "role=\"admin\"")]).unwrap();
        let data = data.apply("metrics", &set).unwrap();
        assert_eq!(of_app(&data, "wiki").as_deref(), Some("old=1"));
        assert_eq!(of_app(&data, "metrics").as_deref(), Some("role=\"admin\""));
        let unset = change(&[(&UNSET, "old, role")]).unwrap();
        let data = data.apply("wiki", &unset).unwrap();
        assert_eq!(of_app(&data, "wiki"), None);
        assert!(of_app(&data, "metrics").is_some(), "it is another's");
    }

    #[test]
    fn a_key_that_is_dropped_and_set_is_set() {
        let both = change(&[(&UNSET, "a"), (&SET, "a=1")]).unwrap();
        assert_eq!(text(&SessionData::default().apply(&both).unwrap()), "a=1");
    }

    #[test]
    fn of_a_change_that_does_not_fit_nothing_is_kept() {
        let data = SessionData::default()
            .apply(&change(&[(&SET, "a=1")]).unwrap())
            .unwrap();
        let many: Vec<_> = (0..32).map(|n| format!("k{n}")).collect();
        let many = change(&[(&SET, &many.join(", "))]).unwrap();
        assert_eq!(data.apply(&many), Err(DataError::TooLarge));
        let big = format!("a=\"{}\"", "x".repeat(4096));
        assert_eq!(change(&[(&SET, &big)]), Err(DataError::TooLarge));
        let half = format!("b=\"{}\"", "x".repeat(2040));
        let other = format!("c=\"{}\"", "x".repeat(2060));
        let data = data.apply(&change(&[(&SET, &half)]).unwrap()).unwrap();
        assert_eq!(
            data.apply(&change(&[(&SET, &other)]).unwrap()),
            Err(DataError::TooLarge)
        );
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        for value in ["A=1", "a=", "a=1,", "a=\"x", "=", "a b"] {
            assert_eq!(
                change(&[(&SET, value)]),
                Err(DataError::Malformed),
                "{value}"
            );
        }
    }
}

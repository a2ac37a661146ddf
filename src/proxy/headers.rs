//! Headers that the configuration of an app sets and removes: in the requests that the app gets,
//! and in its responses.

mod secret;

use std::fmt::{self, Debug, Formatter, Write};
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::identity::{Part, Template};
use crate::telemetry::RequestId;

pub(crate) use secret::{SecretHeader, SecretHeaderError};

/// What a template can say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Client,
    Host,
    Prefix,
    Proto,
    RequestId,
}

impl About {
    pub(crate) const NAMES: [&str; 5] = ["client", "host", "proto", "prefix", "request_id"];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "client" => Self::Client,
            "host" => Self::Host,
            "prefix" => Self::Prefix,
            "proto" => Self::Proto,
            "request_id" => Self::RequestId,
            _ => return None,
        })
    }
}

/// The same of one request.
pub(crate) struct Facts<'r> {
    /// `None` where a trusted proxy does not say who is beyond.
    pub(crate) client: Option<IpAddr>,
    pub(crate) host: &'r HeaderValue,
    pub(crate) prefix: Option<&'r HeaderValue>,
    pub(crate) id: &'r RequestId,
}

/// The value of a header.
#[derive(Clone)]
pub(crate) enum Content {
    Fixed(HeaderValue),
    Made(Template<About>),
}

impl Content {
    /// `None` when something that it speaks of is absent.
    fn render(&self, facts: &Facts<'_>) -> Option<HeaderValue> {
        let template = match self {
            Self::Fixed(value) => return Some(value.clone()),
            Self::Made(template) => template,
        };
        let mut value = String::new();
        for part in template.parts() {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Value(About::Client) => write!(value, "{}", facts.client?).ok()?,
                Part::Value(About::Host) => value.push_str(facts.host.to_str().ok()?),
                Part::Value(About::Prefix) => value.push_str(facts.prefix?.to_str().ok()?),
                Part::Value(About::Proto) => value.push_str("https"),
                Part::Value(About::RequestId) => write!(value, "{}", facts.id).ok()?,
            }
        }
        HeaderValue::try_from(value).ok()
    }
}

/// Headers and their values.
#[derive(Clone, Default)]
pub(crate) struct Additions(Vec<(HeaderName, Content)>);

impl Additions {
    pub(crate) fn new(headers: Vec<(HeaderName, Content)>) -> Self {
        Self(headers)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    fn is_fixed(&self) -> bool {
        let is_fixed = |(_, content): &(_, Content)| matches!(content, Content::Fixed(_));
        self.0.iter().all(is_fixed)
    }

    fn render(&self, facts: &Facts<'_>) -> Vec<(HeaderName, Option<HeaderValue>)> {
        let render =
            |(name, content): &(HeaderName, Content)| (name.clone(), content.render(facts));
        self.0.iter().map(render).collect()
    }
}

/// Some are secrets.
impl Debug for Additions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// `[app.request_headers]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestHeaders {
    pub(crate) set: Additions,
    /// Values that are in files of their own.
    pub(crate) set_file: Vec<SecretHeader>,
    pub(crate) remove: Vec<HeaderName>,
    /// All of these names with the letters that the configuration has.
    pub(crate) written: Vec<Box<str>>,
}

impl RequestHeaders {
    pub(crate) fn is_empty(&self) -> bool {
        self.set.0.is_empty() && self.set_file.is_empty() && self.remove.is_empty()
    }

    /// No client may send these, under whatever name an app takes for the same (SEC-36).
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let from_files = self.set_file.iter().map(|header| &header.name);
        self.set.names().chain(from_files).chain(&self.remove)
    }

    /// Reads the files. To be done before it is used.
    pub(crate) fn read_files(&mut self) -> Result<(), SecretHeaderError> {
        for header in &self.set_file {
            let value = Content::Fixed(header.read_trusted()?);
            self.set.0.push((header.name.clone(), value));
        }
        Ok(())
    }

    /// The same for `check`, whoever the files belong to: root examines those of the service's user.
    pub(crate) fn read_files_of_any_owner(&mut self) -> Result<(), SecretHeaderError> {
        for header in &self.set_file {
            let value = Content::Fixed(header.read()?);
            self.set.0.push((header.name.clone(), value));
        }
        Ok(())
    }

    /// Whatever a client has sent under these names is gone by now.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, facts: &Facts<'_>) {
        for name in &self.remove {
            headers.remove(name); // of what we ourselves have said
        }
        for (name, content) in &self.set.0 {
            match content.render(facts) {
                Some(value) => headers.insert(name, value),
                None => headers.remove(name),
            };
        }
    }
}

/// `[app.response_headers]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseHeaders {
    pub(crate) set: Additions,
    /// Only where the app itself does not.
    pub(crate) set_missing: Additions,
    pub(crate) remove: Vec<HeaderName>,
    /// The names in `set`, with the letters that the configuration has.
    pub(crate) written: Vec<Box<str>>,
}

/// Names with the letters that they get in a response over HTTP/1.1, whatever others are in it.
#[derive(Clone, Debug)]
pub(crate) struct Letters(Arc<[Box<str>]>);

impl Letters {
    pub(crate) fn new(names: Vec<Box<str>>) -> Self {
        Self(names.into())
    }

    /// Gives a name its letters, if it is one of these.
    pub(crate) fn correct(&self, name: &mut [u8]) {
        let mut written = self.0.iter().map(|written| written.as_bytes());
        if let Some(written) = written.find(|written| written.eq_ignore_ascii_case(name)) {
            name.copy_from_slice(written);
        }
    }
}

impl ResponseHeaders {
    pub(crate) fn is_empty(&self) -> bool {
        self.set.0.is_empty() && self.set_missing.0.is_empty() && self.remove.is_empty()
    }
}

/// The same, for the responses of one app.
pub(super) struct ResponseChanges {
    settings: ResponseHeaders,
    /// Where no value depends on the request.
    fixed: Option<Arc<Changes>>,
}

impl ResponseChanges {
    /// `None` where there is nothing to change.
    pub(super) fn new(settings: ResponseHeaders) -> Option<Box<Self>> {
        if settings.is_empty() {
            return None;
        }
        let is_fixed = settings.set.is_fixed() && settings.set_missing.is_fixed();
        let nobody = Facts {
            client: None,
            host: &HeaderValue::from_static(""),
            prefix: None,
            id: &RequestId::own(0, 0),
        };
        let fixed = is_fixed.then(|| Arc::new(Changes::new(&settings, &nobody)));
        Some(Box::new(Self { settings, fixed }))
    }

    /// What becomes of the response to a request.
    pub(super) fn of(&self, facts: &Facts<'_>) -> Arc<Changes> {
        let fixed = self.fixed.as_ref().map(Arc::clone);
        fixed.unwrap_or_else(|| Arc::new(Changes::new(&self.settings, facts)))
    }
}

/// What becomes of one response.
pub(super) struct Changes {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Option<HeaderValue>)>,
    set_missing: Vec<(HeaderName, Option<HeaderValue>)>,
}

impl Changes {
    fn new(settings: &ResponseHeaders, facts: &Facts<'_>) -> Self {
        Self {
            remove: settings.remove.clone(),
            set: settings.set.render(facts),
            set_missing: settings.set_missing.render(facts),
        }
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            match value {
                Some(value) => headers.insert(name, value.clone()),
                None => headers.remove(name),
            };
        }
        for (name, value) in &self.set_missing {
            if let Some(value) = value {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Content {
        Content::Made(Template::parse(text, About::of).unwrap())
    }

    fn additions(headers: &[(&'static str, &str)]) -> Additions {
        let header =
            |(name, text): &(&'static str, &str)| (HeaderName::from_static(name), content(text));
        Additions::new(headers.iter().map(header).collect())
    }

    #[test]
    fn values_are_made_of_what_is_known_of_the_request() {
        let id = RequestId::own(1, 2);
        let (host, prefix) = (
            HeaderValue::from_static("a.test:8443"),
            HeaderValue::from_static("/wiki"),
        );
        let facts = Facts {
            client: Some("2001:db8::1".parse().unwrap()),
            host: &host,
            prefix: Some(&prefix),
            id: &id,
        };
        let unknown = Facts {
            client: None,
            prefix: None,
            ..facts
        };
        for (template, expected, of_unknown) in [
            ("{client}", Some("2001:db8::1"), None),
            (
                "{proto}://{host}{prefix}/",
                Some("https://a.test:8443/wiki/"),
                None,
            ),
            (
                "{request_id}",
                Some("00000001-000002"),
                Some("00000001-000002"),
            ),
            ("a b", Some("a b"), Some("a b")),
        ] {
            let shown = |facts| content(template).render(facts);
            let expected = [expected, of_unknown].map(|it| it.map(HeaderValue::from_static));
            assert_eq!([shown(&facts), shown(&unknown)], expected, "{template}");
        }
    }

    #[test]
    fn what_is_set_is_there_once_and_what_is_missing_is_added() {
        let changes = ResponseChanges::new(ResponseHeaders {
            set: additions(&[("x-set", "ours"), ("x-client", "{client}")]),
            set_missing: additions(&[("x-there", "ours"), ("x-missing", "ours")]),
            remove: vec![HeaderName::from_static("server")],
            written: Vec::new(),
        });
        let (host, id) = (HeaderValue::from_static("a"), RequestId::own(0, 0));
        let facts = Facts {
            client: None,
            host: &host,
            prefix: None,
            id: &id,
        };
        let mut headers = HeaderMap::new();
        for name in ["x-set", "x-set", "x-client", "x-there", "server", "server"] {
            headers.append(name, HeaderValue::from_static("theirs"));
        }
        changes.unwrap().of(&facts).apply(&mut headers);
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        left.sort();
        assert_eq!(left, ["x-missing: ours", "x-set: ours", "x-there: theirs"]);
    }

    #[test]
    fn sec_72_values_are_not_printed() {
        let headers = RequestHeaders {
            set: additions(&[("authorization", "Basic c2VjcmV0")]),
            ..RequestHeaders::default()
        };
        let printed = format!("{headers:?}");
        assert!(
            printed.contains("authorization") && !printed.contains("c2Vj"),
            "{printed}"
        );
    }
}

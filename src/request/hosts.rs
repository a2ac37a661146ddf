//! The host names of an app: single ones, and all below a name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use super::Host;

/// A host name, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostPattern {
    Name(Host),
    /// `*.apps.example.org`: one label or more before the name, and never the name itself, as in
    /// nginx and Envoy.
    Below(Host),
}

impl HostPattern {
    /// Parses a name, or a name behind `*.`; nothing is below an IP address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Some(above) = text.strip_prefix("*.") else {
            return Host::parse(text).map(Self::Name);
        };
        let above = Host::parse(above)?;
        let last = above.as_str().rsplit('.').next().unwrap_or_default();
        let is_address = last.ends_with(']') || last.bytes().all(|byte| byte.is_ascii_digit());
        (!is_address).then_some(Self::Below(above))
    }

    /// The one name that it is.
    pub(crate) fn name(&self) -> Option<&Host> {
        match self {
            Self::Name(name) => Some(name),
            Self::Below(_) => None,
        }
    }

    fn has(&self, host: &Host) -> bool {
        match self {
            Self::Name(name) => name == host,
            Self::Below(above) => {
                let below = host.as_str().strip_suffix(above.as_str());
                below.is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name.as_str()),
            Self::Below(above) => write!(f, "*.{}", above.as_str()),
        }
    }
}

/// The host names of one app, in the order of the configuration; none at all for every host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts(Vec<HostPattern>);

impl Hosts {
    pub(crate) fn new(patterns: Vec<HostPattern>) -> Self {
        Self(patterns)
    }

    pub(crate) fn are_any(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &HostPattern> {
        self.0.iter()
    }

    /// Those that are single names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Host> {
        self.0.iter().filter_map(HostPattern::name)
    }

    /// The one that the app is asked by where nobody else has chosen one.
    pub(crate) fn first_name(&self) -> Option<&Host> {
        self.names().next()
    }

    /// Whether the app names this host, itself or with all around it.
    pub(crate) fn have(&self, host: &Host) -> bool {
        self.are_any() || self.0.iter().any(|pattern| pattern.has(host))
    }

    /// What both name just so: there they are apps of one host.
    pub(crate) fn shared<'h>(&'h self, other: &'h Self) -> impl Iterator<Item = &'h HostPattern> {
        self.0.iter().filter(|pattern| other.0.contains(pattern))
    }

    /// Whether some host is of both.
    pub(crate) fn meet(&self, other: &Self) -> bool {
        self == other || self.shared(other).next().is_some()
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pattern) in self.0.iter().enumerate() {
            write!(f, "{}{pattern}", if at > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// Something for each host: that of its name, else that of the longest name it is below. A look-up
/// takes as long with a thousand hosts as with one.
#[derive(Debug)]
pub(crate) struct HostMap<T> {
    by_name: HashMap<String, T>,
    /// By the name behind `*.`.
    below: HashMap<String, T>,
}

impl<T> HostMap<T> {
    /// What there is for this pattern; made when there is nothing yet.
    pub(crate) fn entry(&mut self, pattern: &HostPattern) -> &mut T
    where
        T: Default,
    {
        let (map, name) = match pattern {
            HostPattern::Name(name) => (&mut self.by_name, name),
            HostPattern::Below(above) => (&mut self.below, above),
        };
        map.entry(name.as_str().to_owned()).or_default()
    }

    /// What holds for a host, without port and without the dot at its end.
    pub(crate) fn get(&self, host: &str) -> Option<&T> {
        self.by_name.get(host).or_else(|| self.search(host))
    }

    fn search(&self, host: &str) -> Option<&T> {
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::from(host.to_ascii_lowercase())
        } else {
            Cow::from(host)
        };
        self.by_name.get(&*host).or_else(|| {
            if self.below.is_empty() {
                return None;
            }
            let mut names = host.match_indices('.').map(|(at, _)| &host[at + 1..]);
            names.find_map(|above| self.below.get(above))
        })
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.by_name.values().chain(self.below.values())
    }

    /// The same for other values.
    pub(crate) fn map<U>(self, mut to: impl FnMut(T) -> U) -> HostMap<U> {
        let mut all = |map: HashMap<String, T>| {
            let all = map.into_iter().map(|(name, value)| (name, to(value)));
            all.collect()
        };
        HostMap {
            by_name: all(self.by_name),
            below: all(self.below),
        }
    }
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            below: HashMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap()
    }

    #[test]
    fn a_wildcard_stands_for_whole_labels_at_the_beginning() {
        for (text, expected) in [
            ("*.apps.example.org", Some("*.apps.example.org")),
            ("*.Apps.Example.Org.", Some("*.apps.example.org")),
            ("*.lan", Some("*.lan")),
            ("wiki.example.org", Some("wiki.example.org")),
            ("[::1]", Some("[::1]")),
            ("*", None),
            ("*.", None),
            ("*.*.example.org", None),
            ("a.*.example.org", None),
            ("wiki*.example.org", None),
            ("*example.org", None),
            ("*.0.0.1", None),
            ("*.[::1]", None),
            ("**.example.org", None),
        ] {
            let parsed = HostPattern::parse(text).map(|pattern| pattern.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_name_comes_before_a_wildcard_and_the_longest_wildcard_first() {
        let mut map = HostMap::<&str>::default();
        for text in ["*.org", "*.example.org", "*.a.example.org", "b.example.org"] {
            *map.entry(&pattern(text)) = text;
        }
        for (host, expected) in [
            ("b.example.org", Some("b.example.org")),
            ("B.Example.ORG", Some("b.example.org")),
            ("x.b.example.org", Some("*.example.org")),
            ("c.example.org", Some("*.example.org")),
            ("C.example.org", Some("*.example.org")),
            ("a.example.org", Some("*.example.org")),
            ("x.a.example.org", Some("*.a.example.org")),
            ("x.y.a.example.org", Some("*.a.example.org")),
            ("xa.example.org", Some("*.example.org")),
            ("example.org", Some("*.org")),
            ("org", None),
            ("example.net", None),
            (".org", Some("*.org")), // which is no host that a request can have
            ("10.0.0.1", None),
        ] {
            assert_eq!(map.get(host).copied(), expected, "{host}");
        }
    }

    #[test]
    fn a_list_has_the_hosts_that_it_names() {
        let hosts = Hosts::new(vec![pattern("*.example.org"), pattern("wiki.test")]);
        let have = |host| hosts.have(&Host::parse(host).unwrap());
        assert!(have("a.example.org") && have("a.b.example.org") && have("wiki.test"));
        assert!(!have("example.org") && !have("xexample.org") && !have("a.wiki.test"));
        assert_eq!(hosts.first_name(), Host::parse("wiki.test").as_ref());
        assert_eq!(hosts.to_string(), "*.example.org, wiki.test");
        let other = Hosts::new(vec![pattern("wiki.test"), pattern("a.example.org")]);
        assert!(hosts.meet(&other) && other.meet(&hosts));
        assert!(!hosts.meet(&Hosts::new(vec![pattern("a.example.org")])));
        assert!(!hosts.meet(&Hosts::default()) && Hosts::default().meet(&Hosts::default()));
        assert!(Hosts::default().have(&Host::parse("a.test").unwrap()));
    }
}

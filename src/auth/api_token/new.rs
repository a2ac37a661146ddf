//! What somebody asks of a new token, and whether that can be.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::principal::Scope;
use crate::request::{AllowInPath, Networks, normal_path};

/// How long a token is good for whose user says nothing of it.
pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_hours(24 * 90);

/// The shortest and the longest: every token ends some day (SEC-96).
pub(crate) const LIFETIME: [Duration; 2] = [Duration::from_mins(1), Duration::from_hours(24 * 366)];

/// Of a name, in characters.
const MAX_NAME: usize = 64;

/// Of each list of a scope.
const MAX_LIST: usize = 32;

/// Of a path, in bytes.
const MAX_PATH: usize = 1024;

/// What a token opens, as people write it; an empty list restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenLimits {
    /// By their names in the configuration.
    #[serde(default)]
    pub(crate) apps: Vec<String>,
    #[serde(default)]
    pub(crate) paths: Vec<String>,
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    #[serde(default)]
    pub(crate) networks: Vec<String>,
}

/// A token that can be made.
#[derive(Debug)]
pub(crate) struct NewToken {
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) lifetime: Duration,
}

/// Why it cannot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotAToken {
    Lifetime,
    Method(String),
    Name,
    Network(String),
    /// With the path that is meant, where it is clear.
    Path(String, Option<String>),
    TooMany,
}

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lifetime => f.write_str("a token is good for 1 minute to 366 days"),
            Self::Method(method) => write!(f, "{method:?} is no method: write it as in GET"),
            Self::Name => write!(
                f,
                "a token has a name of 1 to {MAX_NAME} characters, without control characters"
            ),
            Self::Network(network) => write!(
                f,
                "{network:?} is no network: write 192.0.2.7, or 10.0.0.0/8"
            ),
            Self::Path(path, Some(normal)) => write!(
                f,
                "{path:?} is not the form in which paths are compared: write {normal:?}"
            ),
            Self::Path(path, None) => write!(
                f,
                "{path:?} is no path: write it as in /api, without query and wildcards"
            ),
            Self::TooMany => write!(f, "no more than {MAX_LIST} of a kind limit a token"),
        }
    }
}

impl NewToken {
    /// Whether there are such apps is for those to say who know them.
    pub(crate) fn parse(
        name: &str,
        limits: TokenLimits,
        lifetime: Duration,
    ) -> Result<Self, NotAToken> {
        let TokenLimits {
            apps,
            paths,
            methods,
            networks,
        } = limits;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control)
        {
            return Err(NotAToken::Name);
        }
        let [shortest, longest] = LIFETIME;
        if !(shortest..=longest).contains(&lifetime) {
            return Err(NotAToken::Lifetime);
        }
        let lengths = [apps.len(), paths.len(), methods.len(), networks.len()];
        if lengths.into_iter().any(|length| length > MAX_LIST) {
            return Err(NotAToken::TooMany);
        }
        let paths = paths.into_iter().map(path).collect::<Result<_, _>>()?;
        let methods = methods.into_iter().map(method).collect::<Result<_, _>>()?;
        let networks = networks.into_iter().map(network);
        let networks = Networks::new(networks.collect::<Result<_, _>>()?);
        Ok(Self {
            name: name.to_owned(),
            scope: Scope::new(apps, paths, methods, networks),
            lifetime,
        })
    }
}

fn path(path: String) -> Result<String, NotAToken> {
    if path.len() > MAX_PATH || !path.starts_with('/') || path.contains(['?', '#', '*']) {
        return Err(NotAToken::Path(path, None));
    }
    match normal_path(&path, AllowInPath::default()) {
        Ok(normal) if normal == path => Ok(path),
        Ok(normal) => {
            let normal = Some(normal.into_owned());
            Err(NotAToken::Path(path, normal))
        }
        Err(_) => Err(NotAToken::Path(path, None)),
    }
}

/// They are compared by their letters, and all that are registered are in capitals.
fn method(method: String) -> Result<Method, NotAToken> {
    let is_plain = method
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    match method.parse() {
        Ok(parsed) if is_plain => Ok(parsed),
        _ => Err(NotAToken::Method(method)),
    }
}

fn network(network: String) -> Result<IpNet, NotAToken> {
    let address = network.parse::<IpAddr>().map(IpNet::from);
    let parsed = address.or_else(|_| network.parse::<IpNet>());
    match parsed {
        Ok(parsed) if parsed.addr() == parsed.network() => Ok(parsed),
        _ => Err(NotAToken::Network(network)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(paths: &[&str], methods: &[&str], networks: &[&str]) -> TokenLimits {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        TokenLimits {
            apps: Vec::new(),
            paths: texts(paths),
            methods: texts(methods),
            networks: texts(networks),
        }
    }

    #[test]
    fn what_can_be_asked_of_a_token_is_bounded() {
        let day = Duration::from_hours(24);
        let made = |name, limits, lifetime| NewToken::parse(name, limits, lifetime).err();
        let (none, long) = (TokenLimits::default, "x".repeat(65));
        assert_eq!(made(" ci ", none(), day), None);
        for (name, lifetime, expected) in [
            ("", day, NotAToken::Name),
            ("  ", day, NotAToken::Name),
            ("a\nb", day, NotAToken::Name),
            (&long, day, NotAToken::Name),
            ("ci", Duration::ZERO, NotAToken::Lifetime),
            ("ci", day * 367, NotAToken::Lifetime),
        ] {
            assert_eq!(made(name, none(), lifetime), Some(expected), "{name}");
        }
        let path = |path: &str, normal: Option<&str>| {
            Some(NotAToken::Path(path.to_owned(), normal.map(str::to_owned)))
        };
        for (text, expected) in [
            ("/api", None),
            ("/api/", None),
            ("/", None),
            ("/a%20b", None),
            ("api", path("api", None)),
            ("", path("", None)),
            ("/api?x", path("/api?x", None)),
            ("/api/*", path("/api/*", None)),
            ("/a/../b", path("/a/../b", None)),
            ("/a%2fb", path("/a%2fb", None)),
            ("//a", path("//a", Some("/a"))),
            ("/%61", path("/%61", Some("/a"))),
        ] {
            assert_eq!(
                made("ci", limits(&[text], &[], &[]), day),
                expected,
                "{text}"
            );
        }
        for (text, is_method) in [
            ("GET", true),
            ("M-SEARCH", true),
            ("get", false),
            ("", false),
        ] {
            let refused = made("ci", limits(&[], &[text], &[]), day);
            assert_eq!(refused.is_none(), is_method, "{text}");
        }
        for (text, is_network) in [
            ("10.0.0.0/8", true),
            ("192.0.2.7", true),
            ("fd00::/8", true),
            ("10.0.0.1/8", false),
            ("10.0.0.0/33", false),
            ("home", false),
        ] {
            let refused = made("ci", limits(&[], &[], &[text]), day);
            assert_eq!(refused.is_none(), is_network, "{text}");
        }
        let many = vec!["/a"; 33];
        let refused = made("ci", limits(&many, &[], &[]), day);
        assert_eq!(refused, Some(NotAToken::TooMany));
    }
}

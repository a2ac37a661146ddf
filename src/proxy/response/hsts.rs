//! `[[app]] hsts`: for how long browsers come back by TLS only (RFC 6797, SEC-77).

use std::time::Duration;

use http::HeaderValue;

use crate::request::Authority;

const YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What browsers are told. It holds for the host with all its ports, and so is the same for each of
/// the apps of a host.
pub(in crate::proxy) enum Hsts {
    /// A year where the service has the host's common port: behind another one, the host may have
    /// services without TLS.
    Default,
    Off,
    For(HeaderValue),
}

impl Hsts {
    pub(in crate::proxy) fn new(max_age: Option<Duration>) -> Self {
        match max_age.map(|max_age| max_age.as_secs()) {
            None => Self::Default,
            Some(0) => Self::Off,
            Some(seconds) => {
                HeaderValue::try_from(format!("max-age={seconds}")).map_or(Self::Default, Self::For)
            }
        }
    }

    /// Whether the configuration has it.
    pub(in crate::proxy) fn is_configured(&self) -> bool {
        !matches!(self, Self::Default)
    }

    /// The field of a response to a request for this host. `public_port` is the service's own, if
    /// the configuration has it; otherwise that of `Host`.
    pub(in crate::proxy) fn field(
        &self,
        host: &Authority,
        public_port: Option<u16>,
    ) -> Option<HeaderValue> {
        if is_localhost(host.host()) {
            return None; // the ports of localhost are all programs of a machine
        }
        match self {
            Self::Default => {
                let port = public_port.or(host.port()).unwrap_or(443);
                (port == 443).then_some(YEAR)
            }
            Self::Off => None,
            Self::For(field) => Some(field.clone()),
        }
    }
}

/// `localhost` and the names below it (RFC 6761 §6.3).
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let Some(begin) = host.len().checked_sub(b"localhost".len()) else {
        return false;
    };
    let (below, name) = host.split_at(begin);
    name.eq_ignore_ascii_case(b"localhost") && matches!(below.last(), None | Some(b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_77_browsers_come_back_by_tls_where_that_is_what_the_host_has() {
        let (year, short) = (Some("max-age=31536000"), Some("max-age=90"));
        for (max_age, public_port, host, expected) in [
            (None, None, "gate.test", year),
            (None, None, "gate.test:443", year),
            (None, None, "gate.test:8443", None),
            (None, Some(443), "gate.test:8443", year),
            (None, Some(8443), "gate.test", None),
            (None, Some(443), "localhost", None),
            (Some(90), Some(8443), "gate.test:8443", short),
            (Some(0), Some(443), "gate.test", None),
            (Some(90), Some(443), "LocalHost:8443", None),
            (Some(90), Some(443), "localhost.", None),
            (Some(90), Some(443), "app.localhost", None),
            (Some(90), Some(443), "notlocalhost", short),
            (Some(90), Some(443), "localhost.example", short),
            (Some(90), Some(443), "a", short),
        ] {
            let hsts = Hsts::new(max_age.map(Duration::from_secs));
            let authority = Authority::parse(&HeaderValue::from_static(host)).unwrap();
            let field = hsts.field(&authority, public_port);
            let field = field.as_ref().map(|field| field.to_str().unwrap());
            assert_eq!(field, expected, "{max_age:?} {public_port:?} {host}");
        }
    }
}

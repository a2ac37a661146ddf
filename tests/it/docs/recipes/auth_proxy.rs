//! In Grafana's place: the rules of its auth proxy, as its documentation has them, applied to a
//! request that has come. Grafana itself cannot be had everywhere, and is not tested here.

use std::collections::BTreeMap;

use crate::harness::Received;

/// The keys of a `grafana.ini` as `section.key`.
pub(super) struct AuthProxy(BTreeMap<String, String>);

impl AuthProxy {
    pub(super) fn parse(ini: &str) -> Self {
        let mut section = "";
        let mut keys = BTreeMap::new();
        for line in ini.lines().filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            } else {
                let (key, value) = line.split_once(" = ").expect("a key and its value");
                keys.insert(format!("{section}.{key}"), value.to_owned());
            }
        }
        let proxy = Self(keys);
        assert_eq!(proxy.key("auth.proxy.enabled"), "true");
        // Requests come from this machine, so that nobody else is believed.
        assert_eq!(proxy.key("auth.proxy.whitelist"), "127.0.0.1");
        assert_eq!(proxy.key("server.http_addr"), "127.0.0.1");
        assert_eq!(proxy.key("auth.proxy.header_property"), "username");
        proxy
    }

    fn key(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("no {key}"))
    }

    /// Where "Sign out" leads.
    pub(super) fn sign_out(&self) -> &str {
        self.key("auth.signout_redirect_url")
    }

    /// Whom a request is from: the login name, and the properties of `headers`. Without the
    /// header of the name it is nobody.
    pub(super) fn user(&self, request: &Received) -> Option<BTreeMap<&str, String>> {
        let value = |header: &str| request.value(&header.to_lowercase()).map(str::to_owned);
        let login = value(self.key("auth.proxy.header_name"))?;
        let properties = self.key("auth.proxy.headers").split(' ');
        let properties = properties.filter_map(|pair| {
            let (property, header) = pair.split_once(':').unwrap();
            Some((property, value(header)?))
        });
        let mut user: BTreeMap<_, _> = properties.collect();
        user.insert("login", login);
        Some(user)
    }
}

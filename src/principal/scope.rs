//! What an API token is good for, of all that its user may do.

use std::net::IpAddr;

use http::Method;

use crate::request::{Networks, PathCase, compared, fold_case};

/// Each list restricts; an empty one does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    apps: Box<[String]>,
    paths: Box<[String]>,
    /// The paths as they are compared.
    keys: Box<[String]>,
    methods: Box<[Method]>,
    networks: Networks,
}

impl Scope {
    /// `apps` by their names in the configuration; `paths` in normal form, each with all below it.
    pub(crate) fn new(
        apps: Vec<String>,
        paths: Vec<String>,
        methods: Vec<Method>,
        networks: Networks,
    ) -> Self {
        let key = |path: &String| compared(path.trim_end_matches('/')).into_owned();
        Self {
            apps: apps.into(),
            keys: paths.iter().map(key).collect(),
            paths: paths.into(),
            methods: methods.into(),
            networks,
        }
    }

    pub(crate) fn apps(&self) -> &[String] {
        &self.apps
    }

    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    pub(crate) fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Whether it opens anything of an app, for a client at this address.
    pub(crate) fn opens(&self, app: &str, client: Option<IpAddr>) -> bool {
        self.has(app) && self.networks.admit(client)
    }

    /// The same for clients at the addresses that it is for.
    pub(crate) fn has(&self, app: &str) -> bool {
        self.apps.is_empty() || self.apps.iter().any(|name| name == app)
    }

    /// Whether a request is within it, by one reading of its path. Whole segments only, as in rules
    /// (SEC-32).
    pub(crate) fn covers(&self, path: &str, method: &Method, case: PathCase) -> bool {
        let is_below = |key: &str| {
            let rest = path.strip_prefix(key);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let covers = |key: &String| match case {
            PathCase::Sensitive => is_below(key),
            PathCase::Insensitive => is_below(&fold_case(key)),
        };
        (self.keys.is_empty() || self.keys.iter().any(covers))
            && (self.methods.is_empty() || self.methods.contains(method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(apps: &[&str], paths: &[&str], methods: &[Method], networks: &[&str]) -> Scope {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        Scope::new(
            texts(apps),
            texts(paths),
            methods.to_vec(),
            Networks::new(networks),
        )
    }

    #[test]
    fn sec_96_a_scope_covers_whole_segments() {
        let narrow = scope(&[], &["/api/", "/pub%40"], &[Method::GET], &[]);
        for (path, covered) in [
            ("/api", true),
            ("/api/", true),
            ("/api/x", true),
            ("/apix", false),
            ("/API/x", false),
            ("/pub@/x", true),
            ("/", false),
        ] {
            let covers = narrow.covers(path, &Method::GET, PathCase::Sensitive);
            assert_eq!(covers, covered, "{path}");
            assert!(!narrow.covers(path, &Method::HEAD, PathCase::Sensitive));
        }
        let upper = scope(&[], &["/Api"], &[], &[]);
        assert!(upper.covers("/api/x", &Method::PUT, PathCase::Insensitive));
        assert!(!upper.covers("/apix", &Method::PUT, PathCase::Insensitive));
        let any = scope(&[], &["/"], &[], &[]);
        assert!(any.covers("/x", &Method::PUT, PathCase::Sensitive));
    }

    #[test]
    fn sec_96_a_scope_opens_the_apps_that_it_names_from_the_networks_that_it_names() {
        let client = |text: &str| Some(text.parse().unwrap());
        let narrow = scope(&["wiki"], &[], &[], &["10.0.0.0/8"]);
        assert!(narrow.opens("wiki", client("10.1.2.3")));
        assert!(!narrow.opens("files", client("10.1.2.3")));
        assert!(!narrow.opens("wiki", client("192.0.2.1")));
        assert!(!narrow.opens("wiki", None));
        assert!(scope(&[], &[], &[], &[]).opens("files", None));
    }
}

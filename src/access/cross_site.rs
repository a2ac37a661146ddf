//! Forms of other sites that a rule takes, to exactly its path.

use http::Method;

use super::{Rule, Rules};
use crate::request::{Readings, compared, fold_case};

/// Which they are.
#[derive(Clone, Debug)]
pub(super) struct CrossSitePosts {
    /// The path as it is compared; unlike that of the rule, it ends as it is written.
    path: String,
    /// As browsers send them.
    origins: Vec<String>,
}

impl CrossSitePosts {
    pub(super) fn fold_case(&mut self) {
        self.path = fold_case(&self.path).into_owned();
    }
}

impl Rule {
    /// The same rule, that takes forms of these origins to `path`, which is that of the rule.
    #[must_use]
    pub(crate) fn with_cross_site_posts(mut self, path: &str, origins: Vec<String>) -> Self {
        self.cross_site_posts = (!origins.is_empty()).then(|| CrossSitePosts {
            path: compared(path).into_owned(),
            origins,
        });
        self
    }

    pub(super) fn takes_cross_site_posts(&self) -> bool {
        self.cross_site_posts.is_some()
    }

    /// The origins whose forms it takes.
    pub(crate) fn cross_site_posts(&self) -> &[String] {
        let posts = self.cross_site_posts.as_ref();
        posts.map_or(&[], |posts| &posts.origins)
    }
}

impl Rules {
    /// Whether some rule takes forms of other sites.
    pub(crate) fn take_cross_site_posts(&self) -> bool {
        self.takes_cross_site_posts
    }

    /// Whether a form of this origin is taken there: by the rule that speaks for a POST, and only to
    /// a path that has one reading.
    pub(crate) fn takes_post_from(&self, readings: &Readings<'_>, origin: &[u8]) -> bool {
        let path = readings.path();
        let rule = self.find(path, &Method::POST);
        let posts = rule.and_then(|rule| rule.cross_site_posts.as_ref());
        readings.others().is_empty()
            && posts.is_some_and(|posts| {
                let mut origins = posts.origins.iter();
                posts.path == path && origins.any(|listed| listed.as_bytes() == origin)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Allow;
    use crate::request::PathCase;

    const IDP: &str = "https://idp.example:8443";

    fn takes(case: PathCase, path: &str, origin: &str) -> bool {
        let rule = |path, origins: &[&str]| {
            let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
            Rule::new(path, Vec::new(), Allow::SignedIn).with_cross_site_posts(path, origins)
        };
        let rules = vec![
            rule("/Saml/acs", &[IDP, "https://pay.example"]),
            rule("/Saml/acs/closed", &[]),
            rule("/folder/", &[IDP]),
        ];
        let rules = Rules::new(rules, case).unwrap();
        assert!(rules.take_cross_site_posts());
        let readings = Readings::of(path, case).unwrap();
        rules.takes_post_from(&readings, origin.as_bytes())
    }

    #[test]
    fn a_rule_takes_forms_of_its_origins_to_its_own_path_and_to_nothing_below() {
        for (path, origin, expected) in [
            ("/Saml/acs", IDP, true),
            ("/Saml/acs", "https://pay.example", true),
            ("/Saml/acs", "https://idp.example", false),
            ("/Saml/acs", "http://idp.example:8443", false),
            ("/Saml/acs", "HTTPS://idp.example:8443", false),
            ("/Saml/acs", "https://idp.example:8443/", false),
            ("/Saml/acs", "https://evil.idp.example:8443", false),
            ("/Saml/acs", "null", false),
            ("/Saml/acs", "", false),
            ("/Saml/acs/", IDP, false),
            ("/Saml/acs/x", IDP, false),
            ("/Saml/acs/closed", IDP, false),
            ("/Saml/acs;x", IDP, false),
            ("/Saml", IDP, false),
            ("/", IDP, false),
            ("/saml/acs", IDP, false),
            ("/folder/", IDP, true),
            ("/folder", IDP, false),
            ("/folder/x", IDP, false),
        ] {
            let sensitive = takes(PathCase::Sensitive, path, origin);
            assert_eq!(sensitive, expected, "{path} {origin}");
        }
        assert!(takes(PathCase::Insensitive, "/saml/ACS", IDP));
        assert!(!takes(PathCase::Insensitive, "/saml/ACS/", IDP));
    }
}

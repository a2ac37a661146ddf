//! Apps and rules: who may open what. Pure: no I/O, no clock, no body.

#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "rules that ask for a second factor or a recent login are next"
    )
)]
pub(crate) mod requirement;

use http::Method;

use crate::principal::{Identity, Principal};
use crate::request::{PathCase, Readings, compared, fold_case};

/// Who may open the part of an app that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allow {
    Everyone,
    Groups(Vec<String>),
    Nobody,
    SignedIn,
    Users(Vec<String>),
}

/// One `[[app.rule]]`.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    path: String,
    /// The path as it is compared.
    key: String,
    methods: Vec<Method>,
    allow: Allow,
    /// Whether everyone gets scripts of service workers there, too.
    service_worker: bool,
    /// Where the configuration has it, for people.
    line: Option<usize>,
}

/// Two rules that say something about the same request with the same strength.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous {
    /// Index of the rule that came first in the file.
    pub(crate) first: usize,
    /// Index of the rule that contradicts it.
    pub(crate) second: usize,
}

impl Rule {
    /// A rule for `path` and everything below it. `path` is in normal form (what
    /// `request::normal_path` gives) and starts with `/`; a slash at its end makes no difference.
    /// No `methods` means every method.
    pub(crate) fn new(path: &str, methods: Vec<Method>, allow: Allow) -> Self {
        let path = path.trim_end_matches('/').to_owned();
        Self {
            key: compared(&path).into_owned(),
            path,
            methods,
            allow,
            service_worker: false,
            line: None,
        }
    }

    /// The same rule, from this line of the configuration.
    #[must_use]
    pub(crate) fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// The same rule, that lets scripts of service workers load or does not.
    #[must_use]
    pub(crate) fn with_service_workers(mut self, allowed: bool) -> Self {
        self.service_worker = allowed;
        self
    }

    pub(crate) fn line(&self) -> Option<usize> {
        self.line
    }

    /// The path as an operator reads it.
    pub(crate) fn path(&self) -> &str {
        if self.path.is_empty() {
            "/"
        } else {
            &self.path
        }
    }

    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    pub(crate) fn allow(&self) -> &Allow {
        &self.allow
    }

    /// Whole segments only: `/public` does not match `/publicx` (SEC-32).
    fn matches(&self, path: &str, method: &Method) -> bool {
        let below = path.strip_prefix(self.key.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            && (self.methods.is_empty() || self.methods.contains(method))
    }

    /// Two rules of one path contradict each other when some method belongs to both and neither
    /// is the more special one.
    fn contradicts(&self, other: &Self) -> bool {
        self.key == other.key
            && self.methods.is_empty() == other.methods.is_empty()
            && (self.methods.is_empty() || self.methods.iter().any(|m| other.methods.contains(m)))
    }
}

/// The rules of one app, the strongest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    case: PathCase,
}

impl Rules {
    /// Longest path first, then the rule that names methods; refuses what would be ambiguous
    /// (SEC-34).
    pub(crate) fn new(mut rules: Vec<Rule>, case: PathCase) -> Result<Self, Ambiguous> {
        if case == PathCase::Insensitive {
            for rule in &mut rules {
                rule.key = fold_case(&rule.key).into_owned();
            }
        }
        for (second, rule) in rules.iter().enumerate() {
            if let Some(first) = rules[..second]
                .iter()
                .position(|other| other.contradicts(rule))
            {
                return Err(Ambiguous { first, second });
            }
        }
        rules.sort_by_key(|rule| (std::cmp::Reverse(rule.key.len()), rule.methods.is_empty()));
        Ok(Self { rules, case })
    }

    /// How the app takes upper and lower case in paths.
    pub(crate) fn case(&self) -> PathCase {
        self.case
    }

    /// The rule that speaks for this [reading](Readings) of a path; `None` means any signed-in user.
    pub(crate) fn find(&self, path: &str, method: &Method) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches(path, method))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Whether some rule depends on the method, so that a method override could cheat it.
    pub(crate) fn name_methods(&self) -> bool {
        self.rules.iter().any(|rule| !rule.methods.is_empty())
    }
}

/// The right to forward one request. Only [`decide`] makes one.
#[derive(Debug)]
pub(crate) struct Permit {
    principal: Option<Principal>,
    public: bool,
    service_worker: bool,
}

impl Permit {
    fn new(principal: Option<Principal>, public: bool) -> Self {
        Self {
            principal,
            public,
            service_worker: !public,
        }
    }

    /// Whether the script of a service worker may load. Where everyone may write, somebody may
    /// have left one for the browsers of signed-in users (SEC-90).
    pub(crate) fn lets_service_workers(&self) -> bool {
        self.service_worker
    }

    /// Whether it is for a visitor without a session, on a path that everyone may open.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.public && self.principal.is_none()
    }

    /// Who the request is for; nobody on a public path without a session.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.principal.as_ref().map(Principal::identity)
    }
}

/// What the rules say to one request.
#[derive(Debug)]
#[must_use]
pub(crate) enum Decision {
    Allow(Permit),
    Forbid,
    Login,
}

impl Decision {
    /// What two decisions come to that both have to let a request through.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Forbid, _) | (_, Self::Forbid) => Self::Forbid,
            (Self::Login, _) | (_, Self::Login) => Self::Login,
            (Self::Allow(one), Self::Allow(other)) => Self::Allow(Permit {
                principal: one.principal,
                public: one.public && other.public,
                service_worker: one.service_worker && other.service_worker,
            }),
        }
    }
}

/// Judges a request by method, path and user, and by nothing else (SEC-33): whichever way the
/// application may read the path, the request has to be permitted (SEC-93).
pub(crate) fn decide(
    rules: &Rules,
    readings: &Readings<'_>,
    method: &Method,
    principal: Option<Principal>,
) -> Decision {
    let others = readings.others().iter();
    let others = others.map(|other| decide_one(rules, other, method, principal.clone()));
    let others = others.reduce(Decision::and);
    let decision = decide_one(rules, readings.path(), method, principal);
    match others {
        Some(others) => decision.and(others),
        None => decision,
    }
}

fn decide_one(
    rules: &Rules,
    path: &str,
    method: &Method,
    principal: Option<Principal>,
) -> Decision {
    let rule = rules.find(path, method);
    let allow = rule.map_or(&Allow::SignedIn, |rule| &rule.allow);
    match (allow, principal) {
        (Allow::Everyone, principal) => Decision::Allow(Permit {
            service_worker: rule.is_some_and(|rule| rule.service_worker),
            ..Permit::new(principal, true)
        }),
        (Allow::Groups(_) | Allow::SignedIn | Allow::Users(_), None) => Decision::Login,
        (Allow::SignedIn, Some(who)) => Decision::Allow(Permit::new(Some(who), false)),
        (Allow::Groups(groups), Some(who)) if who.identity().is_in_any(groups) => {
            Decision::Allow(Permit::new(Some(who), false))
        }
        (Allow::Users(users), Some(who))
            if users.iter().any(|user| user == who.identity().user()) =>
        {
            Decision::Allow(Permit::new(Some(who), false))
        }
        (Allow::Nobody, _) | (Allow::Groups(_) | Allow::Users(_), Some(_)) => Decision::Forbid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::principal::{AccountRef, AuthContext, Method as By};

    fn someone(groups: &[&str]) -> Principal {
        let groups = groups.iter().map(|&g| g.to_owned()).collect();
        let identity = Identity::new("ada".to_owned(), groups, None);
        let context = AuthContext::new(By::Password.into(), Timestamp::from_millis(0));
        let account = AccountRef::of_users_file("ada");
        Principal::new(account, identity.into(), context.into())
    }

    fn verdict(rules: &[Rule], method: &Method, path: &str, who: Option<Principal>) -> String {
        let rules = Rules::new(rules.to_vec(), PathCase::Sensitive).unwrap();
        match decide(
            &rules,
            &Readings::of(path, rules.case()).unwrap(),
            method,
            who,
        ) {
            Decision::Allow(_) => "allow".to_owned(),
            Decision::Forbid => "forbid".to_owned(),
            Decision::Login => "login".to_owned(),
        }
    }

    #[test]
    fn without_a_rule_any_signed_in_user_may_open_everything() {
        assert_eq!(verdict(&[], &Method::GET, "/", None), "login");
        assert_eq!(
            verdict(&[], &Method::POST, "/x", Some(someone(&[]))),
            "allow"
        );
    }

    #[test]
    fn sec_32_a_prefix_matches_whole_segments() {
        let rules = [Rule::new("/public/", vec![], Allow::Everyone)];
        for (path, expected) in [
            ("/public", "allow"),
            ("/public/", "allow"),
            ("/public/a/b", "allow"),
            ("/publicx", "login"),
            ("/publi", "login"),
            ("/", "login"),
            ("/Public", "login"),
            ("/x/public", "login"),
        ] {
            assert_eq!(
                verdict(&rules, &Method::GET, path, None),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn sec_34_the_longest_path_wins_then_the_rule_that_names_methods() {
        let admins = || Allow::Groups(vec!["admins".to_owned()]);
        let rules = [
            Rule::new("/", vec![], Allow::Everyone),
            Rule::new("/admin", vec![], admins()),
            Rule::new("/admin/health", vec![Method::GET], Allow::Everyone),
            Rule::new("/api", vec![Method::GET, Method::HEAD], Allow::Everyone),
            Rule::new("/api", vec![], Allow::Nobody),
        ];
        for (method, path, who, expected) in [
            (Method::GET, "/", None, "allow"),
            (Method::GET, "/admin", None, "login"),
            (Method::GET, "/admin/x", Some(someone(&["users"])), "forbid"),
            (
                Method::GET,
                "/admin/x",
                Some(someone(&["users", "admins"])),
                "allow",
            ),
            (Method::GET, "/admin/health", None, "allow"),
            (Method::POST, "/admin/health", None, "login"),
            (Method::GET, "/api/v1", None, "allow"),
            (
                Method::POST,
                "/api/v1",
                Some(someone(&["admins"])),
                "forbid",
            ),
        ] {
            assert_eq!(
                verdict(&rules, &method, path, who),
                expected,
                "{method} {path}"
            );
        }
    }

    #[test]
    fn users_are_compared_exactly() {
        let rules = [Rule::new("/", vec![], Allow::Users(vec!["ada".to_owned()]))];
        assert_eq!(
            verdict(&rules, &Method::GET, "/", Some(someone(&[]))),
            "allow"
        );
        let rules = [Rule::new("/", vec![], Allow::Users(vec!["Ada".to_owned()]))];
        assert_eq!(
            verdict(&rules, &Method::GET, "/", Some(someone(&[]))),
            "forbid"
        );
    }

    #[test]
    fn sec_34_overlap_that_is_ambiguous_is_refused() {
        let rule = |path, methods| Rule::new(path, methods, Allow::Everyone);
        let get = || vec![Method::GET];
        for (first, second, ambiguous) in [
            (rule("/a", vec![]), rule("/a/", vec![]), true),
            (
                rule("/a", get()),
                rule("/a", vec![Method::POST, Method::GET]),
                true,
            ),
            (rule("/a", get()), rule("/a", vec![Method::POST]), false),
            (rule("/a", get()), rule("/a", vec![]), false),
            (rule("/a", vec![]), rule("/a/b", vec![]), false),
        ] {
            let expected = Ambiguous {
                first: 0,
                second: 1,
            };
            let refused =
                Rules::new(vec![first.clone(), second.clone()], PathCase::Sensitive).err();
            assert_eq!(
                refused,
                ambiguous.then_some(expected),
                "{first:?} {second:?}"
            );
        }
    }

    #[test]
    fn sec_93_a_request_is_permitted_only_if_each_reading_is() {
        let rules = [
            Rule::new("/", vec![], Allow::Everyone),
            Rule::new("/admin", vec![], Allow::Groups(vec!["admins".to_owned()])),
            Rule::new("/admin/open", vec![], Allow::Everyone),
            Rule::new("/closed", vec![], Allow::Nobody),
            Rule::new("/a%2Fb", vec![], Allow::Everyone),
        ];
        for (path, stranger, user, admin) in [
            ("/x%2Fy", "allow", "allow", "allow"),
            ("/admin%2Fx", "login", "forbid", "allow"),
            ("/%2Fadmin/x", "login", "forbid", "allow"),
            ("/admin;a%2Fx", "login", "forbid", "allow"),
            ("/admin;x", "login", "forbid", "allow"),
            ("/admin.", "login", "forbid", "allow"),
            ("/admin%20/x", "login", "forbid", "allow"),
            ("/admin%2Fopen", "allow", "allow", "allow"),
            ("/admin%2F%2Fopen", "login", "forbid", "allow"),
            ("/closed%2Fx", "forbid", "forbid", "forbid"),
            ("/closed;/x", "forbid", "forbid", "forbid"),
            ("/a%2Fb", "allow", "allow", "allow"),
        ] {
            let verdict = |who| verdict(&rules, &Method::GET, path, who);
            assert_eq!(verdict(None), stranger, "{path}");
            assert_eq!(verdict(Some(someone(&["users"]))), user, "{path}");
            assert_eq!(verdict(Some(someone(&["admins"]))), admin, "{path}");
        }
    }

    #[test]
    fn sec_93_rules_compare_without_case_where_the_app_does() {
        let rules = || vec![Rule::new("/Admin", vec![], Allow::Nobody)];
        let forbids = |case, path| {
            let rules = Rules::new(rules(), case).unwrap();
            let readings = Readings::of(path, case).unwrap();
            let decision = decide(&rules, &readings, &Method::GET, Some(someone(&[])));
            matches!(decision, Decision::Forbid)
        };
        for path in ["/Admin/x", "/admin", "/ADMIN.", "/aDMIN%2Fx"] {
            assert!(forbids(PathCase::Insensitive, path), "{path}");
            assert_eq!(
                forbids(PathCase::Sensitive, path),
                path.starts_with("/Admin"),
                "{path}"
            );
        }
        let twice = ["/a", "/A"].map(|path| Rule::new(path, vec![], Allow::Everyone));
        assert!(Rules::new(twice.to_vec(), PathCase::Sensitive).is_ok());
        assert!(Rules::new(twice.to_vec(), PathCase::Insensitive).is_err());
    }
}

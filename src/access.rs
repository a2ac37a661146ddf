//! Apps and rules: who may open what. Pure: no I/O, no clock, no body.

#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "rules that ask for a second factor or a recent login are next"
    )
)]
pub(crate) mod requirement;

mod cross_site;
mod user_names;

use std::net::IpAddr;

use http::Method;

use self::cross_site::CrossSitePosts;
use crate::principal::{Identity, Principal};
use crate::request::{Networks, PathCase, PathIndex, Readings, compared, fold_case};
pub(crate) use user_names::UserNames;

/// Who may open the part of an app that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allow {
    Everyone,
    Groups(Vec<String>),
    Nobody,
    SignedIn,
    Users(UserNames),
}

/// One `[[app.rule]]`.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    path: String,
    /// The path as it is compared.
    key: String,
    methods: Vec<Method>,
    allow: Allow,
    /// And from where.
    networks: Networks,
    /// Whether everyone gets scripts of service workers there, too.
    service_worker: bool,
    /// Forms of other sites that wait for a click.
    cross_site_posts: Option<CrossSitePosts>,
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
            networks: Networks::default(),
            service_worker: false,
            cross_site_posts: None,
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

    /// The same rule, for clients in these networks only.
    #[must_use]
    pub(crate) fn within(mut self, networks: Networks) -> Self {
        self.networks = networks;
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

    pub(crate) fn networks(&self) -> &Networks {
        &self.networks
    }

    fn is_for(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// Two rules of one path contradict each other when some method belongs to both and neither
    /// is the more special one.
    fn contradicts(&self, other: &Self) -> bool {
        self.methods.is_empty() == other.methods.is_empty()
            && (self.methods.is_empty() || self.methods.iter().any(|m| other.methods.contains(m)))
    }
}

/// The rules of one app, the strongest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    sorted: Vec<Rule>,
    /// Of their keys.
    index: PathIndex,
    case: PathCase,
    takes_cross_site_posts: bool,
}

impl Rules {
    /// Longest path first, then the rule that names methods; refuses what would be ambiguous
    /// (SEC-34).
    pub(crate) fn new(mut rules: Vec<Rule>, case: PathCase) -> Result<Self, Ambiguous> {
        if case == PathCase::Insensitive {
            for rule in &mut rules {
                rule.key = fold_case(&rule.key).into_owned();
                if let Some(posts) = &mut rule.cross_site_posts {
                    posts.fold_case();
                }
            }
        }
        let index = PathIndex::new(rules.iter().map(|rule| rule.key.as_str()));
        for (second, rule) in rules.iter().enumerate() {
            let mut before = index.at(&rule.key).take_while(|first| *first < second);
            if let Some(first) = before.find(|first| rules[*first].contradicts(rule)) {
                return Err(Ambiguous { first, second });
            }
        }
        rules.sort_by_key(|rule| (std::cmp::Reverse(rule.key.len()), rule.methods.is_empty()));
        let takes_cross_site_posts = rules.iter().any(Rule::takes_cross_site_posts);
        Ok(Self {
            index: PathIndex::new(rules.iter().map(|rule| rule.key.as_str())),
            sorted: rules,
            case,
            takes_cross_site_posts,
        })
    }

    /// How the app takes upper and lower case in paths.
    pub(crate) fn case(&self) -> PathCase {
        self.case
    }

    /// The rule that speaks for this [reading](Readings) of a path; `None` means any signed-in user.
    pub(crate) fn find(&self, path: &str, method: &Method) -> Option<&Rule> {
        let mut covering = self.index.covering(path).map(|place| &self.sorted[place]);
        covering.find(|rule| rule.is_for(method))
    }

    /// The rules of the path of this one, itself included.
    pub(crate) fn of_path_of<'r>(&'r self, rule: &'r Rule) -> impl Iterator<Item = &'r Rule> {
        let same = self.index.at(&rule.key).map(|place| &self.sorted[place]);
        same.filter(|other| other.path == rule.path)
    }

    /// The same for clients in whatever network.
    pub(crate) fn without_networks(&self) -> Self {
        let mut rules = self.clone();
        for rule in &mut rules.sorted {
            rule.networks = Networks::default();
        }
        rules
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.sorted.iter()
    }

    /// Whether some rule depends on the method, so that a method override could cheat it.
    pub(crate) fn name_methods(&self) -> bool {
        self.sorted.iter().any(|rule| !rule.methods.is_empty())
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

    /// Whether it is for a visitor without a session, on a path that everyone may open from
    /// anywhere: a response that shared caches may keep.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.public && self.principal.is_none()
    }

    /// Whether it is by an API token for some methods: a method override would cheat it (SEC-96).
    pub(crate) fn is_for_some_methods(&self) -> bool {
        let scope = self.principal.as_ref().and_then(Principal::scope);
        scope.is_some_and(|scope| !scope.methods().is_empty())
    }

    /// Who the request is for; nobody on a public path without a session.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// As the app is to see them.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.principal().map(Principal::identity)
    }
}

/// What the rules say to one request.
#[derive(Debug)]
#[must_use]
pub(crate) enum Decision {
    Allow(Permit),
    Forbid,
    Login,
    /// The user may, but not by the API token that the request shows (SEC-96).
    OutOfScope,
    /// Nobody may from where the client is: no login helps.
    WrongNetwork,
}

impl Decision {
    /// What two decisions come to that both have to let a request through.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Forbid, _) | (_, Self::Forbid) => Self::Forbid,
            (Self::WrongNetwork, _) | (_, Self::WrongNetwork) => Self::WrongNetwork,
            (Self::OutOfScope, _) | (_, Self::OutOfScope) => Self::OutOfScope,
            (Self::Login, _) | (_, Self::Login) => Self::Login,
            (Self::Allow(one), Self::Allow(other)) => Self::Allow(Permit {
                principal: one.principal,
                public: one.public && other.public,
                service_worker: one.service_worker && other.service_worker,
            }),
        }
    }
}

/// Judges a request by method, path, user and the client's address, and by nothing else (SEC-33):
/// whichever way the application may read the path, the request has to be permitted (SEC-93).
/// `client` is `None` if its address is unknown.
pub(crate) fn decide(
    rules: &Rules,
    readings: &Readings<'_>,
    method: &Method,
    principal: Option<Principal>,
    client: Option<IpAddr>,
) -> Decision {
    let others = readings.others().iter();
    let others = others.map(|other| decide_one(rules, other, method, principal.clone(), client));
    let others = others.reduce(Decision::and);
    let decision = decide_one(rules, readings.path(), method, principal, client);
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
    client: Option<IpAddr>,
) -> Decision {
    let rule = rules.find(path, method);
    if rule.is_some_and(|rule| !rule.networks.admit(client)) {
        return Decision::WrongNetwork;
    }
    let scope = principal.as_ref().and_then(Principal::scope);
    if scope.is_some_and(|scope| !scope.covers(path, method, rules.case)) {
        return Decision::OutOfScope;
    }
    let allow = rule.map_or(&Allow::SignedIn, |rule| &rule.allow);
    match (allow, principal) {
        (Allow::Everyone, principal) => Decision::Allow(Permit {
            service_worker: rule.is_some_and(|rule| rule.service_worker),
            ..Permit::new(principal, rule.is_none_or(|rule| rule.networks.are_any()))
        }),
        (Allow::Groups(_) | Allow::SignedIn | Allow::Users(_), None) => Decision::Login,
        (Allow::SignedIn, Some(who)) => Decision::Allow(Permit::new(Some(who), false)),
        (Allow::Groups(groups), Some(who)) if who.identity().is_in_any(groups) => {
            Decision::Allow(Permit::new(Some(who), false))
        }
        (Allow::Users(users), Some(who)) if users.contain(who.identity().user()) => {
            Decision::Allow(Permit::new(Some(who), false))
        }
        (Allow::Nobody, _) | (Allow::Groups(_) | Allow::Users(_), Some(_)) => Decision::Forbid,
    }
}

#[cfg(test)]
mod tests;

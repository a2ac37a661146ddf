//! `[[app]]`: where it is, what it is told, and who may open it.

mod credentials;
mod headers;
mod hosts;
mod identity;
mod identity_token;
mod maintenance;
mod rule;
mod title;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use self::hosts::{hosts, sso_wildcard};
use self::identity::identity;
use self::rule::rules;
pub(super) use self::title::complete as complete_titles;
use super::section::Section;
use super::{upstream, value};
use crate::portal::Endpoint;
use crate::proxy::{AppSettings, FarReaching, Part, WebSocketOrigins};
use crate::request::{
    AllowInPath, HostPattern, Hosts, Limits, Networks, PathCase, PathForm, fold_case, own_path,
};
use crate::source_text::Fault;

const PATH_CASE: [(&str, PathCase); 2] = [
    ("sensitive", PathCase::Sensitive),
    ("insensitive", PathCase::Insensitive),
];

const ALLOW_IN_PATH: [(&str, PathForm); 5] = [
    ("encoded-slash", PathForm::EncodedSlash),
    ("encoded-percent", PathForm::EncodedPercent),
    ("encoded-backslash", PathForm::EncodedBackslash),
    ("any-bytes", PathForm::AnyBytes),
    ("double-slash", PathForm::DoubleSlash),
];

/// The fix for an empty list of methods.
pub(super) const METHODS: &str = "write [\"GET\", \"HEAD\"] or more";

/// How an app reads paths.
#[derive(Clone, Copy)]
struct Paths<'a> {
    place: &'a Place,
    /// Those of all apps that share its first host.
    of_host: &'a [&'a Place],
    allow: AllowInPath,
    case: PathCase,
}

impl Paths<'_> {
    fn part(&self) -> &Part {
        &self.place.part
    }

    /// The part of another app that has a path of this one, and gets the requests for it.
    fn other_with(&self, path: &str) -> Option<&Part> {
        let hosts = &self.place.hosts;
        let is_other = |place: &&&Place| {
            // Where an app has a host of its own besides, all of its paths are asked for there.
            let has_each = hosts.shared(&place.hosts).count() == hosts.iter().count();
            has_each && place.part != *self.part()
        };
        let others = self.of_host.iter().filter(is_other);
        let mut others = others.map(|place| &place.part);
        others.find(|other| self.is_of(other, path))
    }

    fn is_of(&self, other: &Part, path: &str) -> bool {
        if !self.part().covers(other.prefix()) {
            return false;
        }
        match self.case {
            PathCase::Sensitive => other.covers(path),
            PathCase::Insensitive => {
                Part::new(&fold_case(other.prefix()), false).covers(&fold_case(path))
            }
        }
    }
}

/// Headers of answers that pass only where an app says so (SEC-90).
const ALLOW_RESPONSE: [(&str, FarReaching); 2] = [
    ("service-worker-allowed", FarReaching::ServiceWorkerAllowed),
    ("clear-site-data", FarReaching::ClearSiteData),
];

pub(super) fn read(root: &mut Section<'_>, limits: &Limits, folder: &Path) -> Vec<AppSettings> {
    let sections = root.tables("app");
    if sections.is_empty() {
        let fault = Fault::new("there is no [[app]]");
        root.refuse_all(fault.help("add [[app]] with upstream = \"http://127.0.0.1:3000\""));
    }
    let several = sections.len() > 1;
    let mut sections = sections;
    let places: Vec<_> = sections.iter_mut().map(Place::read).collect();
    let mut of_host = HashMap::<_, Vec<_>>::new();
    for place in &places {
        for host in place.hosts.iter() {
            of_host.entry(host).or_default().push(place);
        }
    }
    let mut apps: Vec<AppSettings> = Vec::with_capacity(sections.len());
    let mut known = Known::default();
    for (mut section, place) in sections.into_iter().zip(&places) {
        let first = place.hosts.iter().next();
        let of_host = first.and_then(|host| of_host.get(host));
        let of_host = of_host.map_or(&[][..], Vec::as_slice);
        let app = app(&mut section, limits, folder, place, of_host);
        if several && section.raw("host").is_none() {
            let fault = Fault::new("the key `host` is missing");
            section.refuse_all(fault.help("only a single app can serve every host"));
        }
        let is_same = |at: &usize| {
            let other = &apps[*at];
            let case = app.rules.case().or(other.rules.case());
            other.part.is_same(&app.part, case)
        };
        if let Some(at) = known.of_place(&app).filter(is_same).min() {
            let other = &apps[at];
            let host = app.hosts.shared(&other.hosts).next();
            let host = host.filter(|_| app.hosts.iter().count() > 1);
            let host = host.map_or_else(|| "this host".to_owned(), |host| format!("`{host}`"));
            if app.part.is_whole_host() {
                let fault = Fault::new(format!("the app `{}` has {host} already", other.name));
                let help = "each app needs a host of its own, or a `path` of its own on it";
                section.refuse("host", fault.help(help));
            } else {
                let fault = Fault::new(format!("the app `{}` has this path already", other.name));
                section.refuse(
                    "path",
                    fault.help("each app of a host needs a path of its own"),
                );
            }
        } else if (!app.hosts.are_any() || section.raw("name").is_some())
            && known.names.contains(&app.name)
        {
            let fault = Fault::new(format!("another app is called `{}` already", app.name));
            section.refuse("name", fault.help("each app needs a name of its own"));
        }
        let differs = |at: &usize| apps[*at].hsts.is_some() && apps[*at].hsts != app.hsts;
        if app.hsts.is_some()
            && let Some(at) = known.of_host(&app).filter(differs).min()
        {
            let other = &apps[at];
            let fault = Fault::new(format!(
                "the app `{}` has another for this host",
                other.name
            ));
            section.refuse("hsts", fault.help("a host has one: write it once"));
        }
        let differs = |at: &usize| {
            let mut shared = app.hosts.shared(&apps[*at].hosts);
            let is_wildcard = shared.any(|host| host.name().is_none());
            is_wildcard && apps[*at].sso_wildcard != app.sso_wildcard
        };
        if let Some(at) = known.of_host(&app).filter(differs).min() {
            let fault = Fault::new(format!(
                "the app `{}` says something else for this wildcard",
                apps[at].name
            ));
            let help =
                "the apps of one wildcard have their login in one place: write the same in each";
            section.refuse("sso_wildcard", fault.help(help));
        }
        known.add(apps.len(), &app);
        apps.push(app);
    }
    apps
}

/// The apps read so far, indexed, because a configuration can have thousands.
#[derive(Default)]
struct Known {
    names: HashSet<String>,
    by_host: HashMap<HostPattern, Vec<usize>>,
    /// By host and path, without regard to case.
    by_place: HashMap<(HostPattern, String), Vec<usize>>,
}

impl Known {
    fn add(&mut self, at: usize, app: &AppSettings) {
        self.names.insert(app.name.clone());
        for (host, path) in places(app) {
            self.by_host.entry(host.clone()).or_default().push(at);
            self.by_place.entry((host, path)).or_default().push(at);
        }
    }

    /// Those that share a host with an app.
    fn of_host(&self, app: &AppSettings) -> impl Iterator<Item = usize> {
        let hosts = app.hosts.iter();
        let found = hosts.filter_map(|host| self.by_host.get(host));
        found.flatten().copied()
    }

    /// Those of them that have the same path.
    fn of_place(&self, app: &AppSettings) -> impl Iterator<Item = usize> {
        let found = places(app).filter_map(|place| self.by_place.get(&place));
        found.flatten().copied()
    }
}

fn places(app: &AppSettings) -> impl Iterator<Item = (HostPattern, String)> {
    let path = fold_case(app.part.prefix());
    let hosts = app.hosts.iter().cloned();
    hosts.map(move |host| (host, path.clone().into_owned()))
}

/// Where visitors see an app.
struct Place {
    hosts: Hosts,
    part: Part,
}

impl Place {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            hosts: hosts(section),
            part: part(section),
        }
    }
}

/// `of_host` are the places of all apps that share the first host.
fn app(
    section: &mut Section<'_>,
    limits: &Limits,
    folder: &Path,
    place: &Place,
    of_host: &[&Place],
) -> AppSettings {
    let Place { hosts, part } = place;
    let methods = section.filled_list("methods", METHODS, value::method);
    let methods = methods.unwrap_or_else(|| limits.methods.clone());
    let max_body = section.get("max_body", value::any_size);
    let max_body = max_body.filter(|most| *most > 0);
    let default_name = || {
        let host = hosts.iter().next();
        let host = host.map_or_else(|| "app".to_owned(), ToString::to_string);
        format!("{host}{}", part.prefix())
    };
    let case = section.get("path_case", |value| value::word(value, &PATH_CASE));
    let paths = Paths {
        place,
        of_host,
        allow: allow_in_path(section),
        case: case.unwrap_or_default(),
    };
    let identity = identity(section.table("identity"));
    let token = identity_token::read(section, &identity);
    let identity = identity.with_token(token);
    let credentials = credentials::read(section, &identity);
    AppSettings {
        line: section.line(),
        name: section
            .get("name", value::string)
            .unwrap_or_else(default_name),
        title: section.get("title", title::title),
        upstream: upstream::read(section, folder, max_body.unwrap_or(usize::MAX)),
        max_body: max_body.unwrap_or(0) as u64,
        request_headers: headers::request(section.table("request_headers"), &identity, folder),
        response_headers: headers::response(section.table("response_headers")),
        identity,
        rules: rules(section.tables("rule"), &methods, paths),
        networks: Networks::new(section.list("networks", value::network).unwrap_or_default()),
        hsts: section.get("hsts", value::seconds),
        maintenance: maintenance::read(section),
        methods,
        keep_forms: section.get("keep_forms", value::boolean).unwrap_or(true),
        session_data: section.get("session_data", value::boolean).unwrap_or(false),
        push_is_use: section.get("push_is_use", value::boolean).unwrap_or(false),
        allow_in_path: paths.allow,
        websocket_origins: WebSocketOrigins {
            others: section
                .list("websocket_origins", value::origin)
                .unwrap_or_default(),
            absent: section
                .get("websocket_without_origin", value::boolean)
                .unwrap_or(false),
        },
        allow_response: section
            .list("allow_response", |value| {
                value::word(value, &ALLOW_RESPONSE)
            })
            .unwrap_or_default(),
        credentials,
        sso_wildcard: sso_wildcard(section, hosts),
        hosts: hosts.clone(),
        part: part.clone(),
    }
}

fn part(section: &mut Section<'_>) -> Part {
    let path = section.get("path", |value| {
        let path = value::text(value)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        if !path.starts_with('/') {
            let help = format!("write \"/{path}\"");
            return Err(Fault::new("a path begins with /").help(help));
        }
        if !path.bytes().all(is_plain) {
            return Err(Fault::new("the path of an app has only one spelling")
                .help("write it with letters, digits and -._~ between slashes"));
        }
        let names = path.strip_suffix('/').unwrap_or(path).split('/').skip(1);
        if names
            .clone()
            .any(|name| name.is_empty() || name.ends_with('.'))
        {
            return Err(Fault::new("no request can have this path")
                .help("write it without empty segments, and without dots at their ends"));
        }
        if Endpoint::of(path).is_some() {
            let own = own_path!();
            return Err(Fault::new(format!("{own} is Vestibule's own")).help("write another path"));
        }
        Ok(path.to_owned())
    });
    let strip = section.get("strip_path", value::boolean).unwrap_or(false);
    let part = Part::new(path.as_deref().unwrap_or("/"), strip);
    if strip && part.is_whole_host() && section.raw("path").is_none_or(|_| path.is_some()) {
        let fault = Fault::new("there is no `path` to strip");
        section.refuse(
            "strip_path",
            fault.help("write path = \"/wiki/\", or leave this out"),
        );
    }
    part
}

/// The list, and its first member's older name.
fn allow_in_path(section: &mut Section<'_>) -> AllowInPath {
    let forms = section.list("allow_in_path", |value| value::word(value, &ALLOW_IN_PATH));
    let allow: AllowInPath = forms.unwrap_or_default().into_iter().collect();
    match section.get("encoded_slash", value::boolean) {
        Some(true) => allow.with(PathForm::EncodedSlash),
        Some(false) if allow.has(PathForm::EncodedSlash) => {
            let fault = Fault::new("`allow_in_path` has \"encoded-slash\"");
            section.refuse("encoded_slash", fault.help("leave the key out"));
            allow
        }
        _ => allow,
    }
}

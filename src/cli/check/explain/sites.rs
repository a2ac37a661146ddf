//! What a host has: which apps, by which `host` of theirs, and where its visitors sign in.

use crate::config::Config;
use crate::portal::{Endpoint, HostRole};
use crate::proxy::AppSettings;
use crate::proxy::part::PartIndex;
use crate::request::{self, AllowInPath, Host, HostMap, HostPattern, PathCase};

#[derive(Clone)]
pub(super) struct Site<'c> {
    /// What its apps name it by; `None` where the only app serves every host.
    pub(super) entry: Option<HostPattern>,
    /// The longest path first.
    pub(super) apps: Vec<&'c AppSettings>,
    pub(super) role: HostRole,
}

impl<'c> Site<'c> {
    /// `None` where nobody has the host.
    pub(super) fn of(config: &'c Config, host: &Host) -> Option<Self> {
        if config.login_host.as_ref() == Some(host) {
            return Some(Self {
                entry: None,
                apps: Vec::new(),
                role: HostRole::Login,
            });
        }
        let mut by_host = HostMap::<Option<Self>>::default();
        for app in &config.apps {
            if app.hosts.are_any() {
                return Some(Self {
                    entry: None,
                    apps: vec![app], // the only one
                    role: HostRole::Own,
                });
            }
            for pattern in app.hosts.iter() {
                let site = by_host.entry(pattern).get_or_insert_with(|| Self {
                    entry: Some(pattern.clone()),
                    apps: Vec::new(),
                    role: match config.login_host {
                        Some(_) if !app.sso_wildcard.is_apart(pattern) => HostRole::App,
                        _ => HostRole::Own,
                    },
                });
                site.apps.push(app);
            }
        }
        let Self {
            entry,
            mut apps,
            role,
        } = by_host.get(host.as_str())?.clone()?;
        apps.sort_by_key(|app| std::cmp::Reverse(app.part.prefix().len()));
        Some(Self { entry, apps, role })
    }

    /// Which of the apps gets an address, or why none does.
    pub(super) fn app_of(&self, target: &str) -> Result<&'c AppSettings, String> {
        let no_app = || "no app of this host has this path".to_owned();
        let apps = &self.apps;
        let last = *apps.last().ok_or_else(no_app)?;
        if apps.len() == 1 && last.part.is_whole_host() {
            return Ok(last);
        }
        let allow = apps.iter().map(|app| app.allow_in_path);
        let allow = allow.fold(AllowInPath::default(), AllowInPath::or);
        let no_path = |error| format!("no path: {error}");
        let path = request::normal_path(target, allow).map_err(no_path)?;
        if Endpoint::of(&path).is_some() {
            return Ok(last);
        }
        let case = apps.iter().map(|app| app.rules.case());
        let case = case.fold(PathCase::Sensitive, PathCase::or);
        let parts = apps.iter().map(|app| &app.part);
        let found = PartIndex::new(parts, case).choose(&path);
        let found = found.map_err(|error| format!("no path: {}", error.text()))?;
        found.map(|at| apps[at]).ok_or_else(no_app)
    }
}

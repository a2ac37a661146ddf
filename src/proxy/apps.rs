//! All applications behind the proxy, by the host and the part of it that each of them serves.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;

use super::app::{App, AppSettings, Signing};
use super::client_conn::ClientConn;
use super::credentials::{self, Credentials};
use super::login_host::LoginHost;
use super::part::PartIndex;
use super::service::OpenError;
use super::shared::Shared;
use crate::clock::Clock;
use crate::error::RequestError;
use crate::metrics::{CallerCounts, Pool};
use crate::portal::{Endpoint, HostRole};
use crate::request::{AllowInPath, Authority, BadRequest, Host, HostMap, PathCase, Target};
use crate::upstream::Health;

pub(super) struct Apps {
    /// Each once, whatever number of hosts it has.
    all: Vec<Arc<App>>,
    by_host: HostMap<Site>,
    /// Of the only app, when it serves every host.
    only: Option<Site>,
    /// The host of one login for all.
    login: Option<LoginHost>,
}

/// What a request is for.
pub(super) enum Found<'a> {
    Apps(&'a Site),
    Login(&'a LoginHost),
}

/// The apps of one host, or of all hosts below a name.
pub(super) struct Site {
    division: Division,
    role: HostRole,
}

enum Division {
    /// One has all of it.
    Whole(Arc<App>),
    /// Each has a part, and perhaps one has the rest.
    Parts(Shares),
}

/// The apps that share a host.
struct Shares {
    /// The longest path first.
    apps: Vec<Arc<App>>,
    parts: PartIndex,
    /// What passes in a path for one of them.
    allow: AllowInPath,
    /// What visitors sign in to, where it is the same in each of them.
    title: Option<Arc<str>>,
    /// The place of one that says `hsts`. Browsers know one for a host: all that say it say the same.
    says_hsts: usize,
}

impl Apps {
    pub(super) fn open(
        settings: Vec<AppSettings>,
        signing: &Signing,
        clock: &Clock,
        shared: &Shared,
    ) -> Result<Self, OpenError> {
        let (mut by_host, mut only) = (HostMap::<(bool, Vec<_>)>::default(), Vec::new());
        let mut all = Vec::with_capacity(settings.len());
        let login = signing.login.as_ref();
        let token_headers = credentials::token_headers(settings.iter().map(|app| &app.credentials));
        for mut app in settings {
            let origins = signing.origins(&app);
            app.identity.sign_by(origins, &signing.signer);
            let credentials = std::mem::take(&mut app.credentials);
            let credentials = Credentials::new(credentials, Arc::clone(&token_headers));
            let (hosts, wildcards) = (app.hosts.clone(), app.sso_wildcard);
            let name = app.name.clone();
            let (tunnels, checks) = (&shared.open_tunnels, &shared.health_checks);
            let (metrics, pauses) = (&shared.metrics, &shared.pauses);
            let app = App::open(app, credentials, clock, metrics, tunnels, checks, pauses);
            let app = Arc::new(app.map_err(|error| OpenError::Upstream(name, error))?);
            if hosts.are_any() {
                only.push(Arc::clone(&app));
            }
            for host in hosts.iter() {
                let (has_own_login, apps) = by_host.entry(host);
                *has_own_login |= wildcards.is_apart(host);
                apps.push(Arc::clone(&app));
            }
            all.push(app);
        }
        Ok(Self {
            all,
            by_host: by_host.map(|(has_own_login, apps)| {
                let is_together = login.is_some() && !has_own_login;
                let role = if is_together {
                    HostRole::App
                } else {
                    HostRole::Own
                };
                Site::of(apps, role)
            }),
            only: (!only.is_empty()).then(|| Site::of(only, HostRole::Own)),
            login: login.cloned().map(LoginHost::new),
        })
    }

    /// The apps of the host that a request is for. An unknown host is not served by whichever app
    /// comes first, and neither is one that TLS was not asked for (SEC-09, SEC-78).
    pub(super) fn find(
        &self,
        authority: &Authority,
        connection: &ClientConn,
    ) -> Result<Found<'_>, RequestError> {
        let host = authority.host();
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Some(server_name) = &connection.server_name
            && !server_name.trim_end_matches('.').eq_ignore_ascii_case(host)
        {
            return Err(RequestError::Misdirected);
        }
        self.found(host).ok_or(RequestError::Misdirected)
    }

    /// What a host is for, without port and without the dot at its end. The login comes before a
    /// wildcard around it.
    fn found(&self, host: &str) -> Option<Found<'_>> {
        match &self.login {
            Some(login) if login.host.is(host) => Some(Found::Login(login)),
            _ => {
                let site = self.only.as_ref().or_else(|| self.by_host.get(host));
                site.map(Found::Apps)
            }
        }
    }

    /// The apps of a host.
    pub(super) fn of_host(&self, host: &str) -> Option<&Site> {
        match self.found(host)? {
            Found::Apps(site) => Some(site),
            Found::Login(_) => None,
        }
    }

    /// Whether a host is that of an app, or the login's.
    pub(super) fn serve(&self, host: &str) -> bool {
        self.found(host).is_some()
    }

    /// Whether the login of a host is that of all apps.
    pub(super) fn takes_part(&self, host: &Host) -> bool {
        let site = self.of_host(host.as_str());
        site.is_some_and(|site| site.role == HostRole::App)
    }

    /// Whether some app with the login of all may be opened from where a client is.
    pub(super) fn together_admit(&self, client: Option<IpAddr>) -> bool {
        let mut sites = self.by_host.values();
        sites.any(|site| site.role == HostRole::App && site.admits(client))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &App> {
        self.all.iter().map(Arc::as_ref)
    }

    /// The app of a name.
    pub(super) fn named(&self, name: &str) -> Option<&App> {
        self.iter().find(|app| &*app.name == name)
    }

    /// What is known of the addresses of each app, by name.
    pub(super) fn health(&self) -> Vec<(Arc<str>, Vec<Health>)> {
        self.by_name(|app| app.upstreams.health().collect())
    }

    /// The connections to each app, by name.
    pub(super) fn pools(&self) -> Vec<(Arc<str>, Pool)> {
        self.by_name(|app| app.upstreams.pool())
    }

    /// Requests for each app by who sent them, by name.
    pub(super) fn callers(&self) -> Vec<(Arc<str>, CallerCounts)> {
        self.by_name(|app| app.counts.callers.clone())
    }

    fn by_name<T>(&self, of: impl Fn(&App) -> T) -> Vec<(Arc<str>, T)> {
        let apps = self.iter().map(|app| (Arc::clone(&app.name), of(app)));
        let mut apps: Vec<_> = apps.collect();
        apps.sort_by(|(a, _), (b, _)| a.cmp(b));
        apps
    }
}

impl Site {
    fn of(apps: Vec<Arc<App>>, role: HostRole) -> Self {
        let division = Division::of(apps);
        Self { division, role }
    }

    /// What the host is for.
    pub(super) fn role(&self) -> HostRole {
        self.role
    }

    fn apps(&self) -> &[Arc<App>] {
        match &self.division {
            Division::Whole(app) => std::slice::from_ref(app),
            Division::Parts(shares) => &shares.apps,
        }
    }

    pub(super) fn has(&self, app: &App) -> bool {
        self.apps()
            .iter()
            .any(|own| std::ptr::eq(&raw const **own, app))
    }

    /// Whether some app of the host may be opened from where a client is.
    pub(super) fn admits(&self, client: Option<IpAddr>) -> bool {
        self.apps().iter().any(|app| app.networks.admit(client))
    }

    /// `Strict-Transport-Security` of whatever this host answers.
    pub(super) fn hsts(&self, host: &Authority, public_port: Option<u16>) -> Option<HeaderValue> {
        let app = match &self.division {
            Division::Whole(app) => app,
            Division::Parts(shares) => shares.apps.get(shares.says_hsts)?,
        };
        app.hsts.field(host, public_port)
    }

    /// The app that a request is for. Our own pages belong to the host, and so to any of them.
    pub(super) fn app(&self, head: &Parts) -> Result<&Arc<App>, RequestError> {
        let shares = match &self.division {
            Division::Whole(app) => return Ok(app),
            Division::Parts(shares) => shares,
        };
        let target = Target::parse(head, shares.allow)?;
        let app = match Endpoint::of(target.path()) {
            Some(_) => shares.apps.last(),
            None => self.app_of(target.path())?,
        };
        app.ok_or(RequestError::NotFound)
    }

    /// The app whose folder a path begins with that nobody can read: for the log and for words, and
    /// for nothing else.
    pub(super) fn app_in_name(&self, head: &Parts) -> Option<&Arc<App>> {
        match &self.division {
            Division::Whole(app) => Some(app),
            Division::Parts(shares) => shares.app_at(shares.parts.covering(head.uri.path())),
        }
    }

    /// What visitors of this app sign in to, or those of our own pages; `None` where there are
    /// several answers.
    pub(super) fn title_of<'s>(&'s self, app: &'s App, is_own_page: bool) -> Option<&'s Arc<str>> {
        match &self.division {
            Division::Parts(shares) if is_own_page => shares.title.as_ref(),
            _ => Some(&app.title),
        }
    }

    /// The app that a path in normal form is of, in whichever way it is read (SEC-93).
    pub(super) fn app_of(&self, path: &str) -> Result<Option<&Arc<App>>, BadRequest> {
        match &self.division {
            Division::Whole(app) => Ok(Some(app)),
            Division::Parts(shares) => Ok(shares.app_at(shares.parts.choose(path)?)),
        }
    }
}

impl Division {
    fn of(mut apps: Vec<Arc<App>>) -> Self {
        apps.sort_by_key(|app| std::cmp::Reverse(app.part.prefix().len()));
        if let [app] = apps.as_slice()
            && app.part.is_whole_host()
        {
            return Self::Whole(Arc::clone(app));
        }
        Self::Parts(Shares::of(apps))
    }
}

impl Shares {
    fn of(apps: Vec<Arc<App>>) -> Self {
        let case = apps.iter().map(|app| app.rules.case());
        let case = case.fold(PathCase::Sensitive, PathCase::or);
        let allow = apps.iter().map(|app| app.allow_in_path);
        let mut titles = apps.iter().map(|app| &app.title);
        let title = titles.next().cloned();
        let configured = apps.iter().position(|app| app.hsts.is_configured());
        Self {
            parts: PartIndex::new(apps.iter().map(|app| &app.part), case),
            allow: allow.fold(AllowInPath::default(), AllowInPath::or),
            says_hsts: configured.unwrap_or(0),
            title: title.filter(|first| titles.all(|title| title == first)),
            apps,
        }
    }

    fn app_at(&self, place: Option<usize>) -> Option<&Arc<App>> {
        self.apps.get(place?)
    }
}

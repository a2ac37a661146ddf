//! All applications behind the proxy, by the host and the part of it that each of them serves.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;

use super::app::{App, AppSettings};
use super::service::OpenError;
use super::shared::Shared;
use crate::clock::Clock;
use crate::error::RequestError;
use crate::metrics::Pool;
use crate::portal::Endpoint;
use crate::request::{AllowInPath, Authority, BadRequest, PathCase, Readings, Target};
use crate::upstream::Health;

pub(super) struct Apps {
    by_host: HashMap<String, Site>,
    /// Of the only app, when it serves every host.
    only: Option<Site>,
}

/// The apps of one host.
pub(super) enum Site {
    /// One has all of it.
    Whole(Arc<App>),
    /// Each has a part, the longest path first, and perhaps one has the rest.
    Parts(Vec<Arc<App>>),
}

impl Apps {
    pub(super) fn open(
        settings: Vec<AppSettings>,
        clock: &Clock,
        shared: &Shared,
    ) -> Result<Self, OpenError> {
        let (mut by_host, mut only) = (HashMap::<String, Vec<_>>::new(), Vec::new());
        for app in settings {
            let host = app.host.clone();
            let name = app.name.clone();
            let app = App::open(app, clock, &shared.metrics, &shared.open_tunnels);
            let app = Arc::new(app.map_err(|error| OpenError::Upstream(name, error))?);
            match host {
                Some(host) => by_host
                    .entry(host.as_str().to_owned())
                    .or_default()
                    .push(app),
                None => only.push(app),
            }
        }
        let sites = by_host
            .into_iter()
            .map(|(host, apps)| (host, Site::of(apps)));
        Ok(Self {
            by_host: sites.collect(),
            only: (!only.is_empty()).then(|| Site::of(only)),
        })
    }

    /// The apps of the host that a request is for. An unknown host is not served by whichever app
    /// comes first, and neither is one that TLS was not asked for (SEC-09, SEC-78).
    pub(super) fn find(
        &self,
        authority: &Authority,
        server_name: Option<&str>,
    ) -> Result<&Site, RequestError> {
        let host = authority
            .host()
            .strip_suffix('.')
            .unwrap_or(authority.host());
        if let Some(server_name) = server_name
            && !server_name.trim_end_matches('.').eq_ignore_ascii_case(host)
        {
            return Err(RequestError::Misdirected);
        }
        self.of_host(host).ok_or(RequestError::Misdirected)
    }

    /// The apps of a host, without port and without the dot at its end.
    pub(super) fn of_host(&self, host: &str) -> Option<&Site> {
        self.only.as_ref().or_else(|| {
            let site = self.by_host.get(host);
            site.or_else(|| self.by_host.get(&host.to_ascii_lowercase()))
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &App> {
        let sites = self.by_host.values().chain(&self.only);
        sites.flat_map(Site::apps).map(Arc::as_ref)
    }

    /// What is known of the addresses of each app, by name.
    pub(super) fn health(&self) -> Vec<(Arc<str>, Vec<Health>)> {
        self.by_name(|app| app.upstreams.health().collect())
    }

    /// The connections to each app, by name.
    pub(super) fn pools(&self) -> Vec<(Arc<str>, Pool)> {
        self.by_name(|app| app.upstreams.pool())
    }

    fn by_name<T>(&self, of: impl Fn(&App) -> T) -> Vec<(Arc<str>, T)> {
        let apps = self.iter().map(|app| (Arc::clone(&app.name), of(app)));
        let mut apps: Vec<_> = apps.collect();
        apps.sort_by(|(a, _), (b, _)| a.cmp(b));
        apps
    }
}

impl Site {
    fn of(mut apps: Vec<Arc<App>>) -> Self {
        apps.sort_by_key(|app| std::cmp::Reverse(app.part.prefix().len()));
        match apps.as_slice() {
            [app] if app.part.is_whole_host() => Self::Whole(Arc::clone(app)),
            _ => Self::Parts(apps),
        }
    }

    fn apps(&self) -> &[Arc<App>] {
        match self {
            Self::Whole(app) => std::slice::from_ref(app),
            Self::Parts(apps) => apps,
        }
    }

    /// `Strict-Transport-Security` of whatever this host answers.
    pub(super) fn hsts(&self, host: &Authority, public_port: Option<u16>) -> Option<HeaderValue> {
        self.apps().first()?.hsts.field(host, public_port) // the same in each of them
    }

    /// The app that a request is for. Our own pages belong to the host, and so to any of them.
    pub(super) fn app(&self, head: &Parts) -> Result<&Arc<App>, RequestError> {
        match self {
            Self::Whole(app) => Ok(app),
            Self::Parts(apps) => Self::one_of(apps, head),
        }
    }

    /// The app of a path that was judged before.
    pub(super) fn app_of(&self, path: &str) -> Option<&Arc<App>> {
        self.apps().iter().find(|app| app.part.covers(path))
    }

    /// Whether a path in normal form is this app's, in whichever way it is read (SEC-93).
    pub(super) fn is_part_of(&self, path: &str, app: &App) -> Result<bool, BadRequest> {
        let Self::Parts(_) = self else {
            return Ok(true);
        };
        let readings = Readings::of(path, PathCase::Sensitive).map_err(BadRequest::Path)?;
        let is_of_app = |path: &str| {
            let of_path = self.app_of(path);
            of_path.is_some_and(|of_path| std::ptr::eq(Arc::as_ptr(of_path), app))
        };
        let mut others = readings.others().iter();
        Ok(is_of_app(readings.path()) && others.all(|other| is_of_app(other)))
    }

    /// In whichever way a path is read, it has to be for one app (SEC-93).
    fn one_of<'a>(apps: &'a [Arc<App>], head: &Parts) -> Result<&'a Arc<App>, RequestError> {
        let allow = apps.iter().map(|app| app.allow_in_path);
        let target = Target::parse(head, allow.fold(AllowInPath::default(), AllowInPath::or))?;
        let readings = Readings::of(target.path(), PathCase::Sensitive);
        let readings = readings.map_err(BadRequest::Path)?;
        let find = |path: &str| apps.iter().find(|app| app.part.covers(path));
        if Endpoint::of(readings.path()).is_some() {
            return apps.last().ok_or(RequestError::NotFound);
        }
        let app = find(readings.path());
        let same = |other: Option<&Arc<App>>| match (app, other) {
            (Some(app), Some(other)) => Arc::ptr_eq(app, other),
            (None, None) => true,
            _ => false,
        };
        if !readings.others().iter().all(|other| same(find(other))) {
            return Err(BadRequest::SeveralApps.into());
        }
        app.ok_or(RequestError::NotFound)
    }
}

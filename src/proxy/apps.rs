//! All applications behind the proxy, by the host that each of them serves.

use std::collections::HashMap;
use std::sync::Arc;

use super::app::{App, AppSettings};
use super::service::OpenError;
use super::shared::Shared;
use crate::clock::Clock;
use crate::error::RequestError;
use crate::metrics::Pool;
use crate::request::Authority;
use crate::upstream::Health;

pub(super) struct Apps {
    by_host: HashMap<String, Arc<App>>,
    /// The only app, when it serves every host.
    only: Option<Arc<App>>,
}

impl Apps {
    pub(super) fn open(
        settings: Vec<AppSettings>,
        clock: &Clock,
        shared: &Shared,
    ) -> Result<Self, OpenError> {
        let (mut by_host, mut only) = (HashMap::new(), None);
        for app in settings {
            let host = app.host.clone();
            let name = app.name.clone();
            let app = App::open(app, clock, &shared.metrics, &shared.open_tunnels);
            let app = Arc::new(app.map_err(|error| OpenError::Upstream(name, error))?);
            match host {
                Some(host) => drop(by_host.insert(host.as_str().to_owned(), app)),
                None => only = Some(app),
            }
        }
        Ok(Self { by_host, only })
    }

    /// The app that a request is for. An unknown host is not served by whichever app comes first,
    /// and neither is one that TLS was not asked for (SEC-09, SEC-78).
    pub(super) fn find(
        &self,
        authority: &Authority,
        server_name: Option<&str>,
    ) -> Result<&Arc<App>, RequestError> {
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

    /// The app of a host, without port and without the dot at its end.
    pub(super) fn of_host(&self, host: &str) -> Option<&Arc<App>> {
        self.only.as_ref().or_else(|| {
            let app = self.by_host.get(host);
            app.or_else(|| self.by_host.get(&host.to_ascii_lowercase()))
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &App> {
        self.by_host.values().chain(&self.only).map(Arc::as_ref)
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

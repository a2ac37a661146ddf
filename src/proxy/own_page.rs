//! Requests for our own pages: never forwarded (SEC-73).

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Response};

use super::Proxy;
use super::app::App;
use super::apps::Site;
use super::body::ResponseBody;
use super::client_conn::ClientConn;
use super::in_flight::InFlight;
use crate::access::{Decision, Rule};
use crate::error::RequestError;
use crate::portal::{Destinations, Endpoint, HostRole, RequestContext, TokenApp};
use crate::principal::Principal;
use crate::request::{self, Host, Target, own_path};
use crate::upstream::ClientBody;

impl Proxy {
    /// Which of our addresses a request is for. An application gets no more cookies than it may.
    pub(super) fn own_page<'t>(
        &self,
        target: &'t Target,
        headers: &HeaderMap,
    ) -> Result<Option<Endpoint<'t>>, RequestError> {
        let endpoint = Endpoint::of(target.path());
        if endpoint.is_none() {
            request::check_cookies(headers, &self.settings.limits)?;
        }
        Ok(endpoint)
    }

    /// Style and icon of the page that says that there is no app at an address. They are the same
    /// at every other address.
    pub(super) fn asset(&self, head: &Parts) -> Option<Response<ResponseBody>> {
        if head.method != Method::GET {
            return None;
        }
        let name = head.uri.path().strip_prefix(own_path!("assets/"))?;
        let asset = self.pages.asset(name)?;
        Some(asset.map(ResponseBody::ours))
    }

    /// Serves one of our pages, unless there is too much to do. A cookie alone makes nobody a
    /// user: anybody can make one up. Where no app of the host is for the network of the client, its
    /// login is not either: nobody guesses passwords from there.
    pub(super) async fn serve(
        &self,
        connection: &ClientConn,
        in_flight: &InFlight,
        page: Endpoint<'_>,
        context: RequestContext<'_>,
        body: ClientBody,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let client = context.known_address();
        let here = context.authority.to_host();
        let is_admitted = match context.role {
            HostRole::Login => self.apps.together_admit(client),
            HostRole::Own | HostRole::App => {
                let site = self.apps.of_host(here.as_str());
                site.is_none_or(|site| site.admits(client))
            }
        };
        if page.signs_in() && !is_admitted {
            return Err(RequestError::WrongNetwork(client.into()));
        }
        let context_role = context.role;
        let caller = self.callers.peek(context.shown()).await;
        let signed_in = caller.map_err(RequestError::Session)?.into_session();
        let (_, principal) = signed_in.unzip();
        connection.admit(in_flight, context.client, principal.as_ref())?;
        let site = |host: Option<&Host>| {
            let host = host.unwrap_or(&here);
            let site = self.apps.of_host(host.as_str());
            site.filter(|_| context_role != HostRole::Login || self.apps.takes_part(host))
        };
        let may_open = |host: Option<&Host>, path: &str, principal: Principal| {
            let Some(Ok(Some(app))) = site(host).map(|site| site.app_of(path)) else {
                return true; // the answer to it says what is wrong
            };
            let decision = app.judge(path, &Method::GET, Some(principal), client);
            let is_shut = matches!(decision, Ok(Decision::Forbid | Decision::WrongNetwork));
            app.networks.admit(client) && !is_shut
        };
        let title = |host: Option<&Host>, path: &str| {
            let app = site(host)?.app_of(path).ok().flatten()?;
            Some(Arc::clone(&app.title))
        };
        let token_apps = |principal: &Principal| self.token_apps(site(None), principal, client);
        let destinations = Destinations {
            token_apps: &token_apps,
            title: &title,
            longest: self.settings.limits.target,
            may_open: &may_open,
            takes_part: &|host| self.apps.takes_part(host),
        };
        let response = self.portal.serve(page, context, destinations, body).await?;
        Ok(response.map(ResponseBody::ours))
    }

    /// The apps that take API tokens, as far as a user may open any of them: the names of others are
    /// not told.
    fn token_apps(
        &self,
        here: Option<&Site>,
        principal: &Principal,
        client: Option<IpAddr>,
    ) -> Vec<TokenApp> {
        let opens = |app: &App| {
            let rules = app.rules.iter().map(Rule::path).chain([app.part.prefix()]);
            let mut paths = rules.chain(["/"]);
            paths.any(|path| {
                let decision = app.judge(path, &Method::GET, Some(principal.clone()), client);
                matches!(decision, Ok(Decision::Allow(_)))
            })
        };
        let takes = |app: &&App| app.credentials().tokens && opens(app);
        let apps = self.apps.iter().filter(takes);
        let apps = apps.map(|app| TokenApp {
            name: Arc::clone(&app.name),
            title: Arc::clone(&app.title),
            is_here: here.is_some_and(|site| site.has(app)),
        });
        let mut apps: Vec<_> = apps.collect();
        apps.sort_by(|one, other| (!one.is_here, &one.title).cmp(&(!other.is_here, &other.title)));
        apps
    }
}
